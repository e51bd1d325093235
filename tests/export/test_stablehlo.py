"""Exported programs draw what JAX draws, for three platforms, and say until when."""

import datetime
import json
import zipfile

import jax
import numpy as np
import pytest
from swaps import make_swap

from deepfake_jax.export import stablehlo
from deepfake_jax.export.comparison import run_jax


def test_programs_draw_what_jax_draws(tmp_path, faces, monkeypatch):
    monkeypatch.setattr(stablehlo, "COUNTS", (2, 32))
    swap, path = make_swap("lite"), tmp_path / "run.zip"
    card = {"run": "run", **stablehlo.describe_expiry(datetime.date(2026, 1, 1))}
    stablehlo.write_stablehlo(path, swap, card)
    with zipfile.ZipFile(path) as file:
        known = json.loads(file.read("card.json"))
        assert known["readable_until"] == "2026-06-30"
        assert known["jax_version"] == jax.__version__
        sizes = {each.filename: each.file_size for each in file.filelist}
    # The parameters stand apart from the program.
    assert sizes["swap_2.stablehlo"] < 200_000 < sizes["params.npz"]
    program, params = stablehlo.read_stablehlo(path, 2)
    assert set(program.platforms) == {"cpu", "cuda", "tpu"}
    crops = faces[:2, ::4, ::4].astype(np.float32) / 255
    found = np.asarray(program.call(params, crops))
    assert np.abs(found - run_jax(swap, crops)[0]).max() < 1e-5
    with pytest.raises(ValueError):
        program.call(params, crops[:1])
    # So many faces are worth this machine's own kernels, which others have not.
    for count in (2, 32):
        program, _ = stablehlo.read_stablehlo(path, count)
        assert "deepfake_jax_" not in program.mlir_module()
