"""Saying what an output is: synthetic media, by which tool and model, of what source.

The same facts go into the file's metadata and into a JSON sidecar beside it.
"""

from pathlib import Path
from typing import Any

from deepfake_jax.json_files import write_json

# IPTC's code for a picture or video partly made by a trained model, the value that
# newsrooms and platforms look for (IPTC NewsCodes, Digital Source Type).
DIGITAL_SOURCE_TYPE = (
    "http://cv.iptc.org/newscodes/digitalsourcetype/"
    "compositeWithTrainedAlgorithmicMedia"
)
# C2PA's code for what training made that is no picture or sound: a model.
MODEL_SOURCE_TYPE = "http://c2pa.org/digitalsourcetype/trainedAlgorithmicData"
TOOL = "deepfake-jax"
NOTICE = "Synthetic media: a face in it was swapped by deepfake-jax."


def make_provenance(
    *,
    tool_version: str,
    model_hash: str,
    model_step: int,
    source_name: str,
    source_hash: str,
    direction: str,
) -> dict[str, Any]:
    """The facts about one output.

    Args:
        tool_version: of this package.
        model_hash: SHA-256 that names the run's parameters.
        model_step: how long they were trained.
        source_name: file name of the source, without its folder.
        source_hash: the source's SHA-256.
        direction: "a_to_b" or "b_to_a".
    """
    return {
        "synthetic": True,
        "notice": NOTICE,
        "digital_source_type": DIGITAL_SOURCE_TYPE,
        "tool": TOOL,
        "tool_version": tool_version,
        "model_sha256": model_hash,
        "model_step": model_step,
        "source": source_name,
        "source_sha256": source_hash,
        "direction": direction,
    }


def provenance_metadata(provenance: dict[str, Any]) -> dict[str, str]:
    """The facts as metadata tags of a video or picture.

    ``comment`` is the tag that players and file browsers show.
    """
    tags = {
        # A file's name that is no UTF-8 has parts that no metadata can hold.
        key: str(value).encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        for key, value in provenance.items()
        if key != "notice"
    }
    tags["synthetic"] = "true"
    return {"comment": provenance["notice"], **tags}


def sidecar_path(output: Path) -> Path:
    """Where the facts about an output lie: its name with ``.json`` added."""
    return output.with_name(f"{output.name}.json")


def write_sidecar(output: Path, provenance: dict[str, Any]) -> None:
    """Writes the facts beside an output, in one piece."""
    write_json(sidecar_path(output), provenance, indent=2)
