"""What one job writes into its outputs to say that they are synthetic, made ready.

All that can be refused is refused when it is made, before hours of work.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deepfake_jax.convert_config import ConvertConfig
from deepfake_jax.media.sources import hash_source
from deepfake_jax.provenance.credentials import Seal, Statement
from deepfake_jax.provenance.facts import make_provenance, provenance_metadata
from deepfake_jax.provenance.own_key import load_own_key
from deepfake_jax.provenance.signing_keys import (
    SigningError,
    SigningKey,
    read_signing_key,
)
from deepfake_jax.version import own_version


@dataclass(frozen=True)
class Marks:
    """What marks the outputs of a job.

    Attributes:
        facts: for the metadata and the sidecar.
        seal: signs each file.
    """

    facts: dict[str, Any]
    seal: Seal

    @property
    def metadata(self) -> Mapping[str, str]:
        """The facts as tags."""
        return provenance_metadata(self.facts)

    def of_picture(self, source: Path) -> "Marks":
        """The marks of one picture of a folder."""
        facts = {
            **self.facts,
            "source": source.name,
            "source_sha256": hash_source(source),
        }
        return replace(self, facts=facts, seal=self.seal.with_source(source, facts))


def make_marks(
    config: ConvertConfig,
    source: Path,
    *,
    model_hash: str,
    model_step: int,
    signer: SigningKey | None = None,
) -> Marks:
    """Makes ready what marks a job's outputs.

    Args:
        config: of the conversion.
        source: a file, or a folder of pictures.
        model_hash: SHA-256 that names the run's parameters.
        model_step: how long they were trained.
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
        source_hash=hash_source(source) if single else "",
        direction="a_to_b" if config.to == "b" else "b_to_a",
    )
    statement = Statement(facts=facts, source=source if single else None)
    facts |= {"credential": statement.identifier}
    seal = Seal(statement, choose_key(config, signer), timestamp=config.timestamp)
    return Marks(facts, seal)


def choose_key(config: ConvertConfig, signer: SigningKey | None = None) -> SigningKey:
    """Who signs: the caller's key, that of the config's files, or the user's own.

    Raises:
        SigningError: one of the two files is not named, or they cannot be used.
    """
    if signer is not None:
        return signer
    if bool(config.certificate) != bool(config.key):
        missing = "--key" if config.certificate else "--certificate"
        raise SigningError(
            f"{missing} is not given: a key and its certificate go together; name both "
            "PEM files, or none to sign by your own key"
        )
    if config.certificate:
        return read_signing_key(config.certificate, config.key)
    return load_own_key()
