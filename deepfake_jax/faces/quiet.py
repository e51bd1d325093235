"""Keeping a C library's chatter off stderr without losing what matters there."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

STDERR = 2  # the file descriptor, which C code writes to


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
