"""A run's config is never replaced by defaults."""

import pytest

from deepfake_jax.runs.run_folder import (
    CONFIG_NAME,
    RunError,
    check_run,
    read_run_config,
    write_run_config,
)
from deepfake_jax.train_config import TrainConfig


@pytest.mark.parametrize("text", ["", "\n", "# all gone\n", "{}\n", "---\n"])
def test_an_emptied_config_is_an_error_that_names_it(tmp_path, text):
    (tmp_path / CONFIG_NAME).write_text(text)
    with pytest.raises(RunError, match=f"{tmp_path / CONFIG_NAME} is empty"):
        check_run(tmp_path, TrainConfig())
    assert (tmp_path / CONFIG_NAME).read_text() == text


def test_a_config_of_defaults_is_one(tmp_path):
    assert read_run_config(tmp_path) is None
    write_run_config(tmp_path, TrainConfig())
    assert read_run_config(tmp_path) == TrainConfig()
    (tmp_path / CONFIG_NAME).write_text("steps: 7\n")
    assert read_run_config(tmp_path) == TrainConfig(steps=7)


def test_a_start_that_was_cut_short_is_begun_again_and_no_other_folder(tmp_path):
    for name in ("sets.json", "holdout.json", "metrics.jsonl", ".hidden"):
        (tmp_path / name).write_text("{}")
    (tmp_path / "teacher").mkdir()  # a full disk left no more of it
    check_run(tmp_path, TrainConfig())
    (tmp_path / "preview.png").write_bytes(b"somebody's")
    with pytest.raises(RunError, match="is not empty and no run"):
        check_run(tmp_path, TrainConfig())
