"""Face swapping by a shared encoder and two decoders, in JAX.

The public names stand in ``__init__.pyi``; each is imported when it is first used, so
that ``deepfake-jax doctor`` can run, and say what to fix, where JAX or OpenCV cannot be
imported, and ``--help`` answers at once.
"""

import sys
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import Any

import lazy_loader

_load, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ += ["__version__"]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        try:
            return version("deepfake-jax")
        except PackageNotFoundError:  # used from a checkout that is not installed
            return "0"
    return _load(name)


class _Package(ModuleType):
    """Keeps `deepfake_jax.train` the function, whatever imports its module."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in __all__ and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
