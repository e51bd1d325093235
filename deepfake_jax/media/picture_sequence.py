"""Write a folder of pictures, one a frame, with the times beside them."""

import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from av import VideoFrame

from deepfake_jax.files import partial_path
from deepfake_jax.json_files import read_object, write_json
from deepfake_jax.media.frame_writer import FrameWriter, OutputSpec
from deepfake_jax.media.opened_videos import VideoError
from deepfake_jax.media.pictures import (
    PICTURE_SUFFIXES,
    PictureError,
    is_picture,
    write_picture,
)
from deepfake_jax.types import Frame

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


class SequenceWriter(FrameWriter):
    """Write pictures numbered from 0; a context manager.

    They are written into a hidden folder beside the output's, which gets its name when
    the block ends well; an exception removes it. `TIMES_FILE` tells when each picture
    is shown, in seconds from the first.
    """

    noun = "pictures"

    def __init__(self, spec: OutputSpec) -> None:
        """Note what is wanted.

        Raises:
            VideoError: a name that cannot be one of a sequence.
        """
        super().__init__(spec)
        self._path, self._pattern = split_pattern(spec.path)
        self._stamps: list[int] = []
        if not self._path.name:
            raise VideoError(
                f"{spec.path}: the pictures need a folder of their own; name the "
                f"output like frames/{self._pattern}"
            )

    @contextmanager
    def _lend_partial(self) -> Iterator[Path]:
        folder = self._path
        self._refuse_full()
        partial = partial_path(folder)
        try:
            partial.mkdir(parents=True)
            yield partial
            self._refuse_full()
            if folder.exists():
                self._replace_pictures(partial)
            else:
                partial.rename(folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def _replace_pictures(self, partial: Path) -> None:
        """Moves the new pictures to where earlier ones are, whose rest goes.

        The file of times names both until the end, so that the next try knows, whenever
        this one is cut short, which pictures are of an output.
        """
        new = read_object(partial / TIMES_FILE)
        stale = self._list_written() - set(new)
        write_json(self._path / TIMES_FILE, {**dict.fromkeys(stale, 0.0), **new})
        for path in partial.iterdir():
            if path.name != TIMES_FILE:
                path.replace(self._path / path.name)
        for name in stale:
            for gone in (name, f"{name}.c2pa"):  # its credential, beside a BMP
                (self._path / gone).unlink(missing_ok=True)
        (partial / TIMES_FILE).replace(self._path / TIMES_FILE)

    def _open(self, stack: ExitStack) -> None:
        """The folder is all there is to open."""

    def _write(self, frame: Frame | VideoFrame, pts: int, duration: int | None) -> None:
        path = self._partial / (self._pattern % self._count)
        try:
            write_picture(
                path,
                self._show(frame),
                metadata=self._spec.metadata,
                source_type=self._spec.source_type,
                seal=self._spec.seal,
            )
        except PictureError as error:
            raise VideoError(str(error)) from error
        self._stamps.append(pts)

    def _finish(self) -> None:
        times = {
            self._pattern % number: float(
                (pts - self._stamps[0]) * self._spec.time_base
            )
            for number, pts in enumerate(self._stamps)
        }
        write_json(self._partial / TIMES_FILE, times, indent=0)

    def _seal(self) -> None:
        """Each picture has been sealed as it was written."""

    def _list_written(self) -> set[str]:
        """Pictures of an earlier output that the new one would have named so, too."""
        names = read_object(self._path / TIMES_FILE)
        before, after = _NUMBER.split(self._pattern)
        shape = re.compile(re.escape(before) + "[0-9]+" + re.escape(after))
        return {name for name in names if shape.fullmatch(name)}

    def _refuse_full(self) -> None:
        folder = self._path
        if folder.exists() and not folder.is_dir():
            raise VideoError(f"{folder}: is a file; name a folder for the pictures")
        if not self._spec.overwrite and folder.is_dir() and any(folder.iterdir()):
            raise VideoError(
                f"{folder}: holds files already; choose another name or allow "
                "overwriting"
            )
