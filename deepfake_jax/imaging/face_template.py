"""The mean face: 68 landmarks in three dimensions, in the place of the template.

It was measured by this project: the mean of MediaPipe's face mesh (its common mapping
to 68 points) over five people in public-domain and freely redistributed footage (the
astronaut and Hopper portraits, the carphone and the Hamilton clip, near-frontal
frames), aligned by `umeyama` in three dimensions, each face taken with its mirror
image, turned to face the viewer, and placed where its eyes, nose tip and mouth corners
fit the five-point template best.

Points follow the numbering of iBUG 300-W (Sagonas et al. 2013): jaw 0 to 16, brows 17
to 26, nose 27 to 35, eyes 36 to 47, lips 48 to 67.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float64

from deepfake_jax.imaging.affine import similarity
from deepfake_jax.types import Affine

FACE_SIZE = 256  # pixels; the side of a face on disk
COVERAGE = 160 / 256  # share of the side that the network sees: the original's
EYE_DISTANCE = 0.225  # share of the side; 58 of 256 pixels
_EYES_Y = 0.3535  # height of the eyes from the top, as a share of the side
# Image-left eye, image-right eye, nose tip, image-left and image-right mouth corner,
# in pixels of ArcFace's 112 x 112 picture.
ARCFACE_LANDMARKS = np.array(
    [
        [38.2946, 51.6963],
        [73.5318, 51.5014],
        [56.0252, 71.7366],
        [41.5493, 92.3655],
        [70.7299, 92.2041],
    ]
)
# x to the right, y down, as shares of the face picture's side; z away from the viewer,
# from the depth of the eyes.
MEAN_FACE: Float64[np.ndarray, "68 3"] = np.array(
    [
        [0.2420, 0.3533, 0.1731],
        [0.2431, 0.4669, 0.2104],
        [0.2466, 0.5193, 0.2037],
        [0.2714, 0.6299, 0.1546],
        [0.2949, 0.6721, 0.1107],
        [0.3219, 0.7012, 0.0655],
        [0.3860, 0.7451, -0.0002],
        [0.4545, 0.7716, -0.0504],
        [0.5023, 0.7753, -0.0576],
        [0.5502, 0.7711, -0.0504],
        [0.6184, 0.7438, -0.0002],
        [0.6820, 0.6992, 0.0655],
        [0.7086, 0.6698, 0.1107],
        [0.7316, 0.6273, 0.1546],
        [0.7552, 0.5165, 0.2037],
        [0.7582, 0.4640, 0.2104],
        [0.7580, 0.3504, 0.1731],
        [0.2848, 0.3156, 0.0331],
        [0.3079, 0.2891, 0.0065],
        [0.3435, 0.2734, -0.0169],
        [0.3900, 0.2708, -0.0389],
        [0.4436, 0.2744, -0.0504],
        [0.5555, 0.2738, -0.0504],
        [0.6091, 0.2696, -0.0389],
        [0.6556, 0.2716, -0.0169],
        [0.6914, 0.2869, 0.0065],
        [0.7147, 0.3132, 0.0331],
        [0.4999, 0.3399, -0.0576],
        [0.5002, 0.3899, -0.1015],
        [0.5004, 0.4332, -0.1512],
        [0.5006, 0.4630, -0.1650],
        [0.4334, 0.5162, -0.0755],
        [0.4709, 0.5204, -0.1006],
        [0.5009, 0.5197, -0.1069],
        [0.5309, 0.5201, -0.1006],
        [0.5684, 0.5154, -0.0755],
        [0.3284, 0.3724, 0.0210],
        [0.3550, 0.3565, -0.0024],
        [0.3947, 0.3533, -0.0087],
        [0.4337, 0.3733, 0.0003],
        [0.3997, 0.3806, -0.0083],
        [0.3603, 0.3814, -0.0018],
        [0.5665, 0.3726, 0.0003],
        [0.6052, 0.3521, -0.0087],
        [0.6450, 0.3549, -0.0024],
        [0.6718, 0.3705, 0.0210],
        [0.6400, 0.3799, -0.0018],
        [0.6006, 0.3795, -0.0083],
        [0.3966, 0.6080, -0.0382],
        [0.4386, 0.5761, -0.0953],
        [0.4702, 0.5674, -0.1090],
        [0.5012, 0.5706, -0.1127],
        [0.5322, 0.5671, -0.1090],
        [0.5639, 0.5754, -0.0953],
        [0.6062, 0.6068, -0.0382],
        [0.5596, 0.6407, -0.0864],
        [0.5327, 0.6488, -0.0985],
        [0.5017, 0.6513, -0.1012],
        [0.4706, 0.6491, -0.0985],
        [0.4436, 0.6414, -0.0864],
        [0.4110, 0.6060, -0.0449],
        [0.4770, 0.5954, -0.0918],
        [0.5013, 0.5958, -0.0951],
        [0.5257, 0.5951, -0.0918],
        [0.5918, 0.6050, -0.0449],
        [0.5269, 0.6163, -0.0874],
        [0.5015, 0.6172, -0.0909],
        [0.4760, 0.6166, -0.0874],
    ]
)
# Where skull and skin hardly move against each other: the nose and the corners of the
# eyes. Lids blink, brows rise, and jaw and lips talk.
STABLE_LANDMARKS = (27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 39, 42, 45)


# Which point each one is in a mirror image, of 5 and of 68.
MIRRORED: Mapping[int, tuple[int, ...]] = {
    5: (1, 0, 2, 4, 3),
    68: (
        *range(16, -1, -1),
        *range(26, 16, -1),
        *(27, 28, 29, 30, 35, 34, 33, 32, 31),
        *(45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40),
        *(54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55),
        *(64, 63, 62, 61, 60, 67, 66, 65),
    ),
}


def _template() -> Float64[np.ndarray, "5 2"]:
    eyes = ARCFACE_LANDMARKS[:2].mean(axis=0)
    eye_distance = np.linalg.norm(ARCFACE_LANDMARKS[1] - ARCFACE_LANDMARKS[0])
    scale = EYE_DISTANCE / eye_distance
    return (ARCFACE_LANDMARKS - eyes) * scale + np.array([0.5, _EYES_Y])


TEMPLATE_LANDMARKS: Float64[np.ndarray, "5 2"] = _template()


def five_landmarks(
    landmarks: Float64[np.ndarray, "n 2"],
) -> Float64[np.ndarray, "5 2"]:
    """Eyes' centres, nose tip and mouth corners of 68 landmarks, image-left first.

    Five are these already.
    """
    if len(landmarks) == 5:
        return landmarks
    return np.stack(
        [
            landmarks[36:42].mean(axis=0),
            landmarks[42:48].mean(axis=0),
            landmarks[30],
            landmarks[48],
            landmarks[54],
        ]
    )


def template_landmarks(
    face_size: int = FACE_SIZE, *, count: int = 5
) -> Float64[np.ndarray, "count 2"]:
    """The template, 5 or 68 landmarks, in the pixels of a face picture of that side."""
    landmarks = TEMPLATE_LANDMARKS if count == 5 else MEAN_FACE[:, :2]
    return landmarks * face_size - 0.5


def crop_matrix(
    crop_size: int, *, face_size: int = FACE_SIZE, coverage: float = COVERAGE
) -> Affine:
    """From a face's pixels to those of its central crop of `crop_size` pixels.

    The crop's pixels tile the central `coverage` of the face exactly: pixel centres at
    integers, so edges at halves.
    """
    if not 0 < coverage <= 1:
        raise ValueError(f"coverage must be in (0, 1], got {coverage}")
    scale = crop_size / (coverage * face_size)
    margin = (1 - coverage) / 2 * face_size
    shift = (0.5 - margin) * scale - 0.5
    return similarity(scale, to=(shift, shift))
