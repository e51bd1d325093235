"""The kernels are compiled once; whatever they lack is said, and harms nothing."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from deepfake_jax.kernels import library
from deepfake_jax.kernels.library import RECIPES, SWITCH, KernelsError, load_library


def find_lack(dtype: str) -> str:
    try:
        load_library(dtype)
    except KernelsError as error:
        return str(error)
    return ""


LACKING = {dtype: find_lack(dtype) for dtype in RECIPES}
# What is told of one library is true of the other: the first that can be had.
DTYPE = next((dtype for dtype, lack in LACKING.items() if not lack), "float32")
USED = next(
    (recipe for recipe in RECIPES[DTYPE] if recipe.needed <= library.read_processor()),
    RECIPES[DTYPE][-1],
)
needs_kernels = pytest.mark.skipif(bool(LACKING[DTYPE]), reason=LACKING[DTYPE])


# Most of the time of these tests is the compiler's.
QUICKLY = tuple(option for option in library._OPTIONS if option != "-O3")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DEEPFAKE_JAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(library, "_OPTIONS", QUICKLY)
    return tmp_path / "cache" / "kernels"


def refuse_compiling(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(compiler: str, recipe: library.Recipe, out: Path) -> None:
        raise AssertionError(f"compiled {out}")

    monkeypatch.setattr(library, "_compile", refuse)


@needs_kernels
def test_what_was_compiled_is_kept(cache: Path, monkeypatch: pytest.MonkeyPatch):
    key, _ = load_library(DTYPE)
    assert [path.name for path in cache.iterdir()] == [f"{key}.so"]
    refuse_compiling(monkeypatch)
    assert load_library(DTYPE)[0] == key
    # Another source is another library.
    monkeypatch.setattr(library, "_OPTIONS", (*library._OPTIONS, "-g0"))
    with pytest.raises(AssertionError, match="compiled"):
        load_library(DTYPE)


@needs_kernels
def test_a_damaged_library_is_made_anew(cache: Path):
    key = library._hash_all(
        library.find_compiler(DTYPE), library.read_processor(), USED
    )
    cache.mkdir(parents=True)
    (cache / f"{key}.so").write_bytes(b"\x7fELF, and then the disk was full")
    assert load_library(DTYPE)[0] == key
    assert (cache / f"{key}.so").stat().st_size > 10_000


@needs_kernels
def test_without_a_place_to_keep_it_the_library_is_made_for_this_process(
    cache: Path, caplog: pytest.LogCaptureFixture
):
    # A file where the folder should be: to root, no folder is read-only.
    cache.parent.mkdir()
    cache.write_text("")
    with caplog.at_level(logging.WARNING):
        load_library(DTYPE)
    assert "cannot keep the compiled kernels" in caplog.text
    assert cache.read_text() == ""


@needs_kernels
def test_two_processes_compile_at_once(cache: Path):
    code = (
        "from deepfake_jax.kernels import library\n"
        f"library._OPTIONS = {QUICKLY}\n"
        f"print(library.load_library({DTYPE!r})[0])"
    )
    both = [
        subprocess.Popen((sys.executable, "-c", code), stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    keys = {process.communicate(timeout=240)[0].decode().strip() for process in both}
    assert [process.returncode for process in both] == [0, 0]
    assert [path.stem for path in cache.iterdir()] == list(keys)


@needs_kernels
@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        (SWITCH, "0", f"{SWITCH}=0"),
        ("CXX", "no-such-compiler", "no-such-compiler, which is not there"),
        ("CXX", "false", "false could not compile them"),
        ("PATH", "", "no C.* compiler; install one"),
    ],
)
def test_what_is_lacking_is_said(
    cache: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv(name, value)
    with pytest.raises(KernelsError, match=said):
        load_library(DTYPE)
    assert not cache.exists()


@pytest.mark.skipif(bool(LACKING["bfloat16"]), reason=LACKING["bfloat16"])
def test_without_a_grant_of_tiles_vectors_are_used(
    cache: Path, monkeypatch: pytest.MonkeyPatch
):
    tiles, vectors = RECIPES["bfloat16"]
    processor = library.read_processor() | tiles.needed
    monkeypatch.setattr(library, "read_processor", lambda: processor)
    monkeypatch.setattr(library, "_grants_tiles", lambda made: False)
    key, _ = load_library("bfloat16")
    compiler = library.find_compiler("bfloat16")
    assert key == library._hash_all(compiler, processor, vectors)
    assert len(list(cache.iterdir())) == 2


@pytest.mark.parametrize(
    ("dtype", "lacks"),
    [("bfloat16", "avx512_bf16, avx512bw, avx512vl"), ("float32", "avx2, fma")],
)
def test_a_processor_without_their_instructions_has_none(
    dtype: str, lacks: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(library, "read_processor", lambda: frozenset({"avx512f"}))
    monkeypatch.delenv(SWITCH, raising=False)
    with pytest.raises(KernelsError, match=f"this processor has no {lacks}"):
        load_library(dtype)


def test_a_network_runs_without_kernels_and_says_so_once(tmp_path: Path):
    code = """
import logging
import jax.numpy as jnp
from deepfake_jax.models.conv import conv
logging.basicConfig(level=logging.INFO)
for _ in range(2):
    y = conv(jnp.ones((1, 4, 4, 3)), jnp.ones((3, 3, 3, 4)), dtype=jnp.bfloat16)
print(y.dtype, float(y.max()))
"""
    done = subprocess.run(
        (sys.executable, "-c", code),
        env={**os.environ, SWITCH: "0"},
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert done.stdout.split() == ["bfloat16", "27.0"]
    assert done.stderr.count("without kernels of our own") == 1
