"""Our own parsers under coverage-guided fuzzing: `python tests/faults/fuzz.py TARGET`.

Needs atheris, which nothing else does: `pip install atheris`. What follows the target
goes to libFuzzer, as ``-max_total_time=60``, ``-seed=1``, ``-runs=100000`` and a folder
that keeps what was interesting. A finding is left as a file ``crash-*``; naming that
instead repeats it.
"""

import importlib
import logging
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

try:
    atheris: Any = importlib.import_module("atheris")  # which has no types
except ImportError:
    sys.exit("atheris is missing: pip install atheris")

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
with atheris.instrument_imports(include=["deepfake_jax"]):
    from deepfake_jax.face_sets.face_queries import QueryError, parse_query
    from deepfake_jax.face_sets.face_record import FaceRecord, FaceSetError
    from deepfake_jax.face_sets.face_set import read_record
    from deepfake_jax.json_files import encode_line, parse_checked, read_checked
    from deepfake_jax.media.animations import read_animation, read_loops
    from deepfake_jax.media.file_kinds import find_kind
    from deepfake_jax.media.opened_pictures import PictureError, check_sums
    from deepfake_jax.media.recoded_tracks import read_text
    from deepfake_jax.media.sources import parse_part, parse_time
    from deepfake_jax.media.truncation import check_whole
    from deepfake_jax.media.xmp import read_film_xmp, read_source_type
    from deepfake_jax.runs.checkpoint import CheckpointError, verify_checkpoint
    from deepfake_jax.runs.metrics_file import (
        DAMAGED_NAME,
        read_metrics,
        truncate_metrics,
    )
    from deepfake_jax.train_config import ConfigError, load_config

_FACE = FaceRecord("f", "s", 1, 0.0, (0.0,) * 4, 1.0, (), ((1.0,) * 3,) * 2, 9.0)
# In memory where there is such a folder: whole writes are flushed, which disks take
# hundred times as long for as a parser for its work.
_MEMORY = Path("/dev/shm")
_PLACE = tempfile.mkdtemp(prefix="fuzz-", dir=_MEMORY if _MEMORY.is_dir() else None)
_FOLDER = Path(_PLACE) / "00000004"  # of a step
_FOLDER.mkdir()
_FILE = _FOLDER / "faces.jsonl"


def fuzz_truncation(data: bytes) -> None:
    """A film's sizes."""
    _FILE.write_bytes(data)
    check_whole(_FILE)
    find_kind(_FILE)
    read_film_xmp(_FILE)


def fuzz_records(data: bytes) -> None:
    """The record of a face set."""
    _FILE.write_bytes(data)
    try:
        read_record(_FOLDER)
    except FaceSetError:
        return


def fuzz_lines(data: bytes) -> None:
    """Lines with sums; what is read is written and read equal."""
    values = parse_checked(data)
    if values is not None:
        assert parse_checked(encode_line(values).encode()) == values


def fuzz_metrics(data: bytes) -> None:
    """The lines of a run."""
    _FILE.write_bytes(data)
    truncate_metrics(_FILE, 100, every=10)
    before = read_metrics(_FILE)
    truncate_metrics(_FILE, 100)
    assert read_metrics(_FILE) == before
    _FILE.with_name(DAMAGED_NAME).unlink(missing_ok=True)


def fuzz_manifest(data: bytes) -> None:
    """The manifest of a checkpoint, and a run's small files."""
    path = _FOLDER / "manifest.json"
    path.write_bytes(data)
    try:
        read_checked(path)
    except ValueError:
        pass
    try:
        verify_checkpoint(_FOLDER)
    except CheckpointError:
        return


def fuzz_config(data: bytes) -> None:
    """A run's settings."""
    _FILE.write_bytes(data)
    try:
        load_config(_FILE)
    except ConfigError:
        return


def fuzz_queries(data: bytes) -> None:
    """Which faces are meant."""
    try:
        query = parse_query(data.decode("utf-8", "surrogateescape"))
    except QueryError:
        return
    assert isinstance(query(_FACE), bool)


def fuzz_times(data: bytes) -> None:
    """Times and parts of a clip."""
    text = data.decode("utf-8", "surrogateescape")
    for parse in (
        lambda: parse_time(text, option=""),
        lambda: parse_part(*text.partition("-")[::2]),
    ):
        try:
            parse()
        except ValueError:
            continue


def fuzz_animations(data: bytes) -> None:
    """GIF, and PNG with its sums."""
    _FILE.write_bytes(data)
    read_loops(_FILE)
    for read in (check_sums, lambda path: list(read_animation(path))):
        try:
            read(_FILE)
        except PictureError:
            continue


def fuzz_subtitles(data: bytes) -> None:
    """The words of a packet."""
    for codec in ("mov_text", "ass", "webvtt", "subrip"):
        assert isinstance(read_text(data, codec), str)


def fuzz_xmp(data: bytes) -> None:
    """What a file says of its making."""
    assert isinstance(read_source_type(data), str)


TARGETS: dict[str, Callable[[bytes], None]] = {
    name.removeprefix("fuzz_"): call
    for name, call in globals().items()
    if name.startswith("fuzz_")
}

if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        sys.exit(f"name one of {', '.join(TARGETS)}")
    target = TARGETS[sys.argv.pop(1)]
    logging.getLogger("deepfake_jax").setLevel(logging.ERROR)
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()
