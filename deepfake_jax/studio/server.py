"""Starts the page's server, says its address, opens the browser, and ends cleanly.

Work that was started goes on when the server ends, however it ends: the next server
shows it and can stop it.
"""

import logging
import secrets
import socket
import sys
import threading
import webbrowser
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import uvicorn

from deepfake_jax.studio.app import make_app
from deepfake_jax.studio.guard import Door
from deepfake_jax.studio.roots import make_roots

LOOPBACK = "127.0.0.1"
_LOCAL = (LOOPBACK, "localhost", "::1")
_WILD = ("0.0.0.0", "::", "")
_log = logging.getLogger("deepfake_jax")


class ServeError(ValueError):
    """A server that cannot be started; the text says why and the fix."""


def serve(
    folders: Sequence[Path],
    *,
    host: str = LOOPBACK,
    port: int = 0,
    browser: bool = True,
) -> int:
    """Serves the page until Ctrl-C, and gives how many of its jobs go on.

    Args:
        folders: what the page may see.
        host: address to listen at.
        port: likewise; 0 for any that is free.
        browser: open the page in the user's browser.

    Raises:
        ServeError: the port or the address cannot be had.
        ValueError: one of the folders is none.
    """
    roots = make_roots(folders)
    listening = _listen(host, port)
    port = listening.getsockname()[1]
    token = secrets.token_urlsafe(32)
    app = make_app(roots, Door(token, _name_hosts(host, port), f"studio-{port}"))
    shown = f"[{host}]" if ":" in host else host
    address = f"http://{shown}:{port}/?token={token}"
    if host not in _LOCAL:
        _log.warning(
            "--host %s: whoever in your network sees the address, or listens in (it is "
            "not encrypted), can see all footage in the folders and start work here",
            host,
        )
    print(f"deepfake-jax studio: {address}", flush=True)
    print(f"folders: {', '.join(map(str, roots))}; Ctrl-C ends it", file=sys.stderr)
    if browser:
        threading.Timer(0.3, _open, [address]).start()
    settings = uvicorn.Config(
        app,
        log_level="critical",
        access_log=False,  # it would have the token
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=1,  # an open page holds a stream of events
    )
    with suppress(KeyboardInterrupt):
        uvicorn.Server(settings).run(sockets=[listening])
    return app.state.studio.jobs.count_running()


def _listen(host: str, port: int) -> socket.socket:
    if host in _WILD:
        raise ServeError(
            f"--host {host} means every address of this machine, and a request must "
            "name one; give the one that others reach it by, such as 192.168.0.7"
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
    except (OSError, OverflowError) as error:
        listening.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise ServeError(
            f"cannot listen at {host}, port {port}: {reason}; give another --port, or "
            "leave it out to take one that is free"
        ) from None
    return listening


def _name_hosts(host: str, port: int) -> frozenset[str]:
    """What a request's ``Host`` may say."""
    names = [LOOPBACK, "localhost"] if host in (LOOPBACK, "localhost") else [host]
    shown = (f"[{name}]" if ":" in name else name for name in names)
    return frozenset(f"{name}:{port}" for name in shown)


def _open(address: str) -> None:
    with suppress(webbrowser.Error, OSError):
        webbrowser.open(address)
