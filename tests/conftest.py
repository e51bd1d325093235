"""Settings and pictures that all tests share: CPU, four virtual devices, strict types.

The environment is set before anything imports JAX, which reads it only once.
"""

import itertools
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

assert "jax" not in sys.modules, "JAX was imported before the tests could set it up"
os.environ["JAX_PLATFORMS"] = "cpu"
# Most of the tests' time is compilation, and the arithmetic is the same whatever these
# flags say, up to the order of sums. A step of width 8 takes 10 s without LLVM's
# optimisation, 3 s with XLA's older way to write loops besides, and 11 s with those and
# LLVM's least optimisation; it then runs in 0.1, 0.1 and 0.03 s. Later versions than
# 0.10 are left alone: XLA ends a process over a flag that it does not know.
_FLAGS = "--xla_force_host_platform_device_count=4 --xla_backend_optimization_level=0"
if version("jaxlib").startswith("0.10."):
    _FLAGS += " --xla_cpu_use_fusion_emitters=false"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {_FLAGS}".strip()
os.environ.setdefault("MPLBACKEND", "agg")
# Many tests compile the same step: the first pays. A new folder each time, so that no
# earlier session's result is ever used.
# xdist's workers share the folder of the process that starts them.
if "PYTEST_XDIST_WORKER" not in os.environ:
    _CACHE = tempfile.TemporaryDirectory(prefix="deepfake-jax-tests-")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _CACHE.name
    # The key that signs outputs is made there, and not in the user's folder.
    os.environ["DEEPFAKE_JAX_CONFIG"] = f"{_CACHE.name}/config"
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.3"

import jax  # noqa: E402
import jaxtyping  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")

_COUNT = itertools.count()
DrawFace = Callable[..., np.ndarray]
# What takes more than ten seconds, the longest first: a worker that begins one of them
# last would leave the others idle.
LONGEST = (
    "devices loop end_to_end typed step extraction benchmarks distillation quality "
    "extraction_resume convert judged_run main conv autoencoder held_out review "
    "weights outputs"
).split()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the long files first; within a file the order stays."""
    ranks = {f"test_{name}": rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: ranks.get(item.path.stem, len(ranks)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keeps a file's tests on one worker, which then makes its fixtures only once."""
    from xdist.scheduler import LoadFileScheduling

    config.option.loadscopereorder = False  # longest first, not the most tests
    return LoadFileScheduling(config, log)


@pytest.fixture(autouse=True)
def own_searches(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Keeps a test's searches of videos apart from all others', and from the user's."""
    folder = tmp_path_factory.getbasetemp() / f"searches-{next(_COUNT)}"
    monkeypatch.setenv("DEEPFAKE_JAX_SEARCHES", str(folder))


@pytest.fixture(scope="session")
def clips() -> Path:
    """The folder of real clips beside the checkout."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "clips"
    if not folder.is_dir():
        pytest.skip(f"no real clips: {folder} does not exist")
    return folder


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator of its own for each test, always in the same state."""
    return np.random.default_rng(2017)


@pytest.fixture(scope="session")
def draw_face() -> DrawFace:
    """`draw_face(rng, face_size=256)`: a smooth picture like a face, uint8 RGB.

    No detail is narrower than about a twentieth of the side, so bilinear sampling of it
    loses less than a grey level.
    """
    return _draw_face


@pytest.fixture
def face(rng: np.random.Generator) -> np.ndarray:
    """One smooth face of 256 pixels."""
    return _draw_face(rng)


@pytest.fixture(scope="session")
def faces() -> np.ndarray:
    """Six smooth faces of 256 pixels; read-only, because all tests share them."""
    rng = np.random.default_rng(6)
    drawn = np.stack([_draw_face(rng) for _ in range(6)])
    drawn.flags.writeable = False
    return drawn


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Runs a test as a user does, without run-time checks of the annotations.

    The checks raise before a function's own errors about shapes can.
    """
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def _draw_face(rng: np.random.Generator, face_size: int = 256) -> np.ndarray:
    line = (np.arange(face_size) + 0.5) / face_size
    x, y = np.meshgrid(line, line)

    def blob(at_x: float, at_y: float, width: float, height: float) -> np.ndarray:
        return np.exp(-0.5 * (((x - at_x) / width) ** 2 + ((y - at_y) / height) ** 2))

    def colour(low: float, high: float) -> np.ndarray:
        return rng.uniform(low, high, 3)

    slope = (x * rng.uniform(-1, 1) + y * rng.uniform(-1, 1))[..., None]
    picture = colour(90, 140) + 30 * slope
    parts = [
        (blob(0.5, 0.52, 0.22, 0.28), colour(40, 80)),
        (blob(0.37 + rng.normal(0, 0.01), 0.31, 0.06, 0.05), colour(-90, -50)),
        (blob(0.63 + rng.normal(0, 0.01), 0.31, 0.06, 0.05), colour(-90, -50)),
        (blob(0.5, 0.46, 0.05, 0.08), colour(10, 25)),
        (blob(0.5, 0.62 + rng.normal(0, 0.01), 0.1, 0.05), colour(-60, -20)),
    ]
    for shape, tint in parts:
        picture = picture + shape[..., None] * tint
    return np.rint(np.clip(picture, 0, 255)).astype(np.uint8)


@pytest.fixture(scope="session")
def portrait() -> np.ndarray:
    """A real portrait, the astronaut sample, 512 x 512; skips where none can be had."""
    from deepfake_jax.cli.samples import get_sample
    from deepfake_jax.faces.pinned_files import AssetError
    from deepfake_jax.media.pictures import read_picture

    try:
        return read_picture(get_sample("astronaut"))
    except AssetError as error:
        pytest.skip(f"no sample picture: {error}")


@pytest.fixture(scope="session")
def detector_weights() -> None:
    """Skips where the detector's weights cannot be had."""
    from deepfake_jax.faces.pinned_files import AssetError
    from deepfake_jax.faces.weights import get_weights

    try:
        get_weights("yunet")
        get_weights("sface")
        get_weights("face_mesh")
        get_weights("open_nsfw")
    except AssetError as error:
        pytest.skip(f"no detector weights: {error}")
