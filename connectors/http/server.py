"""A small HTTP server for monitoring systems: fixed paths, GET alone, no access log. Knows nothing of what it answers.

It is never worth more than the sidecar: an address that is taken is logged and tried again, a burst of requests is turned away.
"""

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any, Final

import structlog
from aiohttp import web

from engine.ports.clock import Clock
from engine.ports.http import Answer, Answerer

_log = structlog.get_logger(__name__)

RETRY_S: Final = 60.0
"""An address that cannot be listened on is tried again so often: another sidecar of this host may have ended."""

MAX_AT_ONCE: Final = 8
"""Requests under way; one more is answered with 503. A Prometheus or two and a probe ask a few times a minute."""

ANSWER_S: Final = 9.0
"""An answer takes no longer: Prometheus gives up after ten seconds."""

CLOSE_S: Final = 0.2
"""Requests under way have so long to end at a stop."""


class MonitoringServer:
    """Listens on one address and answers fixed paths.

    Args:
        host: address to listen on.
        port: 0 for a free one, which is logged.
        answerers: by path.
        clock: for the pause between two tries.
    """

    def __init__(self, host: str, port: int, answerers: Mapping[str, Answerer], *, clock: Clock) -> None:
        self._host = host
        self._port = port
        self._answerers = answerers
        self._clock = clock
        self._under_way = 0
        self.address: tuple[str, int] | None = None
        """Where it listens; None while it does not."""

    async def run(self) -> None:
        """Serve until cancelled; while the address cannot be had, it is tried again."""
        app = web.Application(client_max_size=1024)
        for path in self._answerers:
            app.router.add_get(path, self._handle)
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=CLOSE_S, keepalive_timeout=30.0)
        await runner.setup()
        try:
            await self._listen(runner)
            await asyncio.Event().wait()
        finally:
            self.address = None
            await runner.cleanup()

    async def _listen(self, runner: web.AppRunner) -> None:
        logged = ""
        while True:
            try:
                await _whole(web.TCPSite(runner, self._host, self._port).start())
            except OSError as error:
                if str(error) != logged:
                    logged = str(error)
                    _log.warning("metrics_unavailable", listen=f"{self._host}:{self._port}", error=logged, retry_s=RETRY_S)
                await self._clock.sleep(RETRY_S)
                continue
            bound = runner.addresses[0]
            self.address = (str(bound[0]), int(bound[1]))
            _log.info("metrics_listening", listen=f"{self.address[0]}:{self.address[1]}")
            return

    async def _handle(self, request: web.Request) -> web.Response:
        if self._under_way >= MAX_AT_ONCE:
            return web.Response(status=503, text="too many requests at once\n")
        self._under_way += 1
        try:
            async with asyncio.timeout(ANSWER_S):
                answer = await self._answerers[request.path]()
        except TimeoutError:
            answer = Answer(503, f"no answer within {ANSWER_S:g} s\n".encode())
        except Exception:  # noqa: BLE001  whatever goes wrong with an answer, the sidecar goes on
            _log.exception("metrics_failed", path=request.path)
            answer = Answer(500, b"failed; the log says why\n")
        finally:
            self._under_way -= 1
        headers = {"Content-Type": answer.content_type, "Cache-Control": "no-store"}
        return web.Response(status=answer.status, body=answer.body, headers=headers)


async def _whole(work: Coroutine[Any, Any, None]) -> None:
    """Cancelled in the middle, asyncio's `create_server` leaves a socket that listens: it is let to its end first."""
    task = asyncio.get_running_loop().create_task(work, name="monitoring-listen")
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task}, timeout=CLOSE_S)
        raise
