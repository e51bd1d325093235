"""Versions of this package and of others, as records, reports and the doctor say."""

from importlib.metadata import PackageNotFoundError, version


def find_version(distribution: str) -> str | None:
    """The version of a distribution, None where it is not installed."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def own_version() -> str:
    """The version of this package, or "0" where it runs uninstalled."""
    return find_version("deepfake-jax") or "0"
