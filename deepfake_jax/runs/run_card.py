"""The card of a run: what it learned from, when, by which version; no pictures.

``card.json`` in the run's folder. The hash of a face set is that of its record, which
has a checksum of every picture.
"""

import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deepfake_jax.face_sets.face_set import RECORD_NAME, FaceSet
from deepfake_jax.files import hash_file
from deepfake_jax.json_files import read_object, write_json
from deepfake_jax.runs.consent import sum_up_consent
from deepfake_jax.train_config import TrainConfig
from deepfake_jax.types import Side
from deepfake_jax.version import own_version

CARD_NAME = "card.json"
_USE = (
    "Draws the face of one of two people in place of the other's. For footage of "
    "people who have agreed; what it makes is synthetic media and is marked so."
)


def hash_sets(sets: Mapping[Side, FaceSet]) -> dict[str, str]:
    """SHA-256 of the records of face sets, by side."""
    return {side: hash_file(own.folder / RECORD_NAME) for side, own in sets.items()}


def write_card(run: Path, sets: Mapping[Side, FaceSet], config: TrainConfig) -> None:
    """Writes the card, or adds to it where the run goes on.

    Args:
        run: its folder.
        sets: what it is trained on now.
        config: how.
    """
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    hashes = hash_sets(sets)
    session = {
        "time": now,
        "deepfake_jax": own_version(),
        "sets": {
            side: {"faces": len(own.records), "sha256": hashes[side]}
            for side, own in sets.items()
        },
    }
    before = read_card(run).get("trained", [])
    earlier = before if isinstance(before, list) else []
    if earlier and {**earlier[-1], "time": now} == session:
        earlier = earlier[:-1]
        session["time"] = before[-1].get("time", now)
    card = {
        "about": "a run of deepfake-jax, which swaps two people's faces",
        "use": _USE,
        "network": {"name": config.model.name, "width": config.model.width},
        "trained": [*earlier, session],
        "consent": list(sum_up_consent(run)),
    }
    write_json(run / CARD_NAME, card, indent=2)


def read_card(run: Path) -> dict[str, Any]:
    """The card of a run; empty where it has none."""
    return read_object(run / CARD_NAME)
