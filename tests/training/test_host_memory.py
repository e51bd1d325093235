"""What a training process frees stays with it."""

import platform
import subprocess
import sys

import pytest

CODE = """
import resource, threading
import numpy as np
from deepfake_jax.train_config import ModelConfig
from deepfake_jax.training.host_memory import keep_freed_memory, use_one_heap
model = ModelConfig(width={width}, precision="{precision}")
kept = use_one_heap() and 1 + keep_freed_memory(model)
def use():
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        np.ones(200_000_000, np.uint8)
        faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
faults = []
use()
thread = threading.Thread(target=use)
thread.start()
thread.join()
print(int(kept), *faults)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="no glibc")
@pytest.mark.parametrize(
    ("width", "precision", "again"),
    [(8, "float32", True), (128, "bfloat16", True), (128, "float32", False)],
)
def test_memory_is_used_again_by_all_threads(width: int, precision: str, again: bool):
    code = CODE.format(width=width, precision=precision)
    done = subprocess.run(
        (sys.executable, "-c", code), capture_output=True, text=True, check=True
    )
    kept, first, *later = map(int, done.stdout.split())
    if not kept:
        pytest.skip("JAX has plug-ins for other devices here")
    assert kept == 1 + again
    # 48,828 pages of 4 KB.
    assert (first > 10 * max(later)) == again, (first, later)
