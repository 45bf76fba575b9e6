"""The loop: entries of the intake through the core into the journal, and only then out of the process. One way down.

    receive → infer → request actions → notify → start due jobs → flush alerts → commit → start attempts → answer

Each round is one `Turn`, handed from stage to stage; what it leads to is committed as one transaction before a message is
published or an attempt begins. Core, schedule and alert state belong to this task alone: all others reach it through the intake.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import structlog

from engine.errors import BadFactError
from engine.facts import Fact, Retraction
from engine.facts.host import Source, SourceState
from engine.facts.timestamps import SECOND, Micros, from_micros, rfc3339
from engine.inference.decision import AssertDecision, Decision, RetractDecision
from engine.inference.diagnosis import why_not
from engine.inference.persistence import restore, snapshot
from engine.inference.time_shift import shift_entries
from engine.journal.records import AuditRow, Batch, JournalState
from engine.journal.writer import JournalWriter
from engine.messages.cloudevents import fact_event
from engine.pipeline.action_history import ActionHistory
from engine.pipeline.actions import LIMITS, Actions
from engine.pipeline.alarm_test import publish_alarm_test
from engine.pipeline.alerts import MEMORY, Alerts
from engine.pipeline.attempts import Attempts
from engine.pipeline.intake import (
    AlarmTest,
    AttemptEnded,
    ClockStepped,
    Entry,
    FromSource,
    Intake,
    JournalNote,
    OperatorCommand,
    Question,
    RetainedDiffers,
    RulesAccepted,
    StaleFacts,
)
from engine.pipeline.measures import Measures
from engine.pipeline.normalize import Normalizer
from engine.pipeline.operator import carry_out
from engine.pipeline.report import MemoryLosses, Report, describe_core, describe_schedule, sources_of
from engine.pipeline.schedule import Schedule
from engine.pipeline.turn import Options, Turn, Untold
from engine.ports.clock import Clock
from engine.rules.model import RuleSet

_log = structlog.get_logger(__name__)

MAX_ENTRIES_PER_TURN = 200
"""Entries of the intake taken at once: enough to share a commit among a burst, few enough to answer within milliseconds."""

MAX_FACTS_PER_TURN = 2_000
"""And no more facts than that in them: some 100 ms."""

UNWELL_RETRY_S = 5.0
"""While the journal cannot be written, it is tried again after so many seconds even when nothing happens."""

RECENT = 200
"""Decisions remembered for the status."""


class Freeze(Protocol):
    """Whether an operator has stopped actions, at this moment."""

    def is_set(self) -> bool:
        """All of them."""

    def actions(self) -> frozenset[str]:
        """Those that are stopped by themselves."""


class Loop:
    """Core, schedule, alerts and messages of one host."""

    def __init__(
        self,
        *,
        ruleset: RuleSet,
        rules_version: str,
        state: JournalState,
        options: Options,
        clock: Clock,
        intake: Intake,
        writer: JournalWriter,
        attempts: Attempts,
        freeze: Freeze,
        record: Callable[[Fact | Retraction], None] | None = None,
    ) -> None:
        """Go on from what the journal has; nothing runs yet.

        Args:
            ruleset: in force at first.
            rules_version: names it in messages.
            state: what an earlier process left.
            options: of the settings.
            clock: the time, for every stage.
            intake: where entries come from.
            writer: takes what each turn leads to.
            attempts: runs what the schedule lets start.
            freeze: an operator's emergency stop.
            record: gets each fact as the core takes it, for a recording.
        """
        self._options = options
        self._clock = clock
        self._intake = intake
        self._writer = writer
        self._attempts = attempts
        self._freeze = freeze
        self._record = record
        self._rules_version = rules_version
        self.core = restore(ruleset, state.core, bounds=options.bounds)
        self._untold = Untold(item.fact for item in self.core.memory)
        self.counters: Counter[str] = Counter()
        self.measures = Measures()
        self.last_fact_at: Micros = 0
        self._recent: deque[dict[str, Any]] = deque(maxlen=RECENT)
        self._normalizer = Normalizer(self.counters)
        self.schedule = Schedule(options.policy)
        history = ActionHistory()
        self.actions = Actions(
            options=options, schedule=self.schedule, history=history, counters=self.counters, measures=self.measures
        )
        self.alerts = Alerts(options=options, history=history)
        self._advanced = False
        self._starts_attempts = True
        self._frozen = False
        self._frozen_actions: frozenset[str] = frozenset()
        self._journal_lost = False
        self._losses = MemoryLosses()
        self._own_facts: list[Fact | Retraction] = []
        """What the end of a turn led to: taken first in the next one."""
        self._batch = Batch()
        """What the restart itself led to: committed with the first turn."""
        turn = self._begin()
        self.actions.restore_limits(turn, state.memory.get(LIMITS))
        self._own_facts += self.actions.restore(turn, state.retries)
        self.alerts.restore(turn, state.memory.get(MEMORY))
        self._note_unreadable(turn, state.unreadable)
        self._batch = turn.batch

    # -- the loop -----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Turn until cancelled."""
        await self.turn(0.0)
        while True:
            await self.turn(self.pause_s())

    def pause_s(self) -> float | None:
        """Seconds until something has to be done although nothing comes; None for never."""
        if self._own_facts or self._batch or self._writer.incomplete:
            return 0.0
        moments = [self.core.next_due, self.alerts.next_due]
        if self._starts_attempts:
            moments.append(self.schedule.next_due)
        due = min((moment for moment in moments if moment is not None), default=None)
        pause = None if due is None else max(0.0, (due - self._clock.wall()) / SECOND)
        if not self._writer.healthy:
            pause = UNWELL_RETRY_S if pause is None else min(pause, UNWELL_RETRY_S)
        return pause

    async def turn(self, timeout_s: float | None) -> None:
        """One round: wait for entries no longer than the time-out, take them, commit what follows, let it out."""
        entries = await self._intake.take(MAX_ENTRIES_PER_TURN, timeout_s, most_facts=MAX_FACTS_PER_TURN)
        self.measures.turns += 1
        turn = self._begin()
        if entries and isinstance(entries[0], ClockStepped):
            self._shift(turn, entries[0].step)
        if not self._advanced:
            # From here on it is looked for what may be missing; and what became due while the process was down is decided.
            self._advanced = True
            self._conclude(turn, turn.core.advance(max(turn.now, turn.core.now)))
        facts, self._own_facts = self._own_facts, []
        self._take(turn, facts)
        for entry in entries:
            self._receive(turn, entry)
        due = turn.core.next_due
        if due is not None and due <= turn.now:
            self._conclude(turn, turn.core.advance(turn.now))
        if self._starts_attempts:
            self.actions.start_due(turn)
        self.actions.keep_limits(turn)
        self.alerts.flush(turn)
        committed = await self._commit(turn)
        self._attempts.start(self.actions.confirmed(turn, committed=committed))
        self._answer(turn)

    def stop_starting(self) -> None:
        """Begin no further attempts: the process is about to end."""
        self._starts_attempts = False

    async def finish(self) -> None:
        """Take what is left, and publish what would have waited: nobody will answer any more."""
        while self._intake.depth or self._own_facts:
            await self.turn(0.0)
        turn = self._begin()
        self.alerts.flush(turn, everything=True)
        await self._commit(turn)

    def _begin(self) -> Turn:
        batch, self._batch = self._batch, Batch()
        if not self._writer.hangs:  # nor does the file that freezes answer then, and nothing is done anyway
            self._frozen, self._frozen_actions = self._freeze.is_set(), self._freeze.actions()
        return Turn(
            now=self._clock.wall(),
            monotonic=self._clock.monotonic(),
            core=self.core,
            rules_version=self._rules_version,
            can_act=self._writer.healthy,
            frozen=self._frozen,
            frozen_actions=self._frozen_actions,
            next_seq=self._writer.next_seq,
            untold=self._untold,
            batch=batch,
        )

    # -- receive ------------------------------------------------------------------------------------------------------

    def _receive(self, turn: Turn, entry: Entry) -> None:
        match entry:  # ClockStepped came before all others
            case FromSource():
                self.measures.take_in(entry.source, entry.facts, turn.now)
                self._take_told(turn, entry.facts)
                turn.batch.cursors |= {} if entry.cursor is None else {entry.source: entry.cursor}
            case AttemptEnded():
                self._take(turn, self.actions.take_end(turn, entry))
            case StaleFacts():
                self._take_told(turn, self._retractions(turn, entry))
            case RetainedDiffers():
                self.alerts.reconcile(turn, entry.difference)
            case RulesAccepted():
                self._replace_rules(turn, entry)
            case OperatorCommand():
                carry_out(turn, entry, options=self._options, actions=self.actions, alerts=self.alerts)
            case AlarmTest():
                publish_alarm_test(turn, entry, self._options)
            case JournalNote():
                self.measures.rules.update(row.verdict for row in entry.audit if row.kind == "rules")
                turn.batch.audit.extend(entry.audit)
                turn.batch.memory.update(entry.memory)
            case Question():
                turn.questions.append(entry)

    def _replace_rules(self, turn: Turn, accepted: RulesAccepted) -> None:
        """Other rules from now on; what is unchanged keeps its state."""
        old = turn.core
        entries = self._put_down(turn)
        self.core = turn.core = restore(accepted.ruleset, entries, bounds=self._options.bounds)
        self._rules_version = turn.rules_version = accepted.version
        self.measures.retain_rules(rule.id for rule in accepted.ruleset.rules)
        _log.info("rules_in_force", version=accepted.version, rules=len(accepted.ruleset.rules))
        if old.now:
            self._conclude(turn, turn.core.advance(max(turn.now, old.now)))

    def _shift(self, turn: Turn, step: Micros) -> None:
        """The clock was set: every time that is remembered moves by as much, so that nothing falls due, or is late, by it."""
        if turn.core.now:
            entries = shift_entries(self._put_down(turn), step)
            turn.batch.extend(Batch(core_puts=entries))
            self.core = turn.core = restore(turn.core.ruleset, entries, bounds=self._options.bounds)
        self.actions.shift(turn, step)
        self.alerts.shift(turn, step)
        self.last_fact_at += step if self.last_fact_at else 0
        _log.warning("clock_stepped", step_s=round(step / SECOND, 3))

    def _put_down(self, turn: Turn) -> dict[tuple[str, str], str]:
        """Everything that the core knows; it is not used any more, and what it has not committed yet goes into the batch."""
        entries = snapshot(turn.core)
        for node in turn.core.nodes:
            node.retire()
        self._losses.carry_over(turn.core)
        changes = turn.core.drain_changes()
        turn.batch.extend(Batch(core_puts=changes.puts, core_deletes=set(changes.deletes)))
        return entries

    def _retractions(self, turn: Turn, stale: StaleFacts) -> list[Fact | Retraction]:
        host, at = self._options.host, from_micros(turn.now)
        facts = (item.fact for item in turn.core.memory)
        return [
            Retraction(retract=fact.fact_kind, key="|".join(fact.identity[1:]), at=at, host=host, source="dockwarden")
            for fact in facts
            if fact.fact_kind in stale.kinds and fact.at_micros < stale.before
        ]

    # -- infer, request, notify ---------------------------------------------------------------------------------------

    def _take(self, turn: Turn, facts: Iterable[Fact | Retraction]) -> None:
        for fact in facts:
            self._conclude(turn, self._infer(turn, fact))

    def _take_told(self, turn: Turn, facts: Iterable[Fact | Retraction]) -> None:
        """Facts from where they are made: what the journal kept of the same is told anew by them."""
        for fact in facts:
            self._conclude(turn, self._infer(turn, fact))
            self._untold.tell(fact)

    def _infer(self, turn: Turn, fact: Fact | Retraction) -> list[Decision]:
        fact = self._normalizer.normalize(fact, turn.core.memory, turn.now)
        self.counters["facts"] += 1
        self.last_fact_at = max(self.last_fact_at, min(fact.at_micros, turn.now))
        self._writer.record(fact)
        if self._record is not None:
            self._record(fact)
        try:
            decisions = turn.core.step(fact)
        except BadFactError as error:
            self.counters["bad_facts"] += 1
            _log.warning("fact_refused", error=str(error))
            return []
        if isinstance(fact, Fact) and fact.fact_kind in self._options.publish_facts:
            turn.batch.outbox.append(fact_event(host=self._options.host, fact=fact, seq=turn.next_seq()))
        return decisions

    def _conclude(self, turn: Turn, decisions: list[Decision]) -> None:
        """What follows from the decisions of one moment. Actions first: an alert names what was decided about its subject."""
        for fault in turn.core.faults:
            self.counters["rule_faults"] += 1
            _log.error("rule_fault", error=fault)
        turn.core.faults.clear()
        for decision in decisions:
            self.counters[f"decided_{decision.does}"] += 1
            self.measures.decisions[decision.rule, decision.does] += 1
            self._recent.append(decision.to_json_dict())
            if isinstance(decision, AssertDecision | RetractDecision):
                turn.batch.audit.append(_audit_of_fact(decision))
        self.actions.request(turn, decisions)
        self.alerts.notify(turn, decisions)

    # -- commit, answer -----------------------------------------------------------------------------------------------

    async def _commit(self, turn: Turn) -> bool:
        changes, batch = turn.core.drain_changes(), turn.batch
        batch.extend(Batch(core_puts=changes.puts, core_deletes=set(changes.deletes), durable=False))
        # Only what leaves the process has to survive a power failure; the rest is told again by its source.
        batch.durable = bool(batch.outbox or batch.retries_puts)
        if self._writer.incomplete:
            batch.extend(Batch(replaces=True, core_puts=snapshot(turn.core), retries_puts=self.actions.all_jobs()))
        committed = await self._writer.commit(batch)
        self._note_journal(turn)
        self._own_facts += self._losses.facts(turn.core, turn.now)
        return committed

    def _note_journal(self, turn: Turn) -> None:
        """The journal's own state is a fact too."""
        problem = self._writer.problem
        if (problem is not None) is self._journal_lost:
            return
        self._journal_lost = problem is not None
        state: SourceState = "ok" if problem is None else "lost"
        self._own_facts.append(Source.report("journal", state, at=from_micros(turn.now), host=self._options.host, error=problem))

    def _note_unreadable(self, turn: Turn, unreadable: Mapping[str, int]) -> None:
        """What a damaged journal has lost is a gap: the sidecar goes on without it, and says so until its next start."""
        lost = sum(unreadable.values()) + len(turn.core.faults)
        if not lost:
            return
        tables = ", ".join(f"{table}: {count}" for table, count in sorted(unreadable.items())) or "working memory"
        _log.error("journal_rows_unreadable", lost=lost, tables=tables)
        error = f"{lost} entries of the journal cannot be read and are left out ({tables})"
        at, host = from_micros(turn.now), self._options.host
        self._own_facts.append(Source.report("journal_entries", "gap", at=at, host=host, lost=lost, error=error))

    def _answer(self, turn: Turn) -> None:
        for question in turn.questions:
            if question.answer.done():
                continue
            match question.about:
                case "why-not":
                    question.answer.set_result(why_not(turn.core, question.rule))
                case "alerts":
                    question.answer.set_result(self.alerts.known(turn))
                case _:
                    question.answer.set_result(self._report(turn, in_full=question.about in ("status", "metrics")))

    def _report(self, turn: Turn, *, in_full: bool) -> Report:
        core = turn.core
        details: dict[str, Any] = {}
        if in_full:
            details = {
                **describe_core(core, self.alerts.acknowledged),
                **describe_schedule(self.schedule),
                "counters": dict(sorted(self.counters.items())),
                "intake": self._intake.depth,
                "last_fact_at": rfc3339(self.last_fact_at) if self.last_fact_at else None,
                "recent": list(self._recent)[-20:],
            }
        return Report(
            rules_version=turn.rules_version,
            rules=len(core.ruleset.rules),
            frozen=turn.frozen,
            firing=sum(state.firing for state in core.alerts.states.values()),
            sources=sources_of(core),
            breakers_open=self.schedule.breakers_open(),
            details=details,
            measures=self.measures,
        )


def _audit_of_fact(decision: AssertDecision | RetractDecision) -> AuditRow:
    return AuditRow(
        at=decision.at,
        kind=decision.does,
        verdict="done",
        rule=decision.rule,
        key=decision.key,
        activation=decision.activation,
        detail={"facts": list(decision.facts[:20]), "fact": decision.fact.to_json_dict()},
    )
