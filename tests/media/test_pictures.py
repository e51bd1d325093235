"""Pictures made here with Pillow, read and written again."""

import resource
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from videos import read_picture_tags

from deepfake_jax.media.file_kinds import PICTURE_SUFFIXES, VIDEO_SUFFIXES, is_picture
from deepfake_jax.media.pictures import (
    PictureError,
    list_pictures,
    read_picture,
    write_picture,
)
from deepfake_jax.types import Frame

METADATA = {"Software": "deepfake_jax", "source": "ä ö.mp4", "empty": ""}


@pytest.fixture
def frame() -> Frame:
    """Return a smooth picture with another color in every corner, 30 by 40."""
    rows, columns = np.mgrid[0:30, 0:40]
    planes = [rows * 8, columns * 6, 255 - rows * 4 - columns * 3]
    return np.stack(planes, axis=-1).astype(np.uint8)


def test_suffixes_tell_pictures_from_videos() -> None:
    assert not set(PICTURE_SUFFIXES) & set(VIDEO_SUFFIXES)
    assert is_picture(Path("a.JPG")) and not is_picture(Path("a.mp4"))
    assert not is_picture(Path("a.gif")) and not is_picture(Path("png"))


@pytest.mark.parametrize("suffix", PICTURE_SUFFIXES)
def test_round_trip(tmp_path: Path, frame: Frame, suffix: str) -> None:
    path = tmp_path / "new folder" / f"ä picture{suffix.upper()}"
    write_picture(path, frame)
    found = read_picture(path)
    assert found.dtype == np.uint8 and found.flags.c_contiguous
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    if suffix in (".jpg", ".jpeg", ".jfif", ".webp", ".avif"):
        # Quality 95 keeps a smooth picture within two levels on average.
        assert np.abs(found.astype(int) - frame).mean() < 2
    else:
        assert np.array_equal(found, frame)


def test_jpeg_keeps_full_color_resolution(tmp_path: Path) -> None:
    # Stripes of one pixel that differ in color alone: 4:2:0 makes them one color.
    stripes = np.zeros((32, 32, 3), np.uint8)
    stripes[:, ::2], stripes[:, 1::2] = (200, 80, 80), (80, 133, 200)
    write_picture(tmp_path / "a.jpg", stripes, quality=100)
    found = read_picture(tmp_path / "a.jpg").astype(int)
    # Quality 100 costs a level or two; 4:2:0 costs dozens.
    assert np.abs(found - stripes).mean() < 3


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tiff"])
def test_metadata_comes_back(tmp_path: Path, frame: Frame, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    write_picture(path, frame, metadata=METADATA)
    assert read_picture_tags(path) == METADATA
    assert read_picture(path).shape == frame.shape
    write_picture(path, frame)
    assert read_picture_tags(path) == {}


def test_metadata_that_does_not_fit_is_refused(tmp_path: Path, frame: Frame) -> None:
    cases = [
        ("a.jpg", {"a": "b" * 70_000}, "the metadata takes 70"),
        ("a.png", {"": "b"}, "does not fit PNG"),
        ("a.png", {"a" * 80: "b"}, "does not fit PNG"),
        ("a.png", {"ä": "b"}, "does not fit PNG"),
    ]
    for name, metadata, message in cases:
        with pytest.raises(PictureError, match=message):
            write_picture(tmp_path / name, frame, metadata=metadata)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(tmp_path: Path, frame: Frame, orientation: int) -> None:
    # What must be done to the stored picture, by the EXIF standard's figure.
    upright = {
        1: lambda a: a,
        2: np.fliplr,
        3: lambda a: np.rot90(a, 2),
        4: np.flipud,
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
        8: np.rot90,
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(frame).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(read_picture(tmp_path / "a.png"), upright(frame))


def test_broken_exif_does_not_hide_the_picture(tmp_path: Path, frame: Frame) -> None:
    Image.fromarray(frame).save(tmp_path / "a.png", exif=b"Exif\0\0MM\0*\xff\xff\xff")
    assert np.array_equal(read_picture(tmp_path / "a.png"), frame)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGBA", "LA", "CMYK", "YCbCr"])
def test_modes_become_rgb(tmp_path: Path, frame: Frame, mode: str) -> None:
    image = Image.fromarray(frame).convert(mode)
    path = tmp_path / ("a.tiff" if mode in ("CMYK", "YCbCr") else "a.png")
    image.save(path)
    found = read_picture(path)
    assert found.shape == frame.shape and found.dtype == np.uint8
    # Pillow's own way to RGB: the opaque picture must come out as it shows it.
    assert np.abs(found.astype(int) - np.asarray(image.convert("RGB"))).max() <= 1


def test_transparency_is_composited_on_black(tmp_path: Path) -> None:
    pixels = np.zeros((2, 2, 4), np.uint8)
    pixels[...] = (200, 100, 50, 255)
    pixels[0, 0, 3], pixels[0, 1, 3] = 0, 51  # invisible and a fifth
    Image.fromarray(pixels).save(tmp_path / "a.png")
    found = read_picture(tmp_path / "a.png")
    assert found[0, 0].tolist() == [0, 0, 0]
    assert found[0, 1].tolist() == [40, 20, 10]
    assert found[1, 1].tolist() == [200, 100, 50]
    palette = Image.new("P", (2, 1))
    palette.putpalette([200, 100, 50, 10, 20, 30])
    palette.putpixel((1, 0), 1)
    palette.save(tmp_path / "b.png", transparency=0)
    assert read_picture(tmp_path / "b.png").tolist() == [[[0, 0, 0], [10, 20, 30]]]


def test_16_bit_grey_is_scaled(tmp_path: Path) -> None:
    grey = np.array([[0, 257, 32768, 65535]], np.uint16)
    for name in ("a.png", "a.tiff"):
        Image.fromarray(grey).save(tmp_path / name)
        found = read_picture(tmp_path / name)
        assert found[0, :, 0].tolist() == [0, 1, 128, 255]
        assert np.array_equal(found[..., 0], found[..., 2])


def test_unreadable_pictures_are_named(tmp_path: Path, frame: Frame) -> None:
    write_picture(tmp_path / "whole.jpg", frame)
    write_picture(tmp_path / "whole.png", frame)
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "script.png").write_text("%!PS-Adobe-3.0 EPSF-3.0\n")
    for suffix in (".jpg", ".png"):
        data = (tmp_path / f"whole{suffix}").read_bytes()
        (tmp_path / f"cut{suffix}").write_bytes(data[: len(data) * 2 // 3])
    floating = Image.fromarray(np.zeros((4, 4), np.float32))
    floating.save(tmp_path / "float.tiff")
    cases = {
        "none.png": "no such file",
        "": "is a folder",
        "empty.png": "0 bytes",
        "text.png": "no picture that can be read",
        "script.png": "no picture that can be read",
        "cut.jpg": "damaged",
        "cut.png": "damaged",
        "float.tiff": "32-bit samples",
    }
    for name, message in cases.items():
        with pytest.raises(PictureError, match=message) as caught:
            read_picture(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)


@pytest.mark.parametrize("size", [(1, 170_000_000), (1, 100_000), (60_000, 60_000)])
def test_picture_of_too_many_pixels_is_refused(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    header = struct.pack(">IIBBBBB", *size, 1, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0")), (b"IEND", b"")]
    data = b"\x89PNG\r\n\x1a\n"
    for kind, body in chunks:
        crc = struct.pack(">I", zlib.crc32(kind + body))
        data += struct.pack(">I", len(body)) + kind + body + crc
    (tmp_path / "a.png").write_bytes(data)
    assert len(data) < 100
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(PictureError, match="more pixels than is safe.*shrink it"):
            read_picture(tmp_path / "a.png")


def test_wrong_checksums_are_refused(tmp_path: Path, frame: Frame) -> None:
    path = tmp_path / "a.png"
    write_picture(path, frame, metadata=METADATA)
    data = path.read_bytes()
    for kind in (b"IHDR", b"iTXt", b"IDAT"):
        at = data.index(kind) - 4
        length = int.from_bytes(data[at : at + 4], "big")
        wrong = bytearray(data)
        wrong[at + 8 + length] ^= 1
        path.write_bytes(wrong)
        with pytest.raises(PictureError, match="damaged|no picture"):
            read_picture(path)


def test_bmp_is_written_though_it_holds_no_metadata(
    tmp_path: Path, frame: Frame
) -> None:
    write_picture(tmp_path / "a.bmp", frame, metadata=METADATA)
    assert np.array_equal(read_picture(tmp_path / "a.bmp"), frame)


def test_impossible_writes(tmp_path: Path, frame: Frame) -> None:
    with pytest.raises(PictureError, match=r"'\.xyz'; use one of \.png"):
        write_picture(tmp_path / "a.xyz", frame)
    with pytest.raises(PictureError, match="quality is 0"):
        write_picture(tmp_path / "a.jpg", frame, quality=0)
    with pytest.raises(PictureError, match="WEBP cannot hold|could not be written"):
        write_picture(tmp_path / "a.webp", np.zeros((1, 17_000, 3), np.uint8))
    with pytest.raises(PictureError, match="at least one pixel"):
        write_picture(tmp_path / "a.png", np.zeros((0, 4, 3), np.uint8))
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(PictureError, match="is a folder"):
        write_picture(tmp_path / "folder.png", frame)
    assert [path.name for path in tmp_path.iterdir()] == ["folder.png"]


def test_existing_picture_is_kept_if_told_so(tmp_path: Path, frame: Frame) -> None:
    path = tmp_path / "a.png"
    write_picture(path, frame)
    with pytest.raises(PictureError, match="exists already"):
        write_picture(path, 255 - frame, overwrite=False)
    assert np.array_equal(read_picture(path), frame)
    write_picture(path, 255 - frame)
    assert np.array_equal(read_picture(path), 255 - frame)


def test_full_disk_leaves_the_old_picture(tmp_path: Path, frame: Frame) -> None:
    path = tmp_path / "a.png"
    write_picture(path, frame)
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    # A limit on the file size fails in the same place as a full disk does.
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, before[1]))
        with pytest.raises(PictureError, match="could not be written.*free space"):
            write_picture(path, noise)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert np.array_equal(read_picture(path), frame)
    assert list(tmp_path.iterdir()) == [path]


def test_pictures_are_listed_as_a_person_counts(tmp_path: Path) -> None:
    names = ["frame2.png", "frame10.png", "Frame1.JPG", "frame010.png", "7.webp"]
    for name in [*names, ".hidden.png", "note.txt", "clip.gif"]:
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    found = [path.name for path in list_pictures(tmp_path)]
    expected = ["7.webp", "Frame1.JPG", "frame2.png", "frame010.png", "frame10.png"]
    assert found == expected
    with pytest.raises(PictureError, match="is no folder"):
        list_pictures(tmp_path / "none")


def test_reading_warns_of_nothing(tmp_path: Path, frame: Frame) -> None:
    write_picture(tmp_path / "a.jpg", frame, metadata=METADATA)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_picture(tmp_path / "a.jpg")
