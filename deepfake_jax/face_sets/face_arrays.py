"""Large arrays of pictures: in memory, or in a file that is mapped where too large.

A mapped array lies in a nameless temporary file in the user's cache folder, which ends
with the process, however that ends. The system keeps in memory what is in use and
writes the rest to disk, so an array may be larger than memory.
"""

import os
import tempfile
from typing import IO, Any

import numpy as np
from jaxtyping import Float64, UInt8

from deepfake_jax.files import get_cache_dir
from deepfake_jax.train_config import MEMORY_LIMIT_MB

_BLOCK = 1 << 24  # bytes written at once where a file cannot be reserved in one call


def allocate_pictures(
    shape: tuple[int, ...],
    *,
    memory_limit_mb: float = MEMORY_LIMIT_MB,
) -> UInt8[np.ndarray, "..."]:
    """An array to be filled: in memory up to a limit, beyond it in a mapped file.

    The file lies in the user's cache folder.

    Args:
        shape: of the array.
        memory_limit_mb: largest array that stays in memory, MB of 10^6 bytes.

    Raises:
        OSError: the disk has no room for the file; nothing is left of it.
    """
    size = int(np.prod(shape, dtype=np.int64))
    if size <= memory_limit_mb * 1e6:
        return np.empty(shape, np.uint8)
    folder = get_cache_dir() / "faces"
    folder.mkdir(parents=True, exist_ok=True)
    # The mapping outlives the file object, and the file its name.
    with tempfile.TemporaryFile(dir=folder) as file:
        _reserve(file, size)
        # A plain view: indexing a memmap costs microseconds, and a loader often does.
        return np.asarray(np.memmap(file, np.uint8, mode="r+", shape=shape))


def allocate_like(faces: UInt8[Any, "..."]) -> UInt8[np.ndarray, "..."]:
    """An array to be filled, of the same shape, mapped if the other one is."""
    return allocate_pictures(
        faces.shape, memory_limit_mb=0.0 if is_mapped(faces) else float("inf")
    )


def is_mapped(faces: Any) -> bool:
    """Whether an array lies in a mapped file."""
    while faces is not None:
        if isinstance(faces, np.memmap):
            return True
        faces = getattr(faces, "base", None)
    return False


# Without room, writing to a mapping ends the process by a signal; this raises instead.
def _reserve(file: IO[bytes], size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)
        return
    for start in range(0, size, _BLOCK):
        file.write(bytes(min(_BLOCK, size - start)))
    file.flush()


def shift_color(
    faces: UInt8[Any, "... 3"], shift: Float64[Any, "3"]
) -> UInt8[np.ndarray, "... 3"]:
    """Adds a colour to every pixel; clipped to 0 to 255 and rounded.

    Faces in a mapped file give faces in another, and no copy is in memory as a whole.
    A shift of zero gives the faces themselves.
    """
    if not np.any(shift):
        return faces
    levels = np.arange(256)[:, None] + np.asarray(shift, np.float64)
    table = np.clip(np.rint(levels), 0, 255).astype(np.uint8)
    shifted = allocate_like(faces)
    for old, new in zip(faces, shifted, strict=True):
        for c in range(3):
            new[..., c] = table[old[..., c], c]
    return shifted
