"""A picture made of another keeps what is not color."""

import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms
from videos import make_frame, read_picture_tags

from deepfake_jax.media.pictures import read_picture, write_picture

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def change(path: Path, out: Path, **options) -> np.ndarray:
    """Write a picture with a changed square, as a conversion does."""
    frame = read_picture(path)
    frame[10:20, 10:20] //= 2
    write_picture(out, frame, like=path, **options)
    return frame


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
def test_transparency_is_kept(tmp_path: Path, suffix: str) -> None:
    pixels = np.dstack([make_frame(0), np.full((48, 64), 255, np.uint8)])
    pixels[:, :16, 3], pixels[:, 16:32, 3] = 0, 128
    Image.fromarray(pixels).save(tmp_path / "a.png")
    change(tmp_path / "a.png", tmp_path / f"b{suffix}", quality=100)
    with Image.open(tmp_path / f"b{suffix}") as image:
        assert image.mode == "RGBA"
        found = np.asarray(image).astype(int)
    loss = 3 if suffix == ".webp" else 0
    assert np.abs(found[..., 3] - pixels[..., 3]).max() <= loss
    if suffix != ".webp":  # which alters what is hidden
        same = np.ones((48, 64), bool)
        same[10:20, 10:20] = False
        assert np.array_equal(found[same], pixels[same])
        # Half as bright, at half the opacity too: a level of rounding, doubled.
        half = pixels[10:20, 16:20, :3].astype(int) // 2
        assert np.abs(found[10:20, 16:20, :3] - half).max() <= 2


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".avif"])
def test_profile_and_exif_are_kept(tmp_path: Path, suffix: str) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Make], exif[ExifTags.Base.Orientation] = "Camera", 6
    exif[ExifTags.Base.ImageDescription] = "my holiday"
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ISOSpeedRatings] = 200
    Image.fromarray(make_frame(0)).save(
        tmp_path / "a.jpg", exif=exif, icc_profile=PROFILE
    )
    out = tmp_path / f"b{suffix}"
    frame = change(tmp_path / "a.jpg", out, metadata={"comment": "swapped"})
    assert frame.shape == (64, 48, 3)
    with Image.open(out) as image:
        assert image.size == (48, 64) and image.info.get("icc_profile") == PROFILE
        found = image.getexif()
        assert found[ExifTags.Base.Make] == "Camera"
        assert found.get(ExifTags.Base.Orientation, 1) == 1
        deeper = found.get_ifd(ExifTags.IFD.Exif)
        assert suffix == ".tif" or deeper[ExifTags.Base.ISOSpeedRatings] == 200
    assert np.abs(read_picture(out).astype(int) - frame).mean() < 4
    tags = read_picture_tags(out)
    assert tags["comment"] == "swapped"
    if suffix != ".png":
        assert tags["ImageDescription"] == "my holiday"


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
def test_grey_stays_grey(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(make_frame(0)).convert("L").save(tmp_path / f"a{suffix}")
    change(tmp_path / f"a{suffix}", tmp_path / f"b{suffix}")
    with Image.open(tmp_path / f"b{suffix}") as image:
        assert image.mode == "L"


def test_what_is_lost_is_said_in_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pixels = np.dstack([make_frame(0), np.full((48, 64), 99, np.uint8)])
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "Camera"
    Image.fromarray(pixels).save(tmp_path / "a.png", icc_profile=PROFILE, exif=exif)
    with caplog.at_level(logging.WARNING, "deepfake_jax"):
        change(tmp_path / "a.png", tmp_path / "b.bmp")
    (record,) = caplog.records
    for said in ("transparency", "color profile", "EXIF"):
        assert said in record.message
    change(tmp_path / "a.png", tmp_path / "c.png")
    assert len(caplog.records) == 1


def test_texts_of_a_png_are_kept(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", make_frame(0), metadata={"Author": "me"})
    change(tmp_path / "a.png", tmp_path / "b.png", metadata={"comment": "swapped"})
    tags = read_picture_tags(tmp_path / "b.png")
    assert tags == {"Author": "me", "comment": "swapped"}


@pytest.mark.parametrize("source", [".jpg", ".png", ".tif", ".webp"])
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp", ".avif", ".bmp"])
def test_xmp_is_kept_or_missed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, source: str, suffix: str
) -> None:
    packet = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'>mine</x:xmpmeta>"
    write_picture(tmp_path / "a.jpg", make_frame(0))
    with Image.open(tmp_path / "a.jpg") as image:
        image.save(tmp_path / "first.jpg", xmp=packet)
    change(tmp_path / "first.jpg", tmp_path / f"a{source}")
    change(tmp_path / f"a{source}", tmp_path / f"b{suffix}", metadata={"comment": "x"})
    with Image.open(tmp_path / f"b{suffix}") as image:
        image.load()
        found = image.info.get("xmp")
    if suffix == ".bmp":
        assert "XMP" in caplog.records[-1].message
    else:
        assert found and packet in bytes(found) and not caplog.records
        assert read_picture_tags(tmp_path / f"b{suffix}")["comment"] == "x"
