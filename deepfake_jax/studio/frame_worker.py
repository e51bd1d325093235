"""A process of its own for single frames: what it loads stays loaded, until it ends.

Requests are lines of JSON on standard input, answers lines on standard output; pictures
go through files that the request names. A file that breaks a decoder ends this process
alone. It ends when its input does, as when the server is killed.
"""

import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2

from deepfake_jax.convert_config import ConvertConfig
from deepfake_jax.files import get_cache_dir, write_whole
from deepfake_jax.media.media_probe import probe_video
from deepfake_jax.media.sources import holds_picture
from deepfake_jax.types import Frame

_QUALITY = 90
_WIDEST = 1920  # pixels of a picture for the page

Work = Callable[[dict[str, Any]], dict[str, Any]]


def main() -> None:
    """Answers requests until the input ends."""
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(get_cache_dir() / "xla"))
    # Whatever a library prints must not be taken for an answer.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    works: Mapping[str, Work] = {"probe": probe, "frame": frame, "swap": make_swap()}
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            answer = works[asked["work"]](asked)
        except (ValueError, RuntimeError, OSError, MemoryError, ImportError) as error:
            answer = {"error": str(error) or type(error).__name__}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def probe(asked: dict[str, Any]) -> dict[str, Any]:
    """What a file says of itself: size, length, rate, whether a browser plays it."""
    path = Path(asked["source"])
    if holds_picture(path):
        picture = cv2.imread(str(path), cv2.IMREAD_REDUCED_GRAYSCALE_8)
        known = picture is not None
        size = (8 * picture.shape[1], 8 * picture.shape[0]) if known else (0, 0)
        return {"kind": "picture", "width": size[0], "height": size[1]}
    info = probe_video(path)
    height, width = info.square_size
    simple = info.pixel_format in ("yuv420p", "yuvj420p")
    h264 = info.codec == "h264" and simple and path.suffix.lower() in (".mp4", ".m4v")
    webm = info.codec in ("vp8", "vp9", "av1") and path.suffix.lower() == ".webm"
    return {
        "kind": "video",
        "width": width,
        "height": height,
        "seconds": info.duration,
        "frames": info.frames,
        "rate": round(float(info.frame_rate), 3),
        "codec": info.codec,
        "sound": info.has_audio,
        "plays": h264 or webm,
    }


def frame(asked: dict[str, Any]) -> dict[str, Any]:
    """A frame as a JPEG."""
    from deepfake_jax.conversion.single_frame import read_one

    shown = read_one(Path(asked["source"]), asked["time"])
    save_picture(Path(asked["out"]), shown.frame, widest=asked.get("widest", _WIDEST))
    return {"time": shown.time}


def make_swap() -> Work:
    """The work that swaps; it remembers runs and frames from call to call."""
    frames: list[Any] = []

    def swap(asked: dict[str, Any]) -> dict[str, Any]:
        from deepfake_jax.conversion.single_frame import SingleFrames

        if not frames:
            frames.append(SingleFrames())
        pair = frames[0].swap(
            Path(asked["source"]),
            Path(asked["run"]),
            ConvertConfig(**asked["looks"]),
            time=asked["time"],
        )
        save_picture(Path(asked["out"]), pair.after)
        save_picture(Path(asked["before"]), pair.before)
        return {"time": pair.time, "swapped": pair.swapped, "found": pair.found}

    return swap


def save_picture(path: Path, picture: Frame, *, widest: int = _WIDEST) -> None:
    """Writes a JPEG, made smaller where it is very wide."""
    height, width = picture.shape[:2]
    if max(width, height) > widest:
        scale = widest / max(width, height)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    pixels = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    coded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1]
    with write_whole(path, overwrite=True) as partial:  # it may be shown meanwhile
        partial.write_bytes(coded.tobytes())


if __name__ == "__main__":
    main()
