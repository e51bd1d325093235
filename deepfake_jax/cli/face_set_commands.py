"""The commands from footage to face sets."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import tyro
from pydantic import Field

from deepfake_jax.cli.command import Command, Flat, Switch, keep_compiled
from deepfake_jax.extract_config import ExtractConfig
from deepfake_jax.progress import count, list_shares
from deepfake_jax.train_config import ConfigError


@dataclass(frozen=True, kw_only=True)
class Extract(Command):
    """Make face sets: find, follow, align and record the faces of some footage.

    Example:
        deepfake-jax extract interview.mp4 holiday/ --out faces_a

    SOURCE is a video, a picture or a folder of pictures. If it shows one person, OUT is
    their face set. If it shows several, OUT holds a set a person (person_1 is the one
    seen most) and people.png shows who is who; --person N, --person PICTURE,
    --reference and --not-reference choose. The same command goes on where an
    interrupted one stopped. Some hundred faces in varied poses, light and expressions
    train well; look through them with `deepfake-jax faces OUT`.
    """

    sources: Annotated[
        tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="SOURCE...")
    ]
    """Videos, pictures or folders of pictures."""
    out: Path
    """Folder of the face set or sets; made anew."""
    workers: Annotated[int, Field(ge=1)] | None = None
    """Search several videos at once, by so many processes."""
    cluster: str = ""
    """Search them on a Ray cluster: ray://HOST:PORT, or auto for this machine's. All of
    its machines must see the videos and one DEEPFAKE_JAX_CACHE."""
    options: Annotated[ExtractConfig, Flat] = ExtractConfig()

    on_interrupt: ClassVar[str] = "the same command goes on from here"

    def verify(self) -> None:
        """Raises ConfigError where nothing is to be read."""
        if not self.sources:
            raise ConfigError("extract needs a SOURCE: a video, a picture or a folder")

    def execute(self) -> Any:
        """Makes the sets: an `ExtractResult`."""
        keep_compiled()
        if self.workers or self.cluster:
            from deepfake_jax.cluster.extract_films import extract_films

            sources, how = list(self.sources), (self.workers, self.cluster)
            return extract_films(
                sources, self.out, self.options, workers=how[0], cluster=how[1]
            )
        from deepfake_jax.face_sets.extraction import extract_faces

        return extract_faces(list(self.sources), self.out, self.options)

    def text(self, result: Any) -> str:
        """How many faces of whom, where they are, and what was left out."""
        lines = [
            f"{count(result.faces, 'face')} from {count(result.frames, 'frame')} in "
            f"{result.out}, {result.frames_per_second:.1f} frames/s"
        ]
        if result.parts:
            lines.append(f"work: {list_shares(result.parts)}")
        if result.jitter_before is not None:
            lines.append(
                f"jitter {result.jitter_before:.2f} pixels of 256, after steadying "
                f"{result.jitter_after:.2f}"
            )
        if result.dropped:
            left = ", ".join(f"{n} for {why}" for why, n in result.dropped.items())
            lines.append(f"left out: {left}")
        if len(result.persons) > 1:
            lines.append("several people (people.png shows who is who):")
            for person in result.persons[:10]:
                faces = count(person.faces, "face")
                lines.append(f"  person {person.number}: {faces} in {person.folder}")
            if len(result.persons) > 10:
                lines.append(f"  and {len(result.persons) - 10} more")
        return "\n".join(lines)


@dataclass(frozen=True, kw_only=True)
class Faces(Command):
    """Look through a face set: a summary, contact sheets, sorting and dropping.

    Example:
        deepfake-jax faces faces_a --drop "yaw>60 or sharpness<0.15"

    Writes sheet_people.png, sheet_poses.png and sheet_worst.png into FOLDER. A query
    compares file, source, frame, time, person, track, width (of the face in its frame,
    pixels), size, score, alignment, landmarks (how many), sharpness, occlusion, yaw,
    pitch, roll (degrees, without sign) or filled with a value; join conditions by and,
    or. Dropped faces are only left out of the record, until --delete.
    """

    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER")]
    """A face set, or the folder of several people's sets."""
    sort: str = ""
    """Order the record by a key, such as sharpness; "-sharpness" for falling order."""
    drop: str = ""
    """Leave out the faces that meet a query, such as "yaw>60"."""
    keep: str = ""
    """Leave out all faces but those that meet a query, such as "person==2"."""
    restore: Switch = False
    """First bring back the faces that queries left out."""
    delete: Switch = False
    """Remove the pictures of faces that are left out."""
    check: Switch = False
    """Compare the record with the pictures; exit status 1 if something is wrong."""
    repair: Switch = False
    """Rebuild the record from what is there."""
    sheets: bool = True
    """Write contact sheets."""

    def execute(self) -> Any:
        """Edits and looks through the sets: a `FacesResult`."""
        from deepfake_jax.face_sets.review import review_faces

        return review_faces(
            self.folder,
            sort=self.sort,
            drop=self.drop,
            keep=self.keep,
            restore=self.restore,
            delete=self.delete,
            check=self.check,
            repair=self.repair,
            sheets=self.sheets,
        )

    def text(self, result: Any) -> str:
        """A summary of the set, and the contact sheets."""
        from deepfake_jax.face_sets.face_set import list_sets, read_record
        from deepfake_jax.face_sets.review import summarise

        records = [r for part in list_sets(self.folder) for r in read_record(part)[1]]
        return "\n".join([summarise(result, records), *result.sheets])

    def problems(self, result: Any) -> Sequence[str]:
        """What a check found wrong, or a repair mended."""
        return result.problems

    def failed(self, result: Any) -> bool:
        """Whether something is wrong; what was repaired is not."""
        return bool(result.problems) and not self.repair
