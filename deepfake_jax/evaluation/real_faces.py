"""Real faces of both people, and what a judge sees in them.

Faces are aligned pictures, uint8 RGB, in the colors that the run's network sees, so
A's have B's mean color where the run matches colors. A crop that the network redrew is
put back into its source's face picture before it is embedded or its landmarks are
looked for, with a narrow soft border. Real faces that it is compared with take the same
way, reduced to the network's resolution and put back: so a swap that is as good as B's
own face scores 1 with a network of any size.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from jaxtyping import Float64, Int64, UInt8

from deepfake_jax.evaluation.expression import Shapes, find_shape
from deepfake_jax.evaluation.fidelity import measure_detail
from deepfake_jax.evaluation.following import MotionReader, make_motion_reader
from deepfake_jax.evaluation.likeness import (
    Embeddings,
    Likeness,
    embed_face,
    measure_likeness,
)
from deepfake_jax.face_sets.face_arrays import shift_color
from deepfake_jax.face_sets.face_set import FaceSet
from deepfake_jax.face_sets.face_shapes import align_landmarks
from deepfake_jax.faces.identity import (
    CropEmbedder,
    Embedding,
    make_crop_embedder,
    mean_embedding,
)
from deepfake_jax.faces.landmark_networks import Landmarker, make_landmarker
from deepfake_jax.imaging.align import crop_faces
from deepfake_jax.imaging.blend import paste_face
from deepfake_jax.imaging.face_template import crop_matrix
from deepfake_jax.imaging.mask import feather_mask
from deepfake_jax.imaging.mask_shapes import rectangle_mask
from deepfake_jax.runs.held_out import Split
from deepfake_jax.types import DIRECTIONS, Side, spread

MOST_FACES = 120  # a side; more change the figures by less than their spread
_BORDER = 0.06  # of the crop: no hard edge that an embedding could take for a feature

Faces = UInt8[np.ndarray, "count face_size face_size 3"]
Crops = UInt8[np.ndarray, "count crop_size crop_size 3"]


@dataclass(frozen=True)
class Judge:
    """The networks that judge; for any number of runs.

    Attributes:
        embed: tells identity; None does not measure it.
        landmarker: finds expressions; None measures little, and quickly.
        read_motion: sees what follows, by networks of its own; None does not.
    """

    embed: CropEmbedder | None
    landmarker: Landmarker | None
    read_motion: MotionReader | None = None


def load_judge() -> Judge:
    """A judge of everything; raises AssetError where a network cannot be had."""
    return Judge(make_crop_embedder(), make_landmarker("mesh"), make_motion_reader())


@dataclass(frozen=True, eq=False)
class Sample:
    """Faces of one person to judge by, in the network's colors.

    Attributes:
        faces: aligned pictures.
        landmarks: of each, in its pixels.
        held_out: whether they were held out of the run's training.
    """

    faces: Faces
    landmarks: tuple[Float64[np.ndarray, "_ 2"], ...]
    held_out: bool = False

    @property
    def has_68(self) -> bool:
        """Whether each face has 68 landmarks."""
        return all(len(own) == 68 for own in self.landmarks)


@dataclass(frozen=True, eq=False)
class RealFaces:
    """Real faces of one person, and what a judge sees in them.

    Attributes:
        sample: the faces.
        crops: what the network is given of them.
        detail: the crops', see `fidelity.measure_detail`.
        embeddings: of the faces, reduced to the network's resolution; empty where the
            judge does not embed.
        centroid: of the person; 0 where the judge does not embed.
        landmarks: looked for as in swapped faces; empty of a quick judge.
        motion: see `following`; empty where the judge does not read it.
    """

    sample: Sample
    crops: Crops
    detail: float
    embeddings: Embeddings = field(
        default_factory=partial(np.zeros, (0, 128), np.float32)
    )
    centroid: Embedding = field(default_factory=partial(np.zeros, 128, np.float32))
    landmarks: Shapes = field(default_factory=partial(np.zeros, (0, 68, 2)))
    motion: dict[str, Float64[np.ndarray, "_"]] = field(default_factory=dict)


def prepare(
    judge: Judge, sample: Sample, crop_size: int, *, known: Sample | None = None
) -> RealFaces:
    """What swaps of any state of a run are compared with.

    Args:
        judge: who compares them.
        sample: of one person.
        crop_size: the network's.
        known: other faces of the person, for the centroid. If None, it is the sample's,
            which its faces then seem nearer to.
    """
    crops = crop_faces(sample.faces, crop_size)
    real = RealFaces(sample, crops, measure_detail(crops))
    shown = put_back(sample.faces, crops)
    if judge.embed is not None:
        embeddings = others = embed_faces(judge.embed, shown, sample)
        if known is not None:
            seen = put_back(known.faces, crop_faces(known.faces, crop_size))
            others = embed_faces(judge.embed, seen, known)
        centroid = mean_embedding(others)
        real = replace(real, embeddings=embeddings, centroid=centroid)
    if judge.landmarker is not None:
        landmarks = watch_faces(judge.landmarker, shown, sample)
        real = replace(real, landmarks=landmarks)
    if judge.read_motion is not None:
        real = replace(real, motion=judge.read_motion(shown, sample.landmarks))
    return real


def prepare_sets(
    judge: Judge,
    sets: Mapping[Side, FaceSet],
    splits: Mapping[Side, Split],
    *,
    crop_size: int,
    shift: Float64[np.ndarray, "3"],
    most_faces: int = MOST_FACES,
    trained: bool = False,
) -> dict[Side, RealFaces]:
    """The held-out faces of two sets to judge by, or all faces of a set without any.

    A person's centroid is that of other faces than are judged, where there are some: a
    face is always near to a centroid that it is a part of.

    Args:
        judge: who judges.
        sets: of both sides, in their own colors.
        splits: what is held out of each.
        crop_size: the network's.
        shift: added to A's faces in training.
        most_faces: how many faces of a set are judged, evenly over its record.
        trained: judge those that were trained on instead.

    Raises:
        ValueError: both sides show one person.
    """
    real: dict[Side, RealFaces] = {}
    for side, faces in sets.items():
        pick = partial(
            choose_sample,
            faces,
            most_faces=most_faces,
            shift=shift if side == "a" else np.zeros(3),
        )
        held, rest = pick(splits[side].held), pick(splits[side].train)
        held = replace(held, held_out=True)
        sample, other = (rest, held) if trained else (held, rest)
        if not len(sample.faces):
            sample, other = other, sample
        known = other if len(other.faces) else None
        real[side] = prepare(judge, sample, crop_size, known=known)
    if judge.embed is not None:
        for side, to in DIRECTIONS:
            compare(real[side].embeddings, real[side], real[to])
    return real


def compare(found: Embeddings, source: RealFaces, target: RealFaces) -> Likeness:
    """How much the source's swapped faces are the target.

    Raises:
        ValueError: both are one person.
    """
    return measure_likeness(
        found,
        source.embeddings,
        target.embeddings,
        source=source.centroid,
        target=target.centroid,
    )


def embed_faces(embed: CropEmbedder, faces: Faces, sample: Sample) -> Embeddings:
    """Embeddings of faces that lie as a sample's do."""
    pairs = zip(faces, sample.landmarks, strict=True)
    return np.stack([embed_face(embed, face, at) for face, at in pairs])


def watch_faces(landmarker: Landmarker, faces: Faces, sample: Sample) -> Shapes:
    """Landmarks of faces that lie as a sample's do."""
    pairs = zip(faces, sample.landmarks, strict=True)
    return np.stack([find_shape(landmarker, *pair).landmarks for pair in pairs])


def choose_sample(
    faces: FaceSet,
    among: Int64[np.ndarray, "n"],
    most_faces: int,
    *,
    shift: Float64[np.ndarray, "3"],
) -> Sample:
    """Some of a set's faces, evenly over its record, with a color added to them."""
    chosen = among[spread(len(among), most_faces)]
    landmarks = tuple(align_landmarks(faces.records[i]) for i in chosen)
    return Sample(shift_color(np.asarray(faces.faces[chosen]), shift), landmarks)


def put_back(faces: Faces, crops: Crops) -> Faces:
    """Lays redrawn crops over the face pictures that they were cut from."""
    mask = feather_mask(rectangle_mask(128, inset=0.0), _BORDER)
    matrix = crop_matrix(crops.shape[1], face_size=faces.shape[1])
    pairs = zip(faces, crops, strict=True)
    return np.stack([paste_face(face, crop, mask, matrix) for face, crop in pairs])
