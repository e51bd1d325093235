"""What a conversion may read and write: refused before the work, never after it."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from deepfake_jax.conversion.conversion_job import ConversionJob, make_job
from deepfake_jax.conversion.search import ConvertError
from deepfake_jax.convert_config import ConvertConfig
from deepfake_jax.files import ForeignFilesError
from deepfake_jax.media.pictures import write_picture
from deepfake_jax.provenance.facts import sidecar_path, write_sidecar

CONFIG = ConvertConfig()


@pytest.fixture
def film(tmp_path: Path) -> Path:
    (tmp_path / "film.mp4").write_bytes(b"not looked into here")
    return tmp_path / "film.mp4"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    write_picture(tmp_path / "photos" / "a.png", np.zeros((8, 8, 3), np.uint8))
    return tmp_path / "photos"


def check(
    source: Path, out: Path, *, overwrite: bool = False, faces: Path | None = None
) -> ConversionJob:
    config = replace(CONFIG, save_faces=str(faces or ""))
    job = make_job(source, out, config)
    job.check_output(overwrite=overwrite)
    return job


def test_links_to_the_source_are_the_source(film: Path, photos: Path, tmp_path: Path):
    for source, name in ((film, "link.mp4"), (photos, "link")):
        (tmp_path / name).symlink_to(source)
        with pytest.raises(ConvertError, match="the source itself"):
            check(source, tmp_path / name, overwrite=True)


def test_a_sidecar_of_somebody_else_is_in_the_way(film: Path, tmp_path: Path):
    out = tmp_path / "out.mp4"
    sidecar_path(out).write_text(json.dumps({"name": "my notes"}))
    for overwrite in (False, True):
        with pytest.raises(ConvertError, match=r"out\.mp4\.json is in the way"):
            check(film, out, overwrite=overwrite)
    sidecar_path(out).unlink()
    sidecar_path(out).mkdir()
    with pytest.raises(ConvertError, match="in the way"):
        check(film, out, overwrite=True)
    sidecar_path(out).rmdir()
    write_sidecar(out, {"tool": "deepfake-jax"})
    check(film, out)  # of an output that is gone


@pytest.mark.parametrize(
    "out, faces",
    [
        ("out/%06d.png", "out"),
        ("out/%06d.png", "out/faces"),
        ("all/out/%06d.png", "all"),
        ("all/out.mp4", "all"),
        ("out.mp4", "out.mp4.json"),
    ],
)
def test_saved_faces_lie_apart_from_the_output(
    film: Path, tmp_path: Path, out: str, faces: str
):
    with pytest.raises(ConvertError, match="separate folders"):
        check(film, tmp_path / out, faces=tmp_path / faces, overwrite=True)
    check(film, tmp_path / out, faces=tmp_path / "apart")


def test_an_output_that_cannot_be_made_is_refused(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with pytest.raises(ConvertError, match=r"film\.mp4 is a file, not a folder"):
        check(film, film / "deeper" / "out.mp4")
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    with pytest.raises(ConvertError, match="the folder you are in"):
        check(film, Path("%06d.png"), overwrite=True)
    if os.name == "posix" and os.getuid():  # root may write anywhere
        empty.chmod(0o555)
        with pytest.raises(ConvertError, match="may not write"):
            check(film, empty / "out.mp4")


def test_of_a_folder_only_our_own_pictures_are_replaced(photos: Path, tmp_path: Path):
    out = tmp_path / "out"
    assert check(photos, out).place == out
    out.mkdir()
    check(photos, out)  # empty
    (out / "older.png").write_bytes(b"")
    with pytest.raises(ConvertError, match="--overwrite"):
        check(photos, out)
    with pytest.raises(ForeignFilesError, match=r"older\.png"):
        check(photos, out, overwrite=True)
    write_sidecar(out, {"tool": "deepfake-jax", "pictures": ["older.png"]})
    check(photos, out, overwrite=True)
    (out / "deeper").mkdir()
    with pytest.raises(ForeignFilesError, match="deeper"):
        check(photos, out, overwrite=True)
    (tmp_path / "link").symlink_to(out)
    assert check(photos, tmp_path / "link" / "new").place == out / "new"
