"""What requests have in common: the project they name, and their fields."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from deepfake_jax.json_files import parse_object
from deepfake_jax.studio.face_grid import FaceGrids
from deepfake_jax.studio.jobs import Jobs
from deepfake_jax.studio.projects import Project, read_project
from deepfake_jax.studio.roots import Roots
from deepfake_jax.studio.texts import RequestError
from deepfake_jax.studio.worker_client import WorkerClient


@dataclass(frozen=True)
class Studio:
    """What all requests share.

    Attributes:
        roots: folders that the page may see.
        jobs: long work.
        grids: records of face sets.
        reader: the worker that reads footage.
        swapper: the worker that swaps single frames.
    """

    roots: Roots
    jobs: Jobs = field(default_factory=Jobs)
    grids: FaceGrids = field(default_factory=FaceGrids)
    reader: WorkerClient = field(default_factory=WorkerClient)
    swapper: WorkerClient = field(default_factory=WorkerClient)


def find_studio(request: Request) -> Studio:
    """What all requests share."""
    return request.app.state.studio


async def read_fields(request: Request) -> dict[str, Any]:
    """The fields of a POST.

    Raises:
        RequestError: its body is no JSON object, or too long.
    """
    try:
        values = parse_object(await request.body())
    except ClientDisconnect:
        raise RequestError("too_long", status=413) from None
    if values is None:
        raise RequestError("no_json", status=400)
    return values


def find_project(request: Request, asked: Mapping[str, Any]) -> Project:
    """The project of a request, within the roots.

    Raises:
        RequestError: there is none.
    """
    roots = find_studio(request).roots
    return read_project(roots.find_folder(asked.get("project"), field="project"))


async def send_picture(
    path: Path, *, headers: Mapping[str, str] | None = None
) -> Response:
    """A picture as it is at one moment, whoever replaces or moves its file meanwhile.

    Raises:
        RequestError: it is not there any more.
    """
    try:
        data = await run_in_threadpool(path.read_bytes)
    except OSError:
        raise RequestError("no_file", status=404, name=path.name) from None
    kind = "image/png" if path.suffix == ".png" else "image/jpeg"
    return Response(data, media_type=kind, headers=headers)
