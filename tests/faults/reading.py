"""Reads files in a process of its own, which says how each went and how much it took.

What reads is what every command reads footage by; a hang or a crash costs one file.
"""

import resource
import signal
import traceback
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from faults.tries import Limits, start_call

SECONDS = 30  # for a file of some kilobytes, on a busy machine
MEGABYTES = 2000
_FRAMES = 200


def read_all(paths: Sequence[Path], folder: Path) -> list[tuple[Path, str]]:
    """Reads files one after another.

    Returns:
        Each with what is wrong: "" if it was read or refused in words.
    """
    found: list[tuple[Path, str]] = []
    left = list(paths)
    while left:
        given = [str(path) for path in left]
        ended = start_call(read_some, given, folder, Limits(memory=8 << 30)).wait(900)
        lines = [line for line in ended.text.splitlines() if line.startswith("@")]
        told = [line[1:].split(" ", 1)[1] for line in lines]
        for path, problem in zip(left, told, strict=False):
            found.append((path, problem))
        if len(told) < len(left):
            # It ended in the middle of this one: by an alarm, or by native code.
            path = left[len(told)]
            found.append((path, f"ended by {ended.status}: {ended.text[-500:]}"))
            told.append("")
        left = left[len(told) :]
    return found


def read_some(names: list[str]) -> int:
    """The process's work: a line a file."""
    from deepfake_jax.media.file_kinds import find_trouble
    from deepfake_jax.media.file_metadata import read_extras
    from deepfake_jax.media.media_probe import probe_video
    from deepfake_jax.media.sources import list_sources, read_source
    from deepfake_jax.provenance.credential_reader import read_credential
    from deepfake_jax.provenance.file_tags import read_metadata

    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    before = _peak()
    for number, name in enumerate(names):
        signal.alarm(SECONDS)
        problem = ""
        try:
            if not find_trouble(Path(name)):
                read_credential(Path(name))
                read_metadata(Path(name))
            for source in list_sources([Path(name)]):
                for timed in islice(read_source(source), _FRAMES):
                    assert timed.frame.shape[2] == 3
                if source.kind == "video":
                    info = probe_video(source.path)
                    if not info.animation:
                        read_extras(info)
        except (ValueError, OSError, MemoryError) as error:
            known = type(error).__module__.startswith("deepfake_jax")
            if not known:
                problem = traceback.format_exc(limit=-6)
            elif not str(error):
                problem = f"{type(error).__name__} without a word"
        except BaseException:
            problem = traceback.format_exc(limit=-6)
        signal.alarm(0)
        if (now := _peak()) - before > MEGABYTES:
            problem += f" took {now - before:.0f} MB"
            before = now
        told = problem.replace("\n", " | ")
        print(f"@{number} {told}", flush=True)
    return 0


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
