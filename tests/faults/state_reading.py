"""What a run and a face set say when they are opened, as one value to compare."""

import hashlib
import json
import logging
import pickle
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import jax
import numpy as np
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from deepfake_jax.face_sets.face_set import load_faces
from deepfake_jax.faces.kept_searches import SearchKeeper
from deepfake_jax.provenance import own_key
from deepfake_jax.runs.checkpoint import restore_checkpoint
from deepfake_jax.runs.held_out import resume_split
from deepfake_jax.runs.metrics_file import truncate_metrics
from deepfake_jax.runs.recorded_sets import find_set
from deepfake_jax.runs.run_folder import (
    CHECKPOINTS,
    METRICS_NAME,
    check_run,
    read_run_config,
)
from deepfake_jax.runs.trained_run import load_run
from deepfake_jax.types import SIDES

FACTS = {"source": "a video"}  # of a kept search


def read_run(run: Path) -> str:
    """All that a session that goes on, a swap and an evaluation read of a run.

    Args:
        run: its folder; ``metrics.jsonl`` is tidied up as by a session.
    """
    config = read_run_config(run)
    assert config is not None, f"{run} has no config.yaml"
    check_run(run, config)
    restored = restore_checkpoint(run / CHECKPOINTS)
    assert restored is not None, f"{run} has no checkpoint"
    swapper = load_run(run)
    total = hashlib.sha256()
    for leaf in jax.tree.leaves((restored.tree, swapper.params)):
        total.update(np.asarray(leaf).tobytes())
    held, sets = {}, {}
    for side in SIDES:
        sets[side] = find_set(run, side).name
        records = load_faces(find_set(run, side)).records
        held[side] = resume_split(run, side, records).held.tolist()
    truncate_metrics(run / METRICS_NAME, restored.step, every=config.log_every)
    lines = (run / METRICS_NAME).read_text()
    facts = json.dumps(asdict(restored.facts), default=str)
    # How long to train is for everybody to change.
    settings = str(replace(config, steps=None, minutes=None))
    told = [total.hexdigest(), restored.step, facts, held, sets, lines, settings]
    return json.dumps(told)


def read_set(folder: Path) -> str:
    """All that training reads of a face set."""
    found = load_faces(folder)
    total = hashlib.sha256(found.faces.tobytes()).hexdigest()
    return json.dumps([total, found.header, [asdict(r) for r in found.records]])


def read_key(folder: Path) -> str:
    """What signs: the certificates, and whether the first is of the key."""
    assert own_key.get_config_folder() == folder
    key, data = own_key.load_own_key(), b"a file"
    leaf = x509.load_pem_x509_certificates(key.chain.encode())[0].public_key()
    assert isinstance(leaf, ec.EllipticCurvePublicKey)
    leaf.verify(key.sign(data), data, ec.ECDSA(hashes.SHA256()))
    return key.chain


def read_search(folder: Path) -> str:
    """All that a kept search of `FACTS` says, as good as not there, or whole."""
    found = SearchKeeper(folder).find(FACTS)
    if found is None:
        return ""
    frames = pickle.dumps(list(found.frames()))
    return json.dumps([hashlib.sha256(frames).hexdigest(), str(found.findings)])


class Listener(logging.Handler):
    """Keeps what is said while something is read."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps a line."""
        self.lines.append(record.getMessage())


def find_silence(read, whole: str, folder: Path, harmed: str) -> str:
    """What is wrong with how something harmed was read; "" if it was told or is whole.

    Args:
        read: `read_run` or `read_set`.
        whole: what it gave before.
        folder: of what is read.
        harmed: the name of the file.
    """
    listener, log = Listener(), logging.getLogger("deepfake_jax")
    log.addHandler(listener)
    try:
        found = read(folder)
    except (ValueError, RuntimeError, OSError) as error:
        text = str(error)
        known = type(error).__module__.startswith("deepfake_jax")
        named = harmed in text or str(folder) in text
        if known and named:
            return ""
        return f"{type(error).__name__} ({text[:300]}) does not name {harmed}"
    except AssertionError as error:
        return "" if harmed in str(error) else f"{error}"
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:300]}"
    finally:
        log.removeHandler(listener)
    if found == whole or listener.lines:
        return ""
    return "loaded silently, and is another"


def lend(source: Path, place: Path) -> Path:
    """A copy to harm."""
    if place.exists():
        shutil.rmtree(place)
    return Path(shutil.copytree(source, place, symlinks=True))
