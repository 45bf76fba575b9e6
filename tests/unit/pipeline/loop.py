"""A sidecar without a host: rules, facts by hand, a real journal, actions whose outcome the test decides."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from engine.errors import JournalError
from engine.facts import Fact, Retraction
from engine.facts.docker import Container
from engine.facts.timestamps import from_micros
from engine.guardrails import Policy
from engine.journal import Journal
from engine.journal.writer import Keeper
from engine.pipeline.attempts import Executor
from engine.pipeline.clock import wall_clock
from engine.pipeline.intake import Intake
from engine.pipeline.loop import Sidecar
from engine.pipeline.options import Options
from engine.ports.actions import Outcome
from engine.rules.model import RuleSet
from engine.rules.reader import check_texts
from tests.unit.pipeline.support import cid, settle

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
    """A container as it is now."""
    body = {"id": cid(number), "name": f"box{number}", "status": status, "at": from_micros(wall_clock()), **more}
    return Container.model_validate(body)


def gone(number: int) -> Retraction:
    """A container that is no more."""
    return Retraction(retract="container", key=cid(number), at=from_micros(wall_clock()))


class Loop:
    """A sidecar, its journal and its executor; nothing runs by itself."""

    def __init__(self, folder: Path, text: bytes = DEAD, policy: Policy | None = None) -> None:
        self.path = folder / "journal.db"
        self.text = text
        self.policy = policy or Policy(mode="act")
        self.journal = Journal.open(self.path)
        self.keeper = Keeper(self.journal)
        state = self.journal.load()
        self.intake = Intake()
        self.frozen = False
        options = Options(host="h1", policy=self.policy, rules_version="v1", frozen=lambda: self.frozen)
        self.sidecar = Sidecar(ruleset=rules(text), entries=state.core, intake=self.intake, keeper=self.keeper, options=options)
        self.outcomes: dict[str, list[Outcome]] = {}
        self.attempts: list[str] = []
        names = ("remove_container", "inspect_mounts", "retry_now")
        self.executor = Executor(
            actions={name: _Scripted(name, self) for name in names},
            policy=self.policy,
            intake=self.intake,
            judge=self.sidecar.repairs.judge_now,
            now=wall_clock,
        )
        self.executor.dropped = self.sidecar.repairs.dropped
        self.sidecar.repairs.executor = self.executor
        self.sidecar.take_back(state.retries, state.memory)

    async def tell(self, *facts: Fact | Retraction, cursor: str | None = None) -> None:
        """Facts of one source, and what follows from them."""
        await self.intake.sink("docker").put(list(facts), cursor=cursor)
        await self.turn()

    async def turn(self) -> None:
        """One turn of the loop with what is there."""
        await self.sidecar.turn(0.0)

    async def act(self) -> None:
        """Start what is due, let it end, and take the ends in."""
        self.executor._start_due()
        await settle()
        while self.intake.depth:
            await self.turn()

    def messages(self, kind: str = "") -> list[dict[str, Any]]:
        """The data of what waits for the broker, oldest first."""
        rows = self.journal.outbox(1000)
        return [json.loads(row.payload)["data"] for row in rows if kind in ("", row.kind)]

    def alerts(self) -> list[tuple[str, str]]:
        """Status and key of the alerts that wait for the broker, in order."""
        return [(data["status"], data["key"]) for data in self.messages() if data.get("schema") == "dockwarden.alert.v1"]

    def verdicts(self, kind: str) -> list[str]:
        """What the audit says became of decisions of a kind, oldest first."""
        return [row.verdict for row in self.journal.audit() if row.kind == kind]

    async def stop(self) -> None:
        """End in order."""
        await self.sidecar.last_turn()
        await self.keeper.close()

    async def die(self) -> None:
        """End as kill -9 would: what is not committed is gone."""
        await self.keeper.close()

    async def reborn(self) -> Self:
        """What a restart makes of the journal after a death."""
        await self.die()
        return type(self)(self.path.parent, self.text, self.policy)


class _Scripted:
    """An action with outcomes prepared by target; without one it succeeds."""

    def __init__(self, name: str, loop: Loop) -> None:
        self.name = name
        self._loop = loop

    async def run(self, params: Mapping[str, Any]) -> Outcome:
        target = str(params.get("container", ""))
        self._loop.attempts.append(target)
        prepared = self._loop.outcomes.get(target, [])
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
