"""Opening media files safely.

Every error is a `VideoError` that names the file and the usual fix.
"""

from pathlib import Path

import av
from av.container import InputContainer
from av.error import FFmpegError
from av.stream import Disposition
from av.video.stream import VideoStream

from deepfake_jax.media.file_kinds import UNREADABLE, find_format, find_trouble
from deepfake_jax.media.opened_pictures import MOST_PIXELS
from deepfake_jax.media.truncation import check_whole


class VideoError(ValueError):
    """A video that cannot be read or written; the text names the usual fix."""


class TruncatedVideoError(VideoError):
    """A video that breaks off or is damaged, raised after its last readable frame.

    Attributes:
        frames_read: how many frames were read and given out.
        frames_expected: how many the file declares, None where it declares none.
    """

    def __init__(
        self, message: str, *, frames_read: int, frames_expected: int | None
    ) -> None:
        super().__init__(message)
        self.frames_read = frames_read
        self.frames_expected = frames_expected


def open_source(path: Path) -> InputContainer:
    """Open a media file for reading; the caller closes it.

    Raises:
        VideoError: it is no regular file or empty, or FFmpeg cannot open it.
    """
    trouble = find_trouble(path)
    if trouble:
        raise VideoError(trouble)
    if find_format(path) in UNREADABLE:
        raise VideoError(f"{path}: {UNREADABLE[find_format(path)]}")
    try:
        # "file:" keeps a name with a colon from being read as a network address, and
        # the whitelist keeps a playlist that calls itself .mp4 from fetching one.
        return av.open(
            f"file:{path}",
            "r",
            container_options={"protocol_whitelist": "file"},
            metadata_errors="replace",
        )
    except (FFmpegError, ValueError) as error:
        if isinstance(error, PermissionError):
            fix = "may not be read; check the file's permissions"
        elif check_whole(path) == "no index":
            fix = (
                "has lost its index (the moov box), so it looks truncated; copy or "
                "download it again"
            )
        elif check_whole(path).startswith("cut"):
            fix = "is truncated before its first frame; copy or download it again"
        else:
            fix = (
                "is no video that FFmpeg can open; give an MP4, MOV, MKV, WebM or AVI "
                "file, or convert it to one with ffmpeg first"
            )
        raise VideoError(f"{path}: {fix}") from error


def choose_video_stream(path: Path, container: InputContainer) -> VideoStream:
    """Pick the stream to work on: the default one, never a cover picture.

    Raises:
        VideoError: there is none, or no decoder for it.
    """
    name = container.format.name
    if name == "tty" or name == "image2" or name.endswith("_pipe"):
        raise VideoError(
            f"{path}: is {'a text' if name == 'tty' else 'a picture'}, not a video; "
            "give an MP4, MOV, MKV, WebM or AVI file"
        )
    streams = [
        stream
        for stream in container.streams.video
        if not stream.disposition & Disposition.attached_pic
    ]
    if not streams:
        kinds = sorted({stream.type for stream in container.streams})
        raise VideoError(
            f"{path}: holds no video stream, only {', '.join(kinds) or 'nothing'}; "
            "give a file with pictures"
        )
    defaults = [s for s in streams if s.disposition & Disposition.default]
    stream = (defaults or streams)[0]
    if stream.codec_context is None:
        raise VideoError(
            f"{path}: its video codec is not known to this FFmpeg "
            f"({av.library_versions['libavcodec'][0]}); convert it to H.264 first"
        )
    width, height = stream.codec_context.width, stream.codec_context.height
    if width * height > MOST_PIXELS:
        raise VideoError(
            f"{path}: says it is {width}x{height}, more than the "
            f"{MOST_PIXELS // 10**6} million pixels that are read; shrink it first"
        )
    return stream
