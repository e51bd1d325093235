"""The tutorial's commands, typed as they stand, on footage of a few frames.

Only training, which would take minutes, is cut short, by flags after those of the page.
README's are a part of them.
"""

from pathlib import Path

import pytest
from footage import tiny_config, write_pan
from guide import LIBRARY_EXAMPLE, ROOT, Page, find_commands, list_lines

import deepfake_jax
from deepfake_jax.cli.main import run_command
from deepfake_jax.cli.samples import get_sample
from deepfake_jax.faces.pinned_files import AssetError
from deepfake_jax.media.pictures import write_picture
from deepfake_jax.media.video_reader import read_frames
from deepfake_jax.types import Frame

# A network that compiles in seconds; its pictures are of no use to anyone.
SHORT = (
    *("--steps", "2", "--model.width", "8", "--batch-size", "2", "--devices", "1"),
    *("--loss.mesh-weight", "0", "--loss.laplacian-weight", "0"),
    *("--loss.shape-weight", "0", "--loss.dssim-weight", "0", "--holdout", "0"),
)


@pytest.fixture
def footage(tmp_path: Path, detector_weights: None) -> Path:
    """What the pages call interview_a.mp4, interview_b.mp4 and more_of_b."""
    man, woman = (
        pick(name, at) for name, at in (("carphone", 20), ("crying_woman", 264))
    )
    enlarged = man.repeat(2, axis=0).repeat(2, axis=1)
    for side, picture, width, x in (("a", enlarged, 340, 0), ("b", woman, 400, 200)):
        write_pan(
            tmp_path / f"interview_{side}.mp4",
            picture,
            frames=6,
            width=width,
            height=len(picture),
            start=(x, 0),
        )
    (tmp_path / "more_of_b").mkdir()
    write_picture(tmp_path / "more_of_b" / "one.png", woman)
    write_picture(tmp_path / "portrait_of_b.jpg", woman)
    return tmp_path


def pick(name: str, index: int) -> Frame:
    """A frame of a sample clip; skips where that cannot be had."""
    try:
        path = get_sample(name)
    except AssetError as error:
        pytest.skip(f"no sample clip: {error}")
    return next(timed.frame for timed in read_frames(path) if timed.index == index)


def test_the_tutorials_commands_run_as_they_stand(
    footage: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(footage)
    typed = []
    for words in list_commands("docs/tutorial.md"):
        if words[0] == "train":
            words = [*words, *SHORT]
        if "--frame" in words:  # seconds that six frames do not have
            words[words.index("--frame") + 1] = "0"
        if words[0] != "studio":  # which would wait for its user
            assert run_command(words) == 0, words
            typed.append(words[0])
    assert {"doctor", "extract", "faces", "train", "preview", "convert"} < set(typed)
    assert (footage / "swapped.mp4").is_file()


def test_readmes_commands_are_the_tutorials():
    tutorial = [set(words) for words in list_commands("docs/tutorial.md")]
    commands = list_commands("README.md")
    assert len(commands) == 5
    for words in commands:
        assert any(set(words) <= known for known in tutorial), words


def list_commands(name: str) -> list[list[str]]:
    """The commands of a page, in order."""
    page = Page(ROOT / name, (ROOT / name).read_text(encoding="utf-8"))
    return [words for line in list_lines(page) for words in find_commands(line)]


def test_the_library_example_runs_as_it_stands(
    footage: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(footage)
    for was, name in (
        *(("interview_a.mp4", "a.mp4"), ("interview_b.mp4", "b.mp4")),
        ("more_of_b", "b_pictures"),
    ):
        Path(was).rename(name)
    asked = []

    def load_short(name: str) -> object:
        asked.append(name)
        return tiny_config(steps=1, holdout=0.0, batch_size=4)

    monkeypatch.setattr(deepfake_jax, "load_preset", load_short)
    exec(compile(LIBRARY_EXAMPLE, "README.md", "exec"), {})
    assert asked == ["lite128"]
    assert sum(1 for _ in read_frames(Path("swapped.mp4"))) == 6
