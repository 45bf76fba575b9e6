"""What monitoring systems are answered: is it alive, is it ready, how much of what. Asks the loop by its intake.

Knows no HTTP server: it answers, and a connector serves the answers.
"""

import asyncio
import json
from collections.abc import Mapping
from datetime import datetime

from prometheus_client.exposition import CONTENT_TYPE_LATEST

from engine.errors import DockwardenError
from engine.facts.timestamps import SECOND, to_micros
from engine.pipeline.report import Report
from engine.ports.broker import LinkState
from engine.ports.http import Answer, Answerer
from engine.sidecar.metrics import Snapshot, render
from engine.sidecar.sidecar import Sidecar

ANSWER_S = 4.0
"""The loop has so long to answer, within the ten seconds that a scrape may take; a turn takes milliseconds."""

OLDEST_S = 1.0
"""And the journal to say which message is the oldest."""


class Monitoring:
    """Answers for `/healthz`, `/readyz` and `/metrics`."""

    def __init__(self, sidecar: Sidecar, link: LinkState, *, version: str, outbox_rows: int) -> None:
        self._sidecar = sidecar
        self._link = link
        self._version = version
        self._outbox_rows = outbox_rows
        self._report = Report(rules_version="")
        self._answered_at = sidecar.clock.monotonic()

    def answerers(self) -> Mapping[str, Answerer]:
        """By path."""
        return {"/healthz": self.healthz, "/readyz": self.readyz, "/metrics": self.metrics}

    async def healthz(self) -> Answer:
        """Whether the loop turns."""
        if await self._ask():
            return Answer(200, b"ok\n")
        return Answer(503, f"the loop has not answered within {ANSWER_S:g} s\n".encode())

    async def readyz(self) -> Answer:
        """Whether it sees Docker, remembers what it decides, and can report: what is missing, a line each."""
        missing = self._missing() if await self._ask() else [f"the loop has not answered within {ANSWER_S:g} s"]
        return Answer(503 if missing else 200, "".join(f"{line}\n" for line in missing or ["ok"]).encode())

    async def metrics(self) -> Answer:
        """All of it, for Prometheus."""
        clock, writer, link = self._sidecar.clock, self._sidecar.writer, self._link
        asked_at, waiting = clock.monotonic(), self._sidecar.intake.depth
        answered = await self._ask()
        lag = clock.monotonic() - asked_at
        age = await self._outbox_age_s()
        snapshot = Snapshot(
            version=self._version,
            mode=self._sidecar.options.policy.mode,
            report=self._report,
            loop_answered=answered,
            loop_answer_s=lag,
            last_turn_age_s=clock.monotonic() - self._answered_at,
            intake_entries=waiting,
            journal_ok=writer.healthy,
            outbox_rows=writer.depth,
            outbox_age_s=age,
            outbox_lost=writer.lost,
            broker_connected=link.connected,
            broker_connections=link.connections,
            published=link.published,
        )
        return Answer(200, render(snapshot), CONTENT_TYPE_LATEST)

    async def _ask(self) -> bool:
        """Ask the loop how it stands; whether it answered."""
        try:
            self._report = await self._sidecar.intake.ask("metrics", timeout_s=ANSWER_S)
        except TimeoutError:
            return False
        self._answered_at = self._sidecar.clock.monotonic()
        return True

    def _missing(self) -> list[str]:
        sidecar, missing = self._sidecar, []
        listing = self._report.sources.get("docker_listing")
        if listing is None or listing.status == "lost":
            missing.append(f"Docker is not listed: {(listing.error if listing is not None else None) or 'not yet'}")
        if not sidecar.writer.healthy:
            missing.append(f"journal: {sidecar.writer.problem}")
        if not self._link.connected and sidecar.writer.depth >= self._outbox_rows:
            missing.append("broker: not connected, and the outbox is full")
        return missing

    async def _outbox_age_s(self) -> float | None:
        """Age of the oldest message that waits, by the time that it names; None when that is not known."""
        try:
            async with asyncio.timeout(OLDEST_S):
                row = await self._sidecar.writer.oldest()
            if row is None:
                return 0.0
            at = to_micros(datetime.fromisoformat(json.loads(row.payload)["time"]))
        except (TimeoutError, DockwardenError, ValueError, KeyError, TypeError):
            return None
        return max(0.0, (self._sidecar.clock.wall() - at) / SECOND)
