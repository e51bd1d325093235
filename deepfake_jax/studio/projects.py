"""A project: a folder with the footage of two people, their faces, runs and results.

``studio.json`` names the footage and says where the page was left; ``consent.json``
holds who confirmed that the people in it agreed, and when. Beside them are
``faces_a`` and ``faces_b`` as `extract` makes them, ``runs/NAME``, ``results/`` and,
hidden, what can be made again: ``.studio``.
"""

import re
import shutil
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deepfake_jax.json_files import read_object, write_json
from deepfake_jax.studio.roots import Roots
from deepfake_jax.studio.texts import RequestError, find_text
from deepfake_jax.types import SIDES, Side
from deepfake_jax.version import own_version

PROJECT_NAME = "studio.json"
CONSENT_NAME = "consent.json"
FORMAT = "deepfake-jax studio"
VIEWS = ("footage", "faces", "train", "convert", "results")
# One that every disk takes and no shell or command line takes for anything else.
_NAME = re.compile(r"[^\W_][\w .()+-]{0,63}")


@dataclass(frozen=True)
class Project:
    """What a project's file says.

    Attributes:
        folder: where it lies.
        footage: of each side, paths of videos and pictures.
        chosen: of each side, the face set to train on, relative to the folder; "" for
            the person seen most.
        view: the one that was open last.
        opened: when, as ISO 8601 has it.
    """

    folder: Path
    footage: dict[Side, list[str]]
    chosen: dict[Side, str]
    view: str = "footage"
    opened: str = ""

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.name

    @property
    def cache(self) -> Path:
        """The folder of what can be made again; it need not exist."""
        return self.folder / ".studio"

    def faces(self, side: Side) -> Path:
        """Where a side's face sets lie."""
        return self.folder / f"faces_{side}"

    def run(self, name: Any, *, field: str = "run") -> Path:
        """The folder of a run.

        Raises:
            RequestError: no name that a folder can have.
        """
        return self.folder / "runs" / check_name(name, field=field)

    def list_runs(self) -> list[Path]:
        """The runs that were begun, the latest first."""
        found = [path.parent for path in self.folder.glob("runs/*/config.yaml")]
        return sorted(found, key=lambda run: -_find_time(run))

    def write(self) -> None:
        """Writes ``studio.json`` in one piece."""
        write_json(
            self.folder / PROJECT_NAME,
            {
                "format": FORMAT,
                "version": 1,
                "footage": self.footage,
                "chosen": self.chosen,
                "view": self.view,
                "opened": self.opened,
            },
        )


def create_project(parent: Path, name: Any) -> Project:
    """Makes the folder of a new project.

    Raises:
        RequestError: no name for a folder, there is one already, or it may not be made.
    """
    folder = parent / check_name(name, field="name")
    if folder.exists():
        raise RequestError("project_exists", field="name", name=folder.name)
    project = Project(folder, {"a": [], "b": []}, {"a": "", "b": ""}, opened=now())
    try:
        folder.mkdir()
        project.write()
    except OSError as error:
        reason = error.strerror or str(error)
        raise RequestError("unwritable", field="name", reason=reason) from None
    return project


def read_project(folder: Path) -> Project:
    """The project of a folder; what its file says wrongly counts as not said.

    Raises:
        RequestError: it has none, or one that cannot be read.
    """
    values = read_object(folder / PROJECT_NAME)
    if values.get("format") != FORMAT:
        raise RequestError("no_project", status=404, name=folder.name)
    footage, chosen = (
        each if isinstance(each := values.get(key), dict) else {}
        for key in ("footage", "chosen")
    )
    return Project(
        folder,
        {side: _texts(footage.get(side)) for side in SIDES},
        {side: "".join(_texts([chosen.get(side, "")])) for side in SIDES},
        view=view if (view := values.get("view")) in VIEWS else VIEWS[0],
        opened=str(values.get("opened", "")),
    )


def open_project(folder: Path) -> Project:
    """The project of a folder, which counts as opened now.

    Raises:
        RequestError: as `read_project`; the folder may not be written to.
    """
    project = replace(read_project(folder), opened=now())
    try:
        project.write()
    except OSError as error:
        raise RequestError("unwritable", reason=error.strerror or str(error)) from None
    return project


def find_projects(roots: Roots) -> list[dict[str, str]]:
    """The projects in the folders of the page and right below, the last used first."""
    found = {}
    for root in roots:
        for file in (*root.glob(PROJECT_NAME), *root.glob(f"[!.]*/{PROJECT_NAME}")):
            try:
                project = read_project(roots.find_folder(str(file.parent)))
            except RequestError:
                continue
            found[project.folder] = project
    ordered = sorted(found.values(), key=lambda project: project.opened, reverse=True)
    return [
        {"name": p.name, "path": str(p.folder), "opened": p.opened} for p in ordered
    ]


def read_consent(project: Project) -> dict[str, Any] | None:
    """What was confirmed of a project, None before."""
    consent = read_object(project.folder / CONSENT_NAME)
    return consent if consent.get("confirmed") is True else None


def write_consent(project: Project, who: Any) -> dict[str, Any]:
    """Takes down who confirmed that the people in the footage agreed.

    Raises:
        RequestError: nobody is named, or the file cannot be written.
    """
    if not isinstance(who, str) or not 1 <= len(who.strip()) <= 200:
        raise RequestError("no_who", field="who")
    consent = {
        "confirmed": True,
        "by": who.strip(),
        "at": now(),
        "text": find_text("consent", "statement"),
        "tool_version": own_version(),
    }
    try:
        write_json(project.folder / CONSENT_NAME, consent)
    except OSError as error:
        raise RequestError("unwritable", reason=error.strerror or str(error)) from None
    return consent


def check_name(name: Any, *, field: str) -> str:
    """A name that a folder or file may have.

    Raises:
        RequestError: it is none.
    """
    text = name.strip() if isinstance(name, str) else ""
    if not _NAME.fullmatch(text) or text.endswith("."):
        raise RequestError("no_name", field=field)
    return text


def free_bytes(folder: Path) -> int:
    """Free space of a folder's disk."""
    return shutil.disk_usage(folder).free


def now() -> str:
    """The time, as ISO 8601 has it, in UTC and to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _texts(values: Any) -> list[str]:
    listed = values if isinstance(values, list) else []
    return [value for value in listed if isinstance(value, str)]


def _find_time(run: Path) -> float:
    metrics = run / "metrics.jsonl"
    return (metrics if metrics.exists() else run / "config.yaml").stat().st_mtime
