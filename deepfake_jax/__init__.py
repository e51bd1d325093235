"""Face swapping by a shared encoder and two decoders, in JAX.

The public names stand in ``__init__.pyi``; each is imported when it is first used, so
that ``deepfake-jax doctor`` can run, and say what to fix, where JAX or OpenCV cannot be
imported, and ``--help`` answers at once.
"""

from typing import Any

import lazy_loader

_load, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ += ["__version__"]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from deepfake_jax.version import own_version

        return own_version()
    return _load(name)
