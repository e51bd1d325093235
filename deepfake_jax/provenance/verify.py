"""What a file says of itself: credential, watermark, metadata and sidecar, in words.

Works on files of any program. Nothing is fetched and nothing is sent: a credential
that lies somewhere in the net is not looked up.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from deepfake_jax.json_files import read_object
from deepfake_jax.media.file_kinds import VIDEO_SUFFIXES, find_trouble, is_picture
from deepfake_jax.media.picture_sequence import TIMES_FILE
from deepfake_jax.media.pictures import list_pictures
from deepfake_jax.provenance.credential_reader import CredentialFound, read_credential
from deepfake_jax.provenance.facts import TOOL, sidecar_path
from deepfake_jax.provenance.file_tags import MetadataFound, read_metadata
from deepfake_jax.provenance.watermark_reader import WatermarkFound
from deepfake_jax.provenance.watermark_samples import look_for_watermark


class VerifyError(ValueError):
    """A path that cannot be looked at; the text says why and the fix."""


@dataclass(frozen=True)
class SidecarFound:
    """The JSON file beside an output.

    Attributes:
        status: "found", "absent", or "another's": it is about another file.
        facts: what it says.
    """

    status: Literal["found", "absent", "another's"]
    facts: dict[str, Any]


@dataclass(frozen=True)
class FileVerdict:
    """What is known of one file.

    Attributes:
        file: its path.
        marked: whether anything in it says that it is synthetic.
        broken: whether a credential does not fit it: the file was changed.
        verdict: in words.
        credential: of C2PA.
        watermark: in the pixels.
        metadata: of the file itself.
        sidecar: beside it.
    """

    file: str
    marked: bool
    broken: bool
    verdict: str
    credential: CredentialFound
    watermark: WatermarkFound
    metadata: MetadataFound
    sidecar: SidecarFound

    def describe(self) -> str:
        """The verdict and what it rests on, in a line."""
        said = [
            self.credential.describe(),
            self.watermark.describe(),
            self.metadata.describe(),
        ]
        if self.sidecar.status == "found":
            said.append("a JSON beside it")
        elif self.sidecar.status != "absent":
            said.append("a JSON beside it that is about another file")
        return f"{self.file}: {self.verdict}; {'; '.join(said)}"


@dataclass(frozen=True)
class VerifyResult:
    """What is known of all files.

    Attributes:
        files: one by one, the pictures of a folder as well.
        marked: whether each path that was given is marked, and nothing is broken.
    """

    files: tuple[FileVerdict, ...]
    marked: bool


def verify_files(
    paths: Sequence[str | Path], *, trust: str | Path | None = None
) -> VerifyResult:
    """Looks whether files say that they are synthetic, and whether that holds.

    Args:
        paths: videos, pictures or folders of pictures.
        trust: PEM file of certificates whose signers are trusted.

    Raises:
        VerifyError: a path that does not exist or holds nothing to look at.
    """
    anchors = _read_anchors(trust)
    verdicts: list[FileVerdict] = []
    marked = True
    for path in map(Path, paths):
        files = list(_list_files(path))
        together = _look_together(path, files)
        found = [_verify(file, path, anchors, together) for file in files]
        # A folder's pictures without the face are copies and say nothing.
        marked &= any(v.marked for v in found) and not any(v.broken for v in found)
        verdicts += found
    return VerifyResult(tuple(verdicts), marked)


def _read_anchors(trust: str | Path | None) -> str:
    if trust is None:
        return ""
    try:
        text = Path(trust).read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise VerifyError(f"--trust {trust} cannot be read: {error}") from None
    if "BEGIN CERTIFICATE" not in text:
        raise VerifyError(f"--trust {trust} holds no certificates in PEM")
    return text


def _list_files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        films = [p for p in sorted(path.iterdir()) if _is_film(p)]
        files = [*list_pictures(path), *films]
        if not files:
            raise VerifyError(f"{path} holds no pictures or videos")
        yield from files
        return
    if trouble := find_trouble(path):
        raise VerifyError(trouble)
    yield path


def _is_film(path: Path) -> bool:
    hidden = path.name.startswith(".")
    return path.suffix.lower() in VIDEO_SUFFIXES and path.is_file() and not hidden


def _look_together(path: Path, files: Sequence[Path]) -> WatermarkFound | None:
    """The watermark of numbered pictures, which show it together."""
    if not (path.is_dir() and (path / TIMES_FILE).is_file()):
        return None
    return look_for_watermark(list(filter(is_picture, files)), thorough=True)


def _verify(
    path: Path, given: Path, anchors: str, together: WatermarkFound | None
) -> FileVerdict:
    credential = read_credential(path, anchors=anchors)
    # What is as it was signed was neither cut nor scaled.
    whole = credential.status in ("valid", "trusted", "expired")
    watermark = together or look_for_watermark([path], thorough=not whole)
    metadata = read_metadata(path)
    sidecar = _read_sidecar(path, given, credential)
    broken = credential.status in ("tampered", "unreadable")
    marked = credential.synthetic or metadata.synthetic or watermark.found
    marked |= sidecar.status == "found" and sidecar.facts.get("synthetic") is True
    return FileVerdict(
        file=str(path),
        marked=marked,
        broken=broken,
        verdict=_conclude(marked=marked, broken=broken, model=credential.model),
        credential=credential,
        watermark=watermark,
        metadata=metadata,
        sidecar=sidecar,
    )


def _conclude(*, marked: bool, broken: bool, model: bool) -> str:
    if broken:
        return "changed after it was signed, or damaged" + (
            "; still marked as synthetic" if marked else ""
        )
    if marked and model:
        return "a model, marked as making synthetic media"
    return "marked as synthetic" if marked else "says nowhere that it is synthetic"


def _read_sidecar(path: Path, given: Path, credential: CredentialFound) -> SidecarFound:
    places = [sidecar_path(path)]
    if given != path:
        places.append(sidecar_path(given.resolve()))
    for place in places:
        facts = read_object(place)
        if facts.get("tool") != TOOL:
            continue
        pictures = facts.get("source_sha256")
        if isinstance(pictures, dict) and path.name not in pictures:
            continue  # a copy
        expected = str(facts.get("credential", ""))
        mine = credential.identifier
        fits = not mine or not expected or expected == mine
        return SidecarFound("found" if fits else "another's", facts)
    return SidecarFound("absent", {})
