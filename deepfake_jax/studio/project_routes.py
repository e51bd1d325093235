"""Requests about projects: opening, footage, consent, and the work that is started."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import (
    JSONResponse,
    PlainTextResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Route

from deepfake_jax.convert_config import BLENDS, COLORS, MASKS
from deepfake_jax.face_sets.face_queries import KEYS
from deepfake_jax.studio.asked import find_project, find_studio, read_fields
from deepfake_jax.studio.commands import (
    ORDERS,
    describe_looks,
    find_run,
    find_training_set,
    read_side,
)
from deepfake_jax.studio.face_grid import count_faces, find_state, list_person_sets
from deepfake_jax.studio.projects import (
    VIEWS,
    Project,
    create_project,
    find_projects,
    free_bytes,
    open_project,
    read_consent,
    write_consent,
)
from deepfake_jax.studio.results import list_results
from deepfake_jax.studio.roots import count_footage, is_film
from deepfake_jax.studio.run_view import describe_run, list_brief
from deepfake_jax.studio.texts import RequestError
from deepfake_jax.train_config import list_presets
from deepfake_jax.types import SIDES
from deepfake_jax.version import own_version

_PAUSE = 0.5  # seconds between two looks at what has changed
_BEAT = 15.0  # seconds after which a line is sent in any case, so that ends are noticed


async def start(request: Request) -> Response:
    """What the page needs first: projects, folders, and all that can be chosen."""
    roots = find_studio(request).roots
    tables = {"mask": MASKS, "color": COLORS, "blend": BLENDS}
    return JSONResponse(
        {
            "version": own_version(),
            "roots": [str(folder) for folder in roots],
            "projects": await run_in_threadpool(find_projects, roots),
            "presets": list(list_presets()),
            "looks": describe_looks(),
            "choices": {
                name: [
                    {"name": key, "about": each.about} for key, each in table.items()
                ]
                for name, table in tables.items()
            },
            "keys": list(KEYS),
        }
    )


async def folder(request: Request) -> Response:
    """What a folder holds that can be chosen."""
    roots = find_studio(request).roots
    listed = await run_in_threadpool(
        roots.list_folder, request.query_params.get("path")
    )
    return JSONResponse(listed)


async def create(request: Request) -> Response:
    """Makes a project in a folder of the page."""
    asked, roots = await read_fields(request), find_studio(request).roots
    parent = roots.find_folder(asked.get("parent") or str(roots.folders[0]))
    project = create_project(parent, asked.get("name"))
    return JSONResponse({"project": str(project.folder)})


async def opened(request: Request) -> Response:
    """Notes that a project was opened, and gives where it was left."""
    found = find_project(request, await read_fields(request))
    project = open_project(found.folder)
    return JSONResponse({"project": str(project.folder), "view": project.view})


async def project(request: Request) -> Response:
    """All of a project, but what is long."""
    found = find_project(request, request.query_params)
    return JSONResponse(await run_in_threadpool(_describe, request, found))


def _describe(request: Request, project: Project) -> dict[str, Any]:
    roots = find_studio(request).roots
    sets = {}
    for side in SIDES:
        parts = list_person_sets(project.faces(side))
        training = find_training_set(project, roots, side) if parts else None
        sets[side] = [
            {
                "path": str(part.relative_to(project.folder)),
                "faces": count_faces(part),
                "trains": part == training,
            }
            for part in parts
        ]
    return {
        "name": project.name,
        "path": str(project.folder),
        "view": project.view,
        "consent": read_consent(project),
        "footage": {
            side: [_describe_footage(path) for path in project.footage[side]]
            for side in SIDES
        },
        "sets": sets,
        "runs": list_brief(project.list_runs()),
        "results": list_results(project),
        "free": free_bytes(project.folder),
    }


def _describe_footage(path: str) -> dict[str, Any]:
    file = Path(path)
    facts = {"path": path, "name": file.name, "there": file.exists()}
    if file.is_dir():
        return {**facts, "kind": "folder", "files": count_footage(file)}
    return {**facts, "kind": "video" if is_film(file) else "picture"}


async def left(request: Request) -> Response:
    """Notes which view is open."""
    asked = await read_fields(request)
    found = find_project(request, asked)
    if asked.get("view") not in VIEWS:
        raise RequestError("no_field", field="view")
    replace(found, view=asked["view"]).write()
    return JSONResponse({})


async def consent(request: Request) -> Response:
    """Takes down that the people in the footage agreed."""
    asked = await read_fields(request)
    found = find_project(request, asked)
    if asked.get("agreed") is not True:
        raise RequestError("not_agreed", field="agreed")
    return JSONResponse(write_consent(found, asked.get("who")))


async def footage(request: Request) -> Response:
    """Adds footage to a side, or takes it from there; the files stay as they are."""
    asked = await read_fields(request)
    found, side = find_project(request, asked), read_side(asked)
    listed = list(found.footage[side])
    if asked.get("remove") is True:
        listed = [path for path in listed if path != asked.get("path")]
    else:
        path = str(
            find_studio(request).roots.find_source(asked.get("path"), field="path")
        )
        listed += [path] * (path not in listed)
    replace(found, footage={**found.footage, side: listed}).write()
    return JSONResponse({"footage": [_describe_footage(path) for path in listed]})


async def choose(request: Request) -> Response:
    """Which person's set a side is trained on."""
    asked = await read_fields(request)
    found, side = find_project(request, asked), read_side(asked)
    sets = {
        str(p.relative_to(found.folder)) for p in list_person_sets(found.faces(side))
    }
    if asked.get("set") not in sets:
        raise RequestError("no_set", field="set", name=str(asked.get("set"))[:80])
    replace(found, chosen={**found.chosen, side: asked["set"]}).write()
    return JSONResponse({})


async def order(request: Request) -> Response:
    """Starts long work; nothing is, before the people in the footage agreed."""
    asked, studio = await read_fields(request), find_studio(request)
    found, kind = find_project(request, asked), asked.get("kind")
    if not isinstance(kind, str) or kind not in ORDERS:
        raise RequestError("no_field", field="kind")
    if read_consent(found) is None:
        raise RequestError("not_agreed", field="agreed", status=403)
    made = await run_in_threadpool(ORDERS[kind], found, studio.roots, asked)
    name = studio.jobs.start(found.cache, kind, made.command, made.facts)
    return JSONResponse({"job": name})


async def stop(request: Request) -> Response:
    """Stops work as Ctrl-C does."""
    asked = await read_fields(request)
    found, jobs = find_project(request, asked), find_studio(request).jobs
    jobs.stop(found.cache, asked.get("job"), force=asked.get("force") is True)
    return JSONResponse({})


async def log(request: Request) -> Response:
    """The end of what a job said."""
    found = find_project(request, request.query_params)
    jobs = find_studio(request).jobs
    return PlainTextResponse(
        jobs.read_log(found.cache, request.query_params.get("job"))
    )


async def run(request: Request) -> Response:
    """A run's curves and figures."""
    query, roots = request.query_params, find_studio(request).roots
    found = find_run(find_project(request, query), roots, query)
    return JSONResponse(await run_in_threadpool(describe_run, found))


async def events(request: Request) -> Response:
    """A stream of what has changed: jobs, and versions of what is on disk."""
    found = find_project(request, request.query_params)
    jobs = find_studio(request).jobs

    async def stream() -> AsyncIterator[str]:
        last, quiet = "", 0.0
        while not await request.is_disconnected():
            try:
                state = await run_in_threadpool(_find_changes, found, jobs)
                text = json.dumps(state)
            except OSError:  # a file that was listed has just gone: look again
                text = last
            if text != last or quiet >= _BEAT:
                yield f"data: {text}\n\n"
                last, quiet = text, 0.0
            await asyncio.sleep(_PAUSE)
            quiet += _PAUSE

    return StreamingResponse(stream(), media_type="text/event-stream")


def _find_changes(project: Project, jobs: Any) -> dict[str, Any]:
    versions: dict[str, Any] = {}
    for side in SIDES:
        sets = list_person_sets(project.faces(side))
        versions[f"faces_{side}"] = str([(p.name, find_state(p)) for p in sets])
    for path in project.list_runs():
        files = [path / "metrics.jsonl", path / "preview.png"]
        versions[f"run {path.name}"] = str(
            [file.stat().st_mtime_ns for file in files if file.exists()]
        )
    results = project.folder / "results"
    listed = results.iterdir() if results.is_dir() else ()
    versions["results"] = str(sorted(p.name for p in listed if p.name[0] != "."))
    return {
        "jobs": jobs.list(project.cache),
        "versions": versions,
        "free": free_bytes(project.folder),
    }


ROUTES = [
    Route("/api/start", start),
    Route("/api/folder", folder),
    Route("/api/project", project),
    Route("/api/run", run),
    Route("/api/log", log),
    Route("/api/events", events),
    Route("/api/create", create, methods=["POST"]),
    Route("/api/open", opened, methods=["POST"]),
    Route("/api/left", left, methods=["POST"]),
    Route("/api/consent", consent, methods=["POST"]),
    Route("/api/footage", footage, methods=["POST"]),
    Route("/api/choose", choose, methods=["POST"]),
    Route("/api/order", order, methods=["POST"]),
    Route("/api/stop", stop, methods=["POST"]),
]
