"""What a video file holds beside pictures, sound and subtitles: names and chapters."""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from av.container import OutputContainer
from av.stream import Stream

from deepfake_jax.media.media_probe import VideoInfo, open_source, pick_video_stream

# Of the container, not of what it holds; the output has its own.
_NOT_KEPT = {"major_brand", "minor_version", "compatible_brands", "encoder", "duration"}


@dataclass(frozen=True)
class Chapter:
    """A part of a video with a name.

    Attributes:
        start: seconds from the first frame.
        end: likewise.
        metadata: names and texts; "title" is its name.
    """

    start: Fraction
    end: Fraction
    metadata: Mapping[str, str]


@dataclass(frozen=True)
class Extras:
    """What a file tells about itself.

    Attributes:
        metadata: of the file: title, artist, date and the like.
        video_metadata: of its video stream: language and title.
        video_disposition: FFmpeg's flags of the video stream.
        chapters: in order.
        attachments: name, MIME type and content of files inside it, such as fonts of
            subtitles.
    """

    metadata: Mapping[str, str]
    video_metadata: Mapping[str, str]
    video_disposition: int
    chapters: tuple[Chapter, ...]
    attachments: tuple[tuple[str, str, bytes], ...]


def read_extras(info: VideoInfo) -> Extras:
    """Read names, chapters and attachments of a source.

    Raises:
        VideoError: as `open_source` and `pick_video_stream`.
    """
    with open_source(info.path) as container:
        stream = pick_video_stream(info.path, container)
        chapters = [
            Chapter(
                start=chapter["start"] * (chapter["time_base"] or 0) - info.origin,
                end=chapter["end"] * (chapter["time_base"] or 0) - info.origin,
                metadata=dict(chapter["metadata"]),
            )
            for chapter in container.chapters()
        ]
        return Extras(
            metadata={
                name: text
                for name, text in container.metadata.items()
                if name.lower() not in _NOT_KEPT
            },
            video_metadata=pick_names(stream),
            video_disposition=int(stream.disposition),
            chapters=tuple(chapters),
            attachments=tuple(
                (held.name or "attachment", held.mimetype or "", held.data or b"")
                for held in container.streams.attachments
            ),
        )


def pick_names(stream: Stream) -> dict[str, str]:
    """Pick what a stream's copy keeps of its metadata: language and names.

    The rest describes the old coding (statistics, duration) or, like the rotation, has
    been applied.
    """
    return {
        name: text
        for name, text in stream.metadata.items()
        if name in ("language", "title", "handler_name")
    }


def write_chapters(
    container: OutputContainer,
    chapters: tuple[Chapter, ...],
    *,
    origin: Fraction,
    end: Fraction | None,
) -> None:
    """Set the chapters of an output that is about to be closed.

    Args:
        container: FFmpeg writes chapters with the end of a file.
        chapters: of the source.
        origin: the source's time at which the output starts, seconds from the first
            frame.
        end: the length of the output, seconds; None to keep all chapters.
    """
    kept = []
    for chapter in chapters:
        start = max(chapter.start - origin, Fraction(0))
        stop = chapter.end - origin
        stop = stop if end is None else min(stop, end)
        if stop > start:
            kept.append((start, stop, chapter.metadata))
    if not kept:
        return
    clock = Fraction(1, 1000)
    container.set_chapters(
        [
            {
                "id": number,
                "start": round(start / clock),
                "end": round(stop / clock),
                "time_base": clock,
                "metadata": dict(metadata),
            }
            for number, (start, stop, metadata) in enumerate(kept, start=1)
        ]
    )
