"""Files that strangers might send, made from real ones: harmed, spliced, lying."""

import os
import random
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from faults.mutations import HARMS, set_length, splice
from PIL import Image
from videos import make_frame, make_video

from deepfake_jax.media.pictures import write_picture

_SMALL = [24 * index for index in range(6)]


def make_seeds(folder: Path) -> list[Path]:
    """A healthy file of each kind; a few kilobytes each."""
    folder.mkdir()
    films = [
        make_video(folder / "a.mp4", pts=_SMALL, sound="aac"),
        make_video(folder / "a.mkv", pts=_SMALL, sound="libopus"),
        make_video(folder / "a.mov", pts=_SMALL, rotation=90),
        make_video(folder / "a.ts", pts=_SMALL, sound="mp2"),
        make_video(folder / "a.avi", pts=_SMALL, codec="mpeg4"),
        make_video(folder / "a.webm", pts=_SMALL, codec="libvpx-vp9"),
        make_video(
            folder / "deep.mkv",
            pts=_SMALL,
            codec="libx265",
            pixel_format="yuv420p10le",
            options={"x265-params": "log-level=none"},
        ),
    ]
    pictures = []
    for suffix in (".png", ".jpg", ".webp", ".avif", ".bmp", ".tif"):
        pictures.append(folder / f"p{suffix}")
        write_picture(pictures[-1], make_frame(0))
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "camera", 6
    Image.fromarray(make_frame(1)).save(folder / "exif.jpg", exif=exif)
    pictures.append(folder / "exif.jpg")
    frames = [Image.fromarray(make_frame(index)) for index in range(3)]
    for name in ("m.gif", "m.webp", "m.png"):
        frames[0].save(folder / name, save_all=True, append_images=frames[1:])
        pictures.append(folder / name)
    return films + pictures


def mutate(rng: random.Random, seeds: list[Path], place: Path) -> str:
    """Writes a hostile file and says of what and how it was made."""
    source = rng.choice(seeds)
    data, how = source.read_bytes(), []
    for _ in range(rng.choice((1, 1, 2, 4))):
        if rng.random() < 0.15:
            how.append("splice")
            data = splice(rng, data, rng.choice(seeds).read_bytes())
        else:
            harm = rng.choice((*HARMS, set_length, set_length))
            how.append(harm.__name__)
            data = harm(rng, data)
    place.write_bytes(data)
    return f"{source.name}: {', '.join(how)}"


def make_special(folder: Path) -> Iterator[Path]:
    """Bombs, pipes, endless devices, and names that are none."""
    folder.mkdir()
    yield _make_png(folder / "bomb.png", 1, 170_000_000)
    yield _make_png(folder / "wide.png", 65_535, 65_535)
    yield _make_png(folder / "nothing.png", 0, 0)
    yield _make_bmp(folder / "bomb.bmp", 65_535, 65_535)
    yield _make_bmp(folder / "negative.bmp", -1, 2**31 - 1)
    noise = np.zeros((4000, 4000, 3), np.uint8)
    Image.fromarray(noise).save(folder / "large.webp", lossless=True)
    yield folder / "large.webp"
    for name in ("endless.png", "endless.mp4"):
        (folder / name).symlink_to("/dev/zero")
        yield folder / name
    for name in ("pipe.mp4", "pipe.png"):
        os.mkfifo(folder / name)
        yield folder / name
    (folder / "loop.mp4").symlink_to(folder / "loop.mp4")
    yield folder / "loop.mp4"
    (folder / "outside.mp4").symlink_to("/etc/passwd")
    yield folder / "outside.mp4"
    strange = folder / "a\nb\x1b[2J\x07.mp4"
    strange.write_bytes(b"text")
    yield strange
    playlist = folder / "list.mp4"
    playlist.write_text("#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n")
    yield playlist
    (folder / "concat.mp4").write_text("ffconcat version 1.0\nfile /etc/passwd\n")
    yield folder / "concat.mp4"


def _make_png(path: Path, width: int, height: int) -> Path:
    parts = [b"\x89PNG\r\n\x1a\n"]
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    for kind, data in ((b"IHDR", head), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")):
        parts.append(struct.pack(">I", len(data)) + kind + data)
        parts.append(struct.pack(">I", zlib.crc32(kind + data)))
    path.write_bytes(b"".join(parts))
    return path


def _make_bmp(path: Path, width: int, height: int) -> Path:
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    path.write_bytes(b"BM" + struct.pack("<IHHI", 60, 0, 0, 54) + head)
    return path


def make_texts(folder: Path) -> Iterator[tuple[Path, str]]:
    """Records and configs: huge, deep, of wrong types; with what they pretend to be."""
    folder.mkdir()
    deep = "[" * 100_000
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    for level in range(1, 10):
        lines = ", ".join([f"*a{level - 1}"] * 9)
        levels.append(f"a{level}: &a{level} [{lines}]")
    configs = {
        "bomb.yaml": "\n".join([*levels, "seed: *a9"]),
        "deep.yaml": deep,
        "nan.yaml": "optimizer:\n  learning_rate: .nan\n",
        "huge.yaml": "batch_size: 1" + "0" * 5000,
        "list.yaml": "- 1\n- 2\n",
        "code.yaml": "!!python/object/apply:os.system ['touch owned']\n",
        "date.yaml": "seed: 2024-13-45\n",
        "bytes.yaml": b"seed: \xff\xfe\n",
    }
    for name, text in configs.items():
        path = folder / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        yield path, "config"
    header = '{"format": "deepfake-jax faces", "version": 3, "face_size": 256}\n'
    records = {
        "deep": header + '{"file": ' + deep + "\n",
        "nan": header + '{"file": "a.png", "frame": NaN}\n',
        "types": header + '{"file": 7, "source": [], "frame": "x"}\n',
        "outside": header + _line("../../../../etc/passwd"),
        "absolute": header + _line("/etc/passwd"),
        "number": "7\n",
        "long": header + '{"file": "' + "x" * 10**7 + '"}\n',
        "infinite": header + _line("a.png").replace("1.5", "1e999"),
        "version": header.replace("3", "999"),
        "bytes": b"\xff\xfe\x00",
    }
    for name, text in records.items():
        path = folder / name
        path.mkdir()
        data = text if isinstance(text, bytes) else text.encode()
        (path / "faces.jsonl").write_bytes(data)
        yield path, "set"


def _line(file: str) -> str:
    return (
        f'{{"file": "{file}", "source": "s", "frame": 1, "time": 1.5, "box": [0,0,9,9],'
        ' "score": 1.0, "landmarks": [[1,2]], "frame_to_face": [[1,0,0],[0,1,0]],'
        ' "size": 9.0}\n'
    )
