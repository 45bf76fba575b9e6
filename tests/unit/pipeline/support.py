"""Jobs, an executor and actions whose time and outcomes a test decides."""

import asyncio
from collections.abc import Mapping
from typing import Any

from engine.action_catalog import ACTIONS
from engine.facts.timestamps import SECOND, Micros
from engine.guardrails import ACT, Policy, Verdict
from engine.inference.decision import ActionDecision
from engine.pipeline.attempts import Executor
from engine.pipeline.intake import AttemptEnded, Intake
from engine.pipeline.jobs import Job
from engine.ports.actions import Outcome
from engine.rules.model import Rate, Retry

START: Micros = 1_800_000_000 * SECOND
OK = Outcome(ok=True)
BUSY = Outcome(ok=False, error="device or resource busy", error_kind="busy")
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
    """An executor on a virtual clock. What an attempt of a container comes to is decided by the test, when it likes."""

    def __init__(self, policy: Policy | None = None, names: tuple[str, ...] = ("remove_container",)) -> None:
        self.seconds = 0.0
        self.intake = Intake()
        self.verdict: Verdict | None = ACT
        self.judged = 0
        self.dropped: list[tuple[str, str]] = []
        self.attempts: list[str] = []
        """Targets tried, in order."""
        self.open: dict[str, asyncio.Future[Outcome]] = {}
        self.executor = Executor(
            actions={name: _Held(name, self) for name in names},
            policy=policy or Policy(mode="act"),
            intake=self.intake,
            judge=self._judge,
            now=self.now,
            clock=lambda: self.seconds,
        )
        self.executor.dropped = lambda job, reason: self.dropped.append((job.target, reason))

    def now(self) -> Micros:
        """The virtual wall clock."""
        return START + round(self.seconds * SECOND)

    def _judge(self, _job: Job) -> Verdict | None:
        self.judged += 1
        return self.verdict

    async def look(self, seconds: float = 0.0) -> float | None:
        """Let time pass, start what is due; seconds until the next look."""
        self.seconds += seconds
        pause = self.executor._start_due()
        await settle()
        return pause

    async def end(self, number: int, outcome: Outcome = OK) -> AttemptEnded:
        """Let the attempt on a container end so; its end, which the engine has not taken in yet."""
        self.open.pop(cid(number)).set_result(outcome)
        (entry,) = await self.intake.batch(1, 1.0)
        assert isinstance(entry, AttemptEnded)
        return entry

    def tried(self, number: int) -> int:
        """How often a container was tried."""
        return self.attempts.count(cid(number))


class _Held:
    """An action that waits for the test's word."""

    def __init__(self, name: str, bench: Bench) -> None:
        self.name = name
        self._bench = bench

    async def run(self, params: Mapping[str, Any]) -> Outcome:
        target = ACTIONS[self.name].target_of(dict(params))
        self._bench.attempts.append(target)
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._bench.open[target] = future
        return await future


async def settle() -> None:
    """Let every task that can go on do so."""
    for _ in range(5):
        await asyncio.sleep(0)
