"""A sidecar without a host: rules, facts by hand, a real journal, actions whose outcome the test decides, a clock that stands."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from engine.errors import JournalError
from engine.facts import Fact, Retraction
from engine.facts.docker import Container
from engine.facts.host import Source
from engine.facts.timestamps import SECOND, from_micros
from engine.guardrails import Policy
from engine.inference.memory import Bounds
from engine.journal import Journal
from engine.pipeline.turn import Options
from engine.ports.actions import Outcome
from engine.rules.model import RuleSet
from engine.rules.reader import check_texts
from engine.sidecar.freeze import Freeze
from engine.sidecar.sidecar import build_sidecar
from engine.sidecar.steady_clock import SteadyClock
from tests.clocks import FixedClock
from tests.unit.pipeline.support import START, cid, settle

DEAD = b"""
rules:
  - rule: dead-container
    title: A container cannot be deleted
    severity: warning
    when:
      dead: {fact: container, status: dead}
    key: "{dead.id}"
    then:
      - alert: "container {dead.name} is dead"
      - do: remove_container
        container: $dead.id
        retry: {first: 1h, attempts: 3, jitter: 0}
"""


def rules(text: bytes = DEAD) -> RuleSet:
    """A rule set of one file."""
    checked = check_texts([("rules.yaml", text)])
    assert checked.ruleset is not None, [str(finding) for finding in checked.findings]
    return checked.ruleset


def container(number: int, status: str = "dead", **more: Any) -> Container:
    """A container as it is at the start."""
    body = {"id": cid(number), "name": f"box{number}", "status": status, "at": from_micros(START), **more}
    return Container.model_validate(body)


def gone(number: int) -> Retraction:
    """A container that is no more."""
    return Retraction(retract="container", key=cid(number), at=from_micros(START))


class House:
    """A sidecar and its journal; nothing runs by itself."""

    def __init__(
        self,
        folder: Path,
        text: bytes = DEAD,
        policy: Policy | None = None,
        clock: Any = None,
        bounds: Bounds | None = None,
        journal: Journal | None = None,
    ) -> None:
        self.path = folder / "journal.db"
        self.text = text
        self.policy = policy or Policy(mode="act")
        self.bounds = bounds or Bounds()
        self.clock: Any = clock or FixedClock(START)
        """`FixedClock`, unless the test has another one."""
        self.steady = SteadyClock(self.clock)
        self.journal = journal or Journal.open(self.path, now=self.clock.wall())
        self.outcomes: dict[str, list[Outcome]] = {}
        self.attempts: list[str] = []
        """Containers tried, in order."""
        self.freeze = Freeze(folder / "freeze")
        self.sidecar = build_sidecar(
            rules(text),
            self.journal,
            {name: _Scripted(name, self) for name in ("remove_container", "restart_container", "inspect_mounts")},
            self.steady,
            state=self.journal.load(),
            options=Options(host="h1", policy=self.policy, bounds=self.bounds),
            freeze=self.freeze,
            rules_version="v1",
            reopen=lambda: Journal.open(self.path, now=START),
        )
        self.intake = self.sidecar.intake
        self.writer = self.sidecar.writer
        self.loop = self.sidecar.loop
        self.jobs = self.loop.schedule.jobs

    async def emit(self, *facts: Fact | Retraction, cursor: str | None = None) -> None:
        """Facts of one source, and what follows from them; attempts that begin have not reached the world yet."""
        await self.intake.sink("docker").put(list(facts), cursor=cursor)
        await self.turn()

    async def turn(self) -> None:
        """One turn of the loop with what is there."""
        await self.loop.turn(0.0)

    async def act(self) -> None:
        """Start what is due, let every attempt end, and take the ends in."""
        await self.turn()
        await settle()
        while self.intake.depth:
            await self.turn()

    async def set_clock(self, seconds: float) -> None:
        """The machine's clock is set by so much, and the loop follows."""
        self.clock.at += round(seconds * SECOND)
        self.intake.clock_stepped(self.steady.take_step())
        await self.turn()

    def messages(self, kind: str = "") -> list[dict[str, Any]]:
        """The data of what waits for the broker, oldest first."""
        rows = self.journal.outbox(1000)
        return [json.loads(row.payload)["data"] for row in rows if kind in ("", row.kind)]

    def alerts(self) -> list[tuple[str, str]]:
        """Status and key of the alerts that wait for the broker, in order."""
        return [(data["status"], data["key"]) for data in self.messages() if data.get("schema") == "dockwarden.alert.v1"]

    def verdicts(self, kind: str) -> list[str]:
        """What the audit has of decisions of a kind, oldest first."""
        return [row.verdict for row in self.journal.audit() if row.kind == kind]

    async def stop(self) -> None:
        """End in order."""
        await self.loop.finish()
        await self.writer.close()

    async def die(self) -> None:
        """End as kill -9 would: what is not committed is gone, and so is every attempt."""
        await self.sidecar.attempts.cancel(1.0)
        await self.writer.close()

    async def restarted(self) -> Self:
        """What a restart makes of the journal after a death."""
        after = await self.restarted_without_docker()
        now = from_micros(self.clock.wall())
        await after.intake.sink("docker_listing").put([Source.report("docker_listing", "ok", at=now)])
        return after

    async def restarted_without_docker(self) -> Self:
        """A restart after a death, before Docker has listed anything."""
        await self.die()
        return type(self)(self.path.parent, self.text, self.policy, self.clock)


class _Scripted:
    """An action with outcomes prepared by target; without one it succeeds."""

    def __init__(self, name: str, house: House) -> None:
        self.name = name
        self._house = house

    async def run(self, params: Mapping[str, Any], *, touch_running: bool = False) -> Outcome:  # noqa: ARG002
        target = str(params.get("container", ""))
        self._house.attempts.append(target)
        prepared = self._house.outcomes.get(target, [])
        return prepared.pop(0) if prepared else Outcome(ok=True)


class Refusing:
    """A journal that refuses for as long as a test likes; stands in for a disk."""

    def __init__(self, journal: Journal) -> None:
        self.full = False
        self._commit = journal.commit
        journal.commit = self._committing  # type: ignore[method-assign]  # in place of a full disk

    def _committing(self, batch: Any) -> Any:
        if self.full:
            raise JournalError("the disk is full")
        return self._commit(batch)
