"""What all writers of frames share: one description, one order, whole outputs only.

A writer is a context manager made of an `OutputSpec`. It writes to a hidden place,
which gets its name when the block ends well and is removed when the block raises.
"""

import errno
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

import cv2
import numpy as np
from av import VideoFrame
from av.container import OutputContainer
from av.error import FFmpegError
from jaxtyping import UInt8

from deepfake_jax.files import write_whole
from deepfake_jax.media.media_probe import VideoInfo, square_size
from deepfake_jax.media.opened_videos import VideoError
from deepfake_jax.media.pixel_formats import BT709, ColorTags, convert_to_rgb
from deepfake_jax.media.tone_mapping import tone_map
from deepfake_jax.types import Frame

# beartype has no `Self` for methods that it checks one by one.
_Writer = TypeVar("_Writer", bound="FrameWriter")
# Errors that more space, other rights or another place cure.
_DISK = {
    getattr(errno, name, None)
    for name in (
        *("ENOSPC", "EDQUOT", "EFBIG", "EIO", "EACCES", "EPERM", "EROFS"),
        *("ENOENT", "ENOTDIR", "ENAMETOOLONG", "EEXIST", "EMFILE", "ENFILE", "EBUSY"),
    )
}
_log = logging.getLogger("deepfake_jax")
SoundMode = Literal["copy", "encode", "none"]
# Takes a complete file under its hidden name, and the name that it gets.
Seal = Callable[[Path, Path], None]


@dataclass(frozen=True, kw_only=True)
class OutputSpec:
    """What is written, and how.

    Attributes:
        path: a video, a GIF, or a folder or pattern of pictures.
        width: of every frame, pixels.
        height: of every frame, pixels.
        time_base: seconds a tick of the time stamps given to `FrameWriter.write`.
        frame_rate: frames a second on average; an encoder plans its bits by it.
        codec: of a video: one of `list_codecs`, or the name of a format: h264, h265,
            hevc, av1 or vp9.
        crf: quality of a video from 0, best, to 51 (libvpx-vp9 and libsvtav1: 63);
            ffv1 is lossless at any.
        pixel_format: of a video, as FFmpeg calls it; the best for ``like`` if empty.
        like: the source, whose colors, pixel format, pixel aspect, subtitles, chapters,
            names and languages are kept where the output can hold them; None for
            BT.709, limited range, 4:2:0 of 8 bits and nothing else.
        sound: of ``like``, in sync with the frames as the time stamps say: copied where
            the output takes it as it is and else coded anew (copy), always coded anew
            (encode), or left out (none).
        metadata: names and texts to store in the output, where it can hold them; they
            win over the same names of ``like``.
        overwrite: whether the output may exist already.
        cut_start: whether a video starts with the first frame: its time becomes 0, and
            all else of the source moves along. Without, it starts with the sound that
            comes before.
        end: where the part of the source that is written ends, seconds from its first
            frame: sound, subtitles and chapters then end with the last frame. None to
            keep all that is left.
        seal: is the last to write to each file, before it gets its name; None for
            nobody.
        source_type: IPTC's address of the kind of source, for pictures' XMP; "" for
            none.
    """

    path: Path
    width: int
    height: int
    time_base: Fraction
    frame_rate: Fraction = Fraction(25)
    codec: str = "h264"
    crf: int = 18
    pixel_format: str = ""
    like: VideoInfo | None = None
    sound: SoundMode = "copy"
    metadata: Mapping[str, str] = field(default_factory=dict)
    overwrite: bool = False
    cut_start: bool = False
    end: Fraction | None = None
    seal: Seal | None = None
    source_type: str = ""

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            VideoError: a size, a rate or a time base that cannot be.
        """
        for name, value in (("width", self.width), ("height", self.height)):
            if value < 1:
                raise VideoError(f"{self.path}: {name} is {value}; it must be over 0")
        for name in ("frame_rate", "time_base"):
            value = getattr(self, name)
            if value <= 0:
                raise VideoError(f"{self.path}: {name} is {value}; it must be above 0")

    @property
    def color(self) -> ColorTags:
        """The color tags of RGB frames: the source's."""
        return self.like.color if self.like else BT709

    @property
    def square_size(self) -> tuple[int, int]:
        """Height and width in square pixels, for outputs that know no others."""
        aspect = self.like.pixel_aspect if self.like else Fraction(1)
        return square_size(self.height, self.width, aspect)

    @property
    def has_sound(self) -> bool:
        """Whether there is sound, and it is wanted."""
        return self.like is not None and self.like.has_audio and self.sound != "none"


class FrameWriter(ABC):
    """Writes frames to one output; a context manager.

    To keep the readable part of a truncated source, catch its error inside the block.
    """

    noun: ClassVar[str]
    holds_sound: ClassVar[bool] = False

    def __init__(self, spec: OutputSpec) -> None:
        """Note what is wanted, say what of it cannot be; ``with`` opens the files."""
        self._spec, self._path = spec, spec.path
        if spec.like is not None and spec.like.interlaced:
            _log.warning(
                "%s is interlaced; %s is not: its frames are whole pictures",
                spec.like.path.name,
                spec.path.name,
            )
        if not self.holds_sound and spec.like is not None and spec.has_sound:
            _log.warning(
                "%s: holds no sound; that of %s is left out. Name the output .mp4 to "
                "keep it",
                spec.path,
                spec.like.path.name,
            )
        self._count = 0
        self._last_pts: int | None = None

    def __enter__(self: _Writer) -> _Writer:
        """Open the hidden place and what goes with it.

        Raises:
            VideoError: an existing output, a folder that cannot be written to, or what
                the format or its encoder refuses.
        """
        try:
            with ExitStack() as stack:
                self._partial = stack.enter_context(self._lend_partial())
                self._open(stack)
                self._stack = stack.pop_all()
        except (FFmpegError, OSError) as error:
            raise self._explain(error) from error
        return self

    def write(
        self, frame: Frame | VideoFrame, *, pts: int, duration: int | None = None
    ) -> None:
        """Write one frame.

        Args:
            frame: RGB uint8, height width 3, in the transfer of the source; or a native
                frame of the same size.
            pts: when it is shown, in ``time_base``; above the last frame's.
            duration: how long it is shown, in ``time_base``. It counts for the last
                frame only: the others are shown until the next.

        Raises:
            VideoError: another size or type, a time stamp that does not increase, or a
                full disk.
        """
        self._check(frame, pts)
        try:
            self._write(frame, pts, duration)
        except (FFmpegError, OSError) as error:
            raise self._explain(error) from error
        self._count, self._last_pts = self._count + 1, pts

    def __exit__(self, *error: Any) -> None:
        """Finish the output, or remove it when the block raised.

        Raises:
            VideoError: no frame was written, or the disk is full.
        """
        if error[0] is not None:
            self._stack.__exit__(*error)
            return
        try:
            with self._stack:
                if self._count == 0:
                    raise VideoError(
                        f"{self._path}: no frame was written, so there is no "
                        f"{self.noun} to keep; check that the source has frames"
                    )
                self._finish()
                self._seal()
        except (FFmpegError, OSError) as failure:
            raise self._explain(failure) from failure

    def _lend_partial(self) -> AbstractContextManager[Path]:
        """The hidden place, which gets its name when the context ends well."""
        return write_whole(self._path, overwrite=self._spec.overwrite)

    @abstractmethod
    def _open(self, stack: ExitStack) -> None:
        """Opens ``_partial``; what is to be closed in any case goes onto the stack."""

    @abstractmethod
    def _write(self, frame: Frame | VideoFrame, pts: int, duration: int | None) -> None:
        """Writes a frame that was checked; ``_count`` were written before."""

    @abstractmethod
    def _finish(self) -> None:
        """Writes what is left and closes the output."""

    def _seal(self) -> None:
        if self._spec.seal is not None:
            self._spec.seal(self._partial, self._path)

    def _check(self, frame: Frame | VideoFrame, pts: int) -> None:
        width, height = self._spec.width, self._spec.height
        if isinstance(frame, VideoFrame):
            found = f"{frame.width}x{frame.height}"
            fits = frame.width == width and frame.height == height
        else:
            found = f"{frame.dtype} {frame.shape}"
            fits = frame.dtype == np.uint8 and frame.ndim == 3
            fits = fits and frame.shape == (height, width, 3)
        if not fits:
            raise VideoError(
                f"{self._path}: frame {self._count} is {found}; it must be "
                f"{width}x{height} RGB uint8 (height, width, 3) or a native frame of "
                "that size"
            )
        if self._last_pts is not None and pts <= self._last_pts:
            raise VideoError(
                f"{self._path}: pts of frame {self._count} is {pts}; it must be above "
                f"the last frame's {self._last_pts}; write the frames in the order of "
                "display"
            )

    def _show(
        self, frame: Frame | VideoFrame
    ) -> UInt8[np.ndarray, "square_height square_width 3"]:
        """The RGB picture of a frame in square pixels; HDR is tone-mapped."""
        rgb = convert_to_rgb(frame) if isinstance(frame, VideoFrame) else frame
        shown = tone_map(rgb, self._spec.color)
        height, width = self._spec.square_size
        if shown.shape[:2] == (height, width):
            return shown
        return cv2.resize(shown, (width, height), interpolation=cv2.INTER_CUBIC)

    def _explain(self, error: FFmpegError | OSError) -> VideoError:
        if error.errno is None:
            # Raised by write_whole, with a text of its own.
            return VideoError(str(error))
        reason = error.strerror or str(error)
        if error.errno not in _DISK:
            return VideoError(
                f"{self._path}: the {self.noun} could not be written: FFmpeg refuses "
                f"it ({reason}). Name the output .mkv, which holds nearly all, or "
                "leave the sound out (--sound none)"
            )
        return VideoError(
            f"{self._path}: the {self.noun} could not be written ({reason}); check the "
            "free space and the rights of the folder, or name the output elsewhere"
        )


def abandon(container: OutputContainer) -> None:
    """Close a file that is given up; one that is closed already stays so."""
    # Closing writes the trailer, which fails again on a full disk.
    try:
        container.close()
    except (FFmpegError, OSError):
        pass
