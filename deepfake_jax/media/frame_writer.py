"""What writers of one file share: it appears whole or not at all, errors are explained.

A writer is a context manager: it opens a hidden file, which gets its name when the
block ends well and is removed when the block raises.
"""

from abc import ABC, abstractmethod
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import numpy as np
from av import VideoFrame
from av.container import OutputContainer
from av.error import FFmpegError

from deepfake_jax.files import write_whole
from deepfake_jax.media.media_probe import VideoError
from deepfake_jax.media.pixel_formats import ColorTags, convert_to_rgb
from deepfake_jax.media.tone_mapping import tone_map
from deepfake_jax.types import Frame

# beartype has no `Self` for methods that it checks one by one.
_Writer = TypeVar("_Writer", bound="WholeFileWriter")


class WholeFileWriter(ABC):
    """Writes one file of frames; a context manager.

    Args:
        path: the file.
        noun: what it is, for messages.
        overwrite: whether it may exist already.
    """

    def __init__(self, path: Path, *, noun: str, overwrite: bool) -> None:
        self._path, self._noun, self._overwrite = path, noun, overwrite

    def __enter__(self: _Writer) -> _Writer:
        """Open the hidden file and what goes with it.

        Raises:
            VideoError: an existing file, a folder that cannot be written to, or what
                the format or its encoder refuses.
        """
        try:
            with ExitStack() as stack:
                partial = stack.enter_context(
                    write_whole(self._path, overwrite=self._overwrite)
                )
                self._open(stack, partial)
                self._stack = stack.pop_all()
        except (FFmpegError, OSError) as error:
            raise self._explain(error) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Finish the file, or remove it when the block raised.

        Raises:
            VideoError: no frame was written, or the disk is full.
        """
        if kind is not None:
            self._stack.__exit__(kind, error, trace)
            return
        try:
            with self._stack:
                self._finish()
        except (FFmpegError, OSError) as failure:
            raise self._explain(failure) from failure

    @abstractmethod
    def _open(self, stack: ExitStack, partial: Path) -> None:
        """Opens `partial`; what is to be closed in any case goes onto the stack."""

    @abstractmethod
    def _finish(self) -> None:
        """Writes what is left and closes the file."""

    def _explain(self, error: FFmpegError | OSError) -> VideoError:
        if error.errno is None:
            # Raised by write_whole, with a text of its own.
            return VideoError(str(error))
        reason = error.strerror or str(error)
        return VideoError(
            f"{self._path}: the {self._noun} could not be written ({reason}); check the"
            " free space and the rights of the folder, or name the output elsewhere"
        )


def abandon(container: OutputContainer) -> None:
    """Close a file that is given up; one that is closed already stays so."""
    # Closing writes the trailer, which fails again on a full disk.
    try:
        container.close()
    except (FFmpegError, OSError):
        pass


def check_size(
    path: Path, number: int, frame: Frame | VideoFrame, *, height: int, width: int
) -> None:
    """Check that a frame is RGB or native and of the output's size.

    Raises:
        VideoError: it is not; the text names ``path`` and the frame's ``number``.
    """
    if isinstance(frame, VideoFrame):
        found = f"{frame.width}x{frame.height}"
        fits = frame.width == width and frame.height == height
    else:
        found = f"{frame.dtype} {frame.shape}"
        fits = frame.dtype == np.uint8 and frame.ndim == 3 and frame.shape[2] == 3
        fits = fits and frame.shape[1] == width
        fits = fits and frame.shape[0] == height
    if not fits:
        raise VideoError(
            f"{path}: frame {number} is {found}; it must be {width}x{height} RGB uint8 "
            "(height, width, 3) or a native frame of that size"
        )


def check_order(path: Path, number: int, pts: int, last: int | None) -> None:
    """Check that a time stamp is above the last one.

    Raises:
        VideoError: it is not.
    """
    if last is not None and pts <= last:
        raise VideoError(
            f"{path}: pts of frame {number} is {pts}; it must be above the last "
            f"frame's {last}; write the frames in the order of display"
        )


def show_frame(frame: Frame | VideoFrame, color: ColorTags) -> Frame:
    """Make the RGB picture of a frame; HDR is tone-mapped.

    Args:
        frame: RGB in the transfer that ``color`` says, or native.
        color: the source's tags.
    """
    rgb = convert_to_rgb(frame) if isinstance(frame, VideoFrame) else frame
    return tone_map(rgb, color)
