"""What a content credential says: which source, what was done to it, by which model.

No name of a person, of a file or of a folder, because it travels with the file.

Reference:
    C2PA, Content Credentials: technical specification 2.x.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deepfake_jax.provenance.facts import (
    DIGITAL_SOURCE_TYPE,
    MODEL_SOURCE_TYPE,
    TOOL,
)

WATERMARK = "org.deepfake-jax.watermark.1"
CONSENT = "org.deepfake-jax.consent"
SWAP = "org.deepfake-jax.swap"


@dataclass(frozen=True, kw_only=True)
class Statement:
    """What credentials of one job say.

    Attributes:
        facts: of the output, as `make_provenance` gives them.
        source: the footage, which becomes the ingredient; None where there is no one.
        watermark: what the pixels carry; None for nothing.
        label: the visible label; "" for none.
        consent: when which consent was recorded with the run.
        model: whether the output is a model itself, and no footage.
        identifier: six hexadecimal digits that begin the name of each credential.
    """

    facts: Mapping[str, Any]
    source: Path | None = None
    watermark: int | None = None
    label: str = ""
    consent: tuple[Mapping[str, str], ...] = ()
    model: bool = False
    identifier: str = field(default_factory=lambda: uuid.uuid4().hex[:6])


def make_manifest(statement: Statement, mime: str) -> dict[str, Any]:
    """What a credential says, as C2PA's builder takes it."""
    facts = statement.facts
    agent = {"name": TOOL, "version": str(facts["tool_version"])}
    mark = "none" if statement.watermark is None else f"{statement.watermark:08x}"
    swap = {
        name: facts[name]
        for name in ("model_sha256", "model_step", "direction", "source_sha256")
        if facts.get(name)
    }
    if statement.model:
        actions = [_describe_model(statement, agent)]
    else:
        actions = [_describe_opening(statement), _describe_edit(statement, agent, mark)]
    assertions: list[dict[str, Any]] = [
        {"label": "c2pa.actions.v2", "data": {"actions": actions}},
        {"label": SWAP, "data": {**swap, "watermark": mark}},
    ]
    if statement.watermark is not None:
        blocks = [{"scope": {}, "value": mark}]
        binding = {"alg": WATERMARK, "blocks": blocks}
        assertions.append({"label": "c2pa.soft-binding", "data": binding})
    if statement.consent:
        recorded = [dict(consent) for consent in statement.consent]
        assertions.append({"label": CONSENT, "data": {"recorded": recorded}})
    rest = uuid.uuid4().hex[len(statement.identifier) :]
    return {
        "label": f"urn:c2pa:{uuid.UUID(statement.identifier + rest)}",
        "claim_generator_info": [agent],
        "title": "a model of faces" if statement.model else "synthetic media",
        "format": mime,
        "assertions": assertions,
    }


def _describe_opening(statement: Statement) -> dict[str, Any]:
    if statement.source is None or not statement.source.is_file():
        return {"action": "c2pa.created", "digitalSourceType": DIGITAL_SOURCE_TYPE}
    return {"action": "c2pa.opened", "parameters": {"ingredientIds": ["source"]}}


def _describe_model(statement: Statement, agent: Mapping[str, str]) -> dict[str, Any]:
    facts = statement.facts
    return {
        "action": "c2pa.created",
        "digitalSourceType": MODEL_SOURCE_TYPE,
        "softwareAgent": agent,
        "description": "A model that swaps faces; what it draws is synthetic media.",
        "parameters": {name: facts[name] for name in ("direction", "model_sha256")},
    }


def _describe_edit(
    statement: Statement, agent: Mapping[str, str], mark: str
) -> dict[str, Any]:
    facts, label = statement.facts, statement.label
    return {
        "action": "c2pa.edited",
        "digitalSourceType": DIGITAL_SOURCE_TYPE,
        "softwareAgent": agent,
        "description": "A face was swapped by a trained model.",
        "parameters": {
            "direction": facts["direction"],
            "model_sha256": facts["model_sha256"],
            "watermark": mark,
            **({"visible_label": label} if label else {}),
        },
    }
