"""Large arrays of pictures: in memory, or in a file that is mapped where too large.

A mapped array lies in a nameless temporary file in the user's cache folder, which ends
with the process, however that ends. The system keeps in memory what is in use and
writes the rest to disk, so an array may be larger than memory.
"""

import os
import tempfile
from typing import IO, Any

import cv2
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

    A shift of zero gives the faces themselves.
    """
    if not np.any(shift) or not faces.size:
        return faces
    levels = np.arange(256)[:, None] + np.asarray(shift, np.float64)
    table = np.clip(np.rint(levels), 0, 255).astype(np.uint8)
    rows = faces.reshape(-1, faces.shape[-2], 3)
    return cv2.LUT(rows, table[None]).reshape(faces.shape)


class ShiftedFaces:
    """Faces with a colour added where they are read: no second copy of a set.

    To be indexed as the array of them, [n, h, w, 3] uint8.
    """

    def __init__(self, faces: UInt8[Any, "n h w 3"], shift: Float64[Any, "3"]):
        """Of faces and a colour as for `shift_color`."""
        self._faces, self._shift = faces, shift
        self.shape, self.dtype, self.ndim = faces.shape, faces.dtype, faces.ndim
        self.nbytes = faces.nbytes

    def __len__(self) -> int:
        return len(self._faces)

    def __getitem__(self, key: Any) -> UInt8[np.ndarray, "..."]:
        """Some faces, or a part of one that has all colours, as they are shifted."""
        return shift_color(self._faces[key], self._shift)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("shifted faces are made as they are read: always a copy")
        return np.asarray(self[:], dtype)
