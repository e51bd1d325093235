"""Whose face a swap shows, by SFace embeddings.

Embeddings are float32 unit vectors, cosines in [-1, 1]. A *centroid* is the unit vector
of the mean of a person's real faces.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from deepfake_jax.faces.identity import CropEmbedder, Embedding, cut_embedding_crop
from deepfake_jax.imaging.face_template import five_landmarks
from deepfake_jax.imaging.region import Region
from deepfake_jax.types import Face, Landmarks

# Any number of them: people have not as many faces each.
Embeddings = Float32[np.ndarray, "_ 128"]


@dataclass(frozen=True)
class Likeness:
    """How much swapped faces of a source person are the target person.

    Attributes:
        identity_transfer: where the swap's cosine to the target's centroid lies between
            that of real source faces (0) and of real target faces (1); higher is
            better. Not clipped: below 0 is further away than the source.
        cos_to_target: mean cosine of swapped faces to the target's centroid; higher is
            better.
        cos_to_source: likewise to the source's centroid; lower is better, as far as the
            two people differ.
        retrieval: share of swapped faces nearer to the target's centroid than to the
            source's, in [0, 1]; higher is better.
    """

    identity_transfer: float
    cos_to_target: float
    cos_to_source: float
    retrieval: float


def measure_likeness(
    swapped: Embeddings,
    real_source: Embeddings,
    real_target: Embeddings,
    *,
    source: Embedding,
    target: Embedding,
) -> Likeness:
    """Compares swapped faces with both people.

    Args:
        swapped: of source faces redrawn as the target.
        real_source: of real faces of the source, prepared as the swapped ones were.
        real_target: of the target, likewise.
        source: centroid of the source person.
        target: centroid of the target person.

    Raises:
        ValueError: no faces of one kind, or the target's centroid is no nearer to the
            target's faces than to the source's, so that there is nothing to transfer.
    """
    if not (len(swapped) and len(real_source) and len(real_target)):
        raise ValueError("swapped, real_source and real_target need a face or more")
    to_target, to_source = swapped @ target, swapped @ source
    floor = float((real_source @ target).mean())
    ceiling = float((real_target @ target).mean())
    if ceiling - floor < 1e-6:
        raise ValueError(
            f"real faces of the target (cosine {ceiling:.3f}) are no nearer to its "
            f"centroid than those of the source ({floor:.3f}); are both sets of one "
            "person?"
        )
    reached = float(to_target.mean())
    return Likeness(
        identity_transfer=(reached - floor) / (ceiling - floor),
        cos_to_target=reached,
        cos_to_source=float(to_source.mean()),
        retrieval=float((to_target > to_source).mean()),
    )


def embed_face(embed: CropEmbedder, face: Face, landmarks: Landmarks) -> Embedding:
    """The embedding of an aligned face by its landmarks, 68 or 5, in its pixels.

    A swapped face is embedded by its source's landmarks: where its own would be found
    is part of what the swap gets right or wrong.
    """
    five = five_landmarks(landmarks)
    return embed(cut_embedding_crop(Region(face, 0, 0), five))
