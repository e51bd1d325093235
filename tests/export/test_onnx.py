"""Exported networks draw what JAX draws, and files keep their contracts."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from swaps import make_swap

from deepfake_jax.export import stablehlo
from deepfake_jax.export.comparison import (
    Examples,
    compare_dfm,
    compare_onnx,
    run_jax,
)
from deepfake_jax.export.dfm import (
    CROPS,
    choose_size,
    draw_mean_mask,
    make_resampling,
)
from deepfake_jax.export.exporter import ExportError, export_run
from deepfake_jax.imaging.affine import invert_affine, umeyama
from deepfake_jax.imaging.align import crop_faces
from deepfake_jax.imaging.face_template import MEAN_FACE, five_landmarks
from deepfake_jax.runs import exported_run
from deepfake_jax.runs.swapper import make_swapper

onnx = pytest.importorskip("onnx", reason="the extra onnx is not installed")
ort = pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")

from deepfake_jax.export.onnx_files import make_dfm, make_onnx  # noqa: E402

NO_SHIFT = np.zeros(3)
CARD: dict[str, Any] = dict.fromkeys(
    ("notice", "tool", "tool_version", "run", "model_step", "direction"), "x"
)


def open_model(model: Any) -> Any:
    return ort.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )


def make_examples(faces: np.ndarray) -> Examples:
    return Examples(faces[:2], "drawn faces")


# Random weights reach what trained ones do: a graph with a layer out of place differs
# by 0.01 and more.
@pytest.mark.parametrize(
    "name, align, program",
    [
        ("original", False, "facefusion"),
        ("lite", True, "deepfacelive"),
        ("lite128", True, "deepfacelab"),
        ("mid256", True, "facefusion"),
        ("hd256", False, "deepfacelive"),
        ("hd512", False, "deepfacelab"),
    ],
)
def test_every_network_draws_what_jax_draws(
    name, align, program, faces, tmp_path, monkeypatch
):
    swap, examples = make_swap(name, align=align), make_examples(faces)
    model, half = (make_onnx(swap, CARD, half=h) for h in (False, True))
    assert model.opset_import[0].version == 12 and model.ir_version == 7
    assert half.ByteSize() < 0.6 * model.ByteSize()
    session = open_model(model)
    # What a conversion takes of it: levels, and the mask where there is one.
    crops = crop_faces(examples.faces, swap.model.crop_size)
    swapper = make_swapper(swap.model, swap.params, to=swap.to, source=swap.source)
    levels = exported_run.ExportedRun(CARD, session).draw_levels(crops)
    np.testing.assert_allclose(levels, swapper.draw_levels(crops), atol=0.01)
    assert levels.shape[-1] == 3 + swap.model.masked
    names = [each.name for each in session.get_outputs()]
    assert names == ["swapped", *["mask"] * swap.model.masked, "redrawn"]
    assert compare_onnx(session, swap, examples, NO_SHIFT) < 1e-5
    assert 1e-6 < compare_onnx(open_model(half), swap, examples, NO_SHIFT) < 2e-2
    shift = np.array([12.0, -8.0, 3.0])
    for own, most in ((False, 1e-5), (True, 2e-2)):
        dfm = make_dfm(swap, CARD, half=own, program=program, shift=shift)
        apart = compare_dfm(open_model(dfm), swap, examples, shift, program)
        assert apart < most
    if name in ("mid256", "hd256"):  # test_stablehlo has a small one
        monkeypatch.setattr(stablehlo, "COUNTS", (2,))
        stablehlo.write_stablehlo(tmp_path / "run.zip", swap, CARD)
        program, params = stablehlo.read_stablehlo(tmp_path / "run.zip", 2)
        crops = crop_faces(examples.faces, 256).astype(np.float32) / 255
        found = np.asarray(program.call(params, crops))
        assert np.abs(found - run_jax(swap, crops)[0]).max() < 1e-5


def test_a_comparison_with_the_other_decoder_fails(faces):
    swap = make_swap("lite")
    session = open_model(make_onnx(swap, CARD, half=False))
    wrong = replace(swap, to="a")
    assert compare_onnx(session, wrong, make_examples(faces), NO_SHIFT) > 1e-3


def test_equal_runs_give_equal_files_that_tell_what_they_are():
    swap = make_swap("lite")
    card = {**CARD, "direction": "a_to_b", "format": "onnx"}
    files = [make_onnx(swap, card, half=False).SerializeToString() for _ in range(2)]
    assert files[0] == files[1]
    texts = open_model(onnx.load_from_string(files[0])).get_modelmeta()
    assert json.loads(texts.custom_metadata_map["card"]) == card
    assert texts.custom_metadata_map["direction"] == "a_to_b"


# The contract of .dfm as DeepFaceLive and facefusion read it: by position, not by name.
@pytest.mark.parametrize(
    "name, program", [("lite", "facefusion"), ("lite128", "deepfacelive")]
)
def test_a_dfm_keeps_its_contract(name, program):
    swap = make_swap(name, to="a")
    shift = np.array([12.0, -8.0, 3.0])
    model = make_dfm(swap, CARD, half=False, program=program, shift=shift)
    session = open_model(model)
    (given,) = session.get_inputs()
    size = given.shape[1]
    assert given.name == "in_face:0" and given.type == "tensor(float)"
    assert isinstance(size, int) and given.shape[1:] == [size, size, 3]
    outputs = [(each.name, each.shape[1:]) for each in session.get_outputs()]
    assert outputs == [
        ("out_face_mask:0", [size, size, 1]),
        ("out_celeb_face:0", [size, size, 3]),
        ("out_celeb_face_mask:0", [size, size, 1]),
    ]
    rng = np.random.default_rng(0)
    noise = rng.uniform(-0.5, 1.5, (3, size, size, 3)).astype(np.float32)
    mask, face, celeb_mask = session.run(None, {given.name: noise})
    for each in (mask, face, celeb_mask):
        assert each.dtype == np.float32 and each.min() >= 0 and each.max() <= 1
    # What the network does not draw comes back as it was, and no mask shows it.
    clipped = np.clip(noise, 0, 1)
    assert np.array_equal(face[:, :4], clipped[:, :4])
    border = np.ones((size, size), bool)
    border[6:-6, 6:-6] = False
    assert not mask[:, border].any()
    middle = size // 2
    assert np.abs(face - clipped)[:, middle, middle].mean() > 0.1
    if name == "lite":  # which draws no mask: the mean face's
        assert mask[:, middle, middle].min() > 0.99


def test_facefusions_crop_lies_where_its_template_says():
    # Its dfl_whole_face: eyes, nose and mouth corners as shares of the crop's side.
    template = np.array(
        [
            [0.35342, 0.39286],
            [0.62798, 0.39286],
            [0.48661, 0.54018],
            [0.38839, 0.68750],
            [0.59821, 0.68750],
        ]
    )
    ours = five_landmarks(MEAN_FACE[:, :2] * 256)
    # It fits the face to its template, which gives another scale than the way back.
    back = invert_affine(umeyama(ours, template))
    assert abs(np.degrees(np.arctan2(back[1, 0], back[0, 0]))) < 0.5
    side = np.hypot(*back[:, 0])
    assert np.allclose([*back[:, 2], side], CROPS["facefusion"], atol=0.3)


@pytest.mark.parametrize("program", CROPS)
def test_crops_of_all_programs_hold_what_the_network_draws(program):
    place = CROPS[program]
    for start in (place.left, place.top):
        assert start <= 48 and start + place.side >= 208
        size = choose_size(place, 128)
        axis = make_resampling(start, place.side, size, 128)
        assert np.allclose(axis.down.sum(1), 1) and np.allclose(axis.up.sum(1), 1)
        # There and back a slope stays a slope, but for what pixels between pixels cost.
        line = np.arange(size, dtype=np.float32)
        back = axis.up @ (axis.down @ line)
        inner = np.flatnonzero(axis.inside)[4:-4]
        assert np.abs(back - line)[inner].max() < 0.1
    mask = draw_mean_mask(place, size)
    assert 0.2 < mask.mean() < 0.6


def test_what_is_no_exported_run_is_said(tmp_path: Path):
    junk = tmp_path / "junk.onnx"
    junk.write_bytes(b"no file of ONNX")
    for path, words in (
        (tmp_path, "is a run; export it first"),
        (tmp_path / "none.onnx", "no such file"),
        (junk, "is no file of ONNX"),
    ):
        with pytest.raises(exported_run.ExportedRunError, match=words):
            exported_run.load_exported(path)
    foreign = tmp_path / "foreign.onnx"
    swap = make_swap("lite")
    dfm = make_dfm(
        swap,
        {**CARD, "format": "dfm"},
        half=False,
        program="facefusion",
        shift=NO_SHIFT,
    )
    foreign.write_bytes(dfm.SerializeToString())
    with pytest.raises(exported_run.ExportedRunError, match="dfm.*--format onnx"):
        exported_run.load_exported(foreign)


def test_what_does_not_fit_is_said_before_any_work(tmp_path: Path):
    cases: list[tuple[dict[str, Any], str]] = [
        ({"kind": "dfm"}, "name it run.dfm"),
        ({"kind": "stablehlo", "precision": "float16"}, "for onnx and dfm"),
    ]
    for flags, words in cases:
        with pytest.raises(ExportError, match=words):
            export_run(tmp_path / "run", tmp_path / "run.onnx", **flags)
    (tmp_path / "run.onnx").touch()
    with pytest.raises(ExportError, match="--overwrite"):
        export_run(tmp_path / "run", tmp_path / "run.onnx")
    with pytest.raises(ExportError, match="is a folder"):
        export_run(tmp_path / "run", tmp_path)
