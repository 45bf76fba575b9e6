"""An HTTP server that takes what consumers post, and answers as a test wants it to."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from tests.lab.broker import HOST, free_port


class Taken:
    """What was posted, and what is answered."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.posts: list[tuple[str, Any]] = []
        """Path and body, in order of arrival; also of those that were refused."""
        self.answers: list[int] = []
        """Status codes of the next answers; then 202."""


@asynccontextmanager
async def receiver() -> AsyncIterator[Taken]:
    """Run one on loopback."""
    port = free_port()
    taken = Taken(f"http://{HOST}:{port}")

    async def take(request: web.Request) -> web.Response:
        taken.posts.append((request.path, await request.json()))
        return web.Response(status=taken.answers.pop(0) if taken.answers else 202)

    app = web.Application()
    app.router.add_post("/{path:.*}", take)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, port).start()
        yield taken
    finally:
        await runner.cleanup()
