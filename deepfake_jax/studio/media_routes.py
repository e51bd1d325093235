"""Requests for pictures and videos: footage, single frames, previews, results."""

import contextlib
import hashlib
import json
import mimetypes
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from deepfake_jax.studio.asked import (
    find_project,
    find_studio,
    read_fields,
    send_picture,
)
from deepfake_jax.studio.commands import find_run, read_looks, read_moment
from deepfake_jax.studio.projects import Project, read_consent
from deepfake_jax.studio.proxies import find_proxy
from deepfake_jax.studio.results import find_result
from deepfake_jax.studio.texts import RequestError

_MOST_FRAMES = 200  # swapped frames and their sources that are kept for the page


async def media(request: Request) -> Response:
    """A video or picture of the folders, whole or a part of it."""
    path = find_studio(request).roots.find_file(request.query_params.get("path"))
    return FileResponse(path, media_type=_find_type(path))


async def result(request: Request) -> Response:
    """A result; with ``download`` it is saved instead of shown."""
    query = request.query_params
    path = find_result(find_project(request, query), query.get("name"))
    path = find_studio(request).roots.resolve(str(path))
    if path.is_dir():  # its pictures are asked for one by one
        raise RequestError("no_file", status=404, name=path.name)
    name = path.name if "download" in query else None
    return FileResponse(path, media_type=_find_type(path), filename=name)


async def probe(request: Request) -> Response:
    """What a file of the folders says of itself."""
    studio = find_studio(request)
    path = studio.roots.find_file(request.query_params.get("path"))
    answer = await studio.reader.ask("probe", source=str(path))
    if "project" in request.query_params:
        project = find_project(request, request.query_params)
        answer["proxy"] = find_proxy(project, path).exists()
    return JSONResponse(answer)


async def proxy(request: Request) -> Response:
    """Makes a copy of a video that browsers play, as long work."""
    asked, studio = await read_fields(request), find_studio(request)
    project = find_project(request, asked)
    path = studio.roots.find_file(asked.get("path"), field="path")
    out = find_proxy(project, path)
    out.parent.mkdir(parents=True, exist_ok=True)
    facts = {"source": str(path)}
    command, module = [str(path), str(out)], "deepfake_jax.studio.proxies"
    name = studio.jobs.start(project.cache, "proxy", command, facts, module=module)
    return JSONResponse({"job": name})


async def played(request: Request) -> Response:
    """The copy of a video that browsers play."""
    project = find_project(request, request.query_params)
    path = find_studio(request).roots.find_file(request.query_params.get("path"))
    out = find_proxy(project, path)
    if not out.is_file():
        raise RequestError("no_file", status=404, name=path.name)
    return FileResponse(out, media_type="video/mp4")


async def frame(request: Request) -> Response:
    """A frame of a video as a picture."""
    query, studio = request.query_params, find_studio(request)
    project = find_project(request, query)
    path = studio.roots.find_file(query.get("path"))
    time = read_moment({"time": _read_float(query.get("time", "0"))}, "time")
    widest = 320 if "small" in query else 1920
    out = _name_frame(project, [str(path), path.stat().st_mtime_ns, time, widest])
    if not out.exists():
        facts = {"source": str(path), "time": time, "widest": widest}
        await studio.reader.ask("frame", out=str(out), **facts)
    return await send_picture(out)


async def swap(request: Request) -> Response:
    """Swaps one frame; the answer names the pictures before and after."""
    asked, studio = await read_fields(request), find_studio(request)
    project = find_project(request, asked)
    if read_consent(project) is None:
        raise RequestError("not_agreed", field="agreed", status=403)
    path = studio.roots.find_file(asked.get("source"), field="source")
    run = find_run(project, studio.roots, asked)
    looks = read_looks(project, studio.roots, asked)
    looks.pop("faces", None)  # of a whole film
    time = read_moment(asked, "time")
    before = _name_frame(project, ["before", str(path), path.stat().st_mtime_ns, time])
    state = max((p.stat().st_mtime_ns for p in run.glob("*/*")), default=0)
    facts = [str(path), str(run), state, looks, time]
    after = _name_frame(project, ["after", *facts])
    answer = await studio.swapper.ask(
        "swap",
        source=str(path),
        run=str(run),
        looks=looks,
        time=time,
        out=str(after),
        before=str(before),
    )
    return JSONResponse({**answer, "before": before.name, "after": after.name})


async def shown(request: Request) -> Response:
    """A picture that `swap` named."""
    project = find_project(request, request.query_params)
    folder = project.cache / "frames"
    name = request.query_params.get("name", "")
    if not folder.is_dir() or name not in {path.name for path in folder.iterdir()}:
        raise RequestError("no_file", status=404, name=name[:80])
    return await send_picture(folder / name)


async def preview(request: Request) -> Response:
    """The picture that a training draws while it works."""
    query, roots = request.query_params, find_studio(request).roots
    run = find_run(find_project(request, query), roots, query)
    path = roots.resolve(str(run / "preview.png"))
    return await send_picture(path)


def _name_frame(project: Project, facts: list[Any]) -> Path:
    """The file of a picture that is told by these facts; old ones go."""
    folder = project.cache / "frames"
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):  # of another request that does so
        kept = sorted(folder.glob("*.jpg"), key=lambda path: -path.stat().st_mtime)
        for old in kept[_MOST_FRAMES:]:
            old.unlink(missing_ok=True)
    text = json.dumps(facts, sort_keys=True).encode()
    return folder / f"{hashlib.sha256(text).hexdigest()[:32]}.jpg"


def _find_type(path: Path) -> str:
    """A type of picture or video only: what a name says is never taken for a page."""
    kind = mimetypes.guess_type(path.name)[0] or ""
    safe = kind.startswith(("image/", "video/")) and "svg" not in kind
    return kind if safe else "application/octet-stream"


def _read_float(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


async def marks(request: Request) -> Response:
    """What says that a result is synthetic, by `verify` where the command has it."""
    query, studio = request.query_params, find_studio(request)
    project = find_project(request, query)
    path = find_result(project, query.get("name"))
    found = await run_in_threadpool(studio.jobs.call, ["verify", str(path), "--json"])
    return JSONResponse({"verify": found})


ROUTES = [
    Route("/api/media", media),
    Route("/api/result", result),
    Route("/api/probe", probe),
    Route("/api/played", played),
    Route("/api/frame", frame),
    Route("/api/shown", shown),
    Route("/api/preview", preview),
    Route("/api/marks", marks),
    Route("/api/proxy", proxy, methods=["POST"]),
    Route("/api/swap", swap, methods=["POST"]),
]
