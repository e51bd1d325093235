"""The flicker figure: amplitudes of constructed alternations; what must not count."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from deepfake_jax.evaluation.flicker import Flicker, FlickerMeter
from deepfake_jax.imaging.mask import feather_mask
from deepfake_jax.imaging.mask_shapes import oval_mask

MASK = feather_mask(oval_mask(256), 0.15)
Paste = Callable[[np.ndarray, int], np.ndarray]


def film(faces: list[np.ndarray], paste: Paste, mask: np.ndarray = MASK) -> Flicker:
    meter = FlickerMeter()
    for index, face in enumerate(faces):
        result = mask[..., None] * paste(face, index) + (1 - mask[..., None]) * face
        meter.add(
            0, index, face, np.rint(np.clip(result, 0, 255)).astype(np.uint8), mask
        )
    return meter.measure()


def move(face: np.ndarray, x: float, y: float = 0.0, grow: float = 1.0) -> np.ndarray:
    middle = (len(face) - 1) / 2 * (1 - grow)
    matrix = np.array([[grow, 0, x + middle], [0, grow, y + middle]])
    size = (len(face), len(face))
    return cv2.warpAffine(face, matrix, size, borderMode=cv2.BORDER_REPLICATE)


@pytest.fixture
def walk(rng: np.random.Generator, draw_face: Callable[..., np.ndarray]) -> list:
    """A face of some texture that drifts and turns a little, with a camera's noise."""
    texture = cv2.GaussianBlur(rng.normal(0, 60, (256, 256, 1)), (0, 0), 3)[..., None]
    face = np.clip(draw_face(rng) * 0.8 + 20 + texture, 0, 255).astype(np.uint8)
    frames = []
    for i in range(9):
        moved = move(face, 2 * np.sin(i / 3), 1.5 * np.cos(i / 4))
        noise = rng.normal(0, 3, moved.shape)
        frames.append(np.rint(np.clip(moved + noise, 0, 255)).astype(np.uint8))
    return frames


def test_source_itself_and_constant_offset_are_calm(walk: list):
    assert film(walk, lambda face, _: face).total == 0
    offset = np.array([20.0, -10.0, 5.0])
    # The sum is rounded to grey levels where the mask is soft.
    assert film(walk, lambda face, _: face + offset).total < 0.1
    growing = film(walk, lambda face, i: face + 2.0 * i)
    assert growing.total < 0.1


@pytest.mark.parametrize("amplitude", [1.0, 4.0])
def test_alternating_offset_gives_its_amplitude(walk: list, amplitude: float):
    found = film(walk, lambda f, i: f + amplitude * (-1) ** i, oval_mask(256))
    # The oval's edge is soft at the size of comparison; rounding stays within 0.1.
    assert found.color == pytest.approx(amplitude, abs=0.1)
    assert found.jitter < 0.1 * amplitude
    assert found.total == pytest.approx(amplitude, abs=0.15)


def test_local_flicker_shows(walk: list):
    def flash(face: np.ndarray, i: int) -> np.ndarray:
        lit = face.astype(float)
        lit[:, :128] += 6 * (-1) ** i
        return lit

    # Half of the face alternates by 6: the root of a half of that.
    assert film(walk, flash).color == pytest.approx(6 * np.sqrt(0.5), rel=0.15)


@pytest.mark.parametrize("grow, x", [(1.0, 1.0), (1.0, 4.0), (1.015, 0.0)])
def test_jitter_gives_its_amplitude(walk: list, grow: float, x: float):
    def shake(face: np.ndarray, i: int) -> np.ndarray:
        return move(face, x * (-1) ** i, grow=grow ** ((-1) ** i))

    found = film(walk, shake)
    # Alternating by x pixels of 256; a zoom moves a point by its distance from the
    # middle, whose root mean square under this mask is about 0.26 of the side.
    expected = x / 256 if x else (grow - 1) * 0.26
    # The border that stays where it is makes the motion look a little less.
    assert found.position == pytest.approx(expected, rel=0.15)
    assert found.jitter > 0.5


def test_blurred_paste_does_not_hide_its_jitter(walk: list):
    def blur(face: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(face, (0, 0), 6)

    sharp = film(walk, lambda f, i: move(f, (-1) ** i))
    blurred = film(walk, lambda f, i: move(blur(f), (-1) ** i))
    assert blurred.jitter > 0.8 * sharp.jitter
    # What a plain difference of frames would say:
    plain = [
        np.abs(
            np.diff(
                [move(f, (-1) ** i).astype(float) for i, f in enumerate(fs)], axis=0
            )
        )
        for fs in (walk, [blur(f) for f in walk])
    ]
    assert plain[1].mean() < 0.5 * plain[0].mean()
    # And blur alone is no flicker, although the camera's noise is gone with it.
    assert film(walk, lambda f, _: blur(f)).total < 0.25 * sharp.total


def test_frozen_paste_is_not_calm(walk: list, rng: np.random.Generator):
    still = film(walk, lambda f, _: f)
    steps = rng.normal(0, 2, (9, 2))
    shaken = [move(face, *at) for face, at in zip(walk, steps, strict=True)]
    frozen = film(shaken, lambda _, i: walk[0])
    assert frozen.jitter > still.jitter + 1
    # A face that shakes with its paste is the source's own motion.
    tinted = film(shaken, lambda f, _: 0.9 * f + 20)
    assert tinted.jitter < 0.1 * frozen.jitter


def test_another_face_that_follows_is_calm(
    walk: list, rng: np.random.Generator, draw_face: Callable[..., np.ndarray]
):
    texture = cv2.GaussianBlur(rng.normal(0, 60, (256, 256, 1)), (0, 0), 3)[..., None]
    other = np.clip(draw_face(rng) * 0.8 + 20 + texture, 0, 255).astype(np.uint8)

    def follow(_: np.ndarray, i: int, jitter: float = 0.0) -> np.ndarray:
        x = 2 * np.sin(i / 3) + jitter * (-1) ** i
        return move(other, x, 1.5 * np.cos(i / 4))

    calm = film(walk, follow)
    shaky = film(walk, lambda f, i: follow(f, i, 1.0))
    assert calm.total < 0.35 * shaky.total


def test_gaps_and_tracks_are_apart(walk: list):
    meter = FlickerMeter()
    for index, face in enumerate(walk):
        lit = np.clip(face + 20.0 * (index % 2), 0, 255).astype(np.uint8)
        meter.add(index % 2, index, face, lit, MASK)  # never two in a row
    assert meter.measure().windows == 0 and np.isnan(meter.measure().total)
    meter = FlickerMeter()
    for index, face in enumerate(walk):
        for track in (3, 7):
            offset = 20.0 if track == 7 else 0.0
            lit = np.clip(face + offset, 0, 255).astype(np.uint8)
            meter.add(track, index if index < 3 else index + 5, face, lit, MASK)
    found = meter.measure()
    assert found.windows == 2 * 2  # of three frames and six
    assert found.color < 0.3


def test_talk_hardly_counts(walk: list):
    def nod(rate: float) -> Flicker:
        return film(walk, lambda f, i: move(f, 2 * np.sin(2 * np.pi * rate * i / 25)))

    assert nod(3.0).jitter < 0.1 * nod(11.0).jitter


def test_scale_of_the_pictures_does_not_matter(walk: list):
    def shake(f: np.ndarray, i: int) -> np.ndarray:
        return move(f, len(f) / 256 * (-1) ** i) + 3.0 * (-1) ** i

    small = [cv2.resize(f, (128, 128), interpolation=cv2.INTER_AREA) for f in walk]
    mask = cv2.resize(MASK, (128, 128), interpolation=cv2.INTER_AREA)
    assert film(small, shake, mask).total == pytest.approx(
        film(walk, shake).total, rel=0.1
    )


@pytest.mark.usefixtures("unchecked")
def test_shapes_must_agree(walk: list):
    with pytest.raises(ValueError, match="one height and width"):
        FlickerMeter().add(0, 0, walk[0], walk[0][:128], MASK)
