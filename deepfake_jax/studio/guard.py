"""Who may speak to the page's server: one browser, on its own page, on this machine.

Each request must name a host that the server listens as (so that a foreign name which
leads here is refused), have our cookie (so that other users of the machine are), and
come from our own page. What changes anything is a POST of JSON, which no form of
another page can send. Nothing is decided by ``request.url``, which a client's header
makes.
"""

import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

from starlette.responses import JSONResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deepfake_jax.studio.texts import find_text

_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:;"
        " media-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none';"
        " frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), payment=()",
}
_MOST_BYTES = 1_000_000  # of a request; lists of 5,000 faces' names take 150 kB


@dataclass(frozen=True)
class Door:
    """What a request must know.

    Attributes:
        token: in the printed address, then in the cookie.
        hosts: what the ``Host`` header may say, with the port.
        cookie: its name, other for each port: cookies know no ports.
    """

    token: str
    hosts: frozenset[str]
    cookie: str

    def admits(self, token: str) -> bool:
        """Whether a token is ours; takes as long for any."""
        return secrets.compare_digest(token.encode(), self.token.encode())


class Guard:
    """Lets in only requests that the module's text allows."""

    def __init__(self, app: ASGIApp, door: Door):
        self._app, self._door = app, door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers or refuses a request."""
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        if scope["type"] != "http":
            return None  # no WebSockets here
        headers = _read_headers(scope)
        send = _with_headers(send)
        refused = self._refuse(scope, headers)
        if refused is not None:
            status, code = refused
            answer = JSONResponse({"error": find_text("errors", code)}, status)
            return await answer(scope, receive, send)
        if self._door.admits(_read_token(scope)):
            # The token leaves the address bar, and with it the history.
            answer = RedirectResponse("/", 303)
            answer.set_cookie(
                self._door.cookie, self._door.token, httponly=True, samesite="strict"
            )
            return await answer(scope, receive, send)
        return await self._app(scope, _limited(receive), send)

    def _refuse(self, scope: Scope, headers: dict[str, str]) -> tuple[int, str] | None:
        """Status and text of a request that may not pass."""
        if headers.get("host", "") not in self._door.hosts:
            return 400, "foreign_host"
        origin = headers.get("origin")
        if origin is not None and origin not in self._origins():
            return 403, "foreign_page"
        enters = scope["path"] == "/" and self._door.admits(_read_token(scope))
        site = headers.get("sec-fetch-site", "same-origin")
        if site not in ("same-origin", "none") and not enters:
            return 403, "foreign_page"
        if enters:
            return None if scope["method"] in ("GET", "HEAD") else (405, "method")
        if not self._door.admits(_read_cookie(headers, self._door.cookie)):
            return 403, "no_cookie"
        if scope["method"] in ("GET", "HEAD"):
            return None
        if scope["method"] != "POST":
            return 405, "method"
        kind = headers.get("content-type", "").split(";")[0].strip().lower()
        if kind != "application/json":
            return 415, "no_json"
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > _MOST_BYTES:
            return 413, "too_long"
        return None

    def _origins(self) -> set[str]:
        return {f"http://{host}" for host in self._door.hosts}


def _read_headers(scope: Scope) -> dict[str, str]:
    """Headers by name; one that comes twice is none that we know."""
    found: dict[str, str] = {}
    for name, value in scope["headers"]:
        key = name.decode("latin-1").lower()
        before = f"{found[key]}, " if key in found else ""
        found[key] = before + value.decode("latin-1")
    return found


def _read_token(scope: Scope) -> str:
    query = scope["query_string"].decode("latin-1")
    parts = dict(part.partition("=")[::2] for part in query.split("&"))
    return parts.get("token", "")


def _read_cookie(headers: dict[str, str], name: str) -> str:
    parts = (
        part.strip().partition("=") for part in headers.get("cookie", "").split(";")
    )
    return {key: value for key, _, value in parts}.get(name, "")


def _with_headers(send: Send) -> Send:
    async def add(message: Message) -> None:
        if message["type"] == "http.response.start":
            known = {name.lower() for name, _ in message["headers"]}
            extra = {"cache-control": "no-store", **_HEADERS}
            message["headers"] = [
                *message["headers"],
                *(
                    (name.encode(), value.encode())
                    for name, value in extra.items()
                    if name.encode() not in known
                ),
            ]
        await send(message)

    return add


def _limited(receive: Receive) -> Callable[[], Awaitable[MutableMapping[str, Any]]]:
    """Ends a body that is longer than it may be, whatever its header says."""
    seen = 0

    async def read() -> MutableMapping[str, Any]:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        return {"type": "http.disconnect"} if seen > _MOST_BYTES else message

    return read
