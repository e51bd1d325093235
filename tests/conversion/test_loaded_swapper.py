"""Conversion by an exported run, where JAX cannot be imported."""

import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from exported_runs import make_run

from deepfake_jax.conversion.compose import compose_frame
from deepfake_jax.conversion.loaded_swapper import load_swapper
from deepfake_jax.conversion.placement import place_faces
from deepfake_jax.conversion.run_swapper import make_frame_swapper
from deepfake_jax.convert_config import ConvertConfig
from deepfake_jax.media.pictures import read_picture, write_picture
from deepfake_jax.media.sources import Source
from deepfake_jax.media.timed_frames import picture_frame
from deepfake_jax.provenance.verify import verify_files

pytest.importorskip("onnx", reason="the extra onnx is not installed")
pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
pytestmark = pytest.mark.usefixtures("detector_weights")

WITHOUT_JAX = """
import sys
for name in ("jax", "jaxlib", "flax", "optax", "orbax", "matplotlib", "onnx"):
    sys.modules[name] = None
from deepfake_jax.cli.main import run_command
sys.exit(run_command(sys.argv[1:]))
"""


def convert(*args: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WITHOUT_JAX, "convert", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True)


def test_a_picture_is_swapped_without_jax_as_with_it(portrait, tmp_path):
    from deepfake_jax.export.exporter import export_trained

    trained, exported = make_run(), tmp_path / "run.onnx"
    result = export_trained(trained, tmp_path / "run", exported)
    assert result.difference < 1e-5 and result.compared_on == "drawn faces"
    # It is signed and says what it is; whoever changes it is found out.
    assert verify_files([exported]).files[0].credential.model
    assert verify_files([exported]).marked
    changed = tmp_path / "changed.onnx"
    changed.write_bytes(exported.read_bytes() + b"x")
    shutil.copy(f"{exported}.c2pa", f"{changed}.c2pa")
    assert verify_files([changed]).files[0].broken
    source, out = tmp_path / "face.png", tmp_path / "out.png"
    write_picture(source, portrait)
    # A watermark is of its job.
    flags = ["--out", out, "--person", "largest", "--json", "--watermark", "none"]
    done = convert(source, "--run", exported, "--backend", "onnx", *flags)
    assert done.returncode == 0, done.stderr
    config = ConvertConfig(person="largest")
    swapper = make_frame_swapper(trained, config)
    by_file = load_swapper(exported, replace(config, backend="onnx")).swapper
    assert swapper.glasses is not None and by_file.glasses == swapper.glasses
    placed = place_faces([Source(source, "picture", 1)], config, None).find(0, 0)
    (swapped,) = swapper.swap([(picture_frame(portrait), placed)])
    wanted = compose_frame(swapped, config)
    assert isinstance(wanted, np.ndarray)
    found = read_picture(out).astype(int)
    assert np.abs(found - portrait).max() > 20
    assert np.abs(found - wanted).max() <= 1
    # Without JAX a run is refused, and so is the way that the file does not have.
    (tmp_path / "run").mkdir()
    for flags, words in (
        (["--run", tmp_path / "run"], "a run needs JAX.*--backend onnx"),
        (["--run", exported], "if it was exported: --backend onnx"),
        (["--run", exported, "--backend", "onnx", "--to", "a"], "draws B; give --to b"),
    ):
        refused = convert(source, *flags, "--out", tmp_path / "no.png")
        assert refused.returncode == 1
        assert re.search(words, " ".join(refused.stderr.split())), refused.stderr
