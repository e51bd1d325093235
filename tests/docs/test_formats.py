"""The page of file formats tells of what is written."""

import dataclasses
import json
import re

from guide import DOCS, Page

from deepfake_jax.face_sets.face_record import FaceRecord
from deepfake_jax.provenance.facts import make_provenance
from deepfake_jax.runs import run_folder
from deepfake_jax.runs.metrics_file import is_metric

PATH = DOCS / "formats.md"
PAGE = Page(PATH, PATH.read_text(encoding="utf-8"))
HEADER, METRICS, SIDECAR = map(json.loads, PAGE.blocks("json"))


def list_keys(heading: str) -> set[str]:
    """The names in the first column of all tables below a heading."""
    part = re.split(rf"^#+ {heading}$", PAGE.text, flags=re.MULTILINE)[1]
    part = re.split(r"^#+ ", part, flags=re.MULTILINE)[0]
    rows = [line.split("|")[1] for line in part.splitlines() if line.startswith("|")]
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row)}


def test_every_field_of_a_face_is_told():
    fields = {field.name for field in dataclasses.fields(FaceRecord)}
    told = list_keys("Face sets")
    assert fields - {"dropped"} <= told  # which the text below the table tells of
    assert told <= fields | set(HEADER)


def test_examples_are_what_is_written():
    assert HEADER["format"] == "deepfake-jax faces"
    assert is_metric(METRICS)
    nothing = dict.fromkeys(
        ("tool_version", "model_hash", "source_name", "source_hash", "direction"), ""
    )
    facts = make_provenance(model_step=0, **nothing)
    assert set(SIDECAR) == set(facts) | {"credential", "watermark"}
    for key in ("synthetic", "notice", "digital_source_type", "tool"):
        assert SIDECAR[key] == facts[key]


def test_every_file_of_a_run_is_told():
    told = {name.split("/")[0] for name in list_keys("Runs")}
    known = {name.split("/")[0] for name in run_folder.KNOWN}
    assert known <= told, known - told
