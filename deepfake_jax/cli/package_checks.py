"""What the doctor finds of Python and of installed packages; one `Check` a finding.

Everything is imported inside a check, so that a broken OpenCV is reported, not raised.
"""

import importlib
import platform
import sys
from dataclasses import dataclass

from deepfake_jax.version import find_version

# Distribution -> the module to import.
PACKAGES = {
    "jax": "jax",
    "jaxlib": "jaxlib",
    "flax": "flax",
    "optax": "optax",
    "orbax-checkpoint": "orbax.checkpoint",
    "numpy": "numpy",
    "av": "av",
    "ai-edge-litert": "ai_edge_litert.interpreter",
    "Pillow": "PIL",
}
# All of them install the same folder cv2; the last one installed wins, file by file.
OPENCV = (
    "opencv-python",
    "opencv-python-headless",
    "opencv-contrib-python",
    "opencv-contrib-python-headless",
)


@dataclass(frozen=True)
class Check:
    """One finding.

    Attributes:
        name: What was looked at.
        ok: Whether it is as it should be.
        required: Whether the package cannot work without it.
        detail: What was found.
        fix: The command or step that mends it; empty where there is nothing to mend.
    """

    name: str
    ok: bool
    required: bool
    detail: str
    fix: str = ""


def check_python() -> list[Check]:
    """Whether this Python is 3.11 or newer."""
    detail = f"{platform.python_version()} ({sys.executable or 'no executable'})"
    ok = sys.version_info[:2] >= (3, 11)
    fix = "" if ok else "install Python 3.11 or newer and make a new environment"
    return [Check("python", ok, True, detail, fix)]


def check_own_version() -> list[Check]:
    """The version of deepfake-jax, where it is installed."""
    version = find_version("deepfake-jax")
    if version:
        return [Check("deepfake-jax", True, False, version)]
    detail = "not installed as a distribution (a bare checkout?)"
    fix = "in the checkout: pip install -e ."
    return [Check("deepfake-jax", False, False, detail, fix)]


def check_package(distribution: str) -> list[Check]:
    """Whether one of ``PACKAGES`` is installed and can be imported.

    Args:
        distribution: A key of ``PACKAGES``.
    """
    version = find_version(distribution)
    fix = f'pip install --upgrade "{distribution}"'
    try:
        module = importlib.import_module(PACKAGES[distribution])
    except ModuleNotFoundError as error:
        if not version:
            return [Check(distribution, False, True, "not installed", fix)]
        detail = f"{version}, but import fails: {describe_error(error)}"
        return [Check(distribution, False, True, detail, fix)]
    except Exception as error:
        detail = f"{version}, but import fails: {describe_error(error)}"
        return [
            Check(distribution, False, True, detail, mend_import(error, distribution))
        ]
    version = version or str(getattr(module, "__version__", "unknown version"))
    return [Check(distribution, True, True, version)]


def check_opencv() -> list[Check]:
    """Whether OpenCV can be imported, is older than 5 and installed only once."""
    found = {name: v for name in OPENCV if (v := find_version(name))}
    listed = ", ".join(f"{name} {version}" for name, version in found.items())
    checks: list[Check] = []
    if len(found) > 1:
        headless = all(name.endswith("headless") for name in found)
        keep = "opencv-python-headless" if headless else "opencv-python"
        checks.append(
            Check(
                "opencv clash",
                False,
                False,
                f"{listed}: they overwrite each other's files",
                f"pip uninstall -y {' '.join(found)}\n"
                + f'pip install --force-reinstall --no-deps "{keep}>=4.10,<5"',
            )
        )
    try:
        import cv2
    except Exception as error:
        detail = f"{listed or 'not installed'}; import fails: {describe_error(error)}"
        fix = 'pip install "opencv-python<5"'
        if found:
            fix = mend_import(error, "opencv-python<5")
        return [Check("opencv-python", False, True, detail, fix), *checks]
    detail = listed or f"cv2 {cv2.__version__}, from no known distribution"
    if int(cv2.__version__.split(".")[0]) < 5:
        return [Check("opencv-python", True, True, detail), *checks]
    detail += (
        ": OpenCV 5 has no Haar cascades and its dnn engine does not load the SFace "
        "weights"
    )
    name = next(iter(found), "opencv-python")
    fix = f'pip install --force-reinstall --no-deps "{name}<5"'
    return [Check("opencv-python", False, True, detail, fix), *checks]


def mend_import(error: Exception, requirement: str) -> str:
    """What mends a compiled package that is installed and cannot be imported."""
    reinstall = f'pip install --force-reinstall --no-deps "{requirement}"'
    libraries = ("libGL", "libgthread", "libglib", "libSM", "libXext", "libxcb")
    if not any(library in str(error) for library in libraries):
        return reinstall
    return (
        "Debian and Ubuntu: apt-get install libgl1 libglib2.0-0\n"
        "elsewhere or without root: pip uninstall -y opencv-python && "
        'pip install "opencv-python-headless<5"'
    )


def describe_error(error: Exception) -> str:
    """Kind and first line of an error."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
