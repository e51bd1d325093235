"""Requests about faces: the grid, its pictures, leaving out, bringing back, moving."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from deepfake_jax.face_sets.face_choice import drop_files, move_files, restore_files
from deepfake_jax.studio.asked import (
    find_project,
    find_studio,
    read_fields,
    send_picture,
)
from deepfake_jax.studio.commands import read_side
from deepfake_jax.studio.face_grid import (
    FaceGrids,
    list_found,
    list_person_sets,
    make_thumb,
)
from deepfake_jax.studio.projects import Project
from deepfake_jax.studio.texts import RequestError

_LASTING = {"cache-control": "private, max-age=31536000, immutable"}


async def faces(request: Request) -> Response:
    """What is known of a set's faces, as columns."""
    folder = _find_set(request, request.query_params)
    grids = find_studio(request).grids
    return JSONResponse(await run_in_threadpool(grids.describe, folder))


async def thumb(request: Request) -> Response:
    """A face made small; its address changes with the set, so it may be kept."""
    project = find_project(request, request.query_params)
    folder = _find_set(request, request.query_params)
    picture = await run_in_threadpool(_find_picture, request, folder)
    small = await run_in_threadpool(make_thumb, picture, project.cache / "thumbs")
    return await send_picture(small, headers=_LASTING)


async def face(request: Request) -> Response:
    """A face as it is on disk."""
    folder = _find_set(request, request.query_params)
    picture = await run_in_threadpool(_find_picture, request, folder)
    return await send_picture(picture, headers=_LASTING)


async def found(request: Request) -> Response:
    """The faces that a running extraction has just written, or one of them."""
    query = request.query_params
    project = find_project(request, query)
    listed = await run_in_threadpool(list_found, project.faces(read_side(query)))
    if "file" not in query:
        return JSONResponse({"files": [path.name for path in listed]})
    for path in listed:
        if path.name == query["file"]:
            return await send_picture(path)
    raise RequestError("no_face", status=404)


async def drop(request: Request) -> Response:
    """Leaves faces out: those named, or those that meet a query."""
    return await _edit(request, drop_files, dropped=False)


async def restore(request: Request) -> Response:
    """Brings faces back: those named, or those that meet a query."""
    return await _edit(request, restore_files, dropped=True)


async def move(request: Request) -> Response:
    """Gives faces to another person's set."""
    asked = await read_fields(request)
    project, folder = find_project(request, asked), _find_set(request, asked)
    files = await run_in_threadpool(_choose, request, folder, asked, False)
    person = asked.get("person")
    if person is not None and (type(person) is not int or not 1 <= person < 1000):
        raise RequestError("no_person", field="person")
    target = await run_in_threadpool(move_files, folder, files, person)
    return JSONResponse({"set": str(target.relative_to(project.folder))})


async def _edit(request: Request, edit: Any, *, dropped: bool) -> Response:
    asked = await read_fields(request)
    folder = _find_set(request, asked)
    files = await run_in_threadpool(_choose, request, folder, asked, dropped)
    changed = await run_in_threadpool(edit, folder, files)
    return JSONResponse({"changed": changed})


def _choose(
    request: Request, folder: Path, asked: Mapping[str, Any], dropped: bool
) -> list[str]:
    """The faces that a request means."""
    query, files = asked.get("query"), asked.get("files")
    grids: FaceGrids = find_studio(request).grids
    if isinstance(query, str) and query.strip():
        return grids.find_files(folder, query, dropped=dropped)
    known = isinstance(files, list) and all(isinstance(file, str) for file in files)
    if not known or not files:
        raise RequestError("no_files", field="query")
    return files


def _find_picture(request: Request, folder: Path) -> Path:
    grids = find_studio(request).grids
    path = grids.find_picture(folder, request.query_params.get("file", ""))
    return find_studio(request).roots.resolve(str(path))


def _find_set(request: Request, asked: Mapping[str, Any]) -> Path:
    """A set of the project, named relative to it.

    Raises:
        RequestError: it has no such.
    """
    project: Project = find_project(request, asked)
    for side in ("a", "b"):
        for part in list_person_sets(project.faces(side)):
            if str(part.relative_to(project.folder)) == asked.get("set"):
                return find_studio(request).roots.resolve(str(part))
    raise RequestError("no_set", status=404, name=str(asked.get("set"))[:80])


ROUTES = [
    Route("/api/faces", faces),
    Route("/api/thumb", thumb),
    Route("/api/face", face),
    Route("/api/found", found),
    Route("/api/drop", drop, methods=["POST"]),
    Route("/api/restore", restore, methods=["POST"]),
    Route("/api/move", move, methods=["POST"]),
]
