"""The sidecar's loop: batches of facts through the core into the journal, and only then out of the process.

One task owns core and jobs; everything else reaches it through the intake. What one batch leads to is committed as one
transaction before a message is published or an action started.
"""

import json
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

import structlog

from engine.errors import BadFactError
from engine.facts import Fact, Retraction
from engine.facts.host import Source
from engine.facts.logs import LogFact
from engine.facts.timestamps import SECOND, Micros, from_micros
from engine.inference.decision import ActionDecision, AlertDecision, Decision
from engine.inference.joins.durable import JoinerPool
from engine.inference.persistence import restore, snapshot
from engine.journal.records import AuditRow, Batch
from engine.journal.writer import Keeper
from engine.messages.cloudevents import fact_event
from engine.messages.topics import reply_topic
from engine.pipeline.action_history import Doings
from engine.pipeline.actions import Repairs
from engine.pipeline.alerts import MEMORY, Alerting
from engine.pipeline.clock import wall_clock as wall_clock  # noqa: PLC0414  others know it from here
from engine.pipeline.intake import Ask, AttemptEnded, FromSource, Intake
from engine.pipeline.options import Options as Options  # noqa: PLC0414  others know it from here
from engine.pipeline.short_ids import ShortIds
from engine.ports.broker import OutboxRow
from engine.rules.model import RuleSet

_log = structlog.get_logger(__name__)

BATCH = 200
"""Entries of the intake taken at once: enough to share a commit among a burst, few enough to answer within milliseconds."""

AHEAD: Micros = 5 * SECOND
"""A fact from further in the future than this has a wrong clock: it would make the core wait for nothing, and is set to now."""

UNWELL_RETRY_S = 5.0
"""While the journal cannot be written, it is tried again after so many seconds even when nothing happens."""

RECENT = 200
"""Decisions kept for the status."""


class Sidecar:
    """Core, journal, jobs and messages of one host."""

    def __init__(
        self, *, ruleset: RuleSet, entries: dict[tuple[str, str], str], intake: Intake, keeper: Keeper, options: Options
    ) -> None:
        self.options = options
        self.intake = intake
        self.keeper = keeper
        self.joiners = JoinerPool()
        self.core = restore(ruleset, entries, joiners=self.joiners)
        self.doings = Doings()
        self.counters: Counter[str] = Counter()
        self.recent: deque[dict[str, Any]] = deque(maxlen=RECENT)
        self.repairs = Repairs(
            options=options,
            doings=self.doings,
            counters=self.counters,
            core=lambda: self.core,
            batch=lambda: self._batch,
            after=self._once_kept,
            next_seq=keeper.next_seq,
            healthy=lambda: keeper.healthy,
        )
        self.alerting = Alerting(
            host=options.host,
            doings=self.doings,
            batch=lambda: self._batch,
            next_seq=keeper.next_seq,
            rules_version=lambda: self.options.rules_version,
            runbook=options.runbook,
            states=lambda: self.core.alerts.states,
            being_mended=self.repairs.being_mended,
            now=wall_clock,
        )
        self.last_fact_at: Micros = 0
        self._batch = Batch()
        self._after: list[Callable[[], None]] = []
        self._unwell_said = False
        self._short_ids = ShortIds()

    def _once_kept(self, let_out: Callable[[], None]) -> None:
        self._after.append(let_out)

    # -- the loop -----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Take entries from the intake until cancelled."""
        # From here on it is looked for what may be missing; and what became due while the process was down is decided.
        self._decided(self.core.advance(max(wall_clock(), self.core.now)))
        while True:
            await self.turn(self._pause())

    def _pause(self) -> float | None:
        """Seconds until something has to be done although nothing comes; None for never."""
        if self._batch or self._after:
            return 0.0  # what the last commit itself led to: the journal's own state
        moments = [due for due in (self.core.next_due, self.alerting.next_due) if due is not None]
        pause = max(0.0, (min(moments) - wall_clock()) / SECOND) if moments else None
        if not self.keeper.healthy:
            pause = UNWELL_RETRY_S if pause is None else min(pause, UNWELL_RETRY_S)
        return pause

    async def turn(self, timeout_s: float | None) -> None:
        """One batch: wait for entries no longer than the time-out, take them, keep what follows, let it out."""
        entries = await self.intake.batch(BATCH, timeout_s)
        for entry in entries:
            match entry:
                case FromSource():
                    self._from_source(entry)
                case AttemptEnded():
                    # The outcome first, then what it learned: a container that is gone ends the match its deletion stands on.
                    for fact in self.repairs.attempt_ended(entry):
                        self._take(fact)
                case Ask():
                    await entry.run()
        now = wall_clock()
        due = self.core.next_due
        if due is not None and due <= now:
            self._decided(self.core.advance(now))
        self.alerting.say_what_waits()
        self._say_faults()
        await self._commit()

    async def last_turn(self) -> None:
        """Take what is left, and say what would have waited: nobody will answer any more."""
        while self.intake.depth:
            await self.turn(0.0)
        self.alerting.say_what_waits(all_of_it=True)
        await self._commit()

    async def _commit(self) -> None:
        changes = self.core.drain_changes()
        batch, self._batch = self._batch, Batch()
        batch.extend(Batch(core_puts=changes.puts, core_deletes=set(changes.deletes), durable=False))
        after, self._after = self._after, []
        # Only what leaves the process has to survive a power failure; the rest is told again by its source.
        batch.durable = bool(batch.outbox or batch.retries_puts)
        await self.keeper.commit(batch)
        self._say_trouble()
        for let_out in after:
            let_out()

    def _say_trouble(self) -> None:
        """The journal's own state is a fact too."""
        trouble = self.keeper.trouble
        if (trouble is not None) is self._unwell_said:
            return
        self._unwell_said = trouble is not None
        self._take(
            Source(
                fact_id=f"journal-{wall_clock()}",
                at=from_micros(wall_clock()),
                host=self.options.host,
                source="journal",
                name="journal",
                status="ok" if trouble is None else "lost",
                since=from_micros(wall_clock()),
                error=trouble,
            )
        )

    # -- facts --------------------------------------------------------------------------------------------------------

    def _from_source(self, entry: FromSource) -> None:
        for fact in entry.facts:
            self._take(fact)
        if entry.cursor is not None:
            self._batch.cursors[entry.source] = entry.cursor

    def _take(self, fact: Fact | Retraction) -> None:
        now = wall_clock()
        update: dict[str, Any] = {}
        if not fact.host:
            update["host"] = self.options.host
        if fact.at_micros > now + AHEAD:
            update["at"] = from_micros(now)
            self.counters["facts_from_the_future"] += 1
        if isinstance(fact, LogFact) and fact.container_id:
            full = self._short_ids.full(fact.container_id, self.core.memory, now)
            if full is not None:
                update["container_id"] = full
        if update:
            fact = fact.model_copy(update=update)
            fact.__dict__.pop("at_micros", None)  # cached of the time before
        self.counters["facts"] += 1
        self.last_fact_at = max(self.last_fact_at, min(fact.at_micros, now))
        if self.options.record is not None:
            self.options.record(fact)
        try:
            decisions = self.core.step(fact)
        except BadFactError as error:
            self.counters["bad_facts"] += 1
            _log.warning("a fact cannot be used", action="fact", error=str(error))
            return
        if isinstance(fact, Fact) and fact.fact_kind in self.options.publish_facts:
            self._batch.outbox.append(fact_event(host=self.options.host, fact=fact, seq=self.keeper.next_seq()))
        self._decided(decisions)

    def _say_faults(self) -> None:
        for fault in self.core.faults:
            self.counters["rule_faults"] += 1
            _log.error("a rule asked for what cannot be", action="rule", error=fault)
        self.core.faults.clear()

    # -- decisions ----------------------------------------------------------------------------------------------------

    def _decided(self, decisions: list[Decision]) -> None:
        alerts: list[AlertDecision] = []
        for decision in decisions:
            self.counters[f"decided_{decision.does}"] += 1
            self.recent.append(decision.to_json_dict())
            match decision:
                case ActionDecision():
                    self.repairs.asked_for(decision)
                case AlertDecision():
                    alerts.append(decision)
                case _:
                    self._audit(decision, decision.does, "done", detail={"fact": decision.fact.to_json_dict()})
        self.alerting.take(alerts)  # after the actions of the same moment: an alert says what was decided about it

    def _audit(
        self, decision: Decision, kind: str, verdict: str, *, reason: str = "", detail: dict[str, Any] | None = None
    ) -> None:
        self._batch.audit.append(
            AuditRow(
                at=decision.at,
                kind=kind,
                verdict=verdict,
                rule=decision.rule,
                key=decision.key,
                activation=decision.activation,
                reason=reason,
                detail={"facts": list(decision.facts[:20]), **(detail or {})},
            )
        )

    # -- from outside the loop, run inside it through an `Ask` ----------------------------------------------------------

    def take_back(self, retries: dict[str, str], memory: dict[str, str]) -> None:
        """What was scheduled, silenced, acknowledged or not said yet when the process ended."""
        self.repairs.take_back(retries)
        self.alerting.take_back(memory.get(MEMORY))

    def replace_rules(self, ruleset: RuleSet, version: str) -> None:
        """Other rules from now on; what is unchanged keeps its state."""
        old = self.core
        entries = snapshot(old)
        for node in old.nodes:
            node.retire()
        changes = old.drain_changes()
        self._batch.extend(Batch(core_puts=changes.puts, core_deletes=set(changes.deletes)))
        self.core = restore(ruleset, entries, joiners=self.joiners)
        self.options.rules_version = version
        if old.now:
            self._decided(self.core.advance(max(wall_clock(), old.now)))

    def reply(self, request: str, content: dict[str, Any]) -> None:
        """Answer a command."""
        payload = json.dumps({"id": request, **content}, default=str).encode()
        self._batch.outbox.append(
            OutboxRow(topic=reply_topic(self.options.host, request), payload=payload, kind="reply", seq=self.keeper.next_seq())
        )

    def note(self, row: AuditRow) -> None:
        """Add to the audit."""
        self._batch.audit.append(row)

    def remember(self, name: str, text: str) -> None:
        """Have the journal keep a small thing."""
        self._batch.memory[name] = text

    def fact(self, fact: Fact | Retraction) -> None:
        """A fact of our own making: it goes the way of all facts."""
        self._take(fact)
