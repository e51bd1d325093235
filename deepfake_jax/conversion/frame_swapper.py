"""Faces of frames to the other person's: cut, swap and measure, by one run and config.

What is measured here of each face, `steady_looks` evens out over time and `compose`
uses.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import cv2
import numpy as np
from jaxtyping import Float32, Float64, UInt8

from deepfake_jax.conversion.face_mask import draw_mask, mask_options, split_answer
from deepfake_jax.conversion.foreground import free_mask
from deepfake_jax.conversion.placement import PlacedFace
from deepfake_jax.convert_config import COMPLETE, ConvertConfig
from deepfake_jax.face_sets.face_arrays import shift_color
from deepfake_jax.faces.identity import Embedding
from deepfake_jax.imaging.affine import apply_affine, compose_affine
from deepfake_jax.imaging.align import crop_faces
from deepfake_jax.imaging.color import is_grey, measure_pair
from deepfake_jax.imaging.face_template import crop_matrix
from deepfake_jax.imaging.fringe_mask import leave_fringes
from deepfake_jax.imaging.glasses import Glasses
from deepfake_jax.imaging.mask import resize_mask
from deepfake_jax.imaging.region import Region, warp_region
from deepfake_jax.imaging.sharpen import missing_sharpness
from deepfake_jax.imaging.skin_texture import KnownFace, know_face
from deepfake_jax.media.frame_parts import face_region
from deepfake_jax.media.pixel_formats import read_tags
from deepfake_jax.media.timed_frames import TimedFrame
from deepfake_jax.media.tone_mapping import tone_map
from deepfake_jax.types import (
    Affine,
    Crops,
    DrawnCrops,
    DrawnFace,
    DrawnMask,
    Face,
    Landmarks,
    Mask,
)

CHUNK = 8  # frames swapped at once: a whole batch, and few enough to hold in memory
MASK_SIZE = 128  # pixels; twice the network's, for borders finer than its pixels
CLASSIC_SIZE = 160  # pixels; the classic's border is 15 of these, whatever the face
_CELLS = 8  # a side of `shading`: what is evened out is no features
_log = logging.getLogger("deepfake_jax")

_Pair = tuple[
    UInt8[np.ndarray, "side side 3"],
    Float32[np.ndarray, "side side 3"] | UInt8[np.ndarray, "side side 3"],
]
# A frame and the faces to swap in it.
Found = tuple[TimedFrame, list[PlacedFace]]


@dataclass(frozen=True, eq=False)
class SwappedFace:
    """A face of a frame and what shall take its place.

    Attributes:
        placed: where it lies.
        region: the frame around it, in the frame's own transfer curve.
        frame_to_crop: from the frame to the pixels of `old` and `new`.
        old: the crop that the network saw, before any shift of color.
        new: the network's answer; it is rounded when its color is matched.
        mask: what of `new` is shown, before its border is feathered.
        cover: what of it is shown at least; None where nothing is to be.
        old_color: `measure_color` of `old` under the mask.
        new_color: likewise of `new`.
        light: mean of `old` less mean of `new`, grey levels.
        sharpen: the amount by which `new` is sharpened: what makes it as sharp as `old`
            under the mask, but not more than was asked for.
        known: the frame's face as the run knows it, for the texture of its skin; None
            leaves the new face without it.
    """

    placed: PlacedFace
    region: Region
    frame_to_crop: Affine
    old: Face
    new: DrawnFace
    mask: Mask
    cover: Mask | None
    old_color: Float64[np.ndarray, "n"]
    new_color: Float64[np.ndarray, "n"]
    light: Float64[np.ndarray, "3"]
    sharpen: float = 0.0
    known: KnownFace | None = None

    @cached_property
    def shading(self) -> Float32[np.ndarray, "cells cells 3"]:
        """New less old face, each cell's mean, grey levels."""
        size = (_CELLS, _CELLS)
        new, old = (
            cv2.resize(face, size, interpolation=cv2.INTER_AREA).astype(np.float32)
            for face in (self.new, self.old)
        )
        return new - old


@dataclass(frozen=True, eq=False)
class SwappedFrame:
    """A frame and its swapped faces, the largest last."""

    timed: TimedFrame
    faces: tuple[SwappedFace, ...]


class _Cut(NamedTuple):
    """A face cut out of its frame.

    Attributes:
        placed: where it lies.
        region: the frame around it.
        raw: its crop in the frame's own transfer curve.
        seen: the same as the network wants it, which differs for HDR.
    """

    placed: PlacedFace
    region: Region
    raw: Face
    seen: Face


class _Look(NamedTuple):
    """At which sizes faces are pasted and colors measured.

    Attributes:
        mask_size: side of the mask, pixels.
        view: old crop, new crop and the cut to the faces that are pasted and measured.
        weigh: the mask as weights of their pixels; None for all alike.
    """

    mask_size: int
    view: Callable[[Face, DrawnFace, _Cut], _Pair]
    weigh: Callable[[Mask, int], Mask | None]


class FrameSwapper:
    """Swaps the faces of frames.

    Args:
        network: from crops, uint8, to the other person's, levels of one size, which
            are better not rounded; with the network's mask as a fourth channel, if it
            draws one.
        crop_size: that size, pixels.
        config: how faces are masked and matched.
        shift: grey levels to add to a crop for the network, RGB.
        identity: whose faces it swaps; None where nobody knows.
        other: likewise whose faces it draws.
        double: from crops to the other person's, and beside these to the same
            person's as the run draws them; what stands before a face is missing there.
            None where there is no such network.
        glasses: those that stay before the new face, or None.
    """

    def __init__(
        self,
        network: Callable[[Crops], DrawnCrops],
        crop_size: int,
        config: ConvertConfig,
        *,
        shift: Float64[np.ndarray, "3"] | None = None,
        identity: Embedding | None = None,
        other: Embedding | None = None,
        double: Callable[[Crops], Float32[np.ndarray, "2 n s s c"]] | None = None,
        glasses: Glasses | None = None,
    ):
        self.config, self.crop_size = config, crop_size
        self.identity, self.other, self.glasses = identity, other, glasses
        self._network, self._shift, self._double = network, shift, double
        self._masks = mask_options(config)
        self._look = _CLASSIC if config.mask == COMPLETE else _CURRENT
        self._told: set[str] = set()

    def with_config(self, config: ConvertConfig) -> "FrameSwapper":
        """The same network with other post-processing; `to` must be the same."""
        return FrameSwapper(
            self._network,
            self.crop_size,
            config,
            shift=self._shift,
            identity=self.identity,
            other=self.other,
            double=self._double,
            glasses=self.glasses,
        )

    def with_network(
        self, wrap: Callable[[Callable[[Crops], Any]], Callable[[Crops], Any]]
    ) -> "FrameSwapper":
        """The same with another network, made of this one's."""
        other = self.with_config(self.config)
        other._network = wrap(self._network)
        other._double = None if self._double is None else wrap(self._double)
        return other

    def warm_up(self) -> None:
        """Compiles the network for a chunk of frames with a face each."""
        size = self.crop_size
        self._redraw(np.zeros((CHUNK, size, size, 3), np.uint8))

    def swap(self, found: list[Found]) -> list[SwappedFrame]:
        """Swaps the faces of a few frames as one batch."""
        cuts = [self._cut(timed, placed) for timed, faces in found for placed in faces]
        swapped = iter(self._swap_cuts(cuts) if cuts else ())
        return [
            SwappedFrame(timed, tuple(next(swapped) for _ in faces))
            for timed, faces in found
        ]

    def _cut(self, timed: TimedFrame, placed: PlacedFace) -> _Cut:
        """Cuts out the crop that the network sees of a face.

        A network of up to `CLASSIC_SIZE` pixels sees what it learned from: the middle
        of a face picture of `FACE_SIZE`. Its margin, which nobody looks at, is left
        out: with it, pixels to convert and to sample would be 2.5 times as many.
        """
        size = max(self.crop_size, CLASSIC_SIZE)
        matrix = compose_affine(crop_matrix(size), placed.frame_to_face)
        region = face_region(timed, matrix, size, tone=False)
        raw = warp_region(region, matrix, size)
        tags = None if timed.native is None else read_tags(timed.native)
        return _Cut(placed, region, raw, raw if tags is None else tone_map(raw, tags))

    def _swap_cuts(self, cuts: list[_Cut]) -> list[SwappedFace]:
        crops = self._shrink(np.stack([cut.seen for cut in cuts]))
        shifted = crops if self._shift is None else shift_color(crops, self._shift)
        news, redrawn = self._redraw(shifted)
        return [
            self._measure(cut, crop, new, pair)
            for cut, crop, new, pair in zip(cuts, crops, news, redrawn, strict=True)
        ]

    def _redraw(self, crops: Crops) -> tuple[DrawnCrops, list[_Pair | None]]:
        """The other person's faces; and where it is asked for, crops and their own."""
        if self._double is None or not (self.config.guard or self.config.texture):
            return self._network(crops), [None] * len(crops)
        news, owns = self._double(crops)
        return news, list(zip(crops, owns[..., :3], strict=True))

    def _shrink(self, crops: UInt8[Any, "n s s 3"]) -> UInt8[Any, "n t t 3"]:
        if crops.shape[1] == self.crop_size:
            return crops
        return crop_faces(crops, self.crop_size, coverage=1.0)

    def _measure(
        self, cut: _Cut, crop: Face, answer: np.ndarray, redrawn: _Pair | None
    ) -> SwappedFace:
        """What is pasted for a cut, and what is to be known of it.

        Args:
            cut: the face.
            crop: as it lies in the frame.
            answer: the network's.
            redrawn: as the network saw it, and how it draws it without what stands
                before it; None shows the swap there, too.
        """
        old = crop if cut.raw is cut.seen else self._shrink(cut.raw[None])[0]
        new, seen = split_answer(answer, self._masks)
        if is_grey(cut.raw):
            new = cv2.merge([cv2.cvtColor(new, cv2.COLOR_RGB2GRAY)] * 3)
        old, new = self._look.view(old, new, cut)
        mask, cover = self._draw(cut, old, seen, redrawn)
        landmarks = crop_landmarks(cut.placed.landmarks, len(new))
        if landmarks is not None and self.config.guard:
            new, mask, cover = leave_fringes(old, new, landmarks, mask, cover)
        weights = self._look.weigh(mask, len(old))
        colors = measure_pair(old, new, self.config.color, mask=weights)
        return SwappedFace(
            placed=cut.placed,
            region=cut.region,
            frame_to_crop=compose_affine(
                crop_matrix(len(old)), cut.placed.frame_to_face
            ),
            old=old,
            new=new,
            mask=mask,
            cover=cover,
            old_color=colors[0],
            new_color=colors[1],
            light=np.subtract(cv2.mean(old), cv2.mean(new))[:3],
            sharpen=self._find_sharpening(old, new, mask),
            known=self._know(cut, redrawn),
        )

    def _know(self, cut: _Cut, redrawn: _Pair | None) -> KnownFace | None:
        landmarks = crop_landmarks(cut.placed.landmarks, MASK_SIZE)
        hdr = cut.raw is not cut.seen  # other levels than those of the redrawn face
        if not self.config.texture or redrawn is None or landmarks is None or hdr:
            return None
        return know_face(redrawn[1], landmarks, MASK_SIZE)

    def _find_sharpening(self, old: Face, new: DrawnFace, mask: Mask) -> float:
        if not self.config.sharpen:
            return 0.0
        lacking = missing_sharpness(new, old, resize_mask(mask, len(new)))
        return min(lacking, self.config.sharpen)

    def _draw(
        self,
        cut: _Cut,
        old: Face,
        seen: DrawnMask | None,
        redrawn: _Pair | None,
    ) -> tuple[Mask, Mask | None]:
        """A face's mask, and what it has to cover; `seen` is the network's own."""
        size = self._look.mask_size
        landmarks = crop_landmarks(cut.placed.landmarks, size)
        drawn = draw_mask(
            self._masks, face=old, landmarks=landmarks, mask_size=size, seen=seen
        )
        for reason in drawn.fell_back:
            if reason not in self._told:
                self._told.add(reason)
                _log.warning("%s", reason)
        if not self.config.guard:
            return drawn.mask, drawn.cover
        free = free_mask(cut.placed, cut.raw, drawn.mask, redrawn, self.glasses)
        cover = None if drawn.cover is None else drawn.cover * free
        return drawn.mask * free, cover


def crop_landmarks(landmarks: Landmarks | None, crop_size: int) -> Landmarks | None:
    """Landmarks of a face picture in the pixels of its central crop."""
    if landmarks is None:
        return None
    return apply_affine(crop_matrix(crop_size), landmarks)


def _view_crop(old: Face, new: DrawnFace, cut: _Cut) -> _Pair:
    return old, new


def _view_classic(old: Face, new: DrawnFace, cut: _Cut) -> _Pair:
    size = (CLASSIC_SIZE, CLASSIC_SIZE)
    return cv2.resize(cut.raw, size), cv2.resize(new, size)


_CURRENT = _Look(MASK_SIZE, _view_crop, resize_mask)
# In 2018 faces were 160 pixels, and the mean of the whole square was matched.
_CLASSIC = _Look(CLASSIC_SIZE, _view_classic, lambda mask, size: None)
