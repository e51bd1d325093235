"""Numbers that are none, and memory that ends: told; the last good state stays."""

import pytest
from faults.tries import run

from deepfake_jax.runs.checkpoint import list_checkpoints
from deepfake_jax.training.device_memory import naming_batch_size

_SMALL = (
    *("--preset", "original", "--model.width", "8", "--batch-size", "2"),
    *("--log-every", "1", "--checkpoint-every", "2", "--devices", "1"),
    *("--holdout", "0", "--judge-every", "0"),
)


def test_a_learning_rate_beyond_measure(inputs, tmp_path):
    sets = ["--a", inputs / "a", "--b", inputs / "b", "--run", "run"]
    words = ["train", *sets, *_SMALL, "--optimizer.clip-norm", "0"]
    good = run([*words, "--steps", "2"], tmp_path)
    assert good.status == 0, good.text
    wild = ["--optimizer.learning-rate", "1e30", "--steps", "60"]
    found = run([*words, *wild], tmp_path)
    assert found.status == 1 and found.is_clear, found.text
    assert "not finite" in found.text and "learning-rate" in found.text
    assert 2 in list_checkpoints(tmp_path / "run" / "checkpoints")
    # The advice that it gives works.
    calm = ["--optimizer.learning-rate", "1e-4", "--steps", "4"]
    found = run([*words, *calm], tmp_path)
    assert found.is_clear, found.text


def test_memory_that_ends_names_a_batch_that_may_fit():
    with pytest.raises(RuntimeError, match=r"batch size 16.*--batch-size 8"):
        with naming_batch_size(16):
            raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.")
    with pytest.raises(RuntimeError, match=r"batch size 1.*another device"):
        with naming_batch_size(1):
            raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.")
    with pytest.raises(RuntimeError, match="^something else$"):
        with naming_batch_size(16):
            raise RuntimeError("something else")
