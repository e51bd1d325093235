"""Write a folder of pictures, one a frame, with the times beside them."""

import json
import logging
import re
import shutil
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from types import TracebackType

from av import VideoFrame

from deepfake_jax.media.frame_writer import check_order, check_size, show_frame
from deepfake_jax.media.media_probe import VideoError
from deepfake_jax.media.pictures import (
    PICTURE_SUFFIXES,
    PictureError,
    is_picture,
    write_picture,
)
from deepfake_jax.media.pixel_formats import BT709, ColorTags
from deepfake_jax.types import Frame

_log = logging.getLogger("deepfake_jax")
TIMES_FILE = "times.json"
_NUMBER = re.compile(r"%0?\d*d")
_DEFAULT_NAME = "%06d.png"


def is_sequence(out: Path) -> bool:
    """Say whether an output is one picture a frame.

    It is a name with a place for the number, such as ``frames/%06d.png``, or a folder:
    one that is there, or a name without suffix.
    """
    if is_picture(out):
        return _NUMBER.search(out.name) is not None
    return out.is_dir() or not out.suffix


def split_pattern(out: Path) -> tuple[Path, str]:
    """Split a sequence's name into its folder and the pattern of its files.

    Raises:
        VideoError: a pattern without exactly one place for the number.
    """
    if not is_picture(out):
        if "%" in out.name:
            raise VideoError(
                f"{out}: {out.name!r} has no picture's suffix; name the output like "
                f"frames/{_DEFAULT_NAME}, with one of {' '.join(PICTURE_SUFFIXES)}"
            )
        return out, _DEFAULT_NAME
    if len(_NUMBER.findall(out.name)) != 1 or "%" in _NUMBER.sub("", out.name):
        raise VideoError(
            f"{out}: {out.name!r} must have one place for the frame's number, like "
            f"{_DEFAULT_NAME}"
        )
    return out.parent, out.name


class SequenceWriter:
    """Write pictures numbered from 0; a context manager.

    They are written into a hidden folder beside the output's, which gets its name when
    the block ends well; an exception removes it. `TIMES_FILE` tells when each picture
    is shown, in seconds from the first.
    """

    def __init__(
        self,
        out: Path,
        *,
        width: int,
        height: int,
        time_base: Fraction,
        color: ColorTags = BT709,
        metadata: Mapping[str, str] | None = None,
        sound_from: Path | None = None,
        overwrite: bool = False,
        quality: int = 95,
    ) -> None:
        """Check the choices; the folder is made by the ``with`` statement.

        Args:
            out: a folder, or a folder and a pattern such as ``frames/%06d.jpg``.
            width: of every frame, pixels.
            height: of every frame, pixels.
            time_base: seconds a tick of the time stamps given to `write`.
            color: the source's color tags; HDR is tone-mapped.
            metadata: names and texts to store in each picture.
            sound_from: a file whose sound is left out, which a warning says.
            overwrite: whether files may be put into a folder that is not empty.
            quality: of JPEG and WebP, 1 to 100.

        Raises:
            VideoError: a name that cannot be one of a sequence.
        """
        self._folder, self._pattern = split_pattern(out)
        self._width, self._height = width, height
        self._time_base, self._color = time_base, color
        self._metadata = dict(metadata or {})
        self._overwrite, self._quality = overwrite, quality
        self._partial = self._folder.with_name(f".{self._folder.name}.partial")
        self._stamps: list[int] = []
        if not self._folder.name:
            raise VideoError(
                f"{out}: the pictures need a folder of their own; name the output like "
                f"frames/{self._pattern}"
            )
        if sound_from is not None:
            _log.warning(
                "%s: pictures have no sound; that of %s is left out. Name the output "
                ".mp4 to keep it",
                out,
                sound_from.name,
            )

    def __enter__(self) -> "SequenceWriter":
        """Make the hidden folder; what a killed run left there is removed.

        Raises:
            VideoError: a folder that is not empty, or one that cannot be made.
        """
        folder = self._folder
        if folder.exists() and not folder.is_dir():
            raise VideoError(f"{folder}: is a file; name a folder for the pictures")
        self._refuse_full()
        try:
            shutil.rmtree(self._partial, ignore_errors=True)
            self._partial.mkdir(parents=True)
        except OSError as error:
            raise self._explain(error) from error
        return self

    def write(
        self, frame: Frame | VideoFrame, *, pts: int, duration: int | None = None
    ) -> None:
        """Write one picture.

        Args:
            frame: RGB uint8, height width 3, or a native frame of the same size.
            pts: when it is shown, in ``time_base``; above the last frame's.
            duration: not used: a picture has none.

        Raises:
            VideoError: another size or type, a time stamp that does not increase, or a
                full disk.
        """
        number = len(self._stamps)
        check_size(self._folder, number, frame, height=self._height, width=self._width)
        last = self._stamps[-1] if self._stamps else None
        check_order(self._folder, number, pts, last)
        try:
            write_picture(
                self._partial / (self._pattern % number),
                show_frame(frame, self._color),
                metadata=self._metadata,
                quality=self._quality,
            )
        except PictureError as error:
            raise VideoError(str(error)) from error
        self._stamps.append(pts)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give the folder its name, or remove it when the block raised.

        Raises:
            VideoError: no frame was written, or the folder cannot be renamed.
        """
        try:
            if kind is None:
                self._finish()
        except OSError as failure:
            raise self._explain(failure) from failure
        finally:
            shutil.rmtree(self._partial, ignore_errors=True)

    def _finish(self) -> None:
        if not self._stamps:
            raise VideoError(
                f"{self._folder}: no frame was written, so there is no picture to "
                "keep; check that the source has frames"
            )
        times = {
            self._pattern % number: float((pts - self._stamps[0]) * self._time_base)
            for number, pts in enumerate(self._stamps)
        }
        text = json.dumps(times, indent=0)
        (self._partial / TIMES_FILE).write_text(text, encoding="utf-8")
        self._refuse_full()
        if self._folder.exists():
            for path in self._partial.iterdir():
                path.replace(self._folder / path.name)
        else:
            self._partial.rename(self._folder)

    def _refuse_full(self) -> None:
        folder = self._folder
        if not self._overwrite and folder.is_dir() and any(folder.iterdir()):
            raise VideoError(
                f"{folder}: holds files already; choose another name or allow "
                "overwriting"
            )

    def _explain(self, error: OSError) -> VideoError:
        return VideoError(
            f"{self._folder}: the pictures could not be written ({error.strerror}); "
            "check the free space and the rights of the folder"
        )
