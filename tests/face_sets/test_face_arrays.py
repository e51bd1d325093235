"""Face sets larger than the memory they may have."""

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from footage import write_face_set

from deepfake_jax.face_sets.face_arrays import (
    ShiftedFaces,
    allocate_pictures,
    shift_color,
)
from deepfake_jax.face_sets.face_set import load_faces
from deepfake_jax.train_config import AugmentConfig
from deepfake_jax.training.data import make_batch


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DEEPFAKE_JAX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def is_mapped(faces: Any) -> bool:
    """Whether an array lies in a mapped file."""
    while faces is not None:
        if isinstance(faces, np.memmap):
            return True
        faces = getattr(faces, "base", None)
    return False


def test_limit_decides(cache: Path):
    shape = (2, 10, 10, 5)  # 1000 bytes
    assert not is_mapped(allocate_pictures(shape, memory_limit_mb=0.001))
    assert not cache.exists()
    mapped = allocate_pictures(shape, memory_limit_mb=0.000999)
    assert is_mapped(mapped) and is_mapped(mapped[1:, :3])
    assert type(mapped) is np.ndarray and mapped.shape == shape
    assert not is_mapped(mapped.copy())
    # The file has no name, so nothing is left however the process ends.
    assert list((cache / "faces").iterdir()) == []


def test_mapped_set_is_the_same_set_and_trains_the_same(tmp_path: Path):
    write_face_set(tmp_path / "a", 3)
    write_face_set(tmp_path / "b", 2, tint=(120, 160, 210))
    sides = {}
    for limit in (0.0, 10.0):
        a, b = (load_faces(tmp_path / s, memory_limit_mb=limit).faces for s in "ab")
        assert is_mapped(a) == is_mapped(b) == (limit == 0)
        shifted = ShiftedFaces(a, np.array([9.0, -20.0, 3.5]))
        assert np.any(shifted[:] != a)
        sides[limit] = {"a": shifted, "b": b}
    batches = [
        make_batch(pair, seed=0, step=0, batch_size=4, augment=AugmentConfig())
        for pair in sides.values()
    ]
    for part, same in zip(*map(jax.tree.leaves, batches), strict=True):
        np.testing.assert_array_equal(part, same)


def test_shifted_faces_are_those_of_a_shifted_array(faces: np.ndarray):
    shift = np.array([40.0, -90.0, 3.5])
    expected = np.clip(np.rint(faces + shift), 0, 255).astype(np.uint8)
    view = ShiftedFaces(faces, shift)
    assert view.shape == faces.shape and view.nbytes == faces.nbytes
    assert len(view) == len(faces)
    np.testing.assert_array_equal(np.asarray(view), expected)
    np.testing.assert_array_equal(view[1, 3:9, 2:40], expected[1, 3:9, 2:40])
    np.testing.assert_array_equal(view[[1, 0]], expected[[1, 0]])
    np.testing.assert_array_equal(ShiftedFaces(faces, np.zeros(3))[:], faces)


def test_shift_of_zero_copies_nothing(faces: np.ndarray):
    assert shift_color(faces, np.zeros(3)) is faces


def test_no_room_is_an_error_not_a_signal(tmp_path: Path):
    code = (
        "import resource\n"
        "from deepfake_jax.face_sets.face_arrays import allocate_pictures\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({1 << 20}, {1 << 20}))\n"
        "try:\n"
        "    allocate_pictures((1 << 21,), memory_limit_mb=0)\n"
        "except OSError as error:\n"
        "    print(error.errno)\n"
    )
    assert hasattr(resource, "RLIMIT_FSIZE")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == str(errno.EFBIG), done.stderr
    assert os.listdir(tmp_path / "cache" / "faces") == []
