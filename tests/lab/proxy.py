"""A unix socket in front of Docker's that counts what is asked: how much a sidecar costs Docker it watches."""

import asyncio
import re
import tempfile
from collections import Counter
from pathlib import Path
from typing import Self

from tests.lab import leftovers
from tests.lab.engine import ScratchEngine

_REQUEST = re.compile(rb"(?:^|\n)(GET|POST|DELETE|HEAD) (?:/v[0-9.]+)?(/[^ ?]*)[^ ]* HTTP/1\.1\r\n")
_CONTAINER = re.compile(r"/containers/[0-9a-f]{64}")
_CHUNK = 64 * 1024


class CountingProxy:
    """Passes bytes both ways and counts requests by method and path, `ID` standing for any container. Async context manager.

    Requests come whole at the beginning of a write: that is how HTTP clients send them, and all that is needed here.
    """

    def __init__(self, engine: ScratchEngine) -> None:
        self._engine = engine
        self._folder = Path(tempfile.mkdtemp(prefix=leftovers.PREFIX))
        leftovers.claim(self._folder)
        self._socket = self._folder / "docker.sock"
        self._server: asyncio.Server | None = None
        self._passing: set[asyncio.Task[None]] = set()
        self.asked: Counter[str] = Counter()

    @property
    def url(self) -> str:
        """For DOCKER_HOST."""
        return f"unix://{self._socket}"

    async def __aenter__(self) -> Self:
        """Listen."""
        self._server = await asyncio.start_unix_server(self._serve, self._socket)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close every connection."""
        if self._server is not None:
            self._server.close()
        for task in self._passing:
            task.cancel()
        await asyncio.gather(*self._passing, return_exceptions=True)
        leftovers.delete(self._folder)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_unix_connection(self._engine.socket)
        except OSError:
            writer.close()
            return
        for name, passing in (("ask", self._pass(reader, back, count=True)), ("answer", self._pass(there, writer, count=False))):
            task = asyncio.create_task(passing, name=f"proxy {name}")
            self._passing.add(task)
            task.add_done_callback(self._passing.discard)

    async def _pass(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, count: bool) -> None:
        try:
            while chunk := await source.read(_CHUNK):
                if count:
                    self._count(chunk)
                sink.write(chunk)
                await sink.drain()
        except OSError:
            pass
        finally:
            sink.close()

    def _count(self, chunk: bytes) -> None:
        for method, path in _REQUEST.findall(chunk):
            self.asked[f"{method.decode()} {_CONTAINER.sub('/containers/ID', path.decode(errors='replace'))}"] += 1
