"""The server's side of `frame_worker`: starts it, asks it, ends it when it is idle."""

import asyncio
import contextlib
import json
import sys
from typing import Any

from deepfake_jax.studio.texts import RequestError

_IDLE = 180.0  # seconds after which it gives its memory back
_PATIENCE = 120.0  # seconds for an answer; the first swap compiles the network


class WorkerClient:
    """Asks one worker, one request after another; a dead one is started anew."""

    def __init__(self, *, idle: float = _IDLE, patience: float = _PATIENCE):
        self._idle, self._patience = idle, patience
        self._process: asyncio.subprocess.Process | None = None
        self._lock = asyncio.Lock()
        self._end: asyncio.TimerHandle | None = None

    async def ask(self, work: str, **asked: Any) -> dict[str, Any]:
        """What the worker answers.

        Raises:
            RequestError: it says what is wrong, died, or did not answer in time.
        """
        async with self._lock:
            if self._end is not None:
                self._end.cancel()
            try:
                line = await asyncio.wait_for(
                    self._exchange({"work": work, **asked}), self._patience
                )
            except (TimeoutError, OSError):
                line = b""
            if not line.endswith(b"\n"):
                self.close()
                raise RequestError("worker_died", status=500)
            loop = asyncio.get_running_loop()
            self._end = loop.call_later(self._idle, self.close)
        answer = json.loads(line)
        if "error" in answer:
            raise RequestError("worker_said", why=answer["error"])
        return answer

    def close(self) -> None:
        """Ends the worker, if there is one."""
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()

    @property
    def process(self) -> int | None:
        """The worker's number, None where none lives."""
        alive = self._process is not None and self._process.returncode is None
        return self._process.pid if alive and self._process else None

    async def _exchange(self, asked: dict[str, Any]) -> bytes:
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "deepfake_jax.studio.frame_worker"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                start_new_session=True,
            )
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(json.dumps(asked).encode() + b"\n")
        await process.stdin.drain()
        return await process.stdout.readline()
