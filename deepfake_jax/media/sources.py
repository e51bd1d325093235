"""What frames come from: videos, pictures and folders of them."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from deepfake_jax.files import hash_file
from deepfake_jax.media.media_probe import VideoError, probe_video
from deepfake_jax.media.pictures import (
    VIDEO_SUFFIXES,
    is_picture,
    list_pictures,
    natural_key,
    read_picture,
)
from deepfake_jax.media.video_reader import TimedFrame, read_frames
from deepfake_jax.types import Frame


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

    Of a folder the pictures come first, then the videos, each as a person counts.

    Raises:
        SourceError: no such file, or a folder without pictures and videos.
        VideoError: a file that is neither picture nor video.
    """
    sources = []
    for path in paths:
        if path.is_dir():
            pictures, videos = list_pictures(path), _list_videos(path)
            if not pictures and not videos:
                raise SourceError(
                    f"{path} holds no pictures and no videos; name a video, a picture "
                    "or a folder with .png, .jpg, .webp, .tif, .bmp, .mp4, .mov or "
                    "similar files right inside it"
                )
            sources += [Source(picture, "picture", 1) for picture in pictures]
            sources += [_try_video(video) for video in videos]
        elif not path.exists():
            raise SourceError(f"no such file or folder: {path}")
        elif is_picture(path):
            sources.append(Source(path, "picture", 1))
        else:
            sources.append(_video(path))
    return sources


def _list_videos(folder: Path) -> list[Path]:
    videos = [
        path
        for path in folder.iterdir()
        if path.suffix.lower() in VIDEO_SUFFIXES
        and not path.name.startswith(".")
        and path.is_file()
    ]
    return sorted(videos, key=natural_key)


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


def picture_frame(frame: Frame) -> TimedFrame:
    """A picture as the only frame of a source."""
    return TimedFrame(index=0, time=0.0, pts=0, duration=0, picture=frame)


def describe_source(source: Source) -> dict[str, Any]:
    """Name, kind and SHA-256 of a source, for a record; no path of this machine."""
    return {
        "name": source.path.name,
        "kind": source.kind,
        "sha256": hash_file(source.path),
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
    """Seconds of ``90``, ``1:30`` or ``0:01:30.5``; None of an empty text.

    Raises:
        ValueError: anything else.
    """
    if not text:
        return None
    parts = text.split(":")
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        numbers = []
    if not 1 <= len(numbers) <= 3 or any(not 0 <= n < 1e9 for n in numbers):
        raise ValueError(f"{option} {text}: give seconds, m:ss or h:mm:ss")
    seconds = 0.0
    for number in numbers:
        seconds = 60 * seconds + number
    return seconds
