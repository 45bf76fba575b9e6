"""The unix socket in the state folder on which a running sidecar is asked for its status, and the question's other end."""

import asyncio
import contextlib
import json
import os
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import structlog

_log = structlog.get_logger(__name__)

ANSWER_S = 5.0
"""Who asks has so long to take the answer."""

RETRY_S = 30.0
"""A socket that could not be made (a full or read-only disk) is tried again so often."""

QUESTION_BYTES = 64 * 1024
ANSWER_BYTES = 16 * 1024 * 1024
"""A longer line is no question, and no answer."""

_ADDRESS_BYTES = 107
"""`sun_path` has 108 bytes, one of them for the final NUL."""


class StatusSocket:
    """Answers one JSON question per connection on a unix socket that only the same user may open."""

    def __init__(self, path: Path, answer: Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]) -> None:
        self._path = path
        self._answer = answer

    async def run(self) -> None:
        """Serve until cancelled; while the folder cannot be written, it is tried again."""
        while True:
            try:
                self._path.unlink(missing_ok=True)
                with _fitting(self._path) as path:
                    server = await asyncio.start_unix_server(self._serve, path, limit=QUESTION_BYTES)
                self._path.chmod(0o600)
                break
            except OSError as error:
                _log.warning("status_socket_unavailable", error=str(error))
                await asyncio.sleep(RETRY_S)
        try:
            await server.serve_forever()
        finally:
            server.close()
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(ANSWER_S):
                question = json.loads(await reader.readline() or b"{}")
                answer = await self._answer(question if isinstance(question, dict) else {})
                writer.write(json.dumps(answer, default=str).encode() + b"\n")
                await writer.drain()
        except (TimeoutError, OSError, ValueError, RecursionError) as error:  # RecursionError: brackets without end
            _log.info("status_question_unanswered", error=str(error))
        finally:
            writer.close()
            with contextlib.suppress(TimeoutError, OSError):
                async with asyncio.timeout(1.0):
                    await writer.wait_closed()


async def ask(path: Path, question: dict[str, Any]) -> dict[str, Any]:
    """Ask a running sidecar.

    Raises:
        OSError: nobody listens there.
        TimeoutError: no answer came.
        ValueError: what came is no answer.
    """
    async with asyncio.timeout(ANSWER_S):
        with _fitting(path) as fitting:
            reader, writer = await asyncio.open_unix_connection(fitting, limit=ANSWER_BYTES)
        try:
            writer.write(json.dumps(question).encode() + b"\n")
            await writer.drain()
            return dict(json.loads(await reader.readline()))
        finally:
            writer.close()


@contextlib.contextmanager
def _fitting(path: Path) -> Iterator[str]:
    """The path as the address of a unix socket, which has 107 bytes at most (unix(7)): a longer one by way of its folder."""
    if len(os.fsencode(path)) <= _ADDRESS_BYTES:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
