"""The HTTP server for monitoring systems."""

import asyncio
import contextlib
import gc
import socket
from collections.abc import AsyncIterator, Mapping

import aiohttp
import pytest
from structlog.testing import capture_logs

from connectors.http import server as server_module
from connectors.http.server import MonitoringServer
from engine.ports.http import Answer, Answerer
from tests.clocks import SYSTEM
from tests.lab.waiting import until


async def ok() -> Answer:
    """Well."""
    return Answer(200, b"ok\n")


async def broken() -> Answer:
    """A fault."""
    raise KeyError("something")


@contextlib.asynccontextmanager
async def serving(answerers: Mapping[str, Answerer], port: int = 0) -> AsyncIterator[MonitoringServer]:
    """A server that runs."""
    server = MonitoringServer("127.0.0.1", port, answerers, clock=SYSTEM)
    task = asyncio.create_task(server.run(), name="monitoring")
    try:
        yield server
    finally:
        task.cancel()
        await asyncio.wait({task}, timeout=5.0)
        assert task.cancelled()


async def get(server: MonitoringServer, path: str, method: str = "GET") -> tuple[int, str]:
    """Status and text of an answer."""
    await until(lambda: server.address is not None, what="the server", pause_s=0.001)
    assert server.address is not None
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, f"http://{server.address[0]}:{server.address[1]}{path}") as response,
    ):
        return response.status, await response.text()


async def test_fixed_paths_are_answered() -> None:
    """And no others, by GET alone."""
    async with serving({"/healthz": ok}) as server:
        assert await get(server, "/healthz") == (200, "ok\n")
        assert (await get(server, "/other"))[0] == 404
        assert (await get(server, "/healthz", "POST"))[0] == 405


async def test_a_fault_of_an_answer_stays_one() -> None:
    """It is logged, and the next request is answered."""
    async with serving({"/metrics": broken, "/healthz": ok}) as server:
        with capture_logs() as logs:
            assert (await get(server, "/metrics"))[0] == 500
        assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == ["metrics_failed"]
        assert (await get(server, "/healthz"))[0] == 200


async def test_a_taken_port_is_logged_once_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The task goes on; the port is used once it is free."""
    monkeypatch.setattr(server_module, "RETRY_S", 0.01)
    with socket.create_server(("127.0.0.1", 0)) as taken, capture_logs() as logs:
        async with serving({"/healthz": ok}, taken.getsockname()[1]) as server:
            await until(lambda: bool(logs), what="the warning", pause_s=0.001)
            await SYSTEM.sleep(0.05)
            assert [entry["event"] for entry in logs] == ["metrics_unavailable"]
            taken.close()
            assert await get(server, "/healthz") == (200, "ok\n")


async def test_a_burst_is_turned_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than so many at a time are not let in."""
    monkeypatch.setattr(server_module, "MAX_AT_ONCE", 1)
    release, entered = asyncio.Event(), asyncio.Event()

    async def slow() -> Answer:
        entered.set()
        await release.wait()
        return Answer(200, b"")

    async with serving({"/metrics": slow}) as server:
        first = asyncio.create_task(get(server, "/metrics"), name="first")
        await entered.wait()
        assert (await get(server, "/metrics"))[0] == 503
        release.set()
        assert (await first)[0] == 200


async def test_an_answer_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scraper is told so."""
    monkeypatch.setattr(server_module, "ANSWER_S", 0.01)

    async def never() -> Answer:
        await asyncio.Event().wait()
        return Answer(200, b"")

    async with serving({"/metrics": never}) as server:
        assert (await get(server, "/metrics"))[0] == 503


@pytest.mark.parametrize("rounds", range(6))
async def test_a_stop_while_it_starts_leaves_no_socket(rounds: int) -> None:
    """Whenever it comes: an unclosed socket would be a warning, and those are errors here."""
    async with serving({"/healthz": ok}) as server:
        for _ in range(rounds):
            await asyncio.sleep(0)
    del server
    gc.collect()
