"""What a video file holds beside pictures, sound and subtitles: names and chapters."""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from av.container import InputContainer, OutputContainer
from av.stream import Disposition, Stream

from deepfake_jax.media.hdr10 import HDR10_ENCODERS
from deepfake_jax.media.media_probe import VideoInfo
from deepfake_jax.media.opened_videos import choose_video_stream, open_source

# Of the container, not of what it holds; the output has its own.
_NOT_KEPT = {"major_brand", "minor_version", "compatible_brands", "encoder", "duration"}

# What frames carry beside their samples and no encoder here writes, by FFmpeg's names.
# Not named: what has been applied, and what only a coder had use for.
_NOT_WRITTEN = {
    "A53_CC": "closed captions",
    "DOVI_METADATA": "Dolby Vision",
    "DOVI_RPU_BUFFER": "Dolby Vision",
    "DYNAMIC_HDR_PLUS": "HDR10+",
    "DYNAMIC_HDR_VIVID": "HDR Vivid",
    "AMBIENT_VIEWING_ENVIRONMENT": "the light of the room it was graded in",
    "STEREO3D": "what says that it is stereoscopic",
    "SPHERICAL": "what says that it is a view all around",
    "AFD": "which part of the frame is in use",
    "ICC_PROFILE": "the color profile",
    "FILM_GRAIN_PARAMS": "film grain that players add",
    "S12M_TIMECODE": "the frames' timecodes",
    "DETECTION_BBOXES": "boxes of what was detected",
    "REGIONS_OF_INTEREST": "regions of interest",
}


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
            subtitles; cover pictures, too.
        covers: how many of these are cover pictures.
        data_tracks: names of tracks that are no sound, pictures or subtitles.
        timecode: hh:mm:ss:ff of the first frame; "" for none.
    """

    metadata: Mapping[str, str]
    video_metadata: Mapping[str, str]
    video_disposition: int
    chapters: tuple[Chapter, ...]
    attachments: tuple[tuple[str, str, bytes], ...]
    covers: int = 0
    data_tracks: tuple[str, ...] = ()
    timecode: str = ""


def read_extras(info: VideoInfo) -> Extras:
    """Read names, chapters and attachments of a source.

    Raises:
        VideoError: as `open_source` and `choose_video_stream`.
    """
    with open_source(info.path) as container:
        stream = choose_video_stream(info.path, container)
        chapters = [
            Chapter(
                start=chapter["start"] * (chapter["time_base"] or 0) - info.origin,
                end=chapter["end"] * (chapter["time_base"] or 0) - info.origin,
                metadata=dict(chapter["metadata"]),
            )
            for chapter in container.chapters()
        ]
        data = [held for held in container.streams if held.type == "data"]
        codes = [held.metadata.get("timecode", "") for held in [stream, *data]]
        covers = _read_covers(container)
        return Extras(
            metadata={
                name: text
                for name, text in container.metadata.items()
                if name.lower() not in _NOT_KEPT
            },
            video_metadata=choose_names(stream),
            video_disposition=int(stream.disposition),
            chapters=tuple(chapters),
            attachments=(
                *(
                    (held.name or "attachment", held.mimetype or "", held.data or b"")
                    for held in container.streams.attachments
                ),
                *covers,
            ),
            covers=len(covers),
            data_tracks=tuple(
                name
                for held in data
                if "timecode" not in held.metadata
                and not _names_chapters(
                    name := held.metadata.get("handler_name", "unnamed")
                )
            ),
            timecode=next(filter(None, codes), ""),
        )


def _names_chapters(handler: str) -> bool:
    """Whether a track of data is an MP4's names of chapters, which are kept."""
    return any(word in handler.lower() for word in ("subtitle", "text", "chapter"))


def _read_covers(container: InputContainer) -> list[tuple[str, str, bytes]]:
    covers = []
    for stream in container.streams.video:
        if stream.disposition & Disposition.attached_pic:
            # FFmpeg gives them out first, whatever lies where in the file.
            packet = next(iter(container.demux(stream)))
            end = "png" if stream.codec_context.name == "png" else "jpeg"
            name = stream.metadata.get("filename") or f"cover.{end.replace('e', '')}"
            kind = stream.metadata.get("mimetype") or f"image/{end}"
            covers.append((name, kind, bytes(packet)))
            container.seek(0)
    return covers


def list_losses(
    info: VideoInfo, extras: Extras | None, *, suffix: str, codec: str, cut: bool
) -> list[str]:
    """What of a source an output does not hold, but for tracks, which tell themselves.

    Args:
        info: the source.
        extras: of it; None for what FFmpeg does not open.
        suffix: of the output.
        codec: FFmpeg's encoder.
        cut: whether the output starts later.
    """
    names = info.side_data
    lost = ["transparency"] if info.transparent else []
    lost += dict.fromkeys(
        words for name, words in _NOT_WRITTEN.items() if name in names
    )
    hdr = "MASTERING_DISPLAY_METADATA" in names or "CONTENT_LIGHT_LEVEL" in names
    if hdr and codec not in HDR10_ENCODERS:
        lost.append("HDR10's data of screen and brightness")
    if extras is None:
        return lost
    if extras.covers and suffix != ".mkv":
        # FFmpeg writes either a cover or tags of any name into an MP4.
        lost.append("the cover picture")
    if extras.timecode and (cut or suffix not in (".mp4", ".m4v", ".mov")):
        lost.append(f"the timecode {extras.timecode}")
    if extras.data_tracks:
        lost.append(f"tracks of data ({', '.join(extras.data_tracks)})")
    fonts = len(extras.attachments) - extras.covers
    if fonts and suffix != ".mkv":
        lost.append(f"{fonts} attached files")
    return lost


def choose_names(stream: Stream) -> dict[str, str]:
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
