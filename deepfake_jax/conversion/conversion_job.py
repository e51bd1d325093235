"""What a conversion reads and writes, checked before the first frame.

Whatever can be refused is refused here: hours of work must not end in an error that
could have been told at once, nor in the loss of what this program did not write.
"""

import glob
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from deepfake_jax.conversion.search import ConvertError
from deepfake_jax.convert_config import ConvertConfig
from deepfake_jax.files import check_known
from deepfake_jax.json_files import read_object
from deepfake_jax.media.animation_writer import SUFFIXES
from deepfake_jax.media.file_kinds import find_kind, is_picture
from deepfake_jax.media.outputs import check_output
from deepfake_jax.media.picture_sequence import is_sequence, split_pattern
from deepfake_jax.media.sources import SourceError, holds_picture, list_folder
from deepfake_jax.provenance.credentials import credential_path
from deepfake_jax.provenance.facts import TOOL, sidecar_path, write_sidecar

_LONGEST_NAME = 255  # bytes, on all common disks


@dataclass(frozen=True)
class ConversionJob:
    """One source and one output, with links and dots resolved.

    Attributes:
        source: the footage.
        kind: of the source.
        out: the output as its writer takes it, a sequence's pattern included.
        place: the file or the folder that appears.
        pictures: names of those of a folder, in order.
        known: files that may lie in a folder of pictures that is replaced.
    """

    source: Path
    kind: Literal["film", "picture", "folder"]
    out: Path
    place: Path
    pictures: tuple[str, ...] = ()
    known: tuple[str, ...] = ()

    @property
    def sidecar(self) -> Path:
        """The file that says what the output is."""
        return sidecar_path(self.place)

    def tell_first(self, facts: dict[str, Any]) -> None:
        """Writes the sidecar before the output appears, where none is there yet.

        Else a kill in between would leave an output that nothing tells of, and that the
        same command then refuses to replace.
        """
        if not self.place.exists():
            write_sidecar(self.place, facts)

    def drop_stray_sidecar(self) -> None:
        """Removes the sidecar of an output that did not come to be."""
        if not self.place.exists():
            self.sidecar.unlink(missing_ok=True)

    def check_output(self, *, overwrite: bool) -> None:
        """Refuses to lose what is there; to be called with the output's lock.

        Raises:
            ConvertError: the output exists, or its sidecar is somebody else's file.
            ForeignFilesError: a folder that would be replaced holds other files.
        """
        there = self.place.exists()
        if self.place.is_dir() and not any(self.place.iterdir()):
            there = False
        if there and not overwrite:
            raise ConvertError(f"{self.place} exists; give --overwrite to replace it")
        if self.sidecar.exists() and read_object(self.sidecar).get("tool") != TOOL:
            raise ConvertError(
                f"{self.sidecar} is in the way: what the output is would be written "
                "there. Move that file, or name another --out"
            )
        if self.kind == "folder":
            check_known(self.place, self.known)


def make_job(source: Path, out: Path, config: ConvertConfig) -> ConversionJob:
    """Says what is read and written.

    Raises:
        SourceError: no such source.
        ConvertError: an output that does not fit the source, or lies in its way.
        VideoError: a name or an encoder that no video can be written by.
    """
    if source.is_dir():
        job = _make_folder_job(source, out)
    elif holds_picture(source):
        job = _make_picture_job(source, out)
    else:
        job = _make_film_job(source, out, config)
    if job.place.exists() and source.resolve() == job.place.resolve():
        noun = "folder" if job.place.is_dir() else "file"
        raise ConvertError(f"--out is the source itself; name another {noun}")
    if job.place == Path.cwd():
        raise ConvertError("--out is the folder you are in; name one inside it")
    _check_parents(job.place)
    if config.save_faces:
        faces = Path(config.save_faces).resolve()
        for path in (job.place.resolve(), job.sidecar.resolve()):
            if faces == path or faces in path.parents or path in faces.parents:
                raise ConvertError(
                    f"--save-faces {faces} and --out {path} lie in each other; name "
                    "two separate folders"
                )
    return job


def _make_folder_job(source: Path, out: Path) -> ConversionJob:
    if out.exists() and not out.is_dir():
        raise ConvertError(
            f"{source} is a folder, so --out must be one; {out} is a file"
        )
    pictures, _ = list_folder(source, films=False)
    if not pictures:
        raise SourceError(f"{source} holds no pictures")
    place = out.resolve()
    # Of an earlier job, which may have had more pictures, its sidecar knows the names.
    names = {path.name for path in pictures}
    names.update(map(str, read_object(sidecar_path(place)).get("pictures", ())))
    # What cannot hold a credential has it beside.
    beside = {credential_path(Path(name)).name for name in names}
    known = tuple(glob.escape(name) for name in sorted(names | beside))
    shown = tuple(path.name for path in pictures)
    return ConversionJob(source, "folder", place, place, shown, known)


def _make_picture_job(source: Path, out: Path) -> ConversionJob:
    if out.is_dir():
        raise ConvertError(
            f"--out {out} is a folder; name a file, such as {out / source.name}"
        )
    if not is_picture(out):
        raise ConvertError(
            f"{source.name} is a picture, so --out must name one too; got {out.name}"
        )
    return ConversionJob(source, "picture", out, out)


def _make_film_job(source: Path, out: Path, config: ConvertConfig) -> ConversionJob:
    moves = find_kind(source) == "animation" and out.suffix.lower() in SUFFIXES
    if is_picture(out) and not is_sequence(out) and not moves:
        raise ConvertError(
            f"{source.name} is a video or an animation, so --out must name a video, a "
            f"GIF, or numbered pictures such as {out.with_name('%06d' + out.suffix)}; "
            f"got {out.name}"
        )
    if check_output(out, codec=config.encoder, crf=config.crf) != "sequence":
        return ConversionJob(source, "film", out, out)
    folder, pattern = split_pattern(out)
    place = folder.resolve()
    return ConversionJob(source, "film", place / pattern, place)


def _check_parents(place: Path) -> None:
    """Checks that the output can be made where it is to be."""
    parent = next(path for path in place.absolute().parents if path.exists())
    if not parent.is_dir():
        raise ConvertError(f"--out {place}: {parent} is a file, not a folder")
    if not os.access(parent, os.W_OK):
        raise ConvertError(f"--out {place}: you may not write into {parent}")
    if len(os.fsencode(sidecar_path(place).name)) > _LONGEST_NAME:
        raise ConvertError(
            f"--out {place}: a name may have {_LONGEST_NAME} bytes, and .json is added "
            "to this one for the file beside it; name the output shorter"
        )
