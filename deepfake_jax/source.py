"""What frames come from: videos, pictures and folders of pictures."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from deepfake_jax.pictures import is_picture, list_pictures, read_picture
from deepfake_jax.types import Frame
from deepfake_jax.video import TimedFrame, probe_video, read_frames


class SourceError(ValueError):
    """A source that cannot be used; the text says what was found and the fix."""


@dataclass(frozen=True)
class Source:
    """One file to read frames from.

    Attributes:
        path: the file.
        kind: what it is.
        frames: how many frames it says it has, None if it does not say.
    """

    path: Path
    kind: Literal["video", "picture"]
    frames: int | None


def list_sources(paths: list[Path]) -> list[Source]:
    """Videos, pictures and folders of pictures, in the order given, to single files.

    Raises:
        SourceError: no such file, or a folder without pictures.
        VideoError: a file that is neither picture nor video.
    """
    sources = []
    for path in paths:
        if path.is_dir():
            pictures = list_pictures(path)
            if not pictures:
                raise SourceError(
                    f"{path} holds no pictures; name a video, a picture or a folder "
                    "with .png, .jpg, .webp, .tif or .bmp files right inside it"
                )
            sources += [Source(picture, "picture", 1) for picture in pictures]
        elif not path.exists():
            raise SourceError(f"no such file or folder: {path}")
        elif is_picture(path):
            sources.append(Source(path, "picture", 1))
        else:
            sources.append(Source(path, "video", probe_video(path).frames))
    return sources


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


def hash_file(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
