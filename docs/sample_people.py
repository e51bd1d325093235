"""The people of the samples, as the guide's pictures show them.

The portrait of Eileen Collins (NASA, public domain), the man of the carphone test
sequence and a woman filmed by Wolfgang Langer (Pexels licence). The samples and the
detector's weights are fetched at first use.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

import deepfake_jax as dj
from deepfake_jax.cli.samples import get_sample
from deepfake_jax.face_sets.face_record import FaceRecord
from deepfake_jax.imaging.affine import compose_affine
from deepfake_jax.media.pictures import read_picture
from deepfake_jax.media.video_reader import read_frames
from deepfake_jax.types import Affine, Face, Frame, Landmarks, Mask

CROP = 160  # pixels of a crop in the drawings: as many as it has of a face of 256


@dataclass(frozen=True)
class Seen:
    """A face in its frame.

    Attributes:
        frame: the picture.
        landmarks: 68, in the frame's pixels.
        matrix: from the frame to the aligned face.
    """

    frame: Frame
    landmarks: Landmarks
    matrix: Affine

    @cached_property
    def face(self) -> Face:
        """The aligned face."""
        return dj.warp_face(self.frame, self.matrix)

    @cached_property
    def to_crop(self) -> Affine:
        """From the frame to the crop that a network sees."""
        return compose_affine(dj.crop_matrix(CROP), self.matrix)

    @cached_property
    def crop(self) -> Face:
        """That crop."""
        return dj.crop_faces(self.face[None], CROP)[0]

    @cached_property
    def in_crop(self) -> Landmarks:
        """The landmarks there."""
        return dj.apply_affine(self.to_crop, self.landmarks)


class Samples:
    """The sample people, searched when they are first asked for."""

    def __init__(self, folder: Path):
        self._folder = folder

    def extract(self, name: str, **options: Any) -> list[FaceRecord]:
        """The record of a sample's face set."""
        out = self._folder / f"{name}{len(options)}"
        if not out.exists():
            config = dj.ExtractConfig(person="main", **options)
            dj.extract_faces(get_sample(name), out, config)
        return list(dj.load_faces(out).records)

    @cached_property
    def portrait(self) -> Seen:
        """Eileen Collins."""
        (record,) = self.extract("astronaut")
        return _see(read_picture(get_sample("astronaut")), record)

    @cached_property
    def woman(self) -> Seen:
        """The woman of the clip, in a frame where no hand is before her face."""
        records = self.extract("crying_woman", every=12)
        record = next(r for r in records if r.frame == 264)
        return _see(_read(get_sample("crying_woman"), record.frame), record)

    @cached_property
    def man(self) -> Seen:
        """The man in the car."""
        record = self.extract("carphone")[20]
        return _see(_read(get_sample("carphone"), record.frame), record)

    @cached_property
    def mask(self) -> Mask:
        """The default mask of a conversion, over the woman's crop."""
        config = dj.ConvertConfig()
        options = dj.MaskOptions(
            names=(config.mask,),
            erode=config.erode,
            feather=config.feather,
            cover=config.cover,
        )
        woman = self.woman
        built = dj.build_mask(
            options, face=woman.crop, landmarks=woman.in_crop, mask_size=CROP
        )
        return built.mask

    @cached_property
    def pair(self) -> tuple[Face, Face, Mask]:
        """The woman's crop, the portrait's, and the mask where it replaces hers."""
        return self.woman.crop, self.portrait.crop, self.mask


def _see(frame: Frame, record: FaceRecord) -> Seen:
    landmarks, matrix = np.array(record.landmarks), np.array(record.frame_to_face)
    return Seen(frame, landmarks, matrix)


def _read(path: Path, index: int) -> Frame:
    return next(t.frame for t in read_frames(path) if t.index == index)
