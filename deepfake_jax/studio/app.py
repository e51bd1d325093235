"""The page's server: who may ask is up to `guard`, which paths to `roots`.

An answer is JSON, a picture or a part of a video. An error is JSON with a text in
``error`` and, where a field of a form is wrong, its name in ``field``.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from deepfake_jax.face_sets.face_queries import QueryError
from deepfake_jax.face_sets.face_record import FaceSetError
from deepfake_jax.output_lock import OutputBusyError
from deepfake_jax.studio import face_routes, media_routes, project_routes
from deepfake_jax.studio.asked import Studio
from deepfake_jax.studio.guard import Door, Guard
from deepfake_jax.studio.roots import Roots
from deepfake_jax.studio.texts import PAGE, RequestError, find_text

_KINDS = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".json": "application/json",
    ".svg": "image/svg+xml",
}


def make_app(roots: Roots, door: Door) -> Starlette:
    """The whole server, for those that the door admits."""
    studio = Studio(roots)

    @asynccontextmanager
    async def live(app: Starlette) -> AsyncIterator[None]:
        yield
        studio.reader.close()
        studio.swapper.close()

    app = Starlette(
        routes=_list_routes(),
        middleware=[Middleware(Guard, door=door)],
        exception_handlers=_HANDLERS,
        lifespan=live,
    )
    app.state.studio = studio
    return app


def _list_routes() -> Sequence[Route]:
    pages = {f"/page/{path.name}": path for path in PAGE.iterdir() if path.is_file()}
    pages["/"] = PAGE / "index.html"

    async def page(request: Request) -> Response:
        path = pages[request.scope["path"]]
        # no-cache: asked again each time, and answered by 304 where nothing changed.
        headers = {"cache-control": "no-cache"}
        kind = _KINDS.get(path.suffix, "text/plain")
        return FileResponse(path, media_type=kind, headers=headers)

    return [
        *(Route(address, page) for address in pages),
        *project_routes.ROUTES,
        *face_routes.ROUTES,
        *media_routes.ROUTES,
    ]


async def _answer_wrong(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestError)
    values = {"error": str(error), "code": error.code, "field": error.field}
    return JSONResponse(values, error.status)


async def _answer_known(request: Request, error: Exception) -> Response:
    status = 409 if isinstance(error, OutputBusyError) else 400
    return JSONResponse({"error": str(error), "code": "", "field": ""}, status)


async def _answer_missing(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": find_text("errors", "no_address")}, 404)


async def _answer_broken(request: Request, error: Exception) -> Response:
    text = find_text("errors", "broken").format(why=type(error).__name__)
    return JSONResponse({"error": text}, 500)


_HANDLERS: dict[Any, Any] = {
    RequestError: _answer_wrong,
    QueryError: _answer_known,
    FaceSetError: _answer_known,
    OutputBusyError: _answer_known,
    404: _answer_missing,
    405: _answer_missing,
    Exception: _answer_broken,
}
