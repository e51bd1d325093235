"""What requests have in common: the project they name, and their fields."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from starlette.requests import ClientDisconnect, Request

from deepfake_jax.studio.projects import Project, read_project
from deepfake_jax.studio.texts import RequestError

if TYPE_CHECKING:
    from deepfake_jax.studio.app import Studio


def find_studio(request: Request) -> "Studio":
    """What all requests share."""
    return request.app.state.studio


async def read_fields(request: Request) -> dict[str, Any]:
    """The fields of a POST.

    Raises:
        RequestError: its body is no JSON object, or too long.
    """
    try:
        values = json.loads(await request.body())
    except ClientDisconnect:
        raise RequestError("too_long", status=413) from None
    except (ValueError, RecursionError):
        raise RequestError("no_json", status=400) from None
    if not isinstance(values, dict):
        raise RequestError("no_json", status=400)
    return values


def find_project(request: Request, asked: Mapping[str, Any]) -> Project:
    """The project of a request, within the roots.

    Raises:
        RequestError: there is none.
    """
    roots = find_studio(request).roots
    return read_project(roots.find_folder(asked.get("project"), field="project"))
