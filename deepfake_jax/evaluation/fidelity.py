"""How well faces are redrawn: reconstruction against the truth, and sharpness.

Faces are uint8 RGB at the network's resolution. Errors count in [0, 1], where 1 is the
whole range of a channel.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float64, UInt8

from deepfake_jax.imaging.mask_shapes import oval_mask
from deepfake_jax.types import Face

Crops = UInt8[np.ndarray, "n side side 3"]
BEST_PSNR = 99.0  # dB; that of equal pictures, because JSON knows no infinity
_WINDOW, _SIGMA = 11, 1.5


@dataclass(frozen=True)
class Reconstruction:
    """How near redrawn faces come to the true ones.

    Attributes:
        mae: mean absolute error, in [0, 1]; lower is better.
        psnr: of the mean squared error over all faces, dB, up to `BEST_PSNR`; higher is
            better.
        ssim: mean structural similarity, in [-1, 1]; higher is better, 1 is equal.
    """

    mae: float
    psnr: float
    ssim: float


def measure_reconstruction(output: Crops, target: Crops) -> Reconstruction:
    """Compares redrawn faces with the true ones; raises ValueError if there are none.

    Raises:
        ValueError: no faces, or the shapes differ.
    """
    if output.shape != target.shape or not len(output):
        raise ValueError(
            "output and target must be one or more faces of one shape, got "
            f"{output.shape} and {target.shape}"
        )
    difference = (output.astype(np.float64) - target) / 255
    mean_square = float(np.square(difference).mean())
    psnr = BEST_PSNR
    if mean_square > 0:
        psnr = min(BEST_PSNR, -10 * float(np.log10(mean_square)))
    similar = [ssim(one, other) for one, other in zip(output, target, strict=True)]
    return Reconstruction(
        float(np.abs(difference).mean()), psnr, float(np.mean(similar))
    )


def ssim(output: Face, target: Face) -> float:
    """Structural similarity of two faces, in [-1, 1], 1 for equal ones.

    A mean over channels and places where the Gaussian window fits wholly; the same as
    1 - 2 `losses.dssim`, without JAX.

    Raises:
        ValueError: the faces are smaller than the window of 11 pixels.

    Reference:
        Wang et al. 2004, "Image quality assessment: from error visibility to
        structural similarity", equation 13, K1 = 0.01, K2 = 0.03.
    """
    if min(output.shape[:2]) < _WINDOW:
        raise ValueError(
            f"faces of {output.shape[0]} px are smaller than the window of {_WINDOW}"
        )
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    x, y = output.astype(np.float64), target.astype(np.float64)
    mean_x, mean_y = _blur(x), _blur(y)
    xx, yy = _blur(x * x) - mean_x**2, _blur(y * y) - mean_y**2
    xy = _blur(x * y) - mean_x * mean_y
    numerator = (2 * mean_x * mean_y + c1) * (2 * xy + c2)
    denominator = (mean_x**2 + mean_y**2 + c1) * (xx + yy + c2)
    return float((numerator / denominator).mean())


def _blur(
    picture: Float64[np.ndarray, "side side 3"],
) -> Float64[np.ndarray, "valid valid 3"]:
    blurred = cv2.GaussianBlur(picture, (_WINDOW, _WINDOW), _SIGMA)
    border = _WINDOW // 2
    return blurred[border:-border, border:-border]


def measure_detail(faces: Crops) -> float:
    """Mean energy of the Laplacian inside the face's oval, squared grey levels.

    Reference:
        Pech-Pacheco et al. 2000, "Diatom autofocusing in brightfield microscopy".
    """
    mask = oval_mask(faces.shape[1])
    energies = []
    for face in faces:
        grey = cv2.cvtColor(face, cv2.COLOR_RGB2GRAY).astype(np.float32)
        detail = cv2.Laplacian(grey, cv2.CV_32F)
        energies.append(float((mask * detail**2).sum() / mask.sum()))
    return float(np.mean(energies)) if energies else 0.0


def sharpness(
    swapped: Crops, real: UInt8[np.ndarray, "m real_side real_side 3"]
) -> float:
    """Fine detail of swapped faces over that of real faces of the same person.

    Both at the network's own resolution: what a small network cannot show at all does
    not count here.

    Returns:
        Ratio of the energies of the Laplacian: 1 is as sharp as the real faces, 0 flat;
        higher is better up to 1, beyond it is noise or ringing.

    Raises:
        ValueError: the sides differ, or the real faces are flat.
    """
    if swapped.shape[1:] != real.shape[1:]:
        raise ValueError(
            "swapped and real faces must have one size, got "
            f"{swapped.shape[1:]} and {real.shape[1:]}"
        )
    reference = measure_detail(real)
    if reference <= 0:
        raise ValueError("the real faces have no detail to compare with")
    return measure_detail(swapped) / reference
