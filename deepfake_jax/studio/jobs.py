"""Long work: the console command in processes of their own, and what they say.

A job's folder has ``job.json`` (what was started), ``out`` and ``log`` (what the
process wrote) and ``alive``, a file that the process holds locked as long as it lives.
So the server may end, or be killed, without any harm: the work goes on, and a server
that is started later finds it running, shows it, and can stop it. Stop is what Ctrl-C
is.
"""

import fcntl
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deepfake_jax.json_files import parse_object, read_object, write_json
from deepfake_jax.progress import VARIABLE
from deepfake_jax.studio.texts import RequestError

_KEPT = 50  # finished jobs of a project whose logs are kept
_TAIL = 60_000  # bytes of a log that are looked at
_LINES = 12  # of a log that the page is told
_QUICK = 60.0  # seconds that a quick command may take
_MARK = "deepfake-jax: "


@dataclass
class Jobs:
    """The jobs of all projects; those that this server started are reaped by it.

    Attributes:
        started: processes of this server, by the job's folder.
    """

    started: dict[Path, subprocess.Popen[bytes]] = field(default_factory=dict)
    _ended: dict[Path, dict[str, Any]] = field(default_factory=dict)

    def start(
        self,
        cache: Path,
        kind: str,
        command: Sequence[str],
        facts: dict[str, Any],
        *,
        module: str = "deepfake_jax",
    ) -> str:
        """Starts a command and gives the job's name.

        Args:
            cache: the project's hidden folder.
            kind: for the page, such as train.
            command: arguments of the module.
            facts: what the page has to know of it.
            module: what is run.

        Raises:
            RequestError: the project cannot be written to.
        """
        name = f"{time.strftime('%Y%m%d-%H%M%S')}-{kind}-{secrets.token_hex(3)}"
        folder = cache / "jobs" / name
        try:
            folder.mkdir(parents=True)
            with (
                (folder / "alive").open("wb") as alive,
                (folder / "out").open("wb") as out,
                (folder / "log").open("wb") as log,
            ):
                fcntl.flock(alive, fcntl.LOCK_EX)
                process = subprocess.Popen(
                    [sys.executable, "-m", module, *command],
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=log,
                    env={**os.environ, VARIABLE: "json", "PYTHONUNBUFFERED": "1"},
                    start_new_session=True,  # Ctrl-C in the terminal is not for it
                    pass_fds=(alive.fileno(),),
                )
            job = {
                "name": name,
                "kind": kind,
                "command": ["deepfake-jax", *command],
                "facts": facts,
                "process": process.pid,
                "started": time.time(),
            }
            write_json(folder / "job.json", job)
        except OSError as error:
            reason = error.strerror or str(error)
            raise RequestError("unwritable", reason=reason) from None
        self.started[folder] = process
        _forget_old(cache / "jobs")
        return name

    def list(self, cache: Path) -> list[dict[str, Any]]:
        """The jobs of a project as the page shows them, the latest first."""
        self._reap()
        folders = sorted((cache / "jobs").glob("*/job.json"), reverse=True)
        described = (self._describe(path.parent) for path in folders)
        return [job for job in described if job is not None]

    def _describe(self, folder: Path) -> dict[str, Any] | None:
        """A job; what one that has ended says does not change any more."""
        if folder in self._ended:
            return self._ended[folder]
        job = _describe(folder)
        if job is not None and job["ended"] is not None:
            self._ended[folder] = job
        return job

    def stop(self, cache: Path, name: Any, *, force: bool = False) -> None:
        """Does what Ctrl-C does, or ends it at once where `force` says so.

        Raises:
            RequestError: there is no such job.
        """
        folder = _find_job(cache, name)
        job = read_object(folder / "job.json")
        self._reap()
        if not is_alive(folder):
            return
        (folder / "stopped").touch()
        number = signal.SIGKILL if force else signal.SIGINT
        try:
            os.killpg(job["process"], number)
        except (OSError, KeyError):
            return  # it has just ended

    def read_log(self, cache: Path, name: Any) -> str:
        """The end of what a job said, without its progress.

        Raises:
            RequestError: there is no such job.
        """
        lines = _read_tail(_find_job(cache, name) / "log")
        return "\n".join(line for line in lines if not line.startswith('{"progress"'))

    def call(self, command: Sequence[str]) -> dict[str, Any] | None:
        """What a quick command says in JSON; None where it has nothing to say."""
        try:
            done = subprocess.run(
                [sys.executable, "-m", "deepfake_jax", *command],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_QUICK,
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return _parse_last(done.stdout.decode("utf-8", "replace").splitlines())

    def count_running(self) -> int:
        """How many of this server's processes are at work."""
        self._reap()
        return len(self.started)

    def _reap(self) -> None:
        ended = [f for f, process in self.started.items() if process.poll() is not None]
        for folder in ended:
            del self.started[folder]


def is_alive(folder: Path) -> bool:
    """Whether the process of a job's folder lives, whoever started it."""
    try:
        with (folder / "alive").open("rb") as alive:
            fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _describe(folder: Path) -> dict[str, Any] | None:
    job = read_object(folder / "job.json")
    if not job:
        return None
    alive = is_alive(folder)  # first: what it says last is then there
    result, log = _read_result(folder / "out"), _read_tail(folder / "log")
    stopped = (folder / "stopped").exists()
    state = "running" if alive else "done" if result else "failed"
    if stopped and state != "done":
        state = "stopping" if alive else "stopped"
    words = [line for line in log if line and not line.startswith('{"progress"')]
    return {
        **{key: job.get(key) for key in ("name", "kind", "facts", "started")},
        "state": state,
        "progress": _find_progress(log),
        "result": result,
        "words": [word.removeprefix(_MARK) for word in words[-_LINES:]],
        "error": _find_error(words) if state == "failed" else "",
        "ended": None if alive else _find_end(folder),
    }


def _find_end(folder: Path) -> float:
    """When a job said its last word; 0 where its log is gone."""
    try:
        return (folder / "log").stat().st_mtime
    except OSError:
        return 0.0


def _find_error(words: list[str]) -> str:
    """What the command said went wrong; "" if it said nothing, as when it was killed.

    What follows the last such line is part of it: texts may have several lines.
    """
    mark = f"{_MARK}error: "
    found = [number for number, line in enumerate(words) if line.startswith(mark)]
    if found:
        return "\n".join(words[found[-1] :]).removeprefix(mark)
    other = [line for line in words if line.startswith(_MARK)]
    said = other[-1].removeprefix(_MARK) if other else ""
    return said if said.startswith("interrupted") else ""


def _find_progress(log: list[str]) -> dict[str, Any] | None:
    for line in reversed(log):
        # The last may be being written.
        if line.startswith('{"progress"') and (found := parse_object(line)):
            return found
    return None


def _read_result(path: Path) -> dict[str, Any] | None:
    """The JSON object of a command's last line, None if it has none."""
    return _parse_last(_read_tail(path))


def _parse_last(lines: list[str]) -> dict[str, Any] | None:
    filled = [line for line in lines if line.strip()]
    return parse_object(filled[-1]) if filled else None


def _read_tail(path: Path) -> list[str]:
    """The last lines of a file, whole ones."""
    try:
        with path.open("rb") as file:
            length = file.seek(0, os.SEEK_END)
            file.seek(max(0, length - _TAIL))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return []
    lines = text.splitlines()
    return lines[1:] if length > _TAIL else lines


def _find_job(cache: Path, name: Any) -> Path:
    known = {path.parent.name: path.parent for path in cache.glob("jobs/*/job.json")}
    if not isinstance(name, str) or name not in known:
        raise RequestError("no_job", status=404)
    return known[name]


def _forget_old(folder: Path) -> None:
    """Removes the folders of jobs that ended long ago."""
    for old in sorted(folder.iterdir(), reverse=True)[_KEPT:]:
        if not is_alive(old):
            for path in old.iterdir():
                path.unlink()
            old.rmdir()
