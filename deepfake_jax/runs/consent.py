"""Who confirmed what about the people in a run's footage, and when.

``consent.json`` in the run's folder holds each statement with its time, the name of the
account that made it, and hashes of the face sets that it is about. It stays there: a
file that is made by the run carries only the time and a hash of the statement, which
shows later that this very statement had been made.
"""

import datetime
import getpass
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deepfake_jax.json_files import format_json, write_json

CONSENT_NAME = "consent.json"


def record_consent(run: Path, text: str, sets: Mapping[str, str]) -> None:
    """Adds a statement to those of a run, unless the last says the same.

    Args:
        run: its folder.
        text: what was confirmed, in the user's words.
        sets: hashes of the face sets, "a" and "b".
    """
    recorded = read_consent(run)
    last = recorded[-1] if recorded else {}
    if (last.get("text"), last.get("sets")) == (text, dict(sets)):
        return
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    entry = {"text": text, "time": now, "by": _find_user(), "sets": dict(sets)}
    write_json(run / CONSENT_NAME, [*recorded, entry], indent=2)


def read_consent(run: Path) -> list[dict[str, Any]]:
    """The statements of a run, the oldest first; none where it has none."""
    try:
        values = json.loads((run / CONSENT_NAME).read_bytes())
    except (OSError, ValueError):
        return []
    entries = values if isinstance(values, list) else []
    return [entry for entry in entries if isinstance(entry, dict)]


def sum_up_consent(run: Path) -> tuple[dict[str, str], ...]:
    """What may travel with a file: when each statement was made, and its hash."""
    return tuple(
        {
            "time": str(entry.get("time", "")),
            "sha256": hashlib.sha256(format_json(entry).encode()).hexdigest(),
        }
        for entry in read_consent(run)
    )


def _find_user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # an account without a name
        return ""
