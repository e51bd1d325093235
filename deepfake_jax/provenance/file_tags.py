"""What a file's metadata says of how it was made, whoever wrote it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import av
from av.error import FFmpegError
from PIL import ExifTags

from deepfake_jax.json_files import parse_object
from deepfake_jax.media.file_kinds import find_format, find_kind
from deepfake_jax.media.opened_pictures import PictureError
from deepfake_jax.media.pictures import read_extras
from deepfake_jax.media.xmp import read_film_xmp, read_source_type
from deepfake_jax.provenance.credential_reader import SYNTHETIC

_KEYS = ("synthetic", "digital_source_type", "tool", "credential", "watermark")


@dataclass(frozen=True)
class MetadataFound:
    """What a file's own metadata says.

    Attributes:
        synthetic: that a machine made it or a part of it.
        source_type: IPTC's term of the XMP, or of this program's tags.
        tool: the program, where it is named.
        tags: those that this program writes.
    """

    synthetic: bool = False
    source_type: str = ""
    tool: str = ""
    tags: Mapping[str, str] | None = None

    def describe(self) -> str:
        """In a few words."""
        if not self.synthetic:
            return "metadata that says nothing of it"
        return f"metadata that says so ({self.source_type or self.tool})"


def read_metadata(path: Path) -> MetadataFound:
    """Reads XMP and tags of a picture or video; a file of another kind has none."""
    picture = find_kind(path) == "picture" or find_format(path).startswith("a")
    xmp, tags = _read_picture(path) if picture else _read_video(path)
    tags = {name: tags[name] for name in _KEYS if name in tags}
    term = read_source_type(xmp) or tags.get("digital_source_type", "").rsplit("/")[-1]
    synthetic = term in SYNTHETIC or tags.get("synthetic") == "true"
    return MetadataFound(synthetic, term, tags.get("tool", ""), tags)


def _read_picture(path: Path) -> tuple[bytes, dict[str, str]]:
    try:
        extras = read_extras(path)
    except PictureError:
        return b"", {}
    tags = dict(extras.texts)
    said = str(extras.exif.get(ExifTags.Base.ImageDescription, ""))
    values = parse_object(said) or {}
    tags |= {name: str(value) for name, value in values.items()}
    return extras.xmp, tags


def _read_video(path: Path) -> tuple[bytes, dict[str, str]]:
    tags: dict[str, str] = {}
    try:
        with av.open(f"file:{path}", metadata_errors="replace") as container:
            tags = {name.lower(): text for name, text in container.metadata.items()}
    except (FFmpegError, OSError, ValueError):
        pass
    return read_film_xmp(path), tags
