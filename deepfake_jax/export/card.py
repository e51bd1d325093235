"""What an exported file says of itself: of which run, which way, of how many faces.

Numbers that swaps need beside the network are a part of it. No picture and no path of
anyone's disk is.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from deepfake_jax.export.onnx_swap import Swap
from deepfake_jax.face_sets.face_record import FaceSetError
from deepfake_jax.face_sets.face_set import RECORD_NAME, read_record
from deepfake_jax.files import hash_file
from deepfake_jax.runs.recorded_sets import find_set
from deepfake_jax.runs.run_card import read_card
from deepfake_jax.runs.trained_run import TrainedRun
from deepfake_jax.types import SIDES, Side
from deepfake_jax.version import own_version

TOOL = "deepfake-jax"
NOTICE = (
    "Swaps faces: what it draws is synthetic media and has to be marked as such. Made "
    "by deepfake-jax."
)


def make_card(
    trained: TrainedRun, swap: Swap, run: Path, *, kind: str, precision: str
) -> dict[str, Any]:
    """The card of an export, as values for JSON.

    Args:
        trained: the run.
        swap: what is exported of it.
        run: its folder, of which the name alone is told.
        kind: the format.
        precision: of the weights.
    """
    facts = trained.facts
    glasses = facts.kept_glasses(swap.source)
    return {
        "format": kind,
        "tool": TOOL,
        "tool_version": own_version(),
        "notice": NOTICE,
        "run": run.resolve().name,
        "model_sha256": trained.model_hash,
        "model_step": trained.step,
        "network": swap.config.name,
        "width": swap.config.width,
        "crop_size": swap.model.crop_size,
        "precision": precision,
        "direction": f"{swap.source}_to_{swap.to}",
        "face_sets": {side: _describe_set(run, side) for side in SIDES},
        "masked": swap.model.masked,
        "run_card": read_card(run),
        # Grey levels that A's faces need; B's are seen as they are.
        "color_shift": list(facts.color_shift) if swap.source == "a" else [0.0] * 3,
        "glasses": None if glasses is None else asdict(glasses),
    }


def describe_identities(trained: TrainedRun, swap: Swap) -> dict[str, Any]:
    """Who is swapped and who appears, as embeddings, for finding them in footage."""
    known = trained.facts.identities
    return {
        "source_identity": list(known.get(swap.source, ())),
        "target_identity": list(known.get(swap.to, ())),
    }


def _describe_set(run: Path, side: Side) -> dict[str, Any]:
    """Number of faces and the record's SHA-256; nothing where the set has moved."""
    try:
        place = find_set(run, side)
        faces = len(read_record(place)[1])
        return {"faces": faces, "record_sha256": hash_file(place / RECORD_NAME)}
    except FaceSetError:
        return {}
