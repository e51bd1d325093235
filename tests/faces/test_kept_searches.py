"""Searches that are kept: read back exactly, and never when something differs."""

import multiprocessing
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from footage import write_pan

from deepfake_jax.conversion.placement import place_faces
from deepfake_jax.convert_config import ConvertConfig
from deepfake_jax.extract_config import ExtractConfig
from deepfake_jax.face_sets.extraction import extract_faces
from deepfake_jax.faces import kept_searches
from deepfake_jax.faces.kept_searches import Findings, SearchKeeper, SearchNotes
from deepfake_jax.faces.steady_tracks import TrackedFace
from deepfake_jax.imaging.head_pose import Pose
from deepfake_jax.media.sources import list_sources

FACTS = {"source": "abc", "every": 1}
FINDINGS = Findings(2, [], [[0, 12, 3]])


def make_faces(seed: int, count: int, landmarks: int = 68) -> list[TrackedFace]:
    rng = np.random.default_rng(seed)
    return [
        TrackedFace(
            track=5 + number,
            box=rng.normal(size=4),
            width=float(rng.normal()),
            score=float(rng.random()),
            confidence=float(rng.random()),
            landmarks=np.round(1000 * rng.normal(size=(landmarks, 2)), 2),
            frame_to_face=rng.normal(size=(2, 3)),
            pose=Pose(*np.round(30 * rng.normal(size=3), 1).tolist()),
            filled=bool(number % 2),
        )
        for number in range(count)
    ]


def keep(
    keeper: SearchKeeper, facts: dict = FACTS, frames: int = 300, landmarks: int = 68
) -> None:
    notes = SearchNotes(keeper, facts, first_track=5)
    for index in range(frames):
        notes.add(index, index / 25, make_faces(index, index % 3, landmarks))
    notes.finish(FINDINGS)


def assert_same(found: TrackedFace, face: TrackedFace) -> None:
    for name, value in vars(face).items():
        assert np.array_equal(getattr(found, name), value), name


@pytest.mark.parametrize("landmarks", [68, 5])
def test_a_search_comes_back_exactly(tmp_path, landmarks):
    keeper = SearchKeeper(tmp_path / "kept")
    assert keeper.find(FACTS) is None
    keep(keeper, landmarks=landmarks)
    kept = keeper.find(FACTS)
    assert kept is not None and kept.findings == FINDINGS
    frames = list(kept.frames(first_track=7))
    assert [frame.index for frame in frames] == list(range(300))
    for frame in frames:
        assert frame.time == frame.index / 25
        faces = make_faces(frame.index, frame.index % 3, landmarks)
        for found, face in zip(frame.faces, faces, strict=True):
            assert_same(found, replace(face, track=face.track + 2))


def test_other_facts_are_another_search(tmp_path):
    keeper = SearchKeeper(tmp_path)
    keep(keeper)
    for other in ({**FACTS, "every": 2}, {**FACTS, "source": "abd"}):
        assert keeper.find(other) is None
        # Nor is a file believed that lies under another's name.
        shutil.copy(keeper.path_of(FACTS), keeper.path_of(other))
        assert keeper.find(other) is None


def test_another_version_of_the_code_is_told_by_its_files(tmp_path, monkeypatch):
    for room in kept_searches._ROOMS:
        (tmp_path / room).mkdir()
        (tmp_path / room / "a.py").write_text("x = 1")
    monkeypatch.setattr(kept_searches, "package_files", lambda _: tmp_path)
    kept_searches.search_version.cache_clear()
    before = kept_searches.search_version()
    (tmp_path / "imaging" / "a.py").write_text("x = 2")
    kept_searches.search_version.cache_clear()
    assert kept_searches.search_version() != before
    kept_searches.search_version.cache_clear()


def test_what_is_damaged_is_not_there(tmp_path, rng):
    keeper = SearchKeeper(tmp_path)
    keep(keeper, frames=20)
    path = keeper.path_of(FACTS)
    whole = path.read_bytes()
    places = [0, 5, 9, 15, 19, 20, 30, len(whole) - 1]
    for place in [*places, *rng.integers(0, len(whole), 40).tolist()]:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        kept = keeper.find(FACTS)
        assert kept is None, place
    for length in (0, 7, 100, len(whole) - 1):
        path.write_bytes(whole[:length])
        assert keeper.find(FACTS) is None
    path.write_bytes(whole)
    assert keeper.find(FACTS) is not None


def test_a_search_that_is_broken_off_is_not_kept(tmp_path):
    keeper = SearchKeeper(tmp_path)
    notes = SearchNotes(keeper, FACTS)
    for index in range(300):
        notes.add(index, 0.0, [])
    assert list(tmp_path.iterdir())
    notes.close()
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_costs_nothing_but_the_notes(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    keep(SearchKeeper(tmp_path / "file" / "kept"))
    assert len(caplog.records) == 1 and "not kept" in caplog.text


def test_what_was_not_asked_for_longest_goes_first(tmp_path):
    facts = [{**FACTS, "number": number} for number in range(4)]
    keep(SearchKeeper(tmp_path), facts[0], frames=30)
    size = SearchKeeper(tmp_path).path_of(facts[0]).stat().st_size
    keeper = SearchKeeper(tmp_path, most_bytes=3 * size + size // 2)
    for number in range(3):
        keep(keeper, facts[number], frames=30)
        os.utime(keeper.path_of(facts[number]), (1000 + number, 1000 + number))
    assert keeper.find(facts[0]) is not None  # so the second is now the oldest
    keep(keeper, facts[3], frames=30)
    there = [keeper.find(each) is not None for each in facts]
    assert there == [True, False, True, True]


def _keep_often(folder: Path) -> None:
    for _ in range(20):
        keep(SearchKeeper(folder, most_bytes=1 << 20), frames=30)


def test_two_processes_keep_the_same_search(tmp_path):
    context = multiprocessing.get_context("spawn")
    others = [context.Process(target=_keep_often, args=(tmp_path,)) for _ in range(2)]
    for process in others:
        process.start()
    keeper, seen = SearchKeeper(tmp_path), 0
    while any(process.is_alive() for process in others):
        kept = keeper.find(FACTS)
        if kept is not None:  # whole, at any moment
            seen += len(list(kept.frames())) == 30
    for process in others:
        process.join()
        assert process.exitcode == 0
    kept = keeper.find(FACTS)
    assert kept is not None and len(list(kept.frames())) == 30
    assert [path.name for path in tmp_path.iterdir()] == [keeper.path_of(FACTS).name]


@pytest.fixture(scope="module")
def pan(portrait, tmp_path_factory) -> Path:
    return write_pan(tmp_path_factory.mktemp("pan") / "pan.mp4", portrait, frames=40)


@pytest.fixture
def searches(monkeypatch) -> Callable[[], int]:
    """How many frames the detector has looked at."""
    from deepfake_jax.faces.face_finder import FaceFinder

    seen, find = [0], FaceFinder.find

    def counted(self, timed):
        seen[0] += 1
        return find(self, timed)

    monkeypatch.setattr(FaceFinder, "find", counted)
    return lambda: seen[0]


def read_all(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_video_is_searched_once(pan, tmp_path, searches, caplog, detector_weights):
    first = extract_faces(pan, tmp_path / "first")
    assert searches() == 40 and "searched before" not in caplog.text
    again = extract_faces(pan, tmp_path / "again")
    assert searches() == 40 and caplog.text.count("searched before") == 1
    assert read_all(tmp_path / "first") == read_all(tmp_path / "again")
    assert (first.jitter_before, first.jitter_after) == (
        again.jitter_before,
        again.jitter_after,
    )
    assert again.frames == 40 and again.dropped == first.dropped

    # A conversion looks by the same options, as does a preview of a part.
    sources = list_sources([pan])
    kept = place_faces(sources, ConvertConfig(), None)
    part = place_faces(
        sources, ConvertConfig(person="all", start="0.4", end="0.8"), None
    )
    assert searches() == 40
    anew = place_faces(sources, ConvertConfig(search="again"), None)
    assert searches() == 80
    assert (kept._rows == anew._rows).all() and len(kept) == 40
    assert part._rows["frame"].tolist() == list(range(10, 20))

    # Other options and other footage of the same name are searched.
    extract_faces(pan, tmp_path / "sure", ExtractConfig(min_score=0.65))
    assert searches() == 120
    moved = tmp_path / "pan.mp4"
    shutil.copy(pan, moved)
    place_faces(list_sources([moved]), ConvertConfig(), None)
    assert searches() == 120
    before = moved.stat()
    content = bytearray(pan.read_bytes())
    content[content.index(b"mdat") + 200] ^= 1
    moved.write_bytes(content)
    os.utime(moved, ns=(before.st_atime_ns, before.st_mtime_ns))
    place_faces(list_sources([moved]), ConvertConfig(), None)
    assert searches() > 120


def test_several_videos_of_which_one_is_known(pan, portrait, tmp_path, searches):
    other = write_pan(tmp_path / "other.mp4", portrait, frames=20, start=(90, 30))
    extract_faces([other, pan], tmp_path / "anew", ExtractConfig(search="again"))
    shutil.rmtree(os.environ["DEEPFAKE_JAX_SEARCHES"])
    extract_faces(other, tmp_path / "other")
    assert searches() == 80
    extract_faces([other, pan], tmp_path / "both")
    assert searches() == 120
    assert read_all(tmp_path / "anew") == read_all(tmp_path / "both")
