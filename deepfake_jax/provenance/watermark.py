"""The watermark into frames: so faint that it is not seen, in what encoders get.

It changes the luma of a frame by a level or two. How much each place takes is measured
in the canonical frame (`watermark_pattern`), so that 1080p costs little more than 360p.
Where a picture is flat and dark a level is seen best, so that such places get little.
"""

import cv2
import numpy as np
from av import VideoFrame
from jaxtyping import UInt8

from deepfake_jax.media.yuv_planes import view_plane
from deepfake_jax.provenance.watermark_pattern import draw_canonical
from deepfake_jax.types import Frame

TOOL_ID = 0xDF  # the first 8 of the 32 bits; the others name a file's credential
# RGB levels, root mean square over a frame. With what rounding to levels of luma and
# to those of RGB adds, 255 levels are 48 dB above and more.
STRENGTH = 0.92
# What a place takes where it is flat, for each level that it is busy, and at most;
# then a frame's whole change is brought to `STRENGTH`, but raised no more than so. Had
# busy places six times as much, copies at crf 28 would lose half of what they keep:
# there the picture itself is in the way.
_FLAT, _RISE, _MOST, _RAISED = 0.85, 0.06, 1.0, 1.5
# Luma below which a flat place takes less, down to this share in black.
_DARK, _BLACK = 90.0, 0.25
_STEPS = 8  # a level is 8 of the canonical change, an integer around 128

_UNIT = 128
_LEVELS = np.arange(256)
_FINENESS = 4  # steps of a level in which it is counted how busy a place is
_RISES = np.minimum(_LEVELS / _FINENESS * _RISE, _MOST)
_RISES = np.rint(_UNIT * _RISES).astype(np.uint8)
_FLATS = np.interp(_LEVELS, [16, _DARK], [_BLACK * _FLAT, _FLAT])
_FLATS = np.rint(_UNIT * _FLATS).astype(np.uint8)

_Luma = UInt8[np.ndarray, "height width"]


class Watermarker:
    """Marks the frames of one output; may be used from several threads.

    Args:
        payload: the 32 bits.
        aspect: width of a pixel over its height.
    """

    def __init__(self, payload: int, *, aspect: float = 1.0):
        self.payload, self._aspect = payload, aspect

    def mark(self, frame: Frame | VideoFrame) -> Frame | VideoFrame:
        """Marks a frame.

        Args:
            frame: RGB, or as an encoder gets it. Of the latter the samples are
                changed; it must be nobody else's.

        Returns:
            The marked frame; one in a format without luma as it came.
        """
        if isinstance(frame, VideoFrame):
            if _has_luma(frame):
                self._mark_native(frame)
            return frame
        change = self._draw(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), unit=1.0)
        return _add(frame, cv2.merge([change] * 3))

    def _mark_native(self, frame: VideoFrame) -> None:
        full = frame.color_range == 2 or frame.format.name.startswith("yuvj")
        unit = 1.0 if full else 219 / 255
        plane = view_plane(frame.planes[0], frame.format, 0)[:, :, 0]
        if plane.dtype == np.uint8:
            plane[:] = _add(plane, self._draw(plane, unit=unit))
            return
        levels = 1 << _extra_bits(frame)
        change = self._draw(read_luma(frame), unit=unit).astype(np.float32)
        marked = np.rint(plane + (change - 128) * (levels / _STEPS))
        plane[:] = np.clip(marked, 0, 256 * levels - 1).astype(np.uint16)

    def _draw(self, luma: _Luma, *, unit: float) -> _Luma:
        """What to add to each pixel, in `_STEPS` of a level around 128.

        Args:
            luma: of the frame.
            unit: levels of it that are one of RGB.
        """
        height, width = luma.shape[:2]
        pattern = draw_canonical(self.payload, height, width * self._aspect)
        rows, columns = pattern.shape
        small = luma
        if luma.shape != pattern.shape:
            flag = cv2.INTER_AREA if height > rows else cv2.INTER_LINEAR
            small = cv2.resize(luma, (columns, rows), interpolation=flag)
        change = cv2.multiply(pattern, _allow(small), scale=1 / _UNIT, dtype=cv2.CV_32F)
        power = float(cv2.norm(change)) / np.sqrt(change.size)
        scale = _STEPS * unit * min(_RAISED, STRENGTH / max(power, 1e-6))
        drawn = cv2.addWeighted(change, scale, change, 0.0, 128.0, dtype=cv2.CV_8U)
        if luma.shape == pattern.shape:
            return drawn
        return cv2.resize(drawn, (width, height), interpolation=cv2.INTER_LINEAR)


def _allow(luma: _Luma) -> _Luma:
    """How much each place of a canonical frame takes, in `_UNIT` of an RGB level.

    In bytes: the same in floats takes four times as long, most of it for new memory.
    """
    mean = cv2.blur(luma, (5, 5))
    apart = cv2.convertScaleAbs(cv2.absdiff(luma, mean), alpha=_FINENESS)
    busy = cv2.blur(apart, (13, 13))
    return cv2.add(cv2.LUT(busy, _RISES), cv2.LUT(mean, _FLATS))


def _add(
    samples: UInt8[np.ndarray, "..."], change: UInt8[np.ndarray, "..."]
) -> UInt8[np.ndarray, "..."]:
    return cv2.addWeighted(samples, 1, change, 1 / _STEPS, -128 / _STEPS)


def read_luma(frame: VideoFrame) -> UInt8[np.ndarray, "height width"]:
    """The luma of a frame in 8 bits; of one without any, of its RGB."""
    if not _has_luma(frame):
        return np.ascontiguousarray(frame.to_ndarray(format="gray"))
    plane = view_plane(frame.planes[0], frame.format, 0)[:, :, 0]
    if plane.dtype == np.uint8:
        return np.ascontiguousarray(plane)
    scaled = plane.astype(np.float32) / (1 << _extra_bits(frame))
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)


def _has_luma(frame: VideoFrame) -> bool:
    name = frame.format.name
    return name.startswith(("yuv4", "yuvj", "gray", "nv12", "p010le")) and not (
        name.endswith("be") or name.startswith(("grayf", "yuva"))
    )


def _extra_bits(frame: VideoFrame) -> int:
    if frame.format.name.startswith("p010"):
        return 8
    return max(component.bits for component in frame.format.components) - 8
