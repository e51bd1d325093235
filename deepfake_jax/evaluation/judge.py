"""Faces of a person to judge a run by, and the networks that judge them.

Faces are aligned pictures, uint8 RGB, in the colors that the run's network sees.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64, UInt8

from deepfake_jax.evaluation.expression import find_gaze, find_shape
from deepfake_jax.evaluation.likeness import Embeddings, embed_face
from deepfake_jax.face_sets.face_arrays import shift_color
from deepfake_jax.face_sets.face_set import FaceSet
from deepfake_jax.face_sets.face_shapes import face_points
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
from deepfake_jax.types import spread

_BORDER = 0.06  # of the crop: no hard edge that an embedding could take for a feature

Faces = UInt8[np.ndarray, "count face_size face_size 3"]
Crops = UInt8[np.ndarray, "count crop_size crop_size 3"]


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


@dataclass(frozen=True, eq=False)
class RealFaces:
    """Real faces of one person, and what a judge sees in them.

    Attributes:
        sample: the faces.
        crops: what the network is given of them.
        embeddings: of the faces, reduced to the network's resolution.
        centroid: of the person.
        points: landmarks, looked for as in swapped faces.
        gazes: likewise.
    """

    sample: Sample
    crops: Crops
    embeddings: Embeddings
    centroid: Embedding
    points: Float64[np.ndarray, "n 68 2"]
    gazes: Float64[np.ndarray, "n 2"]


class Judge:
    """Loads the networks that judge; a judge may be used for any number of runs."""

    def __init__(self) -> None:
        """Raises AssetError or ImportError where a network cannot be had."""
        self._embed: CropEmbedder = make_crop_embedder()
        self._landmarker: Landmarker = make_landmarker("mesh")

    def embed(self, sample: Sample, faces: Faces) -> Embeddings:
        """Embeddings of faces that lie as a sample's do."""
        pairs = zip(faces, sample.landmarks, strict=True)
        return np.stack([embed_face(self._embed, face, at) for face, at in pairs])

    def watch(
        self, sample: Sample, faces: Faces
    ) -> tuple[Float64[np.ndarray, "n 68 2"], Float64[np.ndarray, "n 2"]]:
        """Landmarks and gazes of faces that lie as a sample's do."""
        found, gazes = [], []
        for face, near in zip(faces, sample.landmarks, strict=True):
            points = find_shape(self._landmarker, face, near).landmarks
            found.append(points)
            gazes.append(find_gaze(face, points))
        return np.stack(found), np.stack(gazes)

    def look_at_real(
        self, sample: Sample, face_size: int, *, known: Sample | None = None
    ) -> RealFaces:
        """What swaps of any state of a run are compared with.

        Args:
            sample: of one person.
            face_size: side of the network's faces, pixels.
            known: faces of the person for the centroid; those of the sample if None,
                to which they then seem nearer than others would.
        """
        crops = crop_faces(sample.faces, face_size)
        shown = put_back(sample.faces, crops)
        embeddings = self.embed(sample, shown)
        others = embeddings
        if known is not None:
            cut = crop_faces(known.faces, face_size)
            others = self.embed(known, put_back(known.faces, cut))
        points, gazes = self.watch(sample, shown)
        centroid = mean_embedding(others)
        return RealFaces(sample, crops, embeddings, centroid, points, gazes)


def pick_sample(
    faces: FaceSet,
    among: Int64[np.ndarray, "n"],
    most_faces: int,
    *,
    shift: Float64[np.ndarray, "3"],
) -> Sample:
    """Some of a set's faces, evenly over its record, with a color added to them."""
    chosen = among[spread(len(among), most_faces)]
    points = tuple(face_points(faces.records[i]) for i in chosen)
    return Sample(shift_color(np.asarray(faces.faces[chosen]), shift), points)


def put_back(faces: Faces, crops: Crops) -> Faces:
    """Lays redrawn crops over the face pictures that they were cut from."""
    mask = feather_mask(rectangle_mask(128, inset=0.0), _BORDER)
    matrix = crop_matrix(crops.shape[1], face_size=faces.shape[1])
    pairs = zip(faces, crops, strict=True)
    return np.stack([paste_face(face, crop, mask, matrix) for face, crop in pairs])
