"""Networks that LiteRT runs, on one thread, without its lines on stderr."""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from jaxtyping import UInt8

STDERR = 2  # the file descriptor, which C code writes to
Window = UInt8[np.ndarray, "side side 3"]


def load_litert(model: bytes) -> Callable[[Window], dict[int, np.ndarray]]:
    """Loads a network: a function to its outputs, told by how many numbers they have.

    Of several with as many it gives the first. The function keeps the network inside,
    which is not thread-safe.

    Args:
        model: the content of a ``.tflite`` file with one input, a picture in [0, 1].

    Raises:
        ImportError: LiteRT is missing.
    """
    from ai_edge_litert.interpreter import Interpreter

    with without_info_lines():
        network: Any = Interpreter(model_content=model, num_threads=1)
        network.allocate_tensors()
    entry = network.get_input_details()[0]["index"]
    exits = [each["index"] for each in network.get_output_details()]

    def run(window: Window) -> dict[int, np.ndarray]:
        network.set_tensor(entry, window[None].astype(np.float32) / np.float32(255))
        network.invoke()
        found = [network.get_tensor(index) for index in reversed(exits)]
        return {each.size: each.ravel() for each in found}

    return run


@contextmanager
def without_info_lines() -> Iterator[None]:
    """Drops the lines that begin with ``INFO:`` from what goes to stderr meanwhile.

    LiteRT writes such a line when its network is made and has no setting against it.
    All else, also of other threads, is passed on at the end, an error's text included.
    """
    try:
        kept = os.dup(STDERR)
    except OSError:  # no stderr, as under pythonw: nothing to keep clean
        yield
        return
    with tempfile.TemporaryFile() as caught:
        if sys.stderr is not None:
            sys.stderr.flush()
        os.dup2(caught.fileno(), STDERR)
        try:
            yield
        finally:
            if sys.stderr is not None:
                sys.stderr.flush()
            os.dup2(kept, STDERR)
            os.close(kept)
            caught.seek(0)
            for line in caught:
                if not line.startswith(b"INFO:"):
                    os.write(STDERR, line)
