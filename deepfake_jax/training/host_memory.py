"""Has freed memory stay with a process that trains on a CPU.

XLA takes its buffers from the C library at each step and gives them back after it.
glibc then returns large ones to the system, which zeroes every page of the next step's:
15 to 25 % of the step of `lite` and `lite128`. Kept, they are used again as they are.
"""

import ctypes
import importlib.util
import platform

# M_TRIM_THRESHOLD: nothing is trimmed; M_MMAP_MAX: no mappings of their own;
# M_ARENA_MAX: one heap for all threads, as one beside the main one is limited to 64 MB.
_SETTINGS = ((-1, -1), (-4, 0), (-8, 1))


def keep_freed_memory() -> bool:
    """Keeps it from now on, and says whether it does; before JAX makes its threads.

    Nothing changes where JAX has plug-ins for other devices, which bring their own
    memory, and where the C library is another.
    """
    if importlib.util.find_spec("jax_plugins") or importlib.util.find_spec("libtpu"):
        return False
    if platform.libc_ver()[0] != "glibc":
        return False
    library = ctypes.CDLL(None)
    return all([library.mallopt(*setting) for setting in _SETTINGS])
