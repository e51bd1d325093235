"""Signed outputs that are changed as files are on their way, and what `verify` says."""

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av import VideoFrame

from deepfake_jax.benchmarks.watermark_copies import PAYLOAD
from deepfake_jax.media.frame_writer import OutputSpec
from deepfake_jax.media.outputs import open_writer
from deepfake_jax.media.pictures import write_picture
from deepfake_jax.media.pixel_formats import convert_to_rgb
from deepfake_jax.provenance.credential_reader import read_credential
from deepfake_jax.provenance.credentials import Seal
from deepfake_jax.provenance.facts import DIGITAL_SOURCE_TYPE
from deepfake_jax.provenance.verify import verify_files

_CONTAINERS = ("mp4", "mov", "mkv", "ts")
# Where the pixels' data begins and ends in a file; by default it is all of it.
_PIXELS = {"mp4": (b"mdat", b"moov"), "png": (b"IDAT", b"IEND")}
_RATE = 25


@dataclass(frozen=True)
class ChangeFigures:
    """What was said of copies that one thing was done to.

    Attributes:
        kind: of the file.
        change: what was done.
        copies: how many.
        told: share of them that were told from what was signed; of remuxed ones, whose
            credential is gone, share in which all bits of the watermark were read.
    """

    kind: str
    change: str
    copies: int
    told: float


def write_outputs(
    folder: Path, frames: Sequence[VideoFrame], seal: Seal
) -> dict[str, Path]:
    """Signed outputs of several kinds, as a conversion writes them."""
    found = {}
    for kind in ("mp4", "mkv"):
        path = found[kind] = folder / f"signed.{kind}"
        spec = OutputSpec(
            path=path,
            width=frames[0].width,
            height=frames[0].height,
            time_base=Fraction(1, _RATE),
            frame_rate=Fraction(_RATE),
            seal=seal,
        )
        with open_writer(spec) as writer:
            for pts, frame in enumerate(frames):
                writer.write(frame, pts=pts)
    for kind in ("png", "jpg"):
        path = found[kind] = folder / f"signed.{kind}"
        rgb = convert_to_rgb(frames[0])
        write_picture(path, rgb, source_type=DIGITAL_SOURCE_TYPE, seal=seal)
    return found


def try_changes(
    rng: np.random.Generator, outputs: dict[str, Path], copies: int, folder: Path
) -> Iterator[ChangeFigures]:
    """Changes copies of signed outputs and asks what they are.

    Args:
        rng: draws what is changed, and where.
        outputs: as `write_outputs` gives them.
        copies: of each kind and change.
        folder: to work in.
    """
    for kind, path in outputs.items():
        data = path.read_bytes()
        copy = folder / f"copy.{kind}"
        beside = path.with_name(f"{path.name}.c2pa")
        if beside.exists():
            copy.with_name(f"{copy.name}.c2pa").write_bytes(beside.read_bytes())
        changes = [_flip(rng, data, kind), _shorten(rng, data)]
        names = ["a bit of the pixels' data", "cut off"]
        if kind == "mp4":
            names.append("a box out")
            changes.append(_cut_box(rng, data))
        for name, change in zip(names, changes, strict=True):
            told = 0
            for _ in range(copies):
                copy.write_bytes(change())
                told += not _passes(copy)
            yield ChangeFigures(kind, name, copies, round(told / copies, 4))
    told = sum(_is_read(remux(rng, outputs["mp4"], folder)) for _ in range(copies))
    share = round(told / copies, 4)
    yield ChangeFigures("mp4", "remuxed, the watermark", copies, share)


def _passes(path: Path) -> bool:
    return read_credential(path).status in ("valid", "trusted", "expired")


def _is_read(path: Path) -> bool:
    (found,) = verify_files([path]).files
    return found.marked and found.watermark.payload == f"{PAYLOAD:08x}"


def _flip(rng: np.random.Generator, data: bytes, kind: str) -> Callable[[], bytes]:
    begin, end = _PIXELS.get(kind, (b"", b""))
    first = data.index(begin) + 4 if begin else len(data) // 2
    last = data.index(end, first) if end else len(data)

    def change() -> bytes:
        changed = bytearray(data)
        changed[rng.integers(first, last)] ^= 1 << int(rng.integers(8))
        return bytes(changed)

    return change


def _shorten(rng: np.random.Generator, data: bytes) -> Callable[[], bytes]:
    return lambda: data[: int(rng.integers(len(data) // 100, len(data)))]


def _cut_box(rng: np.random.Generator, data: bytes) -> Callable[[], bytes]:
    """Takes out one of the boxes of a file or of its ``moov``, but the credential's."""
    places = [
        place
        for start, end in ((0, len(data)), _find_box(data, b"moov"))
        for place in _list_boxes(data, start, end)
        if data[place[0] + 4 : place[0] + 8] != b"uuid"
    ]

    def change() -> bytes:
        start, end = places[rng.integers(len(places))]
        return data[:start] + data[end:]

    return change


def _list_boxes(data: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    while start + 8 <= end:
        (size,) = struct.unpack(">I", data[start : start + 4])
        if size == 1:
            (size,) = struct.unpack(">Q", data[start + 8 : start + 16])
        size = size or end - start
        yield start, start + size
        start += size


def _find_box(data: bytes, name: bytes) -> tuple[int, int]:
    """What lies inside of an outermost box."""
    for start, end in _list_boxes(data, 0, len(data)):
        if data[start + 4 : start + 8] == name:
            return start + 8, end
    return 0, 0


def remux(rng: np.random.Generator, path: Path, folder: Path) -> Path:
    """A part of a film in another container, as it was coded, without its marks."""
    kind = _CONTAINERS[rng.integers(len(_CONTAINERS))]
    out = folder / f"remuxed.{kind}"
    name = {"mkv": "matroska", "ts": "mpegts"}.get(kind, kind)
    with av.open(str(path)) as source, av.open(str(out), "w", format=name) as target:
        video = source.streams.video[0]
        stream = target.add_stream_from_template(video)
        last = rng.integers(24, video.frames + 1)
        for number, packet in enumerate(source.demux(video)):
            if number >= last or packet.dts is None:
                break
            packet.stream = stream
            target.mux(packet)
    return out
