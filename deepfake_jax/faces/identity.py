"""Who a face is: SFace embeddings of views, their means a track, tracks to people.

Embeddings are float32 unit vectors of 128 numbers; two faces of one person have a
cosine above `SAME_PERSON` most of the time.
"""

from collections.abc import Callable, Mapping

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int64

from deepfake_jax.faces.weights import get_weights
from deepfake_jax.imaging.affine import umeyama
from deepfake_jax.imaging.face_template import ARCFACE_LANDMARKS
from deepfake_jax.imaging.region import Detection, Region, warp_region
from deepfake_jax.types import Face, Frame

# OpenCV zoo's threshold for SFace on LFW (Zhong et al. 2021 is the model's paper).
SAME_PERSON = 0.363
EMBEDDING_SIDE = 112  # pixels of the picture that SFace takes

Embedding = Float32[np.ndarray, "128"]
Embedder = Callable[[Frame, Detection], Embedding]
CropEmbedder = Callable[[Face], Embedding]


def cut_embedding_crop(region: Region, five: Float64[np.ndarray, "5 2"]) -> Face:
    """The picture of a face that SFace takes, by five landmarks in the frame."""
    return warp_region(region, umeyama(five, ARCFACE_LANDMARKS), EMBEDDING_SIDE)


def make_crop_embedder() -> CropEmbedder:
    """Loads SFace and returns a function from `cut_embedding_crop` to a vector.

    Raises:
        AssetError: the weights cannot be had (see `weights`).
    """
    network = cv2.FaceRecognizerSF.create(str(get_weights("sface")), "")

    def embed(crop: Face) -> Embedding:
        vector = network.feature(cv2.cvtColor(crop, cv2.COLOR_RGB2BGR))[0]
        return (vector / max(float(np.linalg.norm(vector)), 1e-12)).astype(np.float32)

    return embed


def make_embedder() -> Embedder:
    """As `make_crop_embedder`, from a frame and a face that was detected in it."""
    embed_crop = make_crop_embedder()

    def embed(frame: Frame, detection: Detection) -> Embedding:
        region = Region(frame, 0, 0)
        return embed_crop(cut_embedding_crop(region, detection.landmarks))

    return embed


def mean_embedding(embeddings: Float32[np.ndarray, "n 128"]) -> Embedding:
    """The unit vector of the mean; raises ValueError if there is none to average."""
    if len(embeddings) == 0:
        raise ValueError("no embeddings to average")
    mean = embeddings.mean(axis=0)
    return mean / max(float(np.linalg.norm(mean)), 1e-12)


def cluster_persons(
    embeddings: Float32[np.ndarray, "n 128"],
    *,
    weights: Float[np.ndarray, "n"] | None = None,
    together: Bool[np.ndarray, "n n"] | None = None,
    threshold: float = SAME_PERSON,
) -> Int64[np.ndarray, "n"]:
    """Sorts embeddings into persons without being told how many.

    The two clusters whose weighted means resemble each other most become one, until no
    two resemble each other enough. Two faces that were seen in one frame are never one
    person.

    Args:
        embeddings: unit vectors.
        weights: how much each counts in its cluster's mean; all alike if None.
        together: which of them were seen in one frame.
        threshold: least cosine of two clusters' means, in [-1, 1].

    Returns:
        A number for each vector, 0 for the person with the most vectors, 1 for the
        next.

    Reference:
        Agglomerative clustering with centroid linkage and cannot-link constraints:
        Davidson and Ravi 2005, "Agglomerative hierarchical clustering with
        constraints".
    """
    n = len(embeddings)
    if n == 0:
        return np.zeros(0, np.int64)
    weights = np.ones(n) if weights is None else weights
    sums = embeddings.astype(np.float64) * weights[:, None]
    apart = np.zeros((n, n), bool) if together is None else together.copy()
    labels = _merge_near(sums, apart, threshold)
    numbers, labels = np.unique(labels, return_inverse=True)
    order = np.argsort(-np.bincount(labels, minlength=len(numbers)), kind="stable")
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return rank[labels]


def _merge_near(
    sums: Float64[np.ndarray, "n 128"], apart: Bool[np.ndarray, "n n"], threshold: float
) -> Int64[np.ndarray, "n"]:
    """Joins the nearest two clusters again and again; a label for each vector."""
    n = len(sums)
    labels = np.arange(n)
    means = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
    cosines = (means @ means.T).astype(np.float32)
    np.fill_diagonal(apart, True)
    cosines[apart] = -2
    best = cosines.argmax(axis=1)
    while True:
        heights = cosines[np.arange(n), best]
        first = int(heights.argmax())
        second = int(best[first])
        if heights[first] < threshold:
            return labels
        labels[labels == second] = first
        sums[first] += sums[second]
        mean = sums[first] / max(float(np.linalg.norm(sums[first])), 1e-12)
        means[first], means[second] = mean, 0
        apart[first] |= apart[second]
        apart[:, first] = apart[first]
        apart[second] = apart[:, second] = True
        row = np.where(apart[first], -2, means @ mean).astype(np.float32)
        cosines[first] = cosines[:, first] = row
        cosines[second] = cosines[:, second] = -2
        stale = np.flatnonzero((best == first) | (best == second))
        stale = np.union1d(stale, [first, second])
        best[stale] = cosines[stale].argmax(axis=1)
        better = row > cosines[np.arange(n), best]
        best[better] = first


def match_persons(
    means: Mapping[int, Embedding], references: Float32[np.ndarray, "n 128"]
) -> list[int]:
    """The persons whose mean resembles one of some references, the likest first."""
    if not len(references):
        return []
    cosines = {
        person: float((references @ mean).max()) for person, mean in means.items()
    }
    found = [person for person, cosine in cosines.items() if cosine >= SAME_PERSON]
    return sorted(found, key=lambda person: -cosines[person])
