"""The version of this package, as everything that it writes records it."""

from importlib.metadata import PackageNotFoundError, version


def own_version() -> str:
    """The version of this package, or "0" where it runs uninstalled."""
    try:
        return version("deepfake-jax")
    except PackageNotFoundError:
        return "0"
