"""Videos and pictures to a face set: detect, align, sort by person, record.

A set is written into a hidden folder beside its place and renamed when it is whole.
"""

import logging
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import cv2
import numpy as np

from deepfake_jax.align import FACE_SIZE, frame_to_face_matrix, warp_face
from deepfake_jax.detect import Detection, Detector, make_detector
from deepfake_jax.faceset import RECORD_NAME, FaceRecord, make_header, write_record
from deepfake_jax.identity import (
    SAME_PERSON,
    Embedder,
    Embedding,
    cluster_persons,
    make_embedder,
    mean_embedding,
)
from deepfake_jax.options import ExtractConfig
from deepfake_jax.pictures import PictureError, read_picture
from deepfake_jax.pipeline import run_ahead
from deepfake_jax.progress import Progress
from deepfake_jax.source import (
    Source,
    describe_source,
    list_sources,
    read_source,
)
from deepfake_jax.types import Face
from deepfake_jax.video import TimedFrame, VideoError

_log = logging.getLogger("deepfake_jax")


class ExtractError(ValueError):
    """Nothing could be extracted; the text says why and the usual fix."""


@dataclass(frozen=True)
class ExtractResult:
    """What an extraction gave.

    Attributes:
        frames: frames searched.
        faces: faces in the set.
        other_faces: faces of other people, left out.
        persons: people told apart.
        problems: sources that could be read in part only.
        out: the set's folder.
    """

    frames: int
    faces: int
    other_faces: int
    persons: int
    problems: tuple[str, ...]
    out: str


def extract_faces(
    sources: list[str | Path] | str | Path,
    out: str | Path,
    config: ExtractConfig | None = None,
) -> ExtractResult:
    """Makes a face set of every face, or the main person's, in some footage.

    Args:
        sources: videos, pictures and folders of pictures.
        out: folder of the set, made anew.
        config: which faces to keep.

    Raises:
        ExtractError: no face was found, or `out` exists and may not be replaced.
        SourceError: a source does not exist or is empty.
        VideoError: a source is no video.
        PictureError: a source is no picture.
    """
    config = config or ExtractConfig()
    out = Path(out)
    _check_out(out, overwrite=config.overwrite)
    paths = [sources] if isinstance(sources, str | Path) else sources
    files = list_sources([Path(path) for path in paths])
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        found = _Extraction(partial, config)
        found.read(files)
        result = found.finish(files, out)
        if out.exists():
            shutil.rmtree(out)
        partial.rename(out)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return result


def _check_out(out: Path, *, overwrite: bool) -> None:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not (out / RECORD_NAME).exists():
        raise ExtractError(
            f"--out {out} exists and is no face set; name a new folder (it would not "
            "be safe to replace this one)"
        )
    if not overwrite:
        raise ExtractError(
            f"the face set {out} exists; give --overwrite to replace it, or name "
            "another --out"
        )


class _Extraction:
    """An extraction under way: faces on disk, their lines and embeddings in memory."""

    def __init__(self, folder: Path, config: ExtractConfig):
        self.folder, self.config = folder, config
        self.detect: Detector = make_detector(min_score=config.min_score)
        self.embed: Embedder = make_embedder()
        self.reference: Embedding | None = None
        if config.person not in ("main", "all"):
            self.reference = _read_reference(config.person, self.detect, self.embed)
        self.frames = 0
        self.records: list[FaceRecord] = []
        self.embeddings: list[Embedding] = []
        self.problems: list[str] = []

    def read(self, sources: list[Source]) -> None:
        """Extracts every face of every source."""
        counts = [source.frames for source in sources]
        total = None if None in counts else sum(count or 0 for count in counts)
        with Progress("extract", total=total, unit="frame") as progress:
            seen = 0
            for number, source in enumerate(sources):
                for timed in run_ahead(self._frames(source, len(sources))):
                    seen += 1
                    if timed.index % self.config.every == 0:
                        self._extract_frame(number, source, timed)
                    progress.update_to(seen, f"{len(self.records)} faces")

    def _frames(self, source: Source, sources: int) -> Iterator[TimedFrame]:
        """Frames of a source; what is damaged is noted where the rest can be used."""
        read = 0
        try:
            for timed in read_source(source):
                read += 1
                yield timed
        except (VideoError, PictureError) as error:
            if read == 0 and sources == 1:
                raise
            self.problems.append(str(error))
            _log.warning("%s", error)

    def _extract_frame(self, number: int, source: Source, timed: TimedFrame) -> None:
        self.frames += 1
        for index, detection in enumerate(self.detect(timed.frame)):
            if detection.box[2] < self.config.min_size:
                continue
            matrix = frame_to_face_matrix(detection.landmarks)
            name = f"{number:03d}_{timed.index:06d}_{index}.png"
            _write_face(self.folder / name, warp_face(timed.frame, matrix))
            self.embeddings.append(self.embed(timed.frame, detection))
            self.records.append(_make_record(name, source, timed, detection, matrix))

    def finish(self, sources: list[Source], out: Path) -> ExtractResult:
        """Sorts the faces by person, drops the others' and writes the record."""
        if not self.records:
            names = ", ".join(source.path.name for source in sources[:3])
            raise ExtractError(
                f"no face found in {self.frames} frames of {names}"
                f"{' and others' if len(sources) > 3 else ''}; nothing was written. "
                "Lower --min-score (now "
                f"{self.config.min_score}) or --min-size (now {self.config.min_size})"
            )
        embeddings = np.stack(self.embeddings)
        labels = cluster_persons(embeddings)
        wanted = self._choose_person(embeddings, labels)
        keep = labels == wanted if wanted is not None else labels >= 0
        kept = []
        for record, is_wanted in zip(self.records, keep, strict=True):
            if is_wanted:
                kept.append(record)
            else:
                (self.folder / record.file).unlink()
        header = make_header([describe_source(s) for s in sources], own_version())
        if wanted is not None or labels.max() == 0:
            header["identity"] = np.round(
                mean_embedding(embeddings[keep]).astype(np.float64), 6
            ).tolist()
        write_record(self.folder, header, kept)
        return ExtractResult(
            frames=self.frames,
            faces=len(kept),
            other_faces=len(self.records) - len(kept),
            persons=int(labels.max()) + 1,
            problems=tuple(self.problems),
            out=str(out),
        )

    def _choose_person(self, embeddings: np.ndarray, labels: np.ndarray) -> int | None:
        """The label to keep, None for all; raises ExtractError if none is like it."""
        if self.config.person == "all":
            return None
        if self.reference is None:
            return 0
        people = range(int(labels.max()) + 1)
        cosines = [
            float(mean_embedding(embeddings[labels == person]) @ self.reference)
            for person in people
        ]
        best = int(np.argmax(cosines))
        if cosines[best] < SAME_PERSON:
            raise ExtractError(
                f"none of the {len(people)} people in this footage looks like --person "
                f"{self.config.person} (best cosine {cosines[best]:.2f}, needed "
                f"{SAME_PERSON}); nothing was written. Give another picture of them, "
                "or --person all"
            )
        return best


def _read_reference(path: str, detect: Detector, embed: Embedder) -> Embedding:
    """The embedding of the largest face of a picture."""
    frame = read_picture(Path(path))
    detections = detect(frame)
    if not detections:
        raise ExtractError(f"no face in --person {path}; give a clear picture of them")
    return embed(frame, detections[0])


def _make_record(
    name: str,
    source: Source,
    timed: TimedFrame,
    detection: Detection,
    matrix: np.ndarray,
) -> FaceRecord:
    return FaceRecord(
        file=name,
        source=source.path.name,
        frame=timed.index,
        time=round(timed.time, 6),
        box=tuple(np.round(detection.box, 2).tolist()),
        score=round(detection.score, 4),
        landmarks=tuple(map(tuple, np.round(detection.landmarks, 3).tolist())),
        frame_to_face=tuple(map(tuple, matrix.tolist())),
        size=round(float(FACE_SIZE / np.sqrt(np.linalg.det(matrix[:, :2]))), 2),
    )


def _write_face(path: Path, face: Face) -> None:
    # OpenCV's own compression level: level 1 takes twice as long for 20% less.
    done, data = cv2.imencode(".png", cv2.cvtColor(face, cv2.COLOR_RGB2BGR))
    if not done:
        raise ExtractError(f"OpenCV could not encode the face {path.name}")
    path.write_bytes(data.tobytes())


def own_version() -> str:
    """The version of this package, or "0" where it runs uninstalled."""
    try:
        return version("deepfake-jax")
    except PackageNotFoundError:
        return "0"
