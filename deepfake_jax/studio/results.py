"""A project's results: what was made, from what, and what says that it is synthetic."""

import json
from pathlib import Path
from typing import Any

from deepfake_jax.json_files import read_object
from deepfake_jax.studio.projects import Project, check_name
from deepfake_jax.studio.roots import count_footage, is_film, is_footage
from deepfake_jax.studio.texts import RequestError

FOLDER = "results"


def list_results(project: Project) -> list[dict[str, Any]]:
    """The results of a project, the latest first."""
    folder = project.folder / FOLDER
    if not folder.is_dir():
        return []
    made = [p for p in folder.iterdir() if _is_result(p)]
    made.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    jobs = _read_jobs(project)
    return [{**_describe(path), "job": jobs.get(path.name)} for path in made]


def _is_result(path: Path) -> bool:
    """Whether it is a film, a picture, or a folder of pictures that were swapped."""
    if path.name.startswith("."):
        return False
    return bool(count_footage(path)) if path.is_dir() else is_footage(path)


def find_result(project: Project, name: Any) -> Path:
    """The file, or the folder of pictures, of a result.

    Raises:
        RequestError: there is no such.
    """
    text = name if isinstance(name, str) else ""
    stem, dot, suffix = text.rpartition(".") if "." in text else (text, "", "")
    path = project.folder / FOLDER / f"{check_name(stem, field='name')}{dot}{suffix}"
    inside = path.parent == project.folder / FOLDER
    if not (inside and path.exists() and _is_result(path)):
        raise RequestError("no_result", status=404)
    return path


def _describe(path: Path) -> dict[str, Any]:
    sidecar = path.with_name(f"{path.name}.json")
    whole = path.is_dir()
    parts = [p for p in path.iterdir() if p.is_file()] if whole else [path]
    return {
        "name": path.name,
        "path": str(path),
        "kind": "folder" if whole else "video" if is_film(path) else "picture",
        "size": sum(part.stat().st_size for part in parts),
        "made": path.stat().st_mtime,
        "sidecar": read_object(sidecar) or None,
    }


def _read_jobs(project: Project) -> dict[str, dict[str, Any]]:
    """What the conversions that made them were told, by the results' names."""
    found = {}
    for path in sorted(project.cache.glob("jobs/*-convert-*/job.json")):
        try:
            facts = json.loads(path.read_text(encoding="utf-8"))["facts"]
            result = (path.parent / "out").read_text(encoding="utf-8").splitlines()
            figures = json.loads(result[-1]) if result else None
        except (OSError, ValueError, KeyError):
            continue
        found[facts.get("out")] = {**facts, "figures": figures}
    return found
