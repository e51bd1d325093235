"""Fine detail of real faces, laid over drawn ones: pores, teeth and pupils.

What a network leaves out of a face that it was trained with is known: the difference of
the real face and of its drawing. A swap of the same person in much the same pose leaves
out much the same. So the exemplars whose drawings look most like the swap lend it their
differences, moved to its features by optical flow, wherever drawing and swap agree.

Pictures are uint8 RGB or float32 in [0, 255], square, of the network's size.

Reference:
    Freeman, Jones and Pasztor 2002, "Example-based super-resolution", of taking the
    fine detail from examples whose coarse picture is alike; Kroeger et al. 2016, "Fast
    optical flow using dense inverse search", as OpenCV has it.
"""

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from deepfake_jax.imaging.mask_shapes import oval_mask

_LENDERS = 3  # exemplars for a swap
_SMALL = 16  # pixels a side at which pictures are compared
_WIDTH = 0.25  # of the lenders' kernel, as a share of the least squared distance
_AGREEMENT = 40.0  # grey levels, RMS, by which drawing and swap may differ
_WINDOW = 7  # pixels a side over which they are to agree
_FINE = cv2.INTER_CUBIC  # linear would take away a part of what is lent
_CHOICE = 8  # power of the lenders' shares that decides who lends
_LEAST = 1.0  # squared grey level
_TINY = 1e-30
_LEAST_WEIGHT = 0.05  # of the best lender's, below which one is not worth its flow
_SHRINK = 2  # drawings are soft: their flow is found at half of the size
_FLOW = cv2.DISOPTICAL_FLOW_PRESET_MEDIUM
_REFLECT = cv2.BORDER_REFLECT

Drawn = Float32[np.ndarray, "n h w 3"]
Trust = Float32[np.ndarray, "n h w"]


class Exemplars:
    """Real faces of a person, and what a network draws of them.

    Args:
        real: the faces.
        drawn: the same, redrawn as themselves by the network.
    """

    def __init__(
        self, real: UInt8[np.ndarray, "k h w 3"], drawn: UInt8[np.ndarray, "k h w 3"]
    ):
        self._drawn = drawn.astype(np.float32)
        self._missing = real.astype(np.float32) - self._drawn
        self._greys = [_find_grey(face) for face in drawn]
        size = drawn.shape[1]
        places = np.arange(size, dtype=np.float32)
        self._places = np.stack(np.meshgrid(places, places), axis=-1)
        weights = _reduce(oval_mask(size))
        weights = np.sqrt(weights / weights.sum() / 3)[..., None]
        self._weights = weights.astype(np.float32)
        self._small = self._flatten(self._drawn)

    def lend(self, faces: Drawn) -> tuple[Drawn, Trust]:
        """Adds to drawn faces of the person the detail that exemplars have.

        Args:
            faces: as the network draws them, 0 to 255.

        Returns:
            New pictures, which may leave 0 to 255; and how well the exemplars agree
            with the drawings at each place, in [0, 1]. Where it is low, the network has
            drawn nothing that it has learned from.
        """
        if not len(faces):
            return faces, faces[..., 0]
        apart = self._compare(self._flatten(faces))
        flow = cv2.DISOpticalFlow.create(_FLOW)
        pairs = zip(faces, apart, strict=True)
        lent = [self._lend(face, row, flow) for face, row in pairs]
        return np.stack([each[0] for each in lent]), np.stack(
            [each[1] for each in lent]
        )

    def _lend(
        self,
        face: Float32[np.ndarray, "h w 3"],
        apart: Float32[np.ndarray, "k"],
        flow: cv2.DISOpticalFlow,
    ) -> tuple[Float32[np.ndarray, "h w 3"], Float32[np.ndarray, "h w"]]:
        grey = _find_grey(np.clip(face, 0, 255).astype(np.uint8))
        looks, places = [], []
        least = apart.min() + _LEAST
        for index in np.argsort(apart)[:_LENDERS]:
            weight = np.exp(-(apart[index] + _LEAST - least) / (_WIDTH * least))
            if weight < _LEAST_WEIGHT:
                break
            start = np.zeros((*grey.shape, 2), np.float32)
            motion = flow.calc(grey, self._greys[index], start)
            motion = cv2.resize(motion, face.shape[:2], interpolation=cv2.INTER_LINEAR)
            x, y = cv2.split(self._places + _SHRINK * motion)
            look, missing = (
                cv2.remap(pictures[index], x, y, how, borderMode=_REFLECT)
                for pictures, how in (
                    (self._drawn, cv2.INTER_LINEAR),
                    (self._missing, _FINE),
                )
            )
            apart_here = look - face
            error = np.einsum("hwc,hwc->hw", apart_here, apart_here) / 3
            error = cv2.blur(error, (_WINDOW, _WINDOW))
            looks.append(missing)
            places.append(weight * cv2.exp(error * np.float32(-1 / _AGREEMENT**2)))
        shares = np.stack(places)
        trust = np.minimum(shares.sum(axis=0), 1)
        # Mostly the best at each place: a mean of several has less of the finest.
        chosen = shares**_CHOICE
        chosen *= trust / np.maximum(chosen.sum(axis=0), _TINY)
        return face + np.einsum("khw,khwc->hwc", chosen, np.stack(looks)), trust

    def _flatten(self, faces: Drawn) -> Float32[np.ndarray, "n m"]:
        """Small pictures, weighted so that their squared distance is a mean error."""
        small = np.stack([_reduce(face) for face in faces])
        return (small * self._weights).reshape(len(faces), -1)

    def _compare(self, small: Float32[np.ndarray, "n m"]) -> Float32[np.ndarray, "n k"]:
        """Mean squared differences, weighted by the oval, of faces and drawings."""
        squares = np.square(small).sum(axis=1)[:, None]
        squares = squares + np.square(self._small).sum(axis=1)
        return np.maximum(squares - 2 * small @ self._small.T, 0)


def _reduce(picture: Float32[np.ndarray, "..."]) -> Float32[np.ndarray, "..."]:
    return cv2.resize(picture, (_SMALL, _SMALL), interpolation=cv2.INTER_AREA)


def _find_grey(face: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "_ _"]:
    """A face in grey at the size at which motion is found."""
    grey = cv2.cvtColor(face, cv2.COLOR_RGB2GRAY)
    size = (grey.shape[1] // _SHRINK, grey.shape[0] // _SHRINK)
    return cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
