"""Serves the page of a fleet: static files, JSON, server-sent events, and commands of operators who have a token.

Knows neither broker nor rules: the fleet is a view, a command is handed to whoever signs and sends it. Reading needs no login, so
it listens on loopback by default. Everything shown is hostile: the page makes text of it, never markup, and a strict content
security policy stands behind that.
"""

import asyncio
import contextlib
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

import structlog
from aiohttp import web

from connectors.web import queries
from connectors.web.runbook import runbook_html
from engine.errors import DockwardenError
from engine.fleet.view import FleetView
from engine.messages.commands import COMMANDS
from engine.messages.incident_page import STYLE
from engine.ports.clock import Clock

_log = structlog.get_logger(__name__)

UPDATE_S: Final = 1.0
"""Followers hear of changes at most once in this time, however many there were."""

KEEPALIVE_S: Final = 15.0
"""A comment is sent when nothing changed, so that proxies and browsers see that the stream is alive."""

MAX_FOLLOWERS: Final = 200
"""Open event streams. Each is one connection and one task."""

MAX_BODY: Final = 8 * 1024
"""Bytes of a command's request."""

COMMAND_S: Final = 20.0
"""A command is answered within this time, or said to be unanswered."""

FAILED_LOGINS: Final = 10
FAILED_WINDOW_S: Final = 60.0
"""After so many wrong tokens in this time none is looked at until it has passed: they must not fill the log."""

_STATIC: Final = {
    "app.js": "text/javascript",
    "app.css": "text/css",
    "icon.svg": "image/svg+xml",
}

_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class CommandSender(Protocol):
    """Signs a command in an operator's name and waits for the host's answer."""

    async def send(self, *, operator: str, name: str, host: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """The host's reply.

        Raises:
            DockwardenError: it cannot be sent, or there was no answer.
        """


@dataclass(frozen=True, slots=True)
class PageSettings:
    """How the page is served."""

    listen: str = "127.0.0.1"
    port: int = 8480
    base_url: str = ""
    """Where browsers reach it, when a proxy stands before it."""
    tokens: Mapping[str, str] = field(default_factory=dict)
    """Operators by the SHA-256 of their token, in hexadecimal digits; none: the page is read-only."""

    @property
    def hosts(self) -> frozenset[str]:
        """What a request's Host may be: a page of another name that resolves to us (DNS rebinding) reads nothing."""
        own = {"localhost", "127.0.0.1", "[::1]", self.listen}
        return frozenset(own | ({urlsplit(self.base_url).hostname or ""} if self.base_url else set()))


class FleetPage:
    """One page, many readers."""

    def __init__(
        self,
        view: FleetView,
        *,
        settings: PageSettings,
        clock: Clock,
        sender: CommandSender | None = None,
        runbook: Callable[[str], str | None] = lambda _: None,
    ) -> None:
        """Make one.

        Args:
            view: of the fleet; it changes in the same event loop.
            settings: where to listen, and who may command.
            clock: wall and monotonic time.
            sender: of commands; None: the page is read-only.
            runbook: the Markdown of a rule's runbook, None for none.
        """
        self._view = view
        self._settings = settings
        self._clock = clock
        self._sender = sender
        self._runbook = runbook
        self._version = 0
        self._changed = asyncio.Event()
        self._followers = 0
        self._failed: list[float] = []
        self._answers: dict[str, tuple[int, bytes]] = {}
        self.port = settings.port
        self.listening = asyncio.Event()
        """Set once requests are answered."""

    def changed(self) -> None:
        """The view has changed: followers hear of it soon. Cheap; called for every message."""
        self._version += 1
        self._changed.set()

    async def run(self) -> None:
        """Serve until cancelled.

        Raises:
            OSError: the address is taken or not ours.
        """
        runner = web.AppRunner(self.app(), access_log=None, shutdown_timeout=1.0, handle_signals=False)
        await runner.setup()
        try:
            site = web.TCPSite(runner, self._settings.listen, self._settings.port)
            await site.start()
            self.port = runner.addresses[0][1]
            self.listening.set()
            _log.info("page_listening", address=self._settings.listen, port=self.port)
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()

    def app(self) -> web.Application:
        """The application."""
        app = web.Application(middlewares=[self._guard], client_max_size=MAX_BODY)
        app.router.add_get("/", self._index)
        app.router.add_get("/static/{name}", self._static)
        app.router.add_get("/api/overview", self._overview)
        app.router.add_get("/api/incidents", self._incidents)
        app.router.add_get("/api/incident", self._incident)
        app.router.add_get("/api/hosts", self._hosts)
        app.router.add_get("/api/runbook", self._show_runbook)
        app.router.add_get("/api/events", self._events)
        app.router.add_get("/api/me", self._me)
        app.router.add_post("/api/command", self._command)
        return app

    # -- every request ------------------------------------------------------------------------------------------------

    @web.middleware
    async def _guard(self, request: web.Request, handler: Callable[[web.Request], Any]) -> web.StreamResponse:
        name = urlsplit(f"//{request.host}").hostname or ""
        if f"[{name}]" not in self._settings.hosts and name not in self._settings.hosts:
            response: web.StreamResponse = _error(
                421, f"this page is not {name!r}: set page.base_url to the name it is reached by"
            )
        else:
            try:
                response = await handler(request)
            except web.HTTPException as error:
                response = _error(error.status, error.reason)
            except Exception:  # noqa: BLE001  one bad request must not end the page; what was wrong is logged, not shown
                _log.exception("page_request_failed", path=request.path)
                response = _error(500, "the request failed; the log says why")
        if not response.prepared:
            response.headers.update(_HEADERS)
        return response

    # -- reading ------------------------------------------------------------------------------------------------------

    async def _index(self, _: web.Request) -> web.Response:
        return _file("index.html", "text/html")

    async def _static(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name == "timeline.css":
            return web.Response(text=STYLE, content_type="text/css", charset="utf-8")
        if name not in _STATIC:
            raise web.HTTPNotFound
        return _file(name, _STATIC[name])

    async def _overview(self, _: web.Request) -> web.Response:
        return self._answer("overview", lambda: queries.overview(self._view, self._clock.wall()))

    async def _incidents(self, request: web.Request) -> web.Response:
        wanted = queries.Filter.of(request.query)
        return self._answer(f"incidents {wanted}", lambda: queries.incidents(self._view, wanted))

    async def _hosts(self, request: web.Request) -> web.Response:
        wanted = queries.Filter.of(request.query)
        return self._answer(f"hosts {wanted}", lambda: queries.hosts(self._view, wanted, self._clock.wall()))

    async def _incident(self, request: web.Request) -> web.Response:
        found = queries.incident(self._view, request.query.get("id", ""))
        if found is None:
            return _error(404, "nothing of this incident fires any more")
        return _json(found)

    async def _show_runbook(self, request: web.Request) -> web.Response:
        text = self._runbook(request.query.get("rule", ""))
        return _error(404, "this rule has no runbook here") if text is None else _json({"html": runbook_html(text)})

    def _answer(self, question: str, ask: Callable[[], dict[str, Any]]) -> web.Response:
        """Many readers of one list share its making: it is made anew when something has changed, or a second later."""
        mark = self._version * 1_000_000 + int(self._clock.monotonic()) % 1_000_000
        made = self._answers.get(question)
        if made is None or made[0] != mark:
            if len(self._answers) > MAX_FOLLOWERS:
                self._answers.clear()
            made = self._answers[question] = (mark, json.dumps(ask()).encode())
        response = web.Response(body=made[1], content_type="application/json")
        response.enable_compression()
        return response

    async def _events(self, request: web.Request) -> web.StreamResponse:
        if self._followers >= MAX_FOLLOWERS:
            return _error(503, f"{MAX_FOLLOWERS} pages follow already")
        response = web.StreamResponse(headers={**_HEADERS, "Content-Type": "text/event-stream", "X-Accel-Buffering": "no"})
        await response.prepare(request)
        self._followers += 1
        try:
            async for text in self._updates():
                async with asyncio.timeout(KEEPALIVE_S):  # a reader that does not read is let go
                    await response.write(text.encode())
        except (TimeoutError, ConnectionError):
            pass
        finally:
            self._followers -= 1
        return response

    async def _updates(self) -> AsyncIterator[str]:
        told = -1
        while True:
            if told != self._version:
                told = self._version
                data = json.dumps({"version": told, **queries.overview(self._view, self._clock.wall())})
                yield f"event: changed\ndata: {data}\n\n"
            await self._clock.sleep(UPDATE_S)
            if told == self._version:
                self._changed.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(KEEPALIVE_S):
                        await self._changed.wait()
                if told == self._version:
                    yield ": still here\n\n"

    # -- commanding ---------------------------------------------------------------------------------------------------

    async def _me(self, request: web.Request) -> web.Response:
        if self._sender is None or not self._settings.tokens:
            return _json({"operator": None, "commands": False})
        return _json({"operator": self._operator(request), "commands": True})

    async def _command(self, request: web.Request) -> web.Response:
        if self._sender is None or not self._settings.tokens:
            return _error(403, "this page is read-only: no operator has a token")
        origin = request.headers.get("Origin")
        if origin is not None and (urlsplit(origin).hostname or "") not in self._settings.hosts:
            return _error(403, "commands come from this page alone")
        operator = self._operator(request)
        if operator is None:
            return _error(401, "log in with your token")
        try:
            content = await request.json()
            name, host, params = content["name"], content["host"], content.get("params", {})
        except (ValueError, KeyError, TypeError, AttributeError):
            return _error(400, "a command has a name, a host and params")
        if name not in COMMANDS or not isinstance(host, str) or not isinstance(params, dict):
            return _error(400, f"a command is one of {', '.join(COMMANDS)}, for one host")
        if host not in self._view.hosts:
            return _error(404, f"no host {host!r} has reported")
        _log.info("page_command", operator=operator, command=name, host=host)
        try:
            async with asyncio.timeout(COMMAND_S):
                reply = await self._sender.send(operator=operator, name=name, host=host, params=params)
        except TimeoutError:
            return _error(504, f"{host} did not answer within {COMMAND_S:g} s; what became of the command is not known")
        except DockwardenError as error:
            return _error(502, str(error))
        return _json(dict(reply))

    def _operator(self, request: web.Request) -> str | None:
        """Who the token belongs to."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer" or not token:
            return None
        now = self._clock.monotonic()
        self._failed = [at for at in self._failed if at > now - FAILED_WINDOW_S]
        if len(self._failed) >= FAILED_LOGINS:
            raise web.HTTPTooManyRequests(reason="too many wrong tokens: try again in a minute")
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
        found = None
        for known, operator in self._settings.tokens.items():
            if hmac.compare_digest(known.lower(), digest):
                found = operator
        if found is None:
            self._failed.append(now)
            _log.warning("page_wrong_token", remote=request.remote)
        return found


def _file(name: str, content_type: str) -> web.Response:
    body = files("connectors.web").joinpath("static", name).read_bytes()
    return web.Response(body=body, content_type=content_type, charset="utf-8")


def _json(content: Any) -> web.Response:
    response = web.Response(body=json.dumps(content).encode(), content_type="application/json")
    response.enable_compression()
    return response


def _error(status: int, text: str) -> web.Response:
    return web.Response(
        body=json.dumps({"error": text}).encode(), status=status, content_type="application/json", headers=_HEADERS
    )
