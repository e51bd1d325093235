"""What frames come from: videos, pictures and folders of them."""

import logging
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from deepfake_jax.files import hash_once
from deepfake_jax.media.file_kinds import (
    UNREADABLE,
    find_format,
    find_kind,
    find_trouble,
    is_picture,
    natural_key,
)
from deepfake_jax.media.media_probe import probe_video
from deepfake_jax.media.opened_videos import VideoError
from deepfake_jax.media.pictures import PictureError, read_picture
from deepfake_jax.media.timed_frames import TimedFrame, picture_frame
from deepfake_jax.media.video_reader import read_frames

_log = logging.getLogger("deepfake_jax")
_SIXTIETH = re.compile(r"[0-5][0-9](\.|$)")


class SourceError(ValueError):
    """A source that cannot be used; the text says what was found and the fix."""


@dataclass(frozen=True)
class Source:
    """One file to read frames from.

    Attributes:
        path: the file.
        kind: what it is.
        frames: how many frames it says it has, None if it does not say.
        frame_rate: a video's frames a second on average, None if it does not say.
    """

    path: Path
    kind: Literal["video", "picture"]
    frames: int | None
    frame_rate: float | None = None

    def expect_frames(
        self, *, start: float = 0.0, end: float | None = None, every: int = 1
    ) -> int | None:
        """About how many frames a search will see; None if the source does not say.

        Args:
            start: seconds of a video to leave out.
            end: second at which to stop.
            every: only each so many-th frame is seen.
        """
        if self.kind == "picture" or self.frames is None:
            return self.frames
        first, last = 0.0, float(self.frames)
        if self.frame_rate is not None:
            first = min(start * self.frame_rate, last)
            last = last if end is None else min(end * self.frame_rate, last)
        return math.ceil(max(0.0, last - first) / every)


def list_sources(paths: list[Path]) -> list[Source]:
    """Videos, pictures and folders of both, in the order given, to single files.

    Of a folder the pictures come first, then the videos, each as a person counts; what
    else is in it is named in one line of the log.

    Raises:
        SourceError: no such file, or a folder without pictures and videos.
        VideoError, PictureError: a file that is neither picture nor video.
    """
    sources = []
    for path in paths:
        if path.is_dir():
            pictures, videos = list_folder(path)
            if not pictures and not videos:
                raise SourceError(
                    f"{path} holds no pictures and no videos; name a video, a picture "
                    "or a folder with .png, .jpg, .webp, .tif, .bmp, .mp4, .mov or "
                    "similar files right inside it"
                )
            sources += [Source(picture, "picture", 1) for picture in pictures]
            sources += [_try_video(video) for video in videos]
        elif holds_picture(path):
            sources.append(Source(path, "picture", 1))
        else:
            sources.append(_video(path))
    return sources


def holds_picture(path: Path) -> bool:
    """Tell by its content whether a file is a still picture.

    Raises:
        SourceError: no such file, or no regular one.
        PictureError: a picture of a format that cannot be read.
    """
    if not path.is_file():
        raise SourceError(find_trouble(path))
    kind = find_kind(path)
    if kind == "unreadable picture":
        raise PictureError(f"{path}: {UNREADABLE[find_format(path)]}")
    # An empty or broken file is what its name says.
    return kind == "picture" or (kind == "other" and is_picture(path))


def list_folder(folder: Path, *, films: bool = True) -> tuple[list[Path], list[Path]]:
    """The pictures and videos right inside a folder, each as a person counts.

    One line of the log names what is not used. Hidden files are passed over.

    Args:
        folder: it.
        films: whether videos and animations are of use.
    """
    pictures: list[Path] = []
    videos: list[Path] = []
    unused: list[str] = []
    for path in sorted(folder.iterdir(), key=natural_key):
        if path.name.startswith(".") or path.is_dir():
            continue
        if not path.is_file():  # which may have no end
            unused.append(f"{path.name} (no regular file)")
            continue
        kind = find_kind(path)
        if kind == "picture" and not is_picture(path):
            unused.append(f"{path.name} ({find_format(path)}: name it so)")
        elif kind == "picture" or (kind == "other" and is_picture(path)):
            pictures.append(path)
        elif films and kind in ("animation", "film"):
            videos.append(path)
        else:
            what = find_format(path)
            unused.append(path.name if what == "other" else f"{path.name} ({what})")
    if unused:
        more = f" and {len(unused) - 10} more" if len(unused) > 10 else ""
        _log.warning("%s: not used: %s%s", folder, ", ".join(unused[:10]), more)
    return pictures, videos


def _video(path: Path) -> Source:
    info = probe_video(path)
    return Source(path, "video", info.frames, float(info.frame_rate))


def _try_video(path: Path) -> Source:
    """A video of a folder; one that cannot be opened is told of when it is read."""
    try:
        return _video(path)
    except VideoError:
        return Source(path, "video", None)


def read_source(source: Source) -> Iterator[TimedFrame]:
    """The frames of a source; a picture is one frame at time 0."""
    if source.kind == "video":
        yield from read_frames(source.path)
    else:
        yield picture_frame(read_picture(source.path))


def describe_source(source: Source) -> dict[str, Any]:
    """Name, kind and SHA-256 of a source, for a record; no path of this machine."""
    return {
        "name": source.path.name,
        "kind": source.kind,
        "sha256": hash_once(source.path),
    }


def parse_part(start: str, end: str) -> tuple[float | None, float | None]:
    """Seconds of ``--start`` and ``--end``, each None of an empty text.

    Raises:
        ValueError: no time, or an end that is not after the start.
    """
    first = parse_time(start, option="--start")
    last = parse_time(end, option="--end")
    if last is not None and last <= (first or 0.0):
        raise ValueError(
            f"--end {end} is not after --start {start or 0}; give a later one"
        )
    return first, last


def parse_time(text: str, *, option: str) -> float | None:
    """Seconds of ``90``, ``90.5``, ``1:30`` or ``0:01:30.5``; None of an empty text.

    Raises:
        ValueError: anything else, such as ``1:90``.
    """
    if not text:
        return None
    *before, last = text.split(":")
    parts = [*before, last]
    whole = all(re.fullmatch("[0-9]{1,9}", part) for part in before)
    whole = whole and re.fullmatch(r"[0-9]{1,9}(\.[0-9]+)?", last) is not None
    if not whole or len(parts) > 3 or any(not _SIXTIETH.match(p) for p in parts[1:]):
        raise ValueError(
            f"{option} {text}: give seconds, m:ss or h:mm:ss; what follows a colon has "
            "two digits and is below 60"
        )
    seconds = 0.0
    for part in parts:
        seconds = 60 * seconds + float(part)
    return seconds
