"""A sidecar without a process: the loop with what it needs, ready to run. Used by the process, by tests and by simulation.

Knows no connector, no signal, no terminal and no clock of its own: all of that is handed in.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from engine.facts import Fact, Retraction
from engine.journal.fact_log import FactLog
from engine.journal.records import JournalState
from engine.journal.store import Journal
from engine.journal.writer import JournalWriter
from engine.pipeline.actions import RETRY_NOW, RetryNow
from engine.pipeline.attempts import Attempts
from engine.pipeline.intake import Intake
from engine.pipeline.loop import Freeze, Loop
from engine.pipeline.turn import Options
from engine.ports.actions import Action
from engine.ports.clock import Clock
from engine.rules.model import RuleSet


@dataclass(frozen=True, slots=True)
class Sidecar:
    """The parts of the trunk. Everything goes in by `intake`; messages leave by `writer`, which is the publisher's outbox."""

    options: Options
    clock: Clock
    intake: Intake
    writer: JournalWriter
    attempts: Attempts
    loop: Loop


def build_sidecar(
    rules: RuleSet,
    journal: Journal,
    actions: Mapping[str, Action],
    clock: Clock,
    *,
    state: JournalState,
    options: Options,
    freeze: Freeze,
    rules_version: str = "",
    record: Callable[[Fact | Retraction], None] | None = None,
    fact_log: FactLog | None = None,
    reopen: Callable[[], Journal] | None = None,
    numbers_by_clock: bool = False,
) -> Sidecar:
    """Put a sidecar together; nothing runs yet.

    Args:
        rules: in force at first.
        journal: open; closed by `writer.close()`.
        actions: what can be done on this host, by name.
        clock: for all of it.
        state: what the journal has of an earlier process.
        options: of the settings.
        freeze: an operator's emergency stop.
        rules_version: names the rules in messages.
        record: gets each fact as the core takes it, for a recording.
        fact_log: the journal's own bounded recording.
        reopen: opens the journal's file anew, when it could not be written or was damaged.
        numbers_by_clock: see `JournalWriter`: for one of two engines that publish the same alerts.
    """
    intake = Intake(options.host)
    writer = JournalWriter(journal, clock, fact_log, state=state, reopen=reopen, numbers_by_clock=numbers_by_clock)
    attempts = Attempts(actions={**actions, RETRY_NOW: RetryNow()}, policy=options.policy, intake=intake, clock=clock)
    loop = Loop(
        ruleset=rules,
        rules_version=rules_version,
        state=state,
        options=options,
        clock=clock,
        intake=intake,
        writer=writer,
        attempts=attempts,
        freeze=freeze,
        record=record,
    )
    return Sidecar(options, clock, intake, writer, attempts, loop)
