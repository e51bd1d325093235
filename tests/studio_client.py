"""A studio in a thread of the tests, asked by real requests as a browser asks it."""

import http.client
import json
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest

pytest.importorskip("starlette", reason="the extra studio is not installed")
uvicorn = pytest.importorskip("uvicorn", reason="the extra studio is not installed")

from deepfake_jax.studio.app import make_app  # noqa: E402
from deepfake_jax.studio.asked import Studio  # noqa: E402
from deepfake_jax.studio.guard import Door  # noqa: E402
from deepfake_jax.studio.roots import make_roots  # noqa: E402

TOKEN = "the-token-of-these-tests"


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class StudioClient:
    """Requests with our cookie; `ask` sends just what it is given."""

    port: int
    root: Path
    studio: Studio

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def cookie(self) -> dict[str, str]:
        return {"cookie": f"studio-{self.port}={TOKEN}"}

    def ask(
        self,
        method: str,
        address: str,
        headers: Mapping[str, Any] | None = None,
        body: bytes | str | None = None,
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            own = headers or {}
            connection.putrequest(method, address, skip_host="host" in own)
            for name, value in own.items():
                connection.putheader(name, value)
            data = body.encode() if isinstance(body, str) else body
            if data is not None and "content-length" not in own:
                connection.putheader("content-length", str(len(data)))
            connection.endheaders(data)
            answer = connection.getresponse()
            named = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, named, answer.read())
        finally:
            connection.close()

    def get(self, address: str, **query: Any) -> Answer:
        text = f"?{urlencode(query, quote_via=quote)}" if query else ""
        return self.ask("GET", address + text, self.cookie)

    def post(self, address: str, **values: Any) -> Answer:
        headers = {"content-type": "application/json", **self.cookie}
        return self.ask("POST", address, headers, json.dumps(values))

    def make_project(self, name: str = "film", *, agreed: bool = True) -> Path:
        made = self.post("/api/create", name=name)
        assert made.status == 200, made.body
        folder = Path(made.json()["project"])
        if agreed:
            facts = {"project": str(folder), "agreed": True, "who": "A. Tester"}
            assert self.post("/api/consent", **facts).status == 200
        return folder


class open_studio:
    """A studio that sees one folder, while the block runs."""

    def __init__(self, root: Path):
        self._root = root

    def __enter__(self) -> StudioClient:
        listening = socket.create_server(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        hosts = frozenset({f"127.0.0.1:{port}", f"localhost:{port}"})
        app = make_app(make_roots([self._root]), Door(TOKEN, hosts, f"studio-{port}"))
        config = uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([listening],))
        self._thread.start()
        return StudioClient(port, self._root.resolve(), app.state.studio)

    def __exit__(self, *error: Any) -> None:
        self._server.should_exit = True
        self._thread.join()
