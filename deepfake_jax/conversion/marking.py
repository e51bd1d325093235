"""What one job writes into its outputs to say that they are synthetic, made ready.

All that can be refused is refused when it is made, before hours of work.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from av import VideoFrame

from deepfake_jax.convert_config import ConvertConfig
from deepfake_jax.files import hash_once
from deepfake_jax.media.pictures import write_picture
from deepfake_jax.provenance.credentials import Seal
from deepfake_jax.provenance.facts import (
    DIGITAL_SOURCE_TYPE,
    make_provenance,
    provenance_metadata,
)
from deepfake_jax.provenance.label import VisibleLabel
from deepfake_jax.provenance.manifest import Statement
from deepfake_jax.provenance.own_key import choose_key
from deepfake_jax.provenance.signing_keys import SigningKey
from deepfake_jax.provenance.watermark import TOOL_ID, Watermarker
from deepfake_jax.runs.consent import sum_up_consent
from deepfake_jax.types import Frame
from deepfake_jax.version import own_version

Mark = Callable[[Frame | VideoFrame], Frame | VideoFrame]


@dataclass(frozen=True)
class PixelMarks:
    """What marks the pixels of a job's frames.

    Attributes:
        watermark: its 32 bits; None for none.
        label: what people see; None for none.
    """

    watermark: int | None = None
    label: VisibleLabel | None = None

    def draw_label(
        self, shown: Frame | VideoFrame, seconds: float | None = None
    ) -> Frame | VideoFrame:
        """A frame with the label, if there is to be one.

        Args:
            shown: the frame.
            seconds: since the first; None for a picture, which shows it in any case.
        """
        if self.label is None:
            return shown
        at = VisibleLabel.HELD if seconds is None else seconds
        return self.label.draw(shown, seconds=at)

    def marker(self, aspect: float = 1.0) -> Mark | None:
        """What marks frames; None where they are left alone.

        Args:
            aspect: width of a pixel over its height.
        """
        if self.watermark is None:
            return None
        return Watermarker(self.watermark, aspect=aspect).mark


@dataclass(frozen=True)
class Marks:
    """What marks the outputs of a job.

    Attributes:
        facts: for the metadata and the sidecar.
        seal: signs each file.
        pixels: of their frames.
    """

    facts: dict[str, Any]
    seal: Seal
    pixels: PixelMarks

    @property
    def metadata(self) -> Mapping[str, str]:
        """The facts as tags."""
        return provenance_metadata(self.facts)

    def of_picture(self, source: Path) -> "Marks":
        """The marks of one picture of a folder."""
        facts = {
            **self.facts,
            "source": source.name,
            "source_sha256": hash_once(source),
        }
        return replace(self, facts=facts, seal=self.seal.with_source(source, facts))


def make_pixel_marks(
    config: ConvertConfig, source: Path, *, model_hash: str
) -> PixelMarks:
    """What marks frames: the same for every process that does a part of a job.

    Args:
        config: of the conversion.
        source: the footage.
        model_hash: SHA-256 that names the run's parameters.
    """
    watermark = label = None
    if config.watermark != "none":
        identifier = _identify(config, source, model_hash)
        watermark = TOOL_ID << 24 | int(identifier, 16)
    if config.label:
        label = VisibleLabel(
            config.label, corner=config.label_corner, time=config.label_time
        )
    return PixelMarks(watermark, label)


def _identify(config: ConvertConfig, source: Path, model_hash: str) -> str:
    """Six hexadecimal digits that name a job and begin the names of its credentials."""
    said = [model_hash, config.to, config.start, config.end]
    said.append(hash_once(source) if source.is_file() else str(source.resolve()))
    return hashlib.sha256("\0".join(said).encode("utf-8", "replace")).hexdigest()[:6]


def make_marks(
    config: ConvertConfig,
    source: Path,
    *,
    model_hash: str,
    model_step: int,
    run: str | Path | None = None,
    signer: SigningKey | None = None,
) -> Marks:
    """Makes ready what marks a job's outputs.

    Args:
        config: of the conversion.
        source: a file, or a folder of pictures.
        model_hash: SHA-256 that names the run's parameters.
        model_step: how long they were trained.
        run: the run's folder, which may hold what was confirmed of people's consent.
        signer: who signs, in place of what the config names.

    Raises:
        SigningError: a key or certificate that cannot be used, or no time stamp.
    """
    single = source.is_file()
    facts = make_provenance(
        tool_version=own_version(),
        model_hash=model_hash,
        model_step=model_step,
        source_name=source.name,
        source_hash=hash_once(source) if single else "",
        direction="a_to_b" if config.to == "b" else "b_to_a",
    )
    pixels = make_pixel_marks(config, source, model_hash=model_hash)
    identifier = _identify(config, source, model_hash)
    label = "" if pixels.label is None else pixels.label.text
    mark = pixels.watermark
    facts["credential"] = identifier
    facts["watermark"] = "none" if mark is None else f"{mark:08x}"
    if label:
        facts["visible_label"] = label
    statement = Statement(
        facts=facts,
        source=source if single else None,
        watermark=mark,
        label=label,
        consent=() if run is None else sum_up_consent(Path(run)),
        identifier=identifier,
    )
    key = signer or choose_key(config.certificate, config.key)
    seal = Seal(statement, key, timestamp=config.timestamp)
    return Marks(facts, seal, pixels)


def write_swapped(
    out: Path,
    shown: Frame | VideoFrame,
    marks: Marks,
    *,
    like: Path,
    overwrite: bool = True,
) -> None:
    """Writes a picture with swapped faces, whose pixels have the watermark already.

    Args:
        out: the file.
        shown: the picture, RGB.
        marks: of it; all are put in but the sidecar.
        like: the picture that it was made of.
        overwrite: whether the file may exist.

    Raises:
        PictureError: as `write_picture`. SigningError: it cannot be signed.
    """
    labelled = marks.pixels.draw_label(shown)
    assert isinstance(labelled, np.ndarray)
    write_picture(
        out,
        labelled,
        metadata=marks.metadata,
        overwrite=overwrite,
        like=like,
        source_type=DIGITAL_SOURCE_TYPE,
        seal=marks.seal,
    )


def write_marked(out: Path, picture: Frame, marks: Marks) -> None:
    """Writes a picture that shows swapped faces, with all marks but the sidecar.

    Raises:
        PictureError: as `write_picture`. SigningError: it cannot be signed.
    """
    mark = marks.pixels.marker()
    marked = picture if mark is None else mark(picture)
    assert isinstance(marked, np.ndarray)
    write_picture(
        out,
        marked,
        metadata=marks.metadata,
        source_type=DIGITAL_SOURCE_TYPE,
        seal=marks.seal,
    )
