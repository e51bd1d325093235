"""The kernels in C++ beside this file: compiled once a machine, and made known to XLA.

Those of bfloat16 multiply in the tiles of processors that have AMX, or in the vectors
of those that have AVX-512 for bfloat16; XLA's own convolutions use neither. Those of
float32 do with a convolution's transforms and sums in the caches what XLA does in
memory. What is missing (such a processor, a compiler, a place to write) is said once in
the log, and all goes the way it goes without them. A compiled library lies in the cache
folder under a hash of all that it was made of.
"""

import ctypes
import hashlib
import logging
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import NamedTuple

import jax
import jax.ffi
import jax.numpy as jnp
from jax.typing import DTypeLike

from deepfake_jax.files import get_cache_dir, write_whole
from deepfake_jax.processor import read_processor
from deepfake_jax.version import find_version

SWITCH = "DEEPFAKE_JAX_KERNELS"  # 0 in the environment switches them off
_COMPILERS = ("c++", "g++", "clang++")
_OPTIONS = ("-std=c++17", "-O3", "-march=native", "-fPIC", "-shared")
_SOURCES = Path(__file__).parent
_PATIENCE = 300  # seconds; it takes about three
_left_out: ContextVar[bool] = ContextVar("_left_out", default=False)
_log = logging.getLogger("deepfake_jax")


class KernelsError(RuntimeError):
    """The kernels cannot be had here; the text says why."""


class Kernels(NamedTuple):
    """XLA's names for the kernels; they hold until the process ends.

    Attributes:
        value: of a convolution.
        pictures: its gradient by the pictures.
        parameters: its gradients by kernel and bias.
        losses: of drawn pictures, and their gradient; of float32 alone, else empty.
    """

    value: str
    pictures: str
    parameters: str
    losses: str = ""


class Recipe(NamedTuple):
    """How the library for one type of numbers is made.

    Attributes:
        source: the file that includes the others.
        needed: what its instructions need, as Linux names it.
        options: of the compiler, beside those of all.
        kernels: which of `Kernels` it has.
    """

    source: str
    needed: frozenset[str]
    options: tuple[str, ...] = ()
    kernels: tuple[str, ...] = ("value", "pictures", "parameters")


_VECTORS = frozenset("avx512f avx512bw avx512vl avx512_bf16".split())
_TILES = frozenset(("amx_tile", "amx_bf16"))
# By type of numbers, the fastest first.
RECIPES = {
    "bfloat16": (
        Recipe("bfloats.cc", _VECTORS | _TILES, ("-mamx-tile", "-mamx-bf16")),
        Recipe("bfloats.cc", _VECTORS, ("-mno-amx-tile", "-mno-amx-bf16")),
    ),
    "float32": (
        Recipe("floats.cc", frozenset(("avx2", "fma")), kernels=Kernels._fields),
    ),
}


def find_kernels(dtype: DTypeLike) -> Kernels | None:
    """The kernels for a type of numbers, compiled where they are not yet.

    None where they cannot be had; the first call says in the log why. None within
    `without_kernels`, too.
    """
    return None if _left_out.get() else _find_kernels(jnp.dtype(dtype).name)


@contextmanager
def without_kernels() -> Iterator[None]:
    """What is traced meanwhile runs anywhere: it names no kernels of this machine."""
    token = _left_out.set(True)
    try:
        yield
    finally:
        _left_out.reset(token)


@cache
def _find_kernels(dtype: str) -> Kernels | None:
    if dtype not in RECIPES:
        return None
    try:
        key, library = load_library(dtype)
    except KernelsError as error:
        _log.info("%s goes without kernels of our own: %s", dtype, error)
        return None
    names = {}
    for kernel in RECIPES[dtype][0].kernels:
        # A compiled program that XLA kept finds the very kernels that it was made with.
        names[kernel] = f"deepfake_jax_{kernel}_{key}"
        handler = jax.ffi.pycapsule(getattr(library, f"deepfake_jax_{kernel}"))
        jax.ffi.register_ffi_target(names[kernel], handler, platform="cpu")
    return Kernels(**names)


def load_library(dtype: str) -> tuple[str, ctypes.CDLL]:
    """The library and the hash of what it was made of; compiles it if it must.

    Args:
        dtype: "bfloat16" or "float32".

    Raises:
        KernelsError: it cannot be had here.
    """
    compiler, processor = find_compiler(dtype), read_processor()
    for recipe in _find_recipes(dtype):
        key = _hash_all(compiler, processor, recipe)
        path = get_cache_dir() / "kernels" / f"{key}.so"
        library = _open_kept(path) or _make_library(compiler, recipe, path)
        if not recipe.needed >= _TILES or _grants_tiles(library):
            return key, library
        _log.info("the system does not grant this process the tiles of AMX")
    raise KernelsError("the system grants nothing that they need")


def _find_recipes(dtype: str) -> list[Recipe]:
    return [recipe for recipe in RECIPES[dtype] if recipe.needed <= read_processor()]


def _grants_tiles(library: ctypes.CDLL) -> bool:
    return library.deepfake_jax_ask_for_tiles() == 0


def find_compiler(dtype: str) -> str:
    """The compiler that makes the kernels for a type of numbers.

    Args:
        dtype: "bfloat16" or "float32".

    Raises:
        KernelsError: there is none, or the processor cannot run them, or they are
            switched off.
    """
    if os.environ.get(SWITCH, "1") == "0":
        raise KernelsError(f"{SWITCH}=0 switches them off")
    if not _find_recipes(dtype):
        missing = RECIPES[dtype][-1].needed - read_processor()
        raise KernelsError(f"this processor has no {', '.join(sorted(missing))}")
    asked = os.environ.get("CXX")
    for name in (asked,) if asked else _COMPILERS:
        if path := shutil.which(name):
            return path
    words = f"$CXX is {asked}, which is not there" if asked else "no C++ compiler"
    raise KernelsError(f"{words}; install one, such as Debian's g++")


def _hash_all(compiler: str, processor: frozenset[str], recipe: Recipe) -> str:
    parts = [
        *(path.read_bytes() for path in sorted(_SOURCES.glob("*.[ch]*"))),
        " ".join((compiler, *_OPTIONS, *recipe.options, *sorted(processor))).encode(),
        recipe.source.encode(),
        _run((compiler, "--version")).encode(),
        str(find_version("jaxlib")).encode(),
    ]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def _open_kept(path: Path) -> ctypes.CDLL | None:
    if not path.is_file():
        return None
    try:
        return ctypes.CDLL(str(path))
    except OSError:  # a damaged file; it is made anew
        return None


def _make_library(compiler: str, recipe: Recipe, path: Path) -> ctypes.CDLL:
    _log.info("compiling kernels for this processor, once (%s)", recipe.source)
    try:
        # Of several processes that do it at once the last wins: all files are alike.
        with write_whole(path, overwrite=True) as partial:
            _compile(compiler, recipe, partial)
        return ctypes.CDLL(str(path))
    except OSError as error:
        _log.warning("cannot keep the compiled kernels: %s", error)
    with tempfile.TemporaryDirectory(prefix="deepfake-jax-") as folder:
        own = Path(folder) / path.name
        _compile(compiler, recipe, own)
        try:
            return ctypes.CDLL(str(own))  # stays open when its file is gone
        except OSError as error:
            raise KernelsError(
                f"the compiled kernels cannot be used: {error}"
            ) from None


def _compile(compiler: str, recipe: Recipe, out: Path) -> None:
    options = (*_OPTIONS, *recipe.options, "-isystem", jax.ffi.include_dir())
    _run((compiler, *options, str(_SOURCES / recipe.source), "-o", str(out)))


def _run(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PATIENCE,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise KernelsError(f"the compiler cannot be run: {error}") from None
    if done.returncode:
        said = (done.stderr.strip() or "nothing").splitlines()
        raise KernelsError(f"{command[0]} could not compile them: {said[0]}")
    return done.stdout
