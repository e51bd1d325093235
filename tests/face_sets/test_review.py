"""The faces command: queries, dropping and restoring, checks, repairs, sheets."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from footage import write_face_set

from deepfake_jax.face_sets.contact_sheets import TILE, Row, Tile, draw_sheet
from deepfake_jax.face_sets.face_queries import QueryError, parse_query
from deepfake_jax.face_sets.face_record import FaceSetError
from deepfake_jax.face_sets.face_set import load_faces, read_record, write_record
from deepfake_jax.face_sets.repair import check_set
from deepfake_jax.face_sets.review import review_faces
from deepfake_jax.media.pictures import read_picture, write_picture
from deepfake_jax.output_lock import OutputBusyError, lock_output
from deepfake_jax.types import spread


@pytest.fixture
def faces(tmp_path) -> Path:
    """Six cartoons whose yaw grows with their number."""

    folder = write_face_set(tmp_path / "faces", 6)
    header, records = read_record(folder)
    changed = [
        replace(r, yaw=-20.0 * i, sharpness=1 - i / 10, track=i // 3)
        for i, r in enumerate(records)
    ]
    write_record(folder, header, changed)
    return folder


def list_frames(folder: Path) -> list[int]:
    return [record.frame for record in read_record(folder)[1]]


def list_pngs(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("0*.png")}


@pytest.mark.parametrize(
    ("query", "frames"),
    [
        ("yaw>60", [4, 5]),  # angles without their sign
        ("yaw >= 60 and frame != 5", [3, 4]),
        ("frame==0 or frame==5", [0, 5]),
        ("frame<2 or yaw>=80 and sharpness<0.55", [0, 1, 5]),
        ("filled==true", []),
        ("source == 'cartoon'", [0, 1, 2, 3, 4, 5]),
        ("file==000_000002_0.png", [2]),
    ],
)
def test_queries_choose_faces(faces, query, frames):
    wanted = parse_query(query)
    records = read_record(faces)[1]
    assert [r.frame for r in records if wanted(r)] == frames


@pytest.mark.parametrize(
    "query", ["", "yaw", "yaw>", "yaw>>3", "beauty>3", "yaw>much", "import os", "1>0"]
)
def test_queries_that_say_nothing_are_refused(query, faces):
    with pytest.raises(QueryError):
        parse_query(query)


def test_queries_are_not_evaluated(tmp_path):
    for text in ("frame>__import__('os').getpid()", "frame>(1)", "yaw>1e3.real"):
        with pytest.raises(QueryError):
            parse_query(text)


def test_dropping_edits_the_record_and_deletes_nothing(faces):
    before = list_pngs(faces)
    result = review_faces(faces, drop="yaw>60")
    assert (result.faces, result.changed) == (4, 2)
    assert result.dropped == {"query yaw>60": 2}
    assert list_frames(faces) == [0, 1, 2, 3] and list_pngs(faces) == before
    assert len(load_faces(faces).faces) == 4
    assert review_faces(faces, restore=True).faces == 6
    assert list_frames(faces) == [0, 1, 2, 3, 4, 5]
    assert review_faces(faces, keep="frame<3").faces == 3
    result = review_faces(faces, delete=True)
    assert result.deleted == 3 and len(list_pngs(faces)) == 3
    assert check_set(faces) == []


def test_sorting_orders_the_record(faces):
    review_faces(faces, sort="sharpness")
    assert list_frames(faces) == [5, 4, 3, 2, 1, 0]
    review_faces(faces, sort="-sharpness", sheets=False)
    assert list_frames(faces) == [0, 1, 2, 3, 4, 5]
    with pytest.raises(QueryError, match="beauty"):
        review_faces(faces, sort="beauty")


def test_checks_name_what_is_wrong_and_repair_mends_it(faces):
    assert review_faces(faces, check=True).problems == ()
    path = faces / "faces.jsonl"
    lines = path.read_text().splitlines()
    edited = json.loads(lines[1]) | {"person": 2}
    lines[1] = json.dumps(edited)
    lines[2] = lines[2][:50]
    del lines[3]
    path.write_text("\n".join(lines) + "\n")
    (faces / "000_000004_0.png").unlink()
    problems = "\n".join(check_set(faces))
    for words in ("line 2: was changed by hand", "line 3: is damaged", "is missing"):
        assert words in problems
    assert "000_000002_0.png: is not in the record" in problems
    result = review_faces(faces, repair=True)
    assert result.faces == 5 and result.problems
    assert check_set(faces) == []
    records = {record.frame: record for record in read_record(faces)[1]}
    assert records[0].person == 2 and sorted(records) == [0, 1, 2, 3, 5]
    assert len(load_faces(faces).faces) == 5
    assert (faces / "faces.jsonl.before").exists()


def edit_lines(path: Path, **changes: object) -> None:
    """Changes fields of the third line as a person in an editor would."""
    lines = path.read_text().splitlines()
    lines[2] = json.dumps(json.loads(lines[2]) | changes)
    path.write_text("\n".join(lines) + "\n")


def test_what_was_deleted_does_not_come_back_without_its_picture(faces):
    review_faces(faces, drop="frame<2", delete=True, sheets=False)
    review_faces(faces, drop="frame==5", sheets=False)
    result = review_faces(faces, restore=True, sheets=False)
    assert (result.faces, result.changed) == (4, 1)
    assert list_frames(faces) == [2, 3, 4, 5] and check_set(faces) == []


def test_what_editors_add_is_read(faces):
    path = faces / "faces.jsonl"
    text = path.read_text().replace("\n", "\r\n")
    path.write_bytes(b"\xef\xbb\xbf" + text.encode() + b"\r\n")
    assert list_frames(faces) == [0, 1, 2, 3, 4, 5] and check_set(faces) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"person": "two"}, "person is 'two', expected a whole number"),
        ({"yaw": None}, "yaw is None, expected a number"),
        ({"score": float("nan")}, "score is nan"),
        ({"frame": True}, "frame is True"),
        ({"frame_to_face": [[1, 0], [0, 1]]}, "frame_to_face 2 x 3"),
        ({"beauty": 3}, "beauty"),
    ],
)
def test_a_field_of_a_wrong_kind_is_named_and_repaired(faces, changes, words):
    edit_lines(faces / "faces.jsonl", **changes)
    with pytest.raises(FaceSetError, match=f"line 3: .*{words}"):
        review_faces(faces, sheets=False)
    result = review_faces(faces, check=True, sheets=False)
    assert any(words in problem for problem in result.problems)
    assert review_faces(faces, repair=True, sheets=False).faces == 6
    assert check_set(faces) == []


def test_repair_names_doubles_strangers_and_changed_pictures(faces, portrait):
    review_faces(faces, repair=True, sheets=False)  # notes the pictures' checksums
    path = faces / "faces.jsonl"
    path.write_text(path.read_text() + path.read_text().splitlines()[2] + "\n")
    (faces / "holiday.jpg").write_bytes(b"no face")
    write_picture(faces / "000_000003_0.png", portrait[:256, :256])
    assert "stands there twice" in "\n".join(check_set(faces))
    notes = "\n".join(review_faces(faces, repair=True).problems)
    for words in (
        "line 8 left out: 000_000001_0.png stands there twice",
        "holiday.jpg: left alone",
        "000_000003_0.png is another picture now",
    ):
        assert words in notes
    assert len(check_set(faces)) == 1  # the holiday is still there


def test_the_folders_of_several_people_are_repaired_one_by_one(tmp_path):
    for number in (1, 2):
        write_face_set(tmp_path / f"person_{number}", 3)
    (tmp_path / "people.png").write_bytes(b"a sheet")
    (tmp_path / "person_2" / "faces.jsonl").unlink()
    assert review_faces(tmp_path, sheets=False).faces == 3
    (problem,) = review_faces(tmp_path, check=True, sheets=False).problems
    assert "person_2 has no faces.jsonl" in problem
    result = review_faces(tmp_path, repair=True, sheets=False)
    assert result.persons == ({"number": 1, "faces": 3}, {"number": 2, "faces": 3})
    damaged = tmp_path / "person_1" / "dropped.jsonl"
    review_faces(tmp_path, drop="person==1 and frame==0", sheets=False)
    damaged.write_text(damaged.read_text() + '{"bro')
    with pytest.raises(FaceSetError, match="--repair"):
        review_faces(tmp_path, sheets=False)
    assert review_faces(tmp_path, repair=True, sheets=False).faces == 5
    assert review_faces(tmp_path, check=True, sheets=False).problems == ()


def test_repair_makes_no_set_of_other_folders(tmp_path, portrait):
    write_picture(tmp_path / "holiday.png", portrait)
    with pytest.raises(FaceSetError, match="no picture there is a face"):
        review_faces(tmp_path, repair=True)
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.png"]


def test_a_record_can_be_made_of_pictures_alone(faces):
    (faces / "faces.jsonl").unlink()
    with pytest.raises(FaceSetError, match="--repair"):
        check_set(faces)
    assert review_faces(faces, repair=True).faces == 6
    assert list_frames(faces) == [0, 1, 2, 3, 4, 5]


def test_sheets_show_every_person(faces, tmp_path):
    result = review_faces(faces)
    assert len(result.sheets) == 3
    for sheet in result.sheets:
        assert read_picture(Path(sheet)).std() > 5
    tiles = [Tile(faces / "000_000000_0.png", "a")] * 7
    sheet = draw_sheet([Row("seven", tiles)], columns=5)
    assert sheet.shape[1] == 5 * TILE and sheet.shape[0] > 2 * TILE
    np.testing.assert_array_equal(spread(100, 3), [0, 50, 99])
    assert spread(2, 10) == [0, 1]
    # A picture that is gone is a red tile, not the end.
    gone = draw_sheet([Row("gone", [Tile(tmp_path / "no.png")])])
    assert gone[30:, :TILE, 0].mean() > gone[30:, :TILE, 1].mean()


def test_only_pictures_that_the_record_knows_are_deleted(faces, portrait):
    review_faces(faces, repair=True, sheets=False)  # notes the pictures' checksums
    write_picture(faces / "000_000004_0.png", portrait)
    assert review_faces(faces, drop="frame>3", delete=True, sheets=False).deleted == 1
    assert (faces / "000_000004_0.png").exists()
    assert not (faces / "000_000005_0.png").exists()


def test_every_repair_keeps_the_record_that_it_found(faces):
    record = faces / "faces.jsonl"
    first = record.read_bytes()
    review_faces(faces, repair=True, sheets=False)
    second = record.read_bytes()
    review_faces(faces, repair=True, sheets=False)
    assert (faces / "faces.jsonl.before").read_bytes() == first
    assert (faces / "faces.jsonl.before.2").read_bytes() == second


def test_a_set_is_reviewed_by_one_process_at_a_time(tmp_path):
    for number in (1, 2):
        write_face_set(tmp_path / f"person_{number}", 3)
    with lock_output(tmp_path / "person_2"):
        with pytest.raises(OutputBusyError):
            review_faces(tmp_path, drop="frame==1")
        review_faces(tmp_path, sheets=False)  # who only reads waits for nobody
    assert review_faces(tmp_path, drop="frame==1", sheets=False).changed == 2


def test_from_1000_sources_on_files_are_ordered_as_people_count(faces):
    header, records = read_record(faces)
    names = ["1000_000001_0000.png", "999_000002_0000.png", "0999_000001_0000.png"]
    changed = list(records)
    for index, name in enumerate(names):
        (faces / records[index].file).rename(faces / name)
        changed[index] = replace(records[index], file=name)
    write_record(faces, header, changed)
    review_faces(faces, drop="frame<9", sheets=False)
    review_faces(faces, restore=True, sheets=False)
    files = [record.file for record in read_record(faces)[1]]
    assert files[-3:] == [names[2], names[1], names[0]]
    review_faces(faces, repair=True, sheets=False)
    assert [record.file for record in read_record(faces)[1]] == files
