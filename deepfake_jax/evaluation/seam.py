"""How visible the border of a pasted face is: the color step that the paste added.

Pictures are uint8 RGB of one shape, a face's box of the frame before and after; masks
float32 in [0, 1] in the same box. Steps are in Delta E of CIE 1976: they are averaged
along the border as vectors in Lab, and CIEDE2000 is the length of none. About 2.3 is
just noticeable (Mahy et al. 1994, "Evaluation of uniform color spaces developed after
the adoption of CIELAB and CIELUV").
"""

import cv2
import numpy as np
from jaxtyping import Float32, Float64

from deepfake_jax.types import Frame, Mask

# Half the width of what counts as a step, as a share of the mask's size. A talking head
# takes some 5 degrees of the eye's field; sensitivity peaks near 4 cycles a degree, so
# a change within half a period, 2.5 % of the face, is an edge and a slower one shading.
STEP_SHARE = 0.0125
# Pixels; a hard border that was resampled is up to two wide, and must be crossed whole.
_MIN_STEP = 1.5
_REACH = 16  # samples on either side of the contour, a half step apart: 0.2 of the size
_SMOOTH = 3.0  # samples along the contour, deviation: an edge is long, texture is not
_STEEP = 0.5  # share of the mask's steepest change at which it still is its border


def seam_error(source: Frame, result: Frame, mask: Mask) -> float:
    """The color step across a mask's border that is not in the source, in Delta E.

    Along the normals of the contour where the mask is a half, the pictures are sampled
    every `STEP_SHARE` of the mask's size (the root of its area). A step is the
    difference in Lab of the samples on either side of a third, as a vector, smoothed
    along the contour, because texture is no seam. It counts as far as the result shows
    it and the source has it not: the shorter of the result's step and of its difference
    from the source's, so that an edge which the paste covers up is none. The largest of
    a normal counts, where the mask is about as steep as it gets on it: a hard border
    shows all of its step, one that fades over a tenth of the size a quarter.

    Args:
        source: the face's box of the frame as it was.
        result: the same box with the face pasted.
        mask: its opacity there; borders that lie on the box's edge do not count.

    Returns:
        Root mean square over the contour, Delta E (CIE 1976), 0 or more; lower is
        better. 0 for an untouched picture and for a mask without a border.

    Raises:
        ValueError: the shapes differ.
    """
    check_same_size(source, result, mask)
    inside = (mask > 0.5).astype(np.uint8)
    size = float(np.sqrt(np.count_nonzero(inside)))
    step = max(STEP_SHARE * size, _MIN_STEP)
    contours, _ = cv2.findContours(inside, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    squares = []
    for contour in contours:
        rays = _cast_rays(contour[:, 0].astype(np.float64), step)
        if rays is not None:
            squares.append(_square_steps(source, result, mask, rays))
    found = np.concatenate(squares) if squares else np.zeros(0)
    return float(np.sqrt(found.mean())) if len(found) else 0.0


def check_same_size(source: Frame, result: Frame, mask: Mask) -> None:
    """Checks that a box before and after a paste and its mask are of one size.

    Raises:
        ValueError: they are not.
    """
    if source.shape != result.shape or source.shape[:2] != mask.shape:
        raise ValueError(
            "source, result and mask must have one height and width, got "
            f"{source.shape}, {result.shape} and {mask.shape}"
        )


def _cast_rays(
    contour: Float64[np.ndarray, "n 2"], step: float
) -> Float32[np.ndarray, "m samples 2"] | None:
    """Points on the normals of a closed contour; None of one that is too short."""
    closed = np.concatenate([contour, contour[:1]])
    lengths = np.linalg.norm(np.diff(closed, axis=0), axis=1)
    along = np.concatenate([[0.0], np.cumsum(lengths)])
    count = int(along[-1] / step)
    if count < 8:
        return None
    at = np.arange(count) * along[-1] / count
    points = np.stack([np.interp(at, along, closed[:, i]) for i in range(2)], axis=1)
    # The contour of pixels is a staircase; its normals must not be.
    points = _smooth_around(points, 1.5)
    tangents = np.roll(points, -1, axis=0) - np.roll(points, 1, axis=0)
    tangents /= np.maximum(np.linalg.norm(tangents, axis=1, keepdims=True), 1e-9)
    normals = np.stack([-tangents[:, 1], tangents[:, 0]], axis=1)
    offsets = np.arange(-_REACH, _REACH + 1) * step
    rays = points[:, None] + normals[:, None] * offsets[None, :, None]
    return rays.astype(np.float32)


def _square_steps(
    source: Frame,
    result: Frame,
    mask: Mask,
    rays: Float32[np.ndarray, "m samples 2"],
) -> Float64[np.ndarray, "k"]:
    """The square of the largest step on each ray that crosses the mask's border."""
    height, width = mask.shape
    limit = np.array([width - 1, height - 1], np.float32)
    inside = np.all((rays >= 0) & (rays <= limit), axis=2)
    views = [_sample_lab(picture, rays) for picture in (source, result)]
    levels = _sample(mask, rays)
    drop = np.abs(levels[:, 2:] - levels[:, :-2])
    drop[~(inside[:, 2:] & inside[:, :-2])] = 0
    weight = (drop > 0).astype(np.float64)[..., None]
    share = _smooth_around(weight, _SMOOTH)
    before, after = (
        _smooth_around((view[:, 2:] - view[:, :-2]) * weight, _SMOOTH)
        / np.maximum(share, 1e-9)
        for view in views
    )
    # An edge that the source had and the result lacks is nothing that anyone sees.
    added = np.linalg.norm(after - before, axis=2)
    seen = np.minimum(added, np.linalg.norm(after, axis=2))
    steepest = drop.max(axis=1, keepdims=True)
    border = (drop >= _STEEP * steepest) & (steepest > 0.02)
    squares = np.where(border, seen**2, 0).max(axis=1)
    return squares[border.any(axis=1)]


def _sample(
    picture: np.ndarray, rays: Float32[np.ndarray, "m samples 2"]
) -> Float32[np.ndarray, "m samples *channels"]:
    x, y = np.ascontiguousarray(rays[..., 0]), np.ascontiguousarray(rays[..., 1])
    values = picture.astype(np.float32)
    return cv2.remap(values, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _sample_lab(
    picture: Frame, rays: Float32[np.ndarray, "m samples 2"]
) -> Float64[np.ndarray, "m samples 3"]:
    """Lab (D65) at points between the pixels; L in [0, 100]."""
    colors = _sample(picture, rays) * np.float32(1 / 255)
    return cv2.cvtColor(colors, cv2.COLOR_RGB2LAB).astype(np.float64)


def _smooth_around(values: np.ndarray, deviation: float) -> np.ndarray:
    """Gaussian along the first axis, whose ends meet; `deviation` in samples."""
    frequency = np.fft.rfftfreq(len(values))
    gain = np.exp(-2 * (np.pi * frequency * deviation) ** 2)
    gain = gain.reshape((-1,) + (1,) * (values.ndim - 1))
    spectrum = np.fft.rfft(values, axis=0) * gain
    return np.fft.irfft(spectrum, n=len(values), axis=0)
