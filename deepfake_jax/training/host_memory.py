"""Has freed memory stay with a process that trains on a CPU.

XLA takes its buffers from the C library at each step and gives them back after it.
glibc then returns large ones to the system, which zeroes every page of the next step's:
15 to 25 % of the step of `lite` and `lite128`. Kept, they are used again as they are.

A heap that holds all of them has gaps, which large buffers leave: a step of
`original`, 64 + 64, then takes 8.5 GB instead of 4.2 in float32 and is no faster, 4.8
instead of 2.4 in bfloat16 and 1.27 times as fast.
"""

import ctypes
import importlib.util
import platform

import jax

from deepfake_jax.models.autoencoder import make_autoencoder
from deepfake_jax.train_config import ModelConfig

# M_ARENA_MAX: one heap for all threads, as one beside the main one is limited to 64 MB.
_ONE_HEAP = ((-8, 1),)
# M_TRIM_THRESHOLD: nothing is trimmed; M_MMAP_MAX: no mappings of their own.
_KEEP = ((-1, -1), (-4, 0))
_SMALL = 20_000_000  # parameters


def use_one_heap() -> bool:
    """Has all threads share one heap, and says so; before JAX makes its threads.

    Nothing changes where JAX has plug-ins for other devices, which bring their own
    memory, and where the C library is another.
    """
    return _set(_ONE_HEAP)


def keep_freed_memory(model: ModelConfig) -> bool:
    """Keeps what is freed from now on, where a step gains from it; says whether.

    After `use_one_heap`, and where that does nothing it does nothing.

    Args:
        model: what is trained, `auto` settled: a small network, or one in bfloat16.
    """
    shapes = make_autoencoder(model).shapes()
    small = sum(leaf.size for leaf in jax.tree.leaves(shapes)) < _SMALL
    return (small or model.precision == "bfloat16") and _set(_KEEP)


def _set(settings: tuple[tuple[int, int], ...]) -> bool:
    if importlib.util.find_spec("jax_plugins") or importlib.util.find_spec("libtpu"):
        return False
    if platform.libc_ver()[0] != "glibc":
        return False
    library = ctypes.CDLL(None)
    return all([library.mallopt(*setting) for setting in settings])
