"""Figures of following: 1 for what moves alike, 0 for what is frozen, by part."""

import numpy as np
import pytest

from deepfake_jax.evaluation.following import (
    PARTS,
    is_closed,
    make_motion_reader,
    measure_following,
    read_parts,
)
from deepfake_jax.faces.detection import make_detector
from deepfake_jax.faces.pinned_files import AssetError
from deepfake_jax.imaging.align import frame_to_face_matrix, warp_face
from deepfake_jax.imaging.face_template import template_landmarks
from deepfake_jax.media.video_reader import read_frames


def act(rng: np.random.Generator, n: int = 40) -> dict[str, np.ndarray]:
    """A source that moves every part, three times as much as would count."""
    moves = {part: rng.normal(0, 3 * least, n) for part, least in PARTS.items()}
    moves["eyelids"] = np.where(np.arange(n) % 8 == 0, 0.05, 0.3) + moves["yaw"] / 1e3
    return moves


def test_source_itself_follows_in_all_parts(rng: np.random.Generator):
    source = act(rng)
    found = measure_following(source, source)
    assert found.following == pytest.approx(1) and found.closed_kept == 1
    assert set(found.parts) == set(PARTS) and found.closed == 5
    for part in found.parts.values():
        assert part.slope == pytest.approx(1)


def test_another_persons_measures_do_not_count(rng: np.random.Generator):
    source = act(rng)
    other = {part: values + 0.7 for part, values in source.items()}
    assert measure_following(other, source).following == pytest.approx(1)


def test_frozen_part_is_named_and_half_a_move_has_half_the_slope(
    rng: np.random.Generator,
):
    source = act(rng)
    swap = source | {
        "mouth_opening": np.zeros(40),
        "yaw": source["yaw"] / 2,
        "eyelids": np.full(40, 0.3),
    }
    found = measure_following(swap, source)
    assert found.parts["mouth_opening"].correlation == 0
    assert found.parts["yaw"].slope == pytest.approx(0.5)
    assert found.closed_kept == 0
    assert found.following == pytest.approx(7 / 9)
    assert found.extent == pytest.approx(6.5 / 9)
    # More than the source does is no better, and trembling alone is no following.
    more = {part: 2 * values for part, values in source.items()}
    assert measure_following(more, source).extent == pytest.approx(1)
    less = {part: 0.02 * values for part, values in source.items()}
    assert measure_following(less, source).extent == pytest.approx(0.02)


def test_closed_eyes_look_nowhere(rng: np.random.Generator):
    source = act(rng)
    shut = is_closed(source["eyelids"])
    swap = source | {"gaze": np.where(shut, -source["gaze"], source["gaze"])}
    assert measure_following(swap, source).parts["gaze"].correlation == pytest.approx(1)
    asleep = source | {"gaze": np.where(shut, source["gaze"], 0.0)}
    assert "gaze" not in measure_following(asleep, asleep).parts


def test_parts_that_the_source_holds_still_are_left_out(rng: np.random.Generator):
    source = act(rng) | {"brows": rng.normal(0, 1e-3, 40), "eyelids": np.full(40, 0.3)}
    found = measure_following(act(rng), source)
    assert "brows" not in found.parts and found.closed_kept is None


def test_narrow_eyes_are_not_closed_ones():
    assert not is_closed(np.full(10, 0.1)).any()
    assert is_closed(np.array([0.1] * 9 + [0.02])).sum() == 1


def test_too_few_faces_are_refused(rng: np.random.Generator):
    with pytest.raises(ValueError, match="4 or more"):
        measure_following(act(rng, 3), act(rng, 3))


def test_numbers_of_a_face_do_not_depend_on_its_size_and_turn(
    rng: np.random.Generator,
):
    mesh = rng.uniform(0, 100, (468, 2))
    mesh[[33, 263, 13, 14, 61, 291]] = [
        [60, 90], [190, 90], [125, 180], [125, 190], [95, 182], [155, 182]
    ]  # fmt: skip
    eyes = rng.uniform(60, 190, (2, 76, 2))
    turn = 1.7 * np.array([[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]])
    one, other = read_parts(mesh, eyes), read_parts(mesh @ turn.T, eyes @ turn.T)
    assert one["mouth_opening"] == pytest.approx(10 / 130)
    for part in set(PARTS) - {"yaw", "pitch", "roll"}:
        assert one[part] == pytest.approx(other[part]), part


def test_networks_see_a_wink_and_an_open_mouth_move(clips):
    # Faces of a real clip: the networks' numbers must move, and alike for a copy.
    try:
        read = make_motion_reader()
    except AssetError as error:
        pytest.skip(str(error).splitlines()[0])
    detect, faces, near = make_detector(), [], []
    for timed in read_frames(clips / "lp_d9.mp4"):
        if timed.index % 60:
            continue
        matrix = frame_to_face_matrix(detect(timed.frame)[0].landmarks)
        faces.append(warp_face(timed.frame, matrix, 256))
        near.append(template_landmarks(256, count=68))
    motion = read(np.stack(faces), near)
    for part in ("mouth_corners", "eyelids", "yaw"):
        assert motion[part].std() > PARTS[part], part
    again = read(np.stack(faces) // 2 + 40, near)
    assert measure_following(again, motion).following > 0.9
