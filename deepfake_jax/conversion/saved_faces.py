"""Swapped faces on disk, for compositing in other programs.

A folder of ``FRAME_TRACK_face.png`` (8 bits, matched in color, signed as the output
is, without the watermark, which is put into whole frames), ``FRAME_TRACK_mask.png`` (16
bits, 65535 is opaque) and ``faces.jsonl``, a line a face:
``frame``, ``time`` (seconds), ``track``, ``face``, ``mask`` (file names),
``face_to_frame`` and ``mask_to_frame`` (2x3 matrices from the pixels of each picture to
the frame's).
"""

import json
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from deepfake_jax.conversion.compose import FinishedFace
from deepfake_jax.conversion.frame_swapper import SwappedFrame
from deepfake_jax.conversion.marking import Marks
from deepfake_jax.files import check_known, write_whole_folder
from deepfake_jax.imaging.affine import compose_affine, invert_affine, resize_affine
from deepfake_jax.media.pictures import write_picture
from deepfake_jax.output_lock import lock_output
from deepfake_jax.provenance.facts import DIGITAL_SOURCE_TYPE

_RECORD = "faces.jsonl"
_KNOWN = (_RECORD, "*_face.png", "*_mask.png")


class FaceLogError(ValueError):
    """A folder that cannot take faces; the text says why and the fix."""


class FaceLog:
    """Saves each swapped face of a conversion; may be used from several threads.

    A context manager. The folder appears at the end of the block, whole, in place of an
    older one; also when the conversion did not end well, with the faces until then. No
    face, no folder.

    Args:
        folder: must be new or empty unless `overwrite`.
        overwrite: whether faces saved earlier may be replaced.
        marks: what says of each face that it is synthetic.

    Raises:
        FaceLogError: the folder holds something.
        ForeignFilesError: it holds what no `FaceLog` wrote.
    """

    def __init__(self, folder: Path, *, overwrite: bool, marks: Marks | None = None):
        self._folder, self._overwrite = folder.resolve(), overwrite
        self._marked: dict[str, Any] = {}
        if marks is not None:
            self._marked = {
                "metadata": marks.metadata,
                "source_type": DIGITAL_SOURCE_TYPE,
                "seal": marks.seal,
            }
        self._lines: list[tuple[int, int, str]] = []
        self._lock = threading.Lock()
        self._stack = ExitStack()
        self._partial: Path | None = None

    def __enter__(self) -> "FaceLog":
        """Checks the folder and holds it."""
        folder = self._folder
        if folder.is_file():
            raise FaceLogError(f"--save-faces {folder} is a file; name a folder")
        if folder.exists() and any(folder.iterdir()) and not self._overwrite:
            raise FaceLogError(
                f"--save-faces {folder} is not empty; name a new folder, or give "
                "--overwrite"
            )
        check_known(folder, _KNOWN)
        self._stack.enter_context(lock_output(folder))
        return self

    def __exit__(self, *_: object) -> None:
        """Writes the record of the faces, in the order of frames."""
        with self._stack:
            if self._partial is not None:
                text = "".join(f"{line}\n" for *_, line in sorted(self._lines))
                (self._partial / _RECORD).write_text(text, encoding="utf-8")

    def add(self, frame: SwappedFrame, finished: list[FinishedFace]) -> None:
        """Writes the faces of a frame.

        Args:
            frame: the frame.
            finished: what `finish_face` gave for each of its faces.
        """
        for face, (new, mask) in zip(frame.faces, finished, strict=True):
            folder = self._open()
            track = face.placed.track
            stem = f"{frame.timed.index:06d}_{track:03d}"
            names = f"{stem}_face.png", f"{stem}_mask.png"
            write_picture(folder / names[0], new, overwrite=True, **self._marked)
            levels = np.rint(mask * 65535).astype(np.uint16)
            # Not `tofile`, which says nothing of a full disk.
            (folder / names[1]).write_bytes(cv2.imencode(".png", levels)[1].tobytes())
            to_frame = invert_affine(face.frame_to_crop)
            to_face = resize_affine(len(new) / len(mask))
            line = {
                "frame": frame.timed.index,
                "time": round(frame.timed.time, 6),
                "track": track,
                "face": names[0],
                "mask": names[1],
                "face_to_frame": to_frame.round(6).tolist(),
                "mask_to_frame": compose_affine(to_frame, to_face).round(6).tolist(),
            }
            with self._lock:
                self._lines.append((frame.timed.index, track, json.dumps(line)))

    def _open(self) -> Path:
        """The hidden folder, made with the first face."""
        with self._lock:
            if self._partial is None:
                whole = write_whole_folder(self._folder, known=_KNOWN)
                self._partial = self._stack.enter_context(whole)
            return self._partial
