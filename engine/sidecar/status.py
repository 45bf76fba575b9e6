"""What a running sidecar sees and does: for its retained status message, and for `dockwarden status`.

The loop is asked by a question in its intake; what it answered last is what the status message says.
"""

import asyncio
import itertools
import re
from typing import Any, Literal

from engine.facts.host import Source
from engine.facts.timestamps import from_micros
from engine.messages.cloudevents import StatusData, last_will, status_event
from engine.pipeline.intake import AlarmTest
from engine.pipeline.report import Report
from engine.ports.broker import LinkState, Message, Publisher
from engine.sidecar.sidecar import Sidecar

ANSWER_S = 5.0
"""The loop has so long to answer; a turn takes milliseconds."""

LOOK_S = 1.0
"""How often it is looked whether the status message would say something else now."""

ANNOUNCE_S = 30.0
"""The status message is renewed this often, beside every change that matters."""


TEST_ID = re.compile(r"[A-Za-z0-9-]{1,64}\Z")
"""Of a test alarm: it stands in topics and in labels."""


class Status:
    """Puts together what is so, from the loop's last report, the journal and the connection to the broker."""

    def __init__(
        self,
        sidecar: Sidecar,
        link: LinkState,
        *,
        version: str,
        rules_version: str = "",
        watching: tuple[str, ...] = (),
        broker_where: str = "",
        name: str = "",
    ) -> None:
        """Make one. `name`: under which the status is published; empty: that of the host, as alerts."""
        self._name = name or sidecar.options.host
        self._sidecar = sidecar
        self._link = link
        self._version = version
        self._watching = watching
        self._broker_where = broker_where
        self._started = sidecar.clock.wall()
        self._numbers = itertools.count(1)
        self._report = Report(rules_version=rules_version)
        self._silent = False
        self.state: Literal["online", "offline"] = "online"

    async def refresh(self) -> None:
        """Ask the loop how it stands. One that does not answer stands in the status."""
        try:
            self._report = await self._sidecar.intake.ask("summary", timeout_s=ANSWER_S)
        except TimeoutError:
            self._silent = True
        else:
            self._silent = False

    @property
    def source_states(self) -> dict[str, Source]:
        """Sources by name, as the loop reported them last."""
        return self._report.sources

    def message(self) -> Message:
        """The status message."""
        event_id = f"status-{self._started}-{next(self._numbers)}"
        return status_event(self.data(), at=self._sidecar.clock.wall(), event_id=event_id)

    def will(self) -> Message:
        """What the broker says in our name when we are gone."""
        return last_will(host=self._name, version=self._version, at=self._sidecar.clock.wall())

    def data(self) -> StatusData:
        """For the status message."""
        sidecar, report = self._sidecar, self._report
        losses = {f"outbox_{kind}": number for kind, number in sidecar.writer.lost.items()}
        losses |= {name: source.lost for name, source in report.sources.items() if source.lost}
        return StatusData(
            state=self.state,
            host=self._name,
            version=self._version,
            mode=sidecar.options.policy.mode,
            frozen=report.frozen,
            rules_version=report.rules_version,
            rules=report.rules,
            since=from_micros(self._started),
            outbox_depth=sidecar.writer.depth,
            losses=losses,
            sources={name: source.status for name, source in sorted(report.sources.items())},
            firing=report.firing,
            troubles=self.problems(),
        )

    def problems(self) -> list[str]:
        """What dockwarden itself suffers from, a sentence each."""
        problems: list[str] = []
        if self._silent:
            problems.append(f"the loop has not answered within {ANSWER_S:g} s")
        if self._sidecar.writer.problem:
            problems.append(f"journal: {self._sidecar.writer.problem}; acting is stopped")
        link = self._link
        if not link.connected and link.last_error:
            problems.append(f"broker: {link.last_error}")
        for topic, reason in list(link.denied_topics.items())[:5]:
            problems.append(f"broker: {topic} is denied: {reason}")
        problems += [f"action {name} is stopped: it kept failing" for name in self._report.breakers_open]
        for name, source in sorted(self._report.sources.items()):
            if source.status != "ok" and name not in ("journal", "broker"):
                problems.append(f"source {name}: {source.status}{': ' + source.error if source.error else ''}")
        return problems

    async def answer(self, question: dict[str, Any]) -> dict[str, Any]:
        """Answer a question of the status socket.

        Raises:
            TimeoutError: the loop has not answered in time.
        """
        if question.get("ask") == "why-not":
            rule = str(question.get("rule", ""))
            return dict(await self._sidecar.intake.ask("why-not", rule=rule, timeout_s=ANSWER_S))
        if question.get("ask") == "alarm-test":
            test = str(question.get("id", ""))
            if not TEST_ID.match(test):
                return {"ok": False, "error": "the id of a test alarm has 1 to 64 letters, digits and hyphens"}
            async with asyncio.timeout(ANSWER_S):
                await self._sidecar.intake.put(AlarmTest(test))
            return {"ok": True, "connected": self._link.connected, "broker": self._broker_where}
        return await self.full()

    async def full(self) -> dict[str, Any]:
        """For `dockwarden status`."""
        self._report = report = await self._sidecar.intake.ask("status", timeout_s=ANSWER_S)
        link = self._link
        return {
            **self.data().model_dump(mode="json", by_alias=True, exclude_none=True),
            "watching": list(self._watching),
            "broker": {
                "where": self._broker_where,
                "connected": link.connected,
                "protocol": link.protocol,
                "published": link.published,
            },
            **report.details,
        }


async def announce(status: Status, publisher: Publisher, sidecar: Sidecar) -> None:
    """Renew the status message: at a slow pace, and when what it says of problems, alerts or freezing has changed."""
    announced: Any = None
    quiet_s = 0.0
    while True:
        await status.refresh()
        data = status.data()
        now = (data.troubles, data.frozen, data.firing, data.rules_version, data.sources)
        if now != announced or quiet_s >= ANNOUNCE_S:
            announced, quiet_s = now, 0.0
            publisher.announce()
            await _report_broker(status, publisher.state, sidecar)
        await sidecar.clock.sleep(LOOK_S)
        quiet_s += LOOK_S


async def _report_broker(status: Status, link: LinkState, sidecar: Sidecar) -> None:
    """The connection's state is a fact too."""
    state: Literal["ok", "lost"] = "ok" if link.connected and not link.denied_topics else "lost"
    error = None if state == "ok" else link.last_error or next(iter(link.denied_topics.values()), "not connected yet")
    before = status.source_states.get("broker")
    if before is not None and (before.status, before.error) == (state, error):
        return
    fact = Source.report("broker", state, at=from_micros(sidecar.clock.wall()), emitted_by="dockwarden", error=error)
    await sidecar.intake.sink("broker").put([fact])
