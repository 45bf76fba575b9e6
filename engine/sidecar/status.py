"""What a running sidecar sees and does: for its status message, and for `dockwarden status` by a socket in the state folder."""

import asyncio
import contextlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import structlog

from engine.facts.host import Source
from engine.facts.timestamps import Micros, from_micros, rfc3339
from engine.messages.cloudevents import StatusData
from engine.pipeline.loop import Sidecar
from engine.ports.broker import LinkState
from engine.version import JOINS_MENDED

_log = structlog.get_logger(__name__)

ANSWER_S = 5.0
"""Who asks has so long to take the answer."""

QUESTION_BYTES = 64 * 1024
ANSWER_BYTES = 16 * 1024 * 1024
"""A longer line is no question, and no answer."""

_ADDRESS_BYTES = 107
"""`sun_path` has 108 bytes, one of them for the final NUL."""

LISTED = 50
"""Alerts and jobs listed at most; the counts are of all."""


class Status:
    """Puts together what is so at the moment it is asked."""

    def __init__(
        self, sidecar: Sidecar, link: Callable[[], LinkState], *, version: str, started: Micros, watching: tuple[str, ...]
    ) -> None:
        self._sidecar = sidecar
        self._link = link
        self._version = version
        self._started = started
        self._watching = watching
        self.state: Literal["online", "offline"] = "online"
        self.broker_where = ""

    def data(self) -> StatusData:
        """For the retained status message."""
        sidecar = self._sidecar
        sources = self._sources()
        losses = {f"outbox_{kind}": number for kind, number in sidecar.keeper.lost.items()}
        losses |= {name: source.lost for name, source in sources.items() if source.lost}
        policy = sidecar.options.policy
        return StatusData(
            state=self.state,
            host=sidecar.options.host,
            version=self._version,
            mode=policy.mode,
            frozen=sidecar.options.frozen(),
            rules_version=sidecar.options.rules_version,
            rules=len(sidecar.core.ruleset.rules),
            since=from_micros(self._started),
            outbox_depth=sidecar.keeper.depth,
            losses=losses,
            sources={name: source.status for name, source in sorted(sources.items())},
            firing=sum(state.firing for state in sidecar.core.alerts.states.values()),
            troubles=self.troubles(),
        )

    def troubles(self) -> list[str]:
        """What dockwarden itself suffers from."""
        sidecar, troubles = self._sidecar, []
        if not JOINS_MENDED:
            troubles.append("durable-rules is not the mended build and may end the process: install it by scripts/durable-rules")
        if sidecar.keeper.trouble:
            troubles.append(f"journal: {sidecar.keeper.trouble}; acting is stopped")
        link = self._link()
        if not link.connected and link.last_error:
            troubles.append(f"broker: {link.last_error}")
        for topic, reason in list(link.denied_topics.items())[:5]:
            troubles.append(f"broker: {topic} is denied: {reason}")
        if sidecar.repairs.executor is not None:
            troubles += [f"action {name} is stopped: it kept failing" for name in sidecar.repairs.executor.breakers_open()]
        for name, source in sorted(self._sources().items()):
            if source.status != "ok" and name not in ("journal", "broker"):
                troubles.append(f"source {name}: {source.status}{': ' + source.error if source.error else ''}")
        return troubles

    def _sources(self) -> dict[str, Source]:
        return {item.fact.name: item.fact for item in self._sidecar.core.memory if isinstance(item.fact, Source)}

    def full(self) -> dict[str, Any]:
        """For `dockwarden status`."""
        sidecar, link = self._sidecar, self._link()
        jobs = (
            sorted(sidecar.repairs.executor.jobs.values(), key=lambda job: job.due)
            if sidecar.repairs.executor is not None
            else []
        )
        alerts = [state for state in sidecar.core.alerts.states.values() if state.firing]
        return {
            **self.data().model_dump(mode="json", by_alias=True, exclude_none=True),
            "watching": list(self._watching),
            "broker": {
                "where": self.broker_where,
                "connected": link.connected,
                "protocol": link.protocol,
                "published": link.published,
            },
            "memory": sidecar.core.status(),
            "kinds": _count(item.identity[0] for item in sidecar.core.memory),
            "counters": dict(sorted(sidecar.counters.items())),
            "intake": sidecar.intake.depth,
            "last_fact_at": rfc3339(sidecar.last_fact_at) if sidecar.last_fact_at else None,
            "alerts": [
                {
                    "rule": state.rule,
                    "key": state.key,
                    "severity": state.details["severity"],
                    "text": state.details["text"],
                    "since": rfc3339(state.details["starts_at"]),
                    "count": state.details["count"],
                    "acknowledged_by": sidecar.alerting.acked.get((state.rule, state.key)),
                }
                for state in sorted(alerts, key=lambda state: state.details["starts_at"])[:LISTED]
            ],
            "jobs": [job.describe() for job in jobs[:LISTED]],
            "jobs_scheduled": len(jobs),
            "recent": list(sidecar.recent)[-20:],
        }


def _count(names: Any) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    return dict(sorted(counts.items()))


class StatusSocket:
    """Answers one JSON question per connection on a unix socket that only the same user may open."""

    def __init__(self, path: Path, answer: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        self._path = path
        self._answer = answer

    async def run(self) -> None:
        """Serve until cancelled."""
        self._path.unlink(missing_ok=True)
        with _fitting(self._path) as path:
            server = await asyncio.start_unix_server(self._serve, path, limit=QUESTION_BYTES)
        self._path.chmod(0o600)
        try:
            await server.serve_forever()
        finally:
            server.close()
            self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(ANSWER_S):
                question = json.loads(await reader.readline() or b"{}")
                answer = self._answer(question if isinstance(question, dict) else {})
                writer.write(json.dumps(answer, default=str).encode() + b"\n")
                await writer.drain()
        except (TimeoutError, OSError, ValueError, RecursionError) as error:  # RecursionError: brackets without end
            _log.info("a question on the status socket could not be answered", action="status", error=str(error))
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
