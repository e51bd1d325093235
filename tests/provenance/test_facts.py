"""Provenance: every output says that it is synthetic, beside it and inside it."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from videos import read_picture_tags

from deepfake_jax.media.pictures import write_picture
from deepfake_jax.provenance.facts import (
    DIGITAL_SOURCE_TYPE,
    NOTICE,
    make_provenance,
    provenance_metadata,
    sidecar_path,
    write_sidecar,
)

FACTS = make_provenance(
    tool_version="1.2.3",
    model_hash="ab" * 32,
    model_step=4000,
    source_name="Gäste im März.mp4",
    source_hash="cd" * 32,
    direction="a_to_b",
)


def test_facts_name_tool_model_and_source():
    assert FACTS == {
        "synthetic": True,
        "notice": NOTICE,
        "digital_source_type": DIGITAL_SOURCE_TYPE,
        "tool": "deepfake-jax",
        "tool_version": "1.2.3",
        "model_sha256": "ab" * 32,
        "model_step": 4000,
        "source": "Gäste im März.mp4",
        "source_sha256": "cd" * 32,
        "direction": "a_to_b",
    }
    assert "ynthetic" in NOTICE and "deepfake-jax" in NOTICE


def test_metadata_is_text_and_leaves_nothing_out():
    tags = provenance_metadata(FACTS)
    assert all(isinstance(value, str) for value in tags.values())
    assert tags["comment"] == NOTICE
    assert tags["synthetic"] == "true"
    assert tags["model_step"] == "4000"
    assert set(tags) == set(FACTS) - {"notice"} | {"comment"}


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tiff"])
def test_metadata_stays_in_a_picture(tmp_path: Path, suffix: str):
    path = tmp_path / f"out{suffix}"
    tags = provenance_metadata(FACTS)
    write_picture(path, np.zeros((16, 16, 3), np.uint8), metadata=tags)
    assert read_picture_tags(path) == tags


def test_name_that_is_no_utf8_fits_into_metadata():
    tags = provenance_metadata({**FACTS, "source": os.fsdecode(b"Ren\xe9.mp4")})
    assert tags["source"].encode() == "Ren\ufffd.mp4".encode()


def test_sidecar_lies_beside_the_output_and_is_replaced_whole(tmp_path: Path):
    output = tmp_path / "swapped.mp4"
    assert sidecar_path(output) == tmp_path / "swapped.mp4.json"
    write_sidecar(output, FACTS)
    text = sidecar_path(output).read_text(encoding="utf-8")
    assert json.loads(text) == FACTS
    assert "Gäste im März.mp4" in text  # readable, not escaped
    write_sidecar(output, FACTS | {"direction": "b_to_a"})
    assert json.loads(sidecar_path(output).read_text())["direction"] == "b_to_a"
    assert [file.name for file in tmp_path.iterdir()] == ["swapped.mp4.json"]
