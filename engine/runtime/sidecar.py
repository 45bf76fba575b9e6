"""The sidecar's loop: batches of facts through the core into the journal, and only then out of the process.

One task owns core and jobs; everything else reaches it through the intake. What one batch leads to is committed as one
transaction before a message is published or an action started.
"""

import json
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import structlog

from engine.actions import ACTIONS
from engine.decisions import Policy, Verdict, judge
from engine.errors import BadFactError
from engine.facts import Fact, Retraction
from engine.facts.clock import SECOND, Micros, from_micros
from engine.facts.docker import Container
from engine.facts.host import Source
from engine.facts.logs import LogFact
from engine.facts.outcomes import ActionResult
from engine.inference.core import Core
from engine.inference.decision import Decision
from engine.inference.joins import JoinerPool
from engine.journal.records import AuditRow, Batch
from engine.payloads import action_event, fact_event
from engine.ports.actions import Outcome
from engine.ports.broker import OutboxRow
from engine.rules.model import Retry, RuleSet
from engine.runtime.alerting import MEMORY, Alerting
from engine.runtime.clock import wall_clock as wall_clock  # noqa: PLC0414  others know it from here
from engine.runtime.executor import Executor
from engine.runtime.intake import Ask, AttemptEnded, FromSource, Intake
from engine.runtime.jobs import Job
from engine.runtime.keeper import Keeper
from engine.runtime.retries import WAITS, backoff_s
from engine.runtime.saying import Doings
from engine.runtime.short_ids import ShortIds
from engine.topics import reply_topic

_log = structlog.get_logger(__name__)

BATCH = 200
"""Entries of the intake taken at once: enough to share a commit among a burst, few enough to answer within milliseconds."""

AHEAD: Micros = 5 * SECOND
"""A fact from further in the future than this has a wrong clock: it would make the core wait for nothing, and is set to now."""

UNWELL_RETRY_S = 5.0
"""While the journal cannot be written, it is tried again after so many seconds even when nothing happens."""

RECENT = 200
"""Decisions kept for the status."""


@dataclass(slots=True)
class Options:
    """What the loop needs to know."""

    host: str
    policy: Policy
    rules_version: str = ""
    publish_facts: tuple[str, ...] = ()
    """Fact kinds that are published too; none by default."""
    record: Callable[[Fact | Retraction], None] | None = None
    """Called with each fact as it comes, for a recording."""
    frozen: Callable[[], bool] = field(default=lambda: False)
    """Whether all actions are stopped."""


class Sidecar:
    """Core, journal, jobs and messages of one host."""

    def __init__(
        self, *, ruleset: RuleSet, entries: dict[tuple[str, str], str], intake: Intake, keeper: Keeper, options: Options
    ) -> None:
        self.options = options
        self.intake = intake
        self.keeper = keeper
        self.joiners = JoinerPool()
        self.core = Core.restore(ruleset, entries, joiners=self.joiners)
        self.executor: Executor | None = None
        self.doings = Doings()
        self.counters: Counter[str] = Counter()
        self.recent: deque[dict[str, Any]] = deque(maxlen=RECENT)
        self.alerting = Alerting(
            host=options.host,
            doings=self.doings,
            batch=lambda: self._batch,
            next_seq=keeper.next_seq,
            rules_version=lambda: self.options.rules_version,
            states=lambda: self.core.alerts.states,
            being_mended=self._being_mended,
            now=wall_clock,
        )
        self.last_fact_at: Micros = 0
        self._batch = Batch()
        self._after: list[Callable[[], None]] = []
        self._unwell_said = False
        self._short_ids = ShortIds()

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
                    self._attempt_ended(entry)
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
        batch.extend(Batch(core_puts=changes.puts, core_deletes=changes.deletes, durable=False))
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
        alerts: list[Decision] = []
        for decision in decisions:
            self.counters[f"decided_{decision.does}"] += 1
            self.recent.append(decision.to_json_dict())
            match decision.does:
                case "action":
                    self._asked_for(decision)
                case "alert":
                    alerts.append(decision)
                case _:
                    detail = {"fact": decision.fact.to_json_dict()} if decision.fact else {}
                    self._audit(decision, decision.does, "done", detail=detail)
        self.alerting.take(alerts)  # after the actions of the same moment: an alert says what was decided about it

    def _being_mended(self, decision: Decision) -> bool:
        """The engine tells that a container is gone before it answers the deletion: the alert waits for that answer."""
        executor = self.executor
        return executor is not None and any(
            executor.running(job) for job in executor.jobs.values() if self.doings.concerns(job, decision)
        )

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

    # -- actions ------------------------------------------------------------------------------------------------------

    def _asked_for(self, decision: Decision) -> None:
        if decision.action not in ACTIONS:
            self._audit(decision, "action", "refused", reason=f"there is no action {decision.action}")
            return
        job = Job.of(decision)
        verdict = self._verdict(job)
        if verdict.kind in ("refused", "observed"):
            self.doings.note(job, verdict.kind, decision.at, verdict.reason)
            self._audit_job(job, verdict.kind, verdict.reason, evidence=decision.evidence)
            say = _log.warning if verdict.kind == "refused" else _log.info
            say("action", action=job.action, target=job.target, rule=job.rule, verdict=verdict.kind, reason=verdict.reason)
            return
        assert self.executor is not None  # noqa: S101  set before the loop runs
        there = self.executor.at_place(job)
        if there is not None:
            # The same thing is under way for another reason: one job does it, and stays for as long as this reason holds too.
            there.join(job, self.core.active)
            self._batch.put_retry(there.id, there.kept())
            self._audit_job(job, "merged", f"job {there.id} is at it already", evidence=decision.evidence)
            return
        self.doings.note(job, "scheduled", decision.at)
        self._audit_job(job, "scheduled", verdict.reason, evidence=decision.evidence)
        self._batch.put_retry(job.id, job.kept())
        executor = self.executor
        executor.expect(job)
        self._after.append(lambda: executor.add(job))

    def _verdict(self, job: Job) -> Verdict:
        item = self.core.memory.get(("container", job.container)) if job.container else None
        return judge(
            ACTIONS[job.action],
            job.params,
            rule=job.rule,
            policy=self.options.policy,
            container=item.fact if item is not None and isinstance(item.fact, Container) else None,
            frozen=self.options.frozen(),
        )

    def judge_now(self, job: Job) -> Verdict | None:
        """The verdict on a job just before an attempt; None when what it was decided on is over."""
        if not job.wanted(self.core.active):
            return None
        if not self.keeper.healthy and ACTIONS[job.action].changes:
            return Verdict("wait", "the journal cannot be written: nothing is done that could be forgotten")
        return self._verdict(job)

    def dropped(self, job: Job, reason: str) -> None:
        """A job goes without a further attempt."""
        self.doings.note(job, "cancelled", wall_clock(), reason)
        self._audit_job(job, "cancelled", reason)
        self._batch.delete_retry(job.id)

    def _attempt_ended(self, ended: AttemptEnded) -> None:
        job, outcome = ended.job, ended.outcome
        assert self.executor is not None  # noqa: S101  set before the loop runs
        now = wall_clock()
        if outcome.error_kind == "in_progress" and job.waits < WAITS:
            job.waits += 1  # the engine is at it: waiting is no failed attempt
            again: Literal["retry", "over"] = "retry"
        else:
            job.attempts_made += 1
            again = "retry" if self._may_try_again(job, outcome) else "over"
        exhausted = not outcome.ok and again == "over"
        result = ActionResult.model_validate(
            job.result_fields()
            | {
                "at": from_micros(now),
                "host": self.options.host,
                "ok": outcome.ok,
                "error": outcome.error,
                "error_kind": outcome.error_kind,
                "detail": outcome.detail,
                "duration_ms": round(ended.duration_ms, 1),
                "exhausted": exhausted,
            }
        )
        self.counters[f"action_{job.action}_{'ok' if outcome.ok else outcome.error_kind or 'failed'}"] += 1
        verdict = "done" if outcome.ok else "failed" if exhausted else "will be tried again"
        reason = outcome.error or outcome.detail or ""
        self.doings.note(job, verdict, now, reason)
        self._audit_job(job, verdict, reason, outcome=result)
        _log.info("action", action=job.action, target=job.target, ok=outcome.ok, attempt=job.attempts_made, error=outcome.error)
        self._publish_result(job, result)
        if outcome.ok or exhausted:
            self.executor.forget(job)
            self._batch.delete_retry(job.id)
        else:
            job.due = now + round(backoff_s(job.retry or Retry(), max(1, job.attempts_made), job.id) * SECOND)
            self._batch.put_retry(job.id, job.kept())
            executor = self.executor
            self._after.append(lambda: executor.reschedule(job))
        # The outcome first, then what it learned: a container that is gone ends the match that its deletion stands on.
        self._take(result)
        for fact in outcome.facts:
            self._take(fact)

    @staticmethod
    def _may_try_again(job: Job, outcome: Outcome) -> bool:
        if outcome.ok or outcome.permanent or job.retry is None:
            return False
        return job.attempts_made < job.retry.attempts

    def _publish_result(self, job: Job, result: ActionResult) -> None:
        self._batch.outbox.append(
            action_event(
                host=self.options.host,
                action=result.action,
                target=result.target,
                ok=result.ok,
                attempt=result.attempt,
                at=result.at_micros,
                seq=self.keeper.next_seq(),
                exhausted=result.exhausted,
                error=result.error,
                error_kind=result.error_kind,
                detail=result.detail,
                duration_ms=result.duration_ms,
                container_id=result.container_id,
                rule=result.rule,
                activation=job.activation,
                rules_version=self.options.rules_version,
            )
        )

    def _audit_job(self, job: Job, verdict: str, reason: str, *, outcome: Fact | None = None, evidence: Any = ()) -> None:
        detail: dict[str, Any] = {"job": job.id, "params": job.params, "facts": job.facts[:20], "attempts": job.attempts_made}
        if outcome is not None:
            detail["outcome"] = outcome.to_json_dict()
        if evidence:
            detail["evidence"] = list(evidence[:5])
        self._batch.audit.append(
            AuditRow(
                at=wall_clock(),
                kind="action",
                verdict=verdict,
                rule=job.rule,
                key=job.key,
                activation=job.activation,
                action=job.action,
                target=job.target,
                reason=reason,
                detail=detail,
            )
        )

    # -- from outside the loop, run inside it through an `Ask` ----------------------------------------------------------

    def take_back(self, retries: dict[str, str], memory: dict[str, str]) -> None:
        """What was scheduled, silenced, acknowledged or not said yet when the process ended."""
        self._take_back_jobs(retries)
        self.alerting.take_back(memory.get(MEMORY))

    def _take_back_jobs(self, saved: dict[str, str]) -> None:
        assert self.executor is not None  # noqa: S101  set before the loop runs
        for job_id, text in saved.items():
            try:
                job = Job.taken_back(text)
            except ValueError as error:
                _log.error("a scheduled retry cannot be read and is dropped", action="retry", job=job_id, error=str(error))
                self._batch.delete_retry(job_id)
                continue
            there = self.executor.at_place(job)
            if there is None:
                self.executor.add(job)
            else:
                there.join(job, self.core.active)
                self._batch.delete_retry(job_id)
                self._batch.put_retry(there.id, there.kept())

    def replace_rules(self, ruleset: RuleSet, version: str) -> None:
        """Other rules from now on; what is unchanged keeps its state."""
        old = self.core
        entries = old.snapshot()
        for node in old.nodes:
            node.retire()
        changes = old.drain_changes()
        self._batch.extend(Batch(core_puts=changes.puts, core_deletes=changes.deletes))
        self.core = Core.restore(ruleset, entries, joiners=self.joiners)
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
