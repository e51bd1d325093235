"""HDR pictures as a standard screen would show them, for finding and training on faces.

Pictures are RGB uint8, height width 3. An HDR frame's numbers are its transfer-coded
signal (PQ or HLG, BT.2020 primaries); shown as they are they look grey and flat.
"""

import functools

import cv2
import numpy as np
from jaxtyping import Float32

from deepfake_jax.media.pixel_formats import ColorTags
from deepfake_jax.types import Frame

# FFmpeg's AVColorTransferCharacteristic.
PQ, HLG = 16, 18
WHITE_NITS = 203.0  # of diffuse white in HDR (ITU-R BT.2408, section 2)
_PEAK = 1000.0 / WHITE_NITS  # what is mapped to full white
# Linear BT.2020 to linear BT.709 (ITU-R BT.2087, section 4).
_TO_709 = np.array(
    [
        [1.6605, -0.5876, -0.0728],
        [-0.1246, 1.1329, -0.0083],
        [-0.0182, -0.1006, 1.1187],
    ],
    np.float32,
)


def is_hdr(tags: ColorTags) -> bool:
    """Whether a frame's numbers are PQ or HLG."""
    return tags.transfer in (PQ, HLG)


def tone_map(frame: Frame, tags: ColorTags) -> Frame:
    """An HDR picture as a standard one; others are returned as they are.

    Diffuse white and all below keep about their brightness, highlights are compressed.

    Reference:
        PQ: SMPTE ST 2084; HLG: ITU-R BT.2100, table 5. The curve is Reinhard et al.
        2002, "Photographic tone reproduction", equation 4, on the largest channel so
        that hues stay.
    """
    if not is_hdr(tags):
        return frame
    light = _decode_table(tags.transfer)[frame]
    if tags.primaries == 9:
        light = cv2.transform(light, _TO_709)
    light = np.maximum(light, 0)
    peak = light.max(axis=2, keepdims=True)
    light *= (1 + peak / _PEAK**2) / (1 + peak)
    # Reinhard's curve darkens diffuse white to a half; what is black stays black.
    light = np.clip(light * 1.6, 0, 1)
    return np.rint(255 * light ** np.float32(1 / 2.2)).astype(np.uint8)


@functools.cache
def _decode_table(transfer: int) -> Float32[np.ndarray, "256"]:
    """Light of each of 256 signal levels; diffuse white is 1."""
    signal = np.arange(256) / 255
    if transfer == PQ:
        root = signal ** (1 / 78.84375)
        ratio = np.maximum(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)
        light = 10000 * ratio ** (1 / 0.1593017578125) / WHITE_NITS
    else:
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        high = (np.exp((signal - c) / a) + b) / 12
        scene = np.where(signal <= 0.5, signal**2 / 3, high)
        light = 1000 * scene**1.2 / WHITE_NITS
    return light.astype(np.float32)
