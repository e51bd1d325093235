"""What a measurement of quality is made of: its request, its face sets.

``quality.json`` in the measurement's folder says what was asked for, so that the same
call goes on with it, and another one is refused.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from deepfake_jax.extract_config import ExtractConfig
from deepfake_jax.face_sets.face_set import RECORD_NAME, FaceSet, list_sets
from deepfake_jax.json_files import parse_object, write_json
from deepfake_jax.progress import count
from deepfake_jax.runs.held_out import FEWEST_HELD, hold_out
from deepfake_jax.train_config import TrainConfig, config_to_dict
from deepfake_jax.types import SIDES, Side

REQUEST_NAME = "quality.json"
# What may differ where a measurement is gone on with.
_FREE = ("steps", "minutes", "seed")


class QualityError(RuntimeError):
    """A measurement that cannot be made; the text says why and the fix."""


def claim_folder(
    out: Path,
    sources: Mapping[Side, Path],
    persons: Mapping[Side, str],
    config: TrainConfig,
    init: Path | None,
) -> None:
    """Claims a folder for a measurement, or checks that it is that of this one.

    Raises:
        QualityError: it holds something else.
    """
    settings = {k: v for k, v in config_to_dict(config).items() if k not in _FREE}
    request = {side: str(sources[side].resolve()) for side in SIDES}
    request |= {f"{side}_person": persons[side] for side in SIDES} | settings
    if init is not None:
        request["init"] = str(init.resolve())
    path = out / REQUEST_NAME
    if out.exists() and not out.is_dir():
        raise QualityError(f"--out {out} is a file; name a folder")
    if path.is_file():
        known = parse_object(path.read_bytes())
        if known is None:
            raise QualityError(f"{path} is damaged; name a new --out")
        odd = [n for n in request | known if known.get(n) != request.get(n)]
        if odd:
            raise QualityError(
                f"{out} holds a measurement with other {', '.join(odd)}; name a new "
                "--out, or give the same command to go on with it"
            )
        return
    if out.is_dir() and any(out.iterdir()):
        raise QualityError(
            f"--out {out} is not empty and no earlier measurement; name a new folder"
        )
    write_json(path, request)


def find_faces(source: Path, folder: Path, person: str) -> Path:
    """A face set itself, or the one that is made of some footage, once."""
    if any((path / RECORD_NAME).exists() for path in list_sets(source)):
        return source
    if not (folder / RECORD_NAME).exists():
        # Here, so that sets alone are measured where no video can be read.
        from deepfake_jax.face_sets.extraction import extract_faces

        result = extract_faces(source, folder, ExtractConfig(person=person))
        print(f"{source}: {count(result.faces, 'face')} in {folder}", file=sys.stderr)
    return folder


def check_holdout(
    side: Side, faces: FaceSet, config: TrainConfig, seeds: Sequence[int]
) -> None:
    """Checks that each seed holds out enough faces to judge by.

    Raises:
        QualityError: one does not.
    """
    splits = [hold_out(faces.records, config.holdout, seed) for seed in seeds]
    held = min(len(split.held) for split in splits)
    if held < FEWEST_HELD:
        raise QualityError(
            f"{faces.folder}: of {len(faces.records)} faces of {side.upper()}, "
            f"--holdout {config.holdout:g} leaves {held} to judge by, fewer than "
            f"{FEWEST_HELD}; use more footage or a larger share"
        )
