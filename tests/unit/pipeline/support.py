"""Jobs, the action stage, and attempts whose time and outcomes a test decides."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from typing import Any

from engine.action_catalog import ACTIONS
from engine.facts.outcomes import ActionResult
from engine.facts.timestamps import SECOND, Micros
from engine.guardrails import Policy, Verdict
from engine.inference.core import Core
from engine.inference.decision import ActionDecision
from engine.journal.records import Batch
from engine.pipeline.action_history import ActionHistory
from engine.pipeline.actions import RETRY_NOW, Actions, RetryNow
from engine.pipeline.attempts import Attempts
from engine.pipeline.intake import AttemptEnded, Intake
from engine.pipeline.jobs import Job
from engine.pipeline.schedule import Schedule
from engine.pipeline.turn import Options, Turn
from engine.ports.actions import Action, Outcome
from engine.rules.model import Rate, Retry, RuleSet
from tests.clocks import FixedClock

START: Micros = 1_800_000_000 * SECOND
OK = Outcome(ok=True)
BUSY = Outcome(ok=False, error="device or resource busy", error_kind="busy")
AWAY = Outcome(ok=False, error="nobody listens at /run/docker.sock", error_kind="unreachable")
IN_PROGRESS = Outcome(ok=False, error="removal is already in progress", error_kind="in_progress")


def cid(number: int) -> str:
    """A full container id."""
    return f"{number:064x}"


def decision(
    number: int,
    *,
    action: str = "remove_container",
    activation: str = "",
    rule: str = "some-rule",
    rate: Rate | None = None,
    retry: Retry | None = None,
) -> ActionDecision:
    """An action that a rule asks for, on a container."""
    return ActionDecision(
        at=START,
        rule=rule,
        key=cid(number),
        facts=(f"fact-{number}",),
        activation=activation or f"activation-{number}",
        action=action,
        params={"container": cid(number)},
        rate=rate,
        retry=retry,
    )


def job(number: int, **more: Any) -> Job:
    """The job of such a decision."""
    return Job.of(decision(number, **more))


class Bench:
    """The action stage with its schedule, and attempts on a virtual clock. What an attempt comes to is decided by the test."""

    def __init__(self, policy: Policy | None = None, names: tuple[str, ...] = ("remove_container",)) -> None:
        self.clock = FixedClock(START, 0.0)
        self.core = Core(RuleSet(()))
        self.frozen = False
        policy = policy or Policy(mode="act")
        options = Options(host="h1", policy=policy)
        self.intake = Intake("h1")
        self.schedule = Schedule(policy)
        self.history = ActionHistory()
        self.actions = _Counting(options=options, schedule=self.schedule, history=self.history, counters=Counter())
        actions: dict[str, Action] = {name: _Held(name, self) for name in names}
        actions[RETRY_NOW] = RetryNow()
        self.attempts = Attempts(actions=actions, policy=policy, intake=self.intake, clock=self.clock)
        self.batch = Batch()
        """Of all turns together."""
        self.tried: list[str] = []
        """Targets tried, in order."""
        self.open: dict[str, asyncio.Future[Outcome]] = {}

    def turn(self) -> Turn:
        """A turn at this moment."""
        return Turn(
            now=self.clock.wall(),
            monotonic=self.clock.monotonic(),
            core=self.core,
            rules_version="v1",
            can_act=True,
            frozen=self.frozen,
            frozen_actions=frozenset(),
            next_seq=lambda: 1,
        )

    def add(self, *jobs: Job) -> None:
        """Jobs that a rule asked for, and still wants."""
        for job in jobs:
            self.core.active[job.activation] = None  # type: ignore[assignment]  # whether it is there is all that is asked
            self.schedule.add(job)

    async def look(self, seconds: float = 0.0, *, committed: bool = True) -> float | None:
        """Let time pass, start what is due; seconds until the next look."""
        self.clock.advance(seconds)
        turn = self.turn()
        self.actions.start_due(turn)
        self.batch.extend(turn.batch)
        self.attempts.start(self.actions.confirmed(turn, committed=committed))
        await settle()
        due = self.schedule.next_due
        return None if due is None else max(0.0, (due - self.clock.wall()) / SECOND)

    async def end(self, number: int, outcome: Outcome = OK) -> AttemptEnded:
        """Let the attempt on a container end so; its end, which has not been taken in yet."""
        self.open.pop(cid(number)).set_result(outcome)
        (entry,) = await self.intake.take(1, 1.0)
        assert isinstance(entry, AttemptEnded)
        return entry

    def take(self, ended: AttemptEnded) -> ActionResult:
        """Take the end of an attempt in; the fact about it."""
        turn = self.turn()
        result = self.actions.take_end(turn, ended)[0]
        self.batch.extend(turn.batch)
        assert isinstance(result, ActionResult)
        return result

    def take_any(self, ended: AttemptEnded) -> None:
        """Take the end of an attempt in, be there a fact about it or not."""
        turn = self.turn()
        self.actions.take_end(turn, ended)
        self.batch.extend(turn.batch)

    async def over(self, number: int, outcome: Outcome = OK) -> None:
        """Let an attempt end, and take its end in."""
        self.take_any(await self.end(number, outcome))

    def run_now(self, container: str) -> list[Job]:
        """Let the waiting jobs of a container be due now."""
        return self.actions.run_now(self.turn(), container, exclude="retry_now")

    @property
    def dropped(self) -> list[tuple[str, str]]:
        """Targets of cancelled jobs, and why."""
        return [(row.target, row.reason) for row in self.batch.audit if row.verdict == "cancelled"]

    @property
    def judged(self) -> int:
        """How often a due job was judged."""
        return self.actions.judged

    def times(self, number: int) -> int:
        """How often a container was tried."""
        return self.tried.count(cid(number))


class _Counting(Actions):
    judged = 0

    def _verdict_now(self, turn: Turn, job: Job) -> Verdict:
        self.judged += 1
        return super()._verdict_now(turn, job)


class _Held:
    """An action that waits for the test's word."""

    def __init__(self, name: str, bench: Bench) -> None:
        self.name = name
        self._bench = bench

    async def run(self, params: Mapping[str, Any], *, touch_running: bool = False) -> Outcome:  # noqa: ARG002
        target = ACTIONS[self.name].target_of(dict(params))
        self._bench.tried.append(target)
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._bench.open[target] = future
        return await future


async def settle() -> None:
    """Let every task that can go on do so."""
    for _ in range(5):
        await asyncio.sleep(0)
