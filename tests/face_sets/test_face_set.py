"""Face sets on disk: there and back, and an error for each way to be unusable."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepfake_jax.face_sets.face_record import FaceRecord, FaceSetError
from deepfake_jax.face_sets.face_set import (
    FORMAT,
    RECORD_NAME,
    load_faces,
    make_header,
    read_record,
    write_record,
)
from deepfake_jax.media.pictures import write_picture

SOURCE = "film – Jürgens\u2028Kamera.mp4"  # a line separator that JSON does not escape


def make_record(index: int) -> FaceRecord:
    return FaceRecord(
        file=f"{index:06d}.png",
        source=SOURCE,
        frame=3 * index,
        time=0.1 * index,
        box=(10.5, 20.25, 100.0, 110.125),
        score=0.875,
        landmarks=tuple((1.5 * k, 2.5 * k) for k in range(5)),
        frame_to_face=((0.5, 0.0, 3.0), (0.0, 0.5, -7.25)),
        size=512.0,
    )


@pytest.fixture
def made(tmp_path: Path, faces: np.ndarray) -> Path:
    folder = tmp_path / "faces"
    folder.mkdir()
    records = [make_record(index) for index in range(len(faces))]
    for record, face in zip(records, faces, strict=True):
        write_picture(folder / record.file, face)
    write_record(folder, make_header([{"name": SOURCE}], "1.2.3"), records)
    return folder


def rewrite(folder: Path, number: int, line: str | dict[str, Any] | None) -> None:
    """Replaces a line of the record, or cuts the record off there."""
    path = folder / RECORD_NAME
    lines = path.read_text(encoding="utf-8").split("\n")
    if line is None:
        lines[number:] = []
    else:
        lines[number] = json.dumps(line) if isinstance(line, dict) else line
    path.write_text("\n".join(lines), encoding="utf-8")


def test_there_and_back_is_equal(made: Path, faces: np.ndarray):
    loaded = load_faces(made)
    np.testing.assert_array_equal(loaded.faces, faces)
    assert loaded.records == tuple(make_record(index) for index in range(len(faces)))
    assert loaded.folder == made
    assert loaded.header["format"] == FORMAT
    assert loaded.header["sources"] == [{"name": SOURCE}]
    assert loaded.header["tool_version"] == "1.2.3"
    np.testing.assert_array_equal(load_faces(str(made)).faces, faces)


def test_set_can_be_moved(made: Path, tmp_path: Path, faces: np.ndarray):
    moved = made.rename(tmp_path / "elsewhere")
    np.testing.assert_array_equal(load_faces(moved).faces, faces)
    assert str(tmp_path) not in (moved / RECORD_NAME).read_text(encoding="utf-8")


def test_record_appears_whole_and_is_replaced(made: Path):
    header, records = read_record(made)
    write_record(made, header, records[:1])
    assert read_record(made) == (header, records[:1])
    assert not [path for path in made.iterdir() if "partial" in path.name]


def test_record_is_readable_by_other_programs(made: Path):
    lines = (made / RECORD_NAME).read_text(encoding="utf-8").rstrip("\n").split("\n")
    header, *rest = map(json.loads, lines)
    assert header["face_size"] == 256 and header["coverage"] == 0.625
    assert [line["file"] for line in rest] == [f"{i:06d}.png" for i in range(6)]
    assert rest[0]["frame_to_face"] == [[0.5, 0.0, 3.0], [0.0, 0.5, -7.25]]


def test_no_folder(tmp_path: Path):
    with pytest.raises(FaceSetError, match="no such folder.*deepfake-jax extract"):
        load_faces(tmp_path / "missing")


def test_folder_of_pictures_that_is_no_set(made: Path):
    (made / RECORD_NAME).unlink()
    with pytest.raises(FaceSetError, match=f"no {RECORD_NAME}.*deepfake-jax extract"):
        load_faces(made)


@pytest.mark.parametrize(
    "number, line, text",
    [
        (0, None, "does not begin with a header"),
        (0, {"format": "another"}, "does not begin with a header"),
        (0, "{broken", "line 1 is damaged"),
        (0, "[1, 2]", "line 1: expected an object"),
        (0, {"format": FORMAT, "version": 99}, "version 99.*reads 1.*extract the set"),
        (0, {"format": FORMAT, "version": 1, "face_size": 128}, "faces of 128.*256"),
        (0, {"format": FORMAT, "version": 1}, "faces of None"),
        (3, '{"file": "000002', "line 4 is damaged.*--repair"),
        (3, '"text"', "line 4: expected an object"),
        (3, {"file": "000002.png"}, "line 4:.*missing.*source"),
        (3, asdict(make_record(2)) | {"surprise": 1}, "line 4:.*surprise"),
        (1, None, "holds 0 faces, training needs at least 1"),
    ],
)
def test_unusable_records(made: Path, number: int, line: Any, text: str):
    rewrite(made, number, line)
    with pytest.raises(FaceSetError, match=text):
        load_faces(made)


def test_record_that_is_not_utf8(made: Path):
    (made / RECORD_NAME).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FaceSetError, match="damaged"):
        load_faces(made)


def test_least_number_is_the_callers(made: Path):
    assert len(load_faces(made, min_faces=6).records) == 6
    with pytest.raises(FaceSetError, match="holds 6 faces.*at least 7"):
        load_faces(made, min_faces=7)


def test_missing_damaged_and_wrong_pictures_are_named(made: Path):
    path = made / "000004.png"
    whole = path.read_bytes()
    for content in (None, b"", whole[: len(whole) // 2], b"text"):
        path.unlink() if content is None else path.write_bytes(content)
        with pytest.raises(FaceSetError, match="the face 000004.png.*--repair"):
            load_faces(made)
        path.write_bytes(whole)
    write_picture(path, np.zeros((64, 48, 3), np.uint8))
    with pytest.raises(FaceSetError, match="000004.png is 48x64.*256x256"):
        load_faces(made)


def test_records_are_frozen():
    record = make_record(0)
    with pytest.raises(AttributeError):
        record.file = "other.png"  # type: ignore[misc]
    assert replace(record, file="other.png") != record
