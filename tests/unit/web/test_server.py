"""The page's server: what it gives to whom."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import pytest

from connectors.web.runbook import runbook_html
from connectors.web.server import FAILED_LOGINS, FleetPage, PageSettings
from engine.errors import DockwardenError
from tests.clocks import SYSTEM
from tests.unit.fleet.test_view import alert
from tests.unit.web.test_queries import fleet

TOKEN = "correct horse"


class Sender:
    """Answers commands."""

    def __init__(self) -> None:
        self.sent: list[Mapping[str, Any]] = []

    async def send(self, *, operator: str, name: str, host: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """See the port."""
        if params.get("rule") == "unanswered":
            raise DockwardenError("web-1 did not answer")
        self.sent.append({"operator": operator, "name": name, "host": host, "params": params})
        return {"ok": True}


class Served:
    """A page with a browser's session."""

    def __init__(self, page: FleetPage, sender: Sender, session: aiohttp.ClientSession) -> None:
        self.page = page
        self.sender = sender
        self.session = session

    async def get(self, path: str, **headers: str) -> tuple[int, Any]:
        """Status and JSON."""
        async with self.session.get(self.url(path), headers=headers) as response:
            return response.status, await response.json()

    async def command(self, *, token: str = TOKEN, headers: Mapping[str, str] | None = None, **content: Any) -> tuple[int, Any]:
        """Send a command as the page does."""
        all_headers = {"Authorization": f"Bearer {token}", **(headers or {})}
        async with self.session.post(self.url("/api/command"), json=content, headers=all_headers) as response:
            return response.status, await response.json()

    def url(self, path: str) -> str:
        """On loopback."""
        return f"http://127.0.0.1:{self.page.port}{path}"


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    """A page of three hosts on a free port."""
    view, sender = fleet(), Sender()
    tokens = {hashlib.sha256(TOKEN.encode()).hexdigest(): "kim"}
    page = FleetPage(
        view,
        settings=PageSettings(port=0, tokens=tokens),
        clock=SYSTEM,
        sender=sender,
        runbook=lambda rule: "# Do\n\n<script>alert(1)</script>" if rule == "dead" else None,
    )
    task = asyncio.create_task(page.run())
    async with asyncio.timeout(10):
        await page.listening.wait()
    async with aiohttp.ClientSession() as session:
        yield Served(page, sender, session)
    task.cancel()
    await asyncio.wait({task})


async def test_everything_is_served_under_a_strict_policy(served: Served) -> None:
    """No outside resource, no inline script, no frame, no sniffing, nothing kept in caches; also on errors."""
    for path in ("/", "/static/app.js", "/static/app.css", "/static/timeline.css", "/api/overview", "/api/none", "/static/x"):
        async with served.session.get(served.url(path)) as response:
            assert response.headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self'")
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert response.headers["Cache-Control"] == "no-store"
            text = await response.text()
            assert "http://" not in text.replace("http://www.w3.org/", "")
            assert "https://" not in text


async def test_a_page_of_another_name_reads_nothing(served: Served) -> None:
    """DNS rebinding: a foreign page may point its own name at loopback."""
    status, content = await served.get("/api/incidents", Host="evil.example")
    assert status == 421
    assert "base_url" in content["error"]


async def test_a_runbook_is_shown_without_its_markup(served: Served) -> None:
    """Rules come from a repository, and the page shows them to operators with tokens."""
    _, content = await served.get("/api/runbook?rule=dead")
    assert "<h1>Do</h1>" in content["html"]
    assert "<script" not in content["html"]
    assert (await served.get("/api/runbook?rule=none"))[0] == 404
    hostile = "[a](javascript:alert(1)) ![i](http://x/y.png) <img src=x onerror=alert(1)> [b](data:text/html,x)"
    shown = runbook_html(hostile)
    assert "<img" not in shown
    assert 'href="javascript' not in shown
    assert 'href="data' not in shown


async def test_followers_receive_of_changes_once_for_many(served: Served) -> None:
    """A storm of messages is one update in a second."""
    async with served.session.get(served.url("/api/events")) as response:
        async with asyncio.timeout(10):
            first = await response.content.readuntil(b"\n\n")
            assert b'"critical": 1' in first
            for number in range(500):
                alert(served.page._view, f"n{number}", seq=1, severity="critical")
                served.page.changed()
            second = await response.content.readuntil(b"\n\n")
            assert b'"critical": 501' in second


async def test_a_command_needs_a_token_and_is_signed_in_its_owners_name(served: Served) -> None:
    """The page says who commands, not the request."""
    command: dict[str, Any] = {"name": "ack", "host": "web-1", "params": {"rule": "dead", "key": "c1"}}
    assert (await served.command(token="wrong", **command))[0] == 401
    assert await served.command(**command) == (200, {"ok": True})
    assert served.sender.sent == [{"operator": "kim", **command}]
    assert await served.get("/api/me", Authorization=f"Bearer {TOKEN}") == (200, {"operator": "kim", "commands": True})
    assert await served.get("/api/me") == (200, {"operator": None, "commands": True})


async def test_what_is_no_command_is_refused_with_what_to_do(served: Served) -> None:
    """Unknown names, unknown hosts, other pages, no JSON, no answer."""
    assert (await served.command(name="reboot", host="web-1"))[0] == 400
    assert (await served.command(name="ack", host="nobody"))[0] == 404
    assert (await served.command(name="ack"))[0] == 400
    assert (await served.command(name="ack", host="web-1", headers={"Origin": "https://evil.example"}))[0] == 403
    status, content = await served.command(name="ack", host="web-1", params={"rule": "unanswered"})
    assert (status, content["error"]) == (502, "web-1 did not answer")
    assert served.sender.sent == []


async def test_after_many_wrong_tokens_none_is_looked_at_for_a_while(served: Served) -> None:
    """Also the right one: whoever guesses learns nothing, and the log stays readable."""
    for _ in range(FAILED_LOGINS):
        await served.command(token="wrong", name="ack", host="web-1")
    assert (await served.command(name="ack", host="web-1"))[0] == 429
