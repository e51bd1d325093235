"""Files harmed as disks, cut copies and strangers harm them; each by a seed."""

import random
from collections.abc import Callable
from pathlib import Path

Harm = Callable[[random.Random, bytes], bytes]


def truncate(rng: random.Random, data: bytes) -> bytes:
    """The end is missing."""
    return data[: rng.randrange(len(data))] if data else b""


def empty(rng: random.Random, data: bytes) -> bytes:
    """Nothing is left, as after a power cut."""
    return b""


def zero(rng: random.Random, data: bytes) -> bytes:
    """A stretch is zeros."""
    start = rng.randrange(max(1, len(data)))
    end = min(len(data), start + rng.choice((1, 16, 512, 4096)))
    return data[:start] + bytes(end - start) + data[end:]


def flip(rng: random.Random, data: bytes) -> bytes:
    """One bit is another."""
    if not data:
        return b"\1"
    harmed = bytearray(data)
    harmed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(harmed)


def change_digit(rng: random.Random, data: bytes) -> bytes:
    """A digit of a text is another."""
    places = [place for place, byte in enumerate(data) if 48 <= byte <= 57]
    if not places:
        return flip(rng, data)
    place = rng.choice(places)
    digit = rng.choice([d for d in b"0123456789" if d != data[place]])
    return data[:place] + bytes([digit]) + data[place + 1 :]


def drop_line(rng: random.Random, data: bytes) -> bytes:
    """A line is missing."""
    lines = data.splitlines(keepends=True)
    if len(lines) < 2:
        return truncate(rng, data)
    del lines[rng.randrange(len(lines))]
    return b"".join(lines)


def double(rng: random.Random, data: bytes) -> bytes:
    """A stretch stands there twice."""
    start = rng.randrange(max(1, len(data)))
    return data[:start] + data[max(0, start - 40) :]


def scramble(rng: random.Random, data: bytes) -> bytes:
    """Bytes that are no UTF-8, in the middle."""
    start = rng.randrange(max(1, len(data)))
    noise = rng.randbytes(rng.choice((1, 8, 200)))
    return data[:start] + noise + data[start + len(noise) :]


HARMS: tuple[Harm, ...] = (
    truncate,
    empty,
    zero,
    flip,
    change_digit,
    drop_line,
    double,
    scramble,
)


def splice(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """A piece of another file in the middle of this one."""
    start = rng.randrange(max(1, len(data)))
    piece = rng.randrange(max(1, len(other)))
    length = rng.choice((4, 64, 1024, len(other)))
    return data[:start] + other[piece : piece + length] + data[start:]


def set_length(rng: random.Random, data: bytes) -> bytes:
    """Four bytes, as of a size or count, are very large, negative or nothing."""
    start = rng.randrange(max(1, min(len(data), 2000)))
    number = rng.choice((0, 1, 0x7FFFFFFF, 0xFFFFFFFF, 0xFFFF, 0xFFFF0000, 10**9))
    order = rng.choice(("big", "little"))
    return data[:start] + number.to_bytes(4, order) + data[start + 4 :]  # type: ignore[arg-type]


def harm_file(rng: random.Random, path: Path) -> str:
    """Harms a file in place and says how."""
    before = path.read_bytes()
    for _ in range(20):
        harm = rng.choice(HARMS)
        after = harm(rng, before)
        if after != before:
            path.write_bytes(after)
            return f"{path.name}: {harm.__name__}"
    return f"{path.name}: as it was"
