"""Outputs appear whole, by one process at a time, and nothing else is removed."""

import errno
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from deepfake_jax.files import (
    ForeignFilesError,
    check_known,
    hidden_path,
    remove_known,
    replace_folder,
    write_whole,
    write_whole_folder,
)
from deepfake_jax.json_files import encode_line, parse_checked, write_json
from deepfake_jax.output_lock import OutputBusyError, lock_output

KNOWN = ("faces.jsonl", "*.png", "person_*/*.png")
DEAD = 2**22 + 1  # no process has such a number


def make_folder(path: Path, *names: str) -> Path:
    for name in names:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(name)
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_two_writers_of_one_file_have_places_of_their_own(tmp_path):
    path = tmp_path / "film.mp4"
    with write_whole(path, overwrite=True) as one:
        with write_whole(path, overwrite=True) as other:
            assert one != other and one.suffix == other.suffix == ".mp4"
            one.write_text("one")
            other.write_text("other")
        assert path.read_text() == "other"
    assert path.read_text() == "one" and names(tmp_path) == ["film.mp4"]


@pytest.mark.parametrize("name", ["a" * 251 + ".mp4", "ä" * 127, "b." + "c" * 253])
def test_the_longest_names_are_written(tmp_path, name):
    with lock_output(tmp_path / name):
        with write_whole(tmp_path / name, overwrite=False) as partial:
            partial.write_text("whole")
    assert names(tmp_path) == [name]
    folder = tmp_path / "in"
    folder.mkdir()
    with write_whole_folder(folder / name) as partial:
        (partial / name).write_text("whole")
    assert names(folder) == [name] == names(folder / name)


def test_long_names_that_begin_alike_have_different_hidden_names(tmp_path):
    one, other = (hidden_path(tmp_path / ("a" * 250 + end), ".lock") for end in "bc")
    assert one != other


def test_a_disk_that_is_full_while_writing_names_the_file(tmp_path):
    path = tmp_path / "run" / "config.yaml"
    with (
        pytest.raises(OSError) as raised,
        write_whole(path, overwrite=True) as partial,
    ):
        partial.write_text("half of it")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert raised.value.filename == str(path)
    assert list(path.parent.iterdir()) == []


def test_json_is_read_by_any_reader(tmp_path):
    odd = b"na\xefve.mp4".decode("utf-8", "surrogateescape")
    values = {"a": [1.5, math.nan, {"b": (math.inf, "ü")}], "name": odd}
    write_json(tmp_path / "x.json", values)
    text = (tmp_path / "x.json").read_bytes().decode("utf-8")
    assert "ü" in text and text.endswith("}\n")
    assert json.loads(text) == {"a": [1.5, None, {"b": [None, "ü"]}], "name": odd}
    assert parse_checked(encode_line(values).encode()) is not None


def hold(path: Path) -> subprocess.Popen:
    """Another process that holds an output, with a partial file, until it is ended."""
    code = (
        "import sys, time; from pathlib import Path\n"
        "from deepfake_jax.files import write_whole\n"
        "from deepfake_jax.output_lock import lock_output\n"
        "path = Path(sys.argv[1])\n"
        "with lock_output(path), write_whole(path, overwrite=True) as partial:\n"
        "    partial.write_text('half'); print('held', flush=True); time.sleep(60)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def test_an_output_is_held_by_one_process_and_a_dead_one_leaves_nothing(tmp_path):
    path, other = tmp_path / "film.mp4", tmp_path / "film.b.mp4"
    with write_whole(other, overwrite=False) as living:
        living.write_text("another output")
        process = hold(path)
        try:
            with pytest.raises(OutputBusyError, match=f" {process.pid} on .*wait for"):
                with lock_output(path):
                    pass
        finally:
            process.kill()
            process.wait()
        assert len(names(tmp_path)) == 3
        with lock_output(path):
            assert names(tmp_path) == [living.name, ".film.mp4.lock"]
    assert names(tmp_path) == ["film.b.mp4"]


def test_the_same_output_by_another_name_is_held_too(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "set")
    with lock_output(tmp_path / "set"):
        with pytest.raises(OutputBusyError):
            with lock_output(tmp_path / "link"):
                pass


def test_in_a_folder_only_files_of_dead_processes_go(tmp_path):
    run = make_folder(
        tmp_path / "run", f".a.{DEAD}-0123abcd.partial.yaml", ".b.partial"
    )
    (run / f".c.{DEAD}-0123abcd.partial").mkdir()
    living = f".d.{os.getpid()}-0123abcd.partial.mp4"
    make_folder(run, living)
    with lock_output(run, lock=run / ".lock"):
        assert names(run) == [".b.partial", living, ".lock"]
    assert names(run) == [".b.partial", living]


def test_a_folder_with_anything_else_is_not_removed(tmp_path):
    folder = make_folder(
        tmp_path / "set", "faces.jsonl", "a.png", "person_1/b.png", ".DS_Store"
    )
    check_known(folder, KNOWN)
    for foreign in ("notes.txt", "person_1/notes.txt", "raw/a.png", "person_1/x/a.png"):
        harmed = make_folder(tmp_path / "harmed", "a.png", foreign)
        named = "raw/" if foreign.startswith("raw") else foreign.removesuffix("a.png")
        with pytest.raises(ForeignFilesError, match=rf"\({named}\)"):
            remove_known(harmed, KNOWN)
        with pytest.raises(ForeignFilesError, match="not replaced"):
            replace_folder(folder, harmed, known=KNOWN)
        assert (harmed / foreign).exists() and (folder / "a.png").exists()
        (harmed / foreign).unlink()
        for left in ("person_1/x", "person_1", "raw"):
            if (harmed / left).is_dir():
                (harmed / left).rmdir()
    (tmp_path / "empty").mkdir()
    make_folder(tmp_path / "nested", "a.png").joinpath("empty").mkdir()
    with pytest.raises(ForeignFilesError, match="empty/"):
        check_known(tmp_path / "nested", KNOWN)
    (folder / "person_2").symlink_to(tmp_path / "nested")
    with pytest.raises(ForeignFilesError, match="person_2"):
        remove_known(folder, KNOWN)
    (folder / "person_2").unlink()
    remove_known(folder, KNOWN)
    assert not folder.exists()
    check_known(folder, KNOWN)
    check_known(tmp_path / "empty", ())


def test_a_file_is_no_folder_to_replace(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ForeignFilesError, match="is a file"):
        with write_whole_folder(tmp_path / "file", known=("*",)):
            pass


def test_a_folder_takes_the_place_of_another(tmp_path):
    old = make_folder(tmp_path / "set", "a.png", "b.png")
    with pytest.raises(KeyboardInterrupt):
        with write_whole_folder(old, known=KNOWN) as partial:
            make_folder(partial, "c.png")
            raise KeyboardInterrupt
    assert names(old) == ["a.png", "b.png"] and names(tmp_path) == ["set"]
    with write_whole_folder(old, known=KNOWN) as partial:
        make_folder(partial, "c.png")
    assert names(old) == ["c.png"] and names(tmp_path) == ["set"]


@pytest.mark.parametrize("moves", [1, 2, 3])
def test_a_kill_while_replacing_leaves_one_whole_folder(tmp_path, moves):
    old = make_folder(tmp_path / "set", "a.png", "b.png")
    new = make_folder(tmp_path / "new", "c.png", "d.png")
    code = (
        "import os, sys; from pathlib import Path\n"
        "from deepfake_jax.files import replace_folder\n"
        "moves, new, old = int(sys.argv[1]), *map(Path, sys.argv[2:])\n"
        "def count(event, arguments):\n"
        "    global moves\n"
        "    moves -= event in ('os.rename', 'shutil.rmtree')\n"
        "    if not moves: os._exit(9)\n"
        "sys.addaudithook(count)\n"
        "replace_folder(new, old, known=('*',))\n"
    )
    command = [sys.executable, "-c", code, str(moves), str(new), str(old)]
    assert subprocess.run(command, check=False).returncode == 9
    with lock_output(old):
        assert names(old) == (["c.png", "d.png"] if moves == 3 else ["a.png", "b.png"])
    assert [n for n in names(tmp_path) if n.startswith(".")] == []


@pytest.mark.skipif(sys.platform != "linux", reason="names there are UTF-8")
def test_a_name_that_is_no_utf8_is_held_and_named(tmp_path):
    path = tmp_path / os.fsdecode(b"ren\xe9.mp4")
    process = hold(path)
    try:
        with pytest.raises(OutputBusyError, match=rf"ren.*, {process.pid} on "):
            with lock_output(path):
                pass
    finally:
        process.kill()
        process.wait()
    with lock_output(path), write_whole(path, overwrite=False) as partial:
        partial.write_text("whole")
    assert names(tmp_path) == [path.name]
