"""Wheel and sdist are built, and install into an environment that has neither.

The fresh environment takes its dependencies from the one of the tests, so that this
needs no network. With ``DEEPFAKE_JAX_INSTALL=1`` both are also installed as a user
would, with all dependencies from the package index, which takes minutes.
"""

import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("hatchling", reason="no hatchling to build with")
pytest.importorskip("hatch_vcs", reason="no hatch-vcs to build with")
ROOT = Path(__file__).resolve().parents[1]
MOST_BYTES = 1_800_000
KINDS = ("wheel", "sdist")


def run(*command: object, cwd: Path) -> str:
    """What a command prints, without this checkout in sight."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    words = [str(word) for word in command]
    done = subprocess.run(
        words, cwd=cwd, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The wheel and the sdist of this checkout."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "hatchling", "build", "-d", folder, cwd=ROOT)
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return {"wheel": wheel, "sdist": sdist}


def make_environment(folder: Path, *, lend: bool) -> Path:
    """A fresh virtual environment; gives its Python."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    if lend:
        # A line of a .pth file adds a folder, but none of that folder's own .pth
        # files: what is installed there for editing is not seen.
        (own,) = (folder / "lib").glob("python*/site-packages")
        (own / "lent.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return python


def check_installed(python: Path, folder: Path) -> None:
    """The console command and the packaged presets are there, by themselves."""
    program = python.parent / "deepfake-jax"
    version = run(program, "--version", cwd=folder).split()[1]
    assert version[0].isdigit() and version != "0"
    said = "import deepfake_jax; print(deepfake_jax.__file__, deepfake_jax.__version__)"
    place, own = run(python, "-c", said, cwd=folder).split()
    assert Path(place).is_relative_to(python.parents[1])
    assert own == version
    code = "from deepfake_jax import load_preset; print(load_preset('lite128').steps)"
    assert run(python, "-c", code, cwd=folder).strip() == "20000"


def test_both_hold_what_they_need_and_no_more(built: dict[str, Path]):
    names = zipfile.ZipFile(built["wheel"]).namelist()
    tops = {name.split("/")[0].split("-")[0] for name in names}
    assert tops == {"deepfake_jax"}
    data = ("configs/lite.yaml", "py.typed", "studio/page/index.html")
    for name in (*data, "kernels/floats.cc", "kernels/bfloats.cc", "kernels/panels.h"):
        assert f"deepfake_jax/{name}" in names
    with tarfile.open(built["sdist"]) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    for name in ("README.md", "CHANGELOG.md", "docs/index.md", "tests/conftest.py"):
        assert name in inside
    assert all(path.stat().st_size < MOST_BYTES for path in built.values())


def test_what_converts_without_jax_needs_less_of_the_same():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    every = {*project["dependencies"], *project["optional-dependencies"]["onnx"]}
    lines = (ROOT / "requirements-onnx.txt").read_text().splitlines()
    own = {line for line in lines if line and not line.startswith("#")}
    own = {line.replace("opencv-python-headless", "opencv-python") for line in own}
    assert own < every
    left = {re.split("[<>=]", line)[0] for line in every - own}
    # What `tests/conversion/test_loaded_swapper.py` does without; pip comes with it.
    training = {"jax", "flax", "optax", "orbax-checkpoint"}
    assert left == {*training, "matplotlib", "onnx", "pip"}


def test_wheel_installs_into_a_fresh_environment(
    built: dict[str, Path], tmp_path: Path
):
    python = make_environment(tmp_path / "venv", lend=True)
    options = ("--no-deps", "--no-index", "--disable-pip-version-check", "--quiet")
    run(python, "-m", "pip", "install", *options, built["wheel"], cwd=tmp_path)
    check_installed(python, tmp_path)


def test_sdist_builds_the_same_version_without_git(
    built: dict[str, Path], tmp_path: Path
):
    with tarfile.open(built["sdist"]) as archive:
        archive.extractall(tmp_path, filter="data")
    (folder,) = tmp_path.iterdir()
    build = (sys.executable, "-m", "hatchling", "build", "-t", "wheel")
    run(*build, "-d", tmp_path, cwd=folder)
    assert (tmp_path / built["wheel"].name).is_file()
    # An archive of the tree has not even the sdist's record, and has the fallback.
    (folder / "PKG-INFO").unlink()
    run(*build, "-d", tmp_path / "bare", cwd=folder)
    (bare,) = (tmp_path / "bare").iterdir()
    assert bare.name.startswith("deepfake_jax-0.")


@pytest.mark.skipif(
    "DEEPFAKE_JAX_INSTALL" not in os.environ,
    reason="minutes: a whole installation, asked for by DEEPFAKE_JAX_INSTALL=1",
)
@pytest.mark.parametrize("kind", KINDS)
def test_installs_with_its_dependencies(
    kind: str, built: dict[str, Path], tmp_path: Path
):
    python = make_environment(tmp_path / "venv", lend=False)
    constraints = ("-c", ROOT / "constraints.txt", "--disable-pip-version-check")
    run(python, "-m", "pip", "install", *constraints, built[kind], cwd=tmp_path)
    check_installed(python, tmp_path)
    run(python.parent / "deepfake-jax", "doctor", "--json", cwd=tmp_path)
