"""Who a face is: SFace embeddings, their clusters and their mean.

Embeddings are float32 unit vectors of 128 numbers; two faces of one person have a
cosine above `SAME_PERSON` most of the time.
"""

from collections.abc import Callable

import cv2
import numpy as np
from jaxtyping import Float32, Int64

from deepfake_jax.detect import Detection
from deepfake_jax.types import Frame
from deepfake_jax.weights import get_weights

# OpenCV zoo's threshold for SFace on LFW (Zhong et al. 2021 is the model's paper).
SAME_PERSON = 0.363

Embedding = Float32[np.ndarray, "128"]
Embedder = Callable[[Frame, Detection], Embedding]


def make_embedder() -> Embedder:
    """Loads SFace and returns a function from a frame and a face of it to a vector.

    Raises:
        AssetError: the weights cannot be had (see `deepfake_jax.weights`).
    """
    network = cv2.FaceRecognizerSF.create(str(get_weights("sface")), "")

    def embed(frame: Frame, detection: Detection) -> Embedding:
        row = np.concatenate(
            [detection.box, detection.landmarks.ravel(), [detection.score]]
        ).astype(np.float32)
        aligned = network.alignCrop(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), row)
        vector = network.feature(aligned)[0].astype(np.float32)
        return vector / max(float(np.linalg.norm(vector)), 1e-12)

    return embed


def mean_embedding(embeddings: Float32[np.ndarray, "n 128"]) -> Embedding:
    """The unit vector of the mean; raises ValueError if there is none to average."""
    if len(embeddings) == 0:
        raise ValueError("no embeddings to average")
    mean = embeddings.mean(axis=0)
    return mean / max(float(np.linalg.norm(mean)), 1e-12)


def cluster_persons(
    embeddings: Float32[np.ndarray, "n 128"], *, threshold: float = SAME_PERSON
) -> Int64[np.ndarray, "n"]:
    """Sorts embeddings into persons without being told how many.

    Each vector joins the nearest cluster whose mean it resembles, in order; then
    clusters whose means resemble each other are merged, and each vector goes to the
    nearest of what is left.

    Args:
        embeddings: unit vectors.
        threshold: least cosine to a mean, in [-1, 1].

    Returns:
        A number for each vector, 0 for the person with the most faces, 1 for the next.
    """
    sums: list[np.ndarray] = []
    for vector in embeddings:
        cosines = [float(vector @ total / np.linalg.norm(total)) for total in sums]
        best = int(np.argmax(cosines)) if cosines else -1
        if best >= 0 and cosines[best] >= threshold:
            sums[best] = sums[best] + vector
        else:
            sums.append(vector.astype(np.float64))
    sums = _merge_clusters(sums, threshold)
    if not sums:
        return np.zeros(0, np.int64)
    means = np.stack([total / np.linalg.norm(total) for total in sums])
    labels = np.argmax(embeddings @ means.T, axis=1)
    order = np.argsort(-np.bincount(labels, minlength=len(sums)), kind="stable")
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return rank[labels]


def _merge_clusters(sums: list[np.ndarray], threshold: float) -> list[np.ndarray]:
    while len(sums) > 1:
        means = np.stack([total / np.linalg.norm(total) for total in sums])
        cosines = means @ means.T
        np.fill_diagonal(cosines, -1)
        first, second = np.unravel_index(np.argmax(cosines), cosines.shape)
        if cosines[first, second] < threshold + 0.1:
            break
        sums[first] = sums[first] + sums[second]
        del sums[second]
    return sums
