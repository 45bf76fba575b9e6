"""A real HTTP server on loopback that takes what consumers send, and answers as a test wants: late, never, 429, 500, gone."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.lab.broker import HOST, free_port


@dataclass(frozen=True)
class Answer:
    """How one request is answered."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    hang_s: float = 0.0
    """Seconds before it is answered."""


@dataclass(frozen=True)
class Post:
    """What was sent."""

    method: str
    path: str
    body: Any
    headers: Mapping[str, str]


class HttpReceiver:
    """One server; it can go down and come back on the same port."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://{HOST}:{self.port}"
        self.posts: list[Post] = []
        """In order of arrival; also of those that were refused."""
        self.answers: list[Answer] = []
        """Of the next requests; then `always`."""
        self.always = Answer()
        self._runner: web.AppRunner | None = None

    @property
    def bodies(self) -> list[Any]:
        """What stood in the posts."""
        return [post.body for post in self.posts]

    async def start(self) -> None:
        """Listen."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._take)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, HOST, self.port).start()

    async def stop(self) -> None:
        """Go down; connections are refused."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.json() if request.can_read_body and "json" in request.content_type else await request.text()
        self.posts.append(Post(request.method, request.path, body, dict(request.headers)))
        answer = self.answers.pop(0) if self.answers else self.always
        if answer.hang_s:
            await asyncio.sleep(answer.hang_s)
        return web.json_response(answer.body if answer.body is not None else {}, status=answer.status, headers=answer.headers)


@asynccontextmanager
async def http_receiver() -> AsyncIterator[HttpReceiver]:
    """Run one."""
    server = HttpReceiver()
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
