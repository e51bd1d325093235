"""An extraction that is killed goes on and ends with the same set."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from footage import write_pan

from deepfake_jax.extract_config import ExtractConfig
from deepfake_jax.face_sets.extraction import ExtractError, extract_faces
from deepfake_jax.face_sets.face_writer import UNSORTED_NAME
from deepfake_jax.faces.search_journal import JOURNAL_NAME
from deepfake_jax.json_files import parse_checked

pytestmark = pytest.mark.usefixtures("detector_weights")


@pytest.fixture(scope="module")
def pan(portrait, tmp_path_factory) -> Path:
    """Three checkpoints' worth of frames."""
    folder = tmp_path_factory.mktemp("pan")
    return write_pan(folder / "pan.mp4", portrait, frames=100, start=(60, 20))


@pytest.fixture(scope="module")
def whole(pan, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "faces"
    extract_faces(pan, out)
    return out


def read_set(folder: Path) -> dict[str, bytes]:
    """All files of a set; no time of day or path may stand in them."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def start(pan: Path, out: Path) -> subprocess.Popen:
    code = "from deepfake_jax.cli.main import main; main()"
    args = ["extract", str(pan), "--out", str(out)]
    root = Path(__file__).resolve().parents[2]
    env = {**os.environ, "PYTHONPATH": str(root)}
    return subprocess.Popen(
        [sys.executable, "-c", code, *args], stderr=subprocess.PIPE, env=env
    )


def wait_for_checkpoint(partial: Path, process: subprocess.Popen) -> None:
    journal, end = partial / JOURNAL_NAME, time.monotonic() + 120
    while time.monotonic() < end and process.poll() is None:
        if journal.exists() and b'"state"' in journal.read_bytes():
            return
        time.sleep(0.01)


def test_a_killed_extraction_goes_on_to_the_same_set(pan, whole, tmp_path):
    out, partial = tmp_path / "faces", tmp_path / ".faces.search"
    process = start(pan, out)
    wait_for_checkpoint(partial, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not out.exists() and (partial / JOURNAL_NAME).exists()
    # A line that was cut off by the kill, and a picture that the disk lost.
    with (partial / JOURNAL_NAME).open("ab") as file:
        file.write(b'{"frame": 99, "fa')
    pictures = sorted(partial.glob("*.png"))
    if pictures:
        pictures[len(pictures) // 2].write_bytes(b"")
    result = extract_faces(pan, out)
    assert result.resumed_frames >= 32 and result.frames == 100
    assert read_set(out) == read_set(whole)
    assert not partial.exists()


def test_a_journal_of_something_else_is_begun_anew(pan, whole, tmp_path):
    partial = tmp_path / ".faces.search"
    partial.mkdir()
    (partial / JOURNAL_NAME).write_text('{"header": "of another video"}\n')
    (partial / "faces.jsonl").write_text("rubbish\n")
    result = extract_faces(pan, tmp_path / "faces")
    assert result.resumed_frames == 0
    assert read_set(tmp_path / "faces") == read_set(whole)


def test_a_set_can_be_moved(whole, tmp_path):
    from deepfake_jax.face_sets.face_set import load_faces

    moved = tmp_path / "elsewhere"
    shutil.copytree(whole, moved)
    # At the end of the pan the face leaves the picture.
    assert len(load_faces(moved).records) > 80


def test_every_line_of_the_record_has_its_checksum(whole):
    lines = (whole / "faces.jsonl").read_bytes().splitlines(keepends=True)
    assert len(lines) > 80 and all(parse_checked(line) for line in lines)
    assert parse_checked(lines[1].replace(b'"frame": 0', b'"frame": 7')) is None
    assert parse_checked(lines[1][:-20]) is None
    wanted = "frame time person track file landmarks frame_to_face".split()
    assert set(wanted) <= set(json.loads(lines[1]))


def test_a_long_search_for_nobody_is_kept_for_the_next_choice(pan, whole, tmp_path):
    out, partial = tmp_path / "faces", tmp_path / ".faces.search"
    with pytest.raises(ExtractError, match="the same command with another"):
        extract_faces(pan, out, ExtractConfig(person="7"))
    assert not out.exists() and partial.exists()
    # Limits on quality choose other pictures, of the same search.
    with pytest.raises(ExtractError, match="for sharpness.*is kept in"):
        extract_faces(pan, out, ExtractConfig(min_sharpness=9))
    result = extract_faces(pan, out)
    assert result.resumed_frames == 100
    assert read_set(out) == read_set(whole)
    assert not partial.exists()


def test_a_sorting_that_was_cut_short_is_done_again(pan, whole, tmp_path):
    out, partial = tmp_path / "faces", tmp_path / ".faces.search"
    with pytest.raises(ExtractError):
        extract_faces(pan, out, ExtractConfig(person="7"))
    # As after a kill while one person's set was written.
    record = partial / "faces.jsonl"
    record.replace(partial / UNSORTED_NAME)
    record.write_bytes((whole / "faces.jsonl").read_bytes()[:3000])
    (partial / "dropped.jsonl").write_text("half a li")
    assert extract_faces(pan, out).resumed_frames == 100
    assert read_set(out) == read_set(whole)


def test_a_full_disk_is_named_and_what_was_found_stays(
    pan, whole, tmp_path, monkeypatch, caplog
):
    out, partial = tmp_path / "faces", tmp_path / ".faces.search"
    write_bytes, room = Path.write_bytes, [70]

    def write_on_a_small_disk(path: Path, content: bytes) -> int:
        room[0] -= path.suffix == ".png"
        if room[0] >= 0:
            return write_bytes(path, content)
        write_bytes(path, content[: len(content) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch, pytest.raises(OSError) as raised:
        patch.setattr(Path, "write_bytes", write_on_a_small_disk)
        extract_faces(pan, out)
    assert Path(raised.value.filename).suffix == ".png"
    assert not out.exists() and not list(partial.glob(".*.png"))
    assert str(partial) in caplog.text and "goes on from there" in caplog.text
    assert extract_faces(pan, out).resumed_frames >= 32
    assert read_set(out) == read_set(whole)
