"""The action stage: what becomes of actions that rules ask for, from the decision to the last outcome.

Guardrails are asked twice: when a rule asks, and just before each attempt. Starts nothing itself: jobs whose attempt may begin
are left in the turn. Whatever has to be known after a crash goes into the turn's batch.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import structlog

from engine.action_catalog import ACTIONS
from engine.facts import Fact, Retraction
from engine.facts.docker import Container
from engine.facts.outcomes import ActionResult
from engine.facts.timestamps import SECOND, Micros, from_micros
from engine.guardrails import Verdict, judge
from engine.inference.decision import ActionDecision, Decision
from engine.journal.records import AuditRow
from engine.messages.cloudevents import action_event
from engine.pipeline.action_history import ActionHistory
from engine.pipeline.intake import AttemptEnded, with_host
from engine.pipeline.jobs import MAX_AWAY, MAX_WAITS, Job, backoff_s
from engine.pipeline.measures import Measures
from engine.pipeline.schedule import BLOCKED_RECHECK_S, Schedule
from engine.pipeline.turn import Options, Turn
from engine.ports.actions import Outcome
from engine.rules.model import Retry

_log = structlog.get_logger(__name__)

RETRY_NOW = "retry_now"

LIMITS = "limits"
"""Under this name the journal keeps what caps, breakers and rates know."""

OBSERVED_KEPT = 10_000
"""Decisions that mode observe leaves undone and that are remembered for mode act; beyond that the oldest go."""

_OBSERVED_LOOK = 256
"""They are looked through for those that nobody wants any more when there are so many, and again whenever that doubles."""


class Actions:
    """Decisions about actions, as jobs."""

    def __init__(
        self,
        *,
        options: Options,
        schedule: Schedule,
        history: ActionHistory,
        counters: Counter[str],
        measures: Measures | None = None,
    ) -> None:
        self._options = options
        self._history = history
        self._counters = counters
        self._measures = measures or Measures()
        self.schedule = schedule
        self._observed: dict[tuple[str, str], Job] = {}
        """What mode observe left undone, by key; the oldest first."""
        self._look_through_at = _OBSERVED_LOOK

    def restore(self, turn: Turn, saved: Mapping[str, str]) -> list[Fact]:
        """Take on the jobs that were scheduled when the process ended; outcomes of attempts that its end cut off."""
        cut_off: list[Fact] = []
        for job_id, text in saved.items():
            job = _readable(job_id, text)
            if job is not None and job.begun:
                cut_off += self._cut_off(turn, job)
                if job.begun:
                    continue
            same = None if job is None else self.schedule.job_of(job.key)
            if job is None:
                turn.batch.delete_retry(job_id)
            elif self._verdict(turn, job).kind == "observed":
                self._observed[job.key] = job
            elif same is None:
                self.schedule.add(job)
            else:
                same.join(job, turn.core.active)
                turn.batch.delete_retry(job_id)
                turn.batch.put_retry(same.id, same.to_json())
        return cut_off

    def _cut_off(self, turn: Turn, job: Job) -> list[Fact]:
        """The process ended while an attempt was under way. What is safe twice is done again; else it counts as made.

        `begun` stays where the job is over.
        """
        if ACTIONS[job.action].idempotent:
            job.begun = False
            turn.batch.put_retry(job.id, job.to_json())
            return []
        job.attempts_made += 1
        over = job.retry is None or job.attempts_made >= job.retry.attempts
        error = "dockwarden ended while this attempt was under way: it counts as made"
        outcome = Outcome(ok=False, error=error, error_kind="failed")
        result = self._result(turn, job, outcome, duration_ms=0.0, exhausted=over)
        verdict = "failed" if over else "will be tried again"
        self._history.record(job, verdict, turn.now, error)
        self._audit(turn, job, verdict, error, outcome=result)
        self._publish(turn, job, result)
        _log.warning("action_cut_off", action=job.action, target=job.target, rule=job.rule, attempt=job.attempts_made, over=over)
        if over:
            turn.batch.delete_retry(job.id)
        else:
            job.begun = False
            job.due = turn.now + round(backoff_s(job.retry or Retry(), job.attempts_made, job.id) * SECOND)
            turn.batch.put_retry(job.id, job.to_json())
        return [result]

    def shift(self, turn: Turn, step: Micros) -> None:
        """The clock was set: what is scheduled, and what mode observe left undone, moves by as much."""
        self.schedule.shift(step)
        for job in self._observed.values():
            job.shift(step)
        for job in (*self.schedule.jobs.values(), *self._observed.values()):
            turn.batch.put_retry(job.id, job.to_json())

    def restore_limits(self, turn: Turn, text: str | None) -> None:
        """Caps, breakers and rates of before the restart hold on: a crash loop acts no more often than one process."""
        try:
            if text is not None:
                self.schedule.restore_limits(text, turn.now, turn.monotonic)
        except ValueError as error:
            _log.error("limits_unreadable", error=str(error))

    def keep_limits(self, turn: Turn) -> None:
        """Put caps, breakers and rates into the batch, once a turn, where they changed."""
        if self.schedule.limits_changed:
            turn.batch.memory[LIMITS] = self.schedule.limits_json(turn.now, turn.monotonic)

    def all_jobs(self) -> dict[str, str]:
        """Every job, as the journal has it."""
        return {job.id: job.to_json() for job in (*self.schedule.jobs.values(), *self._observed.values())}

    # -- from decision to job -----------------------------------------------------------------------------------------

    def request(self, turn: Turn, decisions: Iterable[Decision]) -> None:
        """Rules ask for actions: each is refused, left undone, joined to a job that is at it already, or becomes a job."""
        for decision in decisions:
            if isinstance(decision, ActionDecision):
                self._request(turn, decision)

    def _request(self, turn: Turn, decision: ActionDecision) -> None:
        if decision.action not in ACTIONS:
            turn.batch.audit.append(
                AuditRow(
                    at=decision.at,
                    kind="action",
                    verdict="refused",
                    rule=decision.rule,
                    key=decision.key,
                    activation=decision.activation,
                    reason=f"there is no action {decision.action}",
                    detail={"facts": list(decision.facts[:20])},
                )
            )
            return
        job = Job.of(decision)
        verdict = self._verdict(turn, job)
        if verdict.kind in ("refused", "observed"):
            self._measures.verdicts[job.action, verdict.kind, verdict.cause] += 1
            self._history.record(job, verdict.kind, decision.at, verdict.reason)
            self._audit(turn, job, verdict.kind, verdict.reason, evidence=decision.evidence)
            log = _log.warning if verdict.kind == "refused" else _log.info
            log(f"action_{verdict.kind}", action=job.action, target=job.target, rule=job.rule, reason=verdict.reason)
            if verdict.kind == "observed":
                self._observe(turn, job)
            return
        same = self.schedule.job_of(job.key)
        if same is not None:
            # The same thing is under way for another reason: one job does it, and stays for as long as this reason holds too.
            same.join(job, turn.core.active)
            self._measures.verdicts[job.action, "merged", ""] += 1
            turn.batch.put_retry(same.id, same.to_json())
            self._audit(turn, job, "merged", f"job {same.id} is at it already", evidence=decision.evidence)
            return
        self._measures.verdicts[job.action, "scheduled", ""] += 1
        self._history.record(job, "scheduled", decision.at)
        self._audit(turn, job, "scheduled", verdict.reason, evidence=decision.evidence)
        turn.batch.put_retry(job.id, job.to_json())
        self.schedule.add(job)

    def _observe(self, turn: Turn, job: Job) -> None:
        """Remember what mode observe leaves undone: it is done when the sidecar comes back in mode act and it is still wanted."""
        before = self._observed.pop(job.key, None)
        if before is not None and before.id != job.id:
            turn.batch.delete_retry(before.id)
        self._observed[job.key] = job
        turn.batch.put_retry(job.id, job.to_json())
        if len(self._observed) > self._look_through_at:
            active = turn.core.active
            for key in [key for key, one in self._observed.items() if not one.wanted(active)]:
                turn.batch.delete_retry(self._observed.pop(key).id)
            while len(self._observed) > OBSERVED_KEPT:
                turn.batch.delete_retry(self._observed.pop(next(iter(self._observed))).id)
            self._look_through_at = max(_OBSERVED_LOOK, 2 * len(self._observed))

    def _verdict(self, turn: Turn, job: Job) -> Verdict:
        item = turn.core.memory.get(("container", job.container)) if job.container else None
        return judge(
            ACTIONS[job.action],
            job.params,
            rule=job.rule,
            policy=self._options.policy,
            container=item.fact if item is not None and isinstance(item.fact, Container) else None,
            frozen=turn.frozen or job.action in turn.frozen_actions,
            told=not turn.untold.concern(job.action, job.params),
        )

    # -- from job to attempt ------------------------------------------------------------------------------------------

    def start_due(self, turn: Turn) -> None:
        """Judge the jobs whose time has come: each is started with this turn, waits, or is cancelled."""
        for job in self.schedule.due(turn.now):
            verdict = self._verdict_now(turn, job)
            if verdict.kind in ("refused", "observed"):
                self._cancel(turn, job, verdict)
                continue
            wait_s = BLOCKED_RECHECK_S if verdict.kind == "wait" else self.schedule.wait_s(job, turn.monotonic)
            if wait_s > 0:
                self.schedule.put_off(job, turn.now, wait_s)
            else:
                self.schedule.start(job, turn.monotonic)
                self._history.attempt_started(job)
                turn.attempts.append(job)
                if not ACTIONS[job.action].idempotent:  # for the others it makes no difference, and costs a write to the disk
                    job.begun = True
                    turn.batch.put_retry(job.id, job.to_json())

    def _verdict_now(self, turn: Turn, job: Job) -> Verdict:
        """The verdict on a job just before an attempt."""
        if not job.wanted(turn.core.active):
            return Verdict("refused", "nobody wants it any more: what it was decided on is over", "over")
        if not turn.can_act and ACTIONS[job.action].changes:
            return Verdict("wait", "the journal cannot be written: nothing is done that could be forgotten")
        return self._verdict(turn, job)

    def _cancel(self, turn: Turn, job: Job, verdict: Verdict) -> None:
        reason = verdict.reason
        self._measures.verdicts[job.action, "cancelled", verdict.cause] += 1
        self.schedule.remove(job)
        self._history.record(job, "cancelled", turn.now, reason)
        self._audit(turn, job, "cancelled", reason)
        _log.info("action_cancelled", action=job.action, target=job.target, rule=job.rule, reason=reason)
        turn.batch.delete_retry(job.id)

    def confirmed(self, turn: Turn, *, committed: bool) -> list[Job]:
        """The attempts that may begin now: when the batch could not be committed, those that change nothing; the others wait."""
        if committed:
            return turn.attempts
        for job in turn.attempts:
            if ACTIONS[job.action].changes:
                job.begun = False
                self._history.attempt_ended(job)
                self.schedule.cancel_start(job, turn.now)
        return [job for job in turn.attempts if not ACTIONS[job.action].changes]

    def run_now(self, turn: Turn, container: str, *, exclude: str = "") -> list[Job]:
        """Let the waiting jobs that concern a container be due now; the ones concerned."""
        return self.schedule.run_now(container, exclude=exclude, now=turn.now)

    # -- from attempt to outcome --------------------------------------------------------------------------------------

    def take_end(self, turn: Turn, ended: AttemptEnded) -> list[Fact | Retraction]:
        """Take in what came of an attempt; the facts that follow from it, in order."""
        job, outcome = ended.job, ended.outcome
        began, job.begun = job.begun, False
        self._history.attempt_ended(job)
        if self.schedule.finish(job, outcome, now=turn.now, ended_at=ended.ended_at):
            _log.warning("breaker_changed", action=job.action, open=job.action in self.schedule.breakers_open())
        if job.action == RETRY_NOW and outcome.ok:
            due = self.run_now(turn, job.container or "", exclude=RETRY_NOW)
            outcome = Outcome(ok=True, detail=", ".join(sorted({one.action for one in due})) or "nothing was scheduled")
        self._measures.attempt_ended(job.action, "ok" if outcome.ok else outcome.error_kind or "failed", ended.duration_ms / 1000)
        waited_before = job.away_since is not None
        over = self._count(turn, job, outcome)
        exhausted = over and not outcome.ok
        if job.away_since is not None and waited_before and not over:
            # Said when it began; at each look again it would be thousands of messages for one stopped Docker.
            self._counters[f"action_{job.action}_unreachable"] += 1
            if began:
                turn.batch.put_retry(job.id, job.to_json())
            self._wait_for_docker(turn, job)
            return with_host(outcome.facts, self._options.host)
        result = self._result(turn, job, outcome, duration_ms=ended.duration_ms, exhausted=exhausted)
        self._counters[f"action_{job.action}_{'ok' if outcome.ok else outcome.error_kind or 'failed'}"] += 1
        verdict = "done" if outcome.ok else "failed" if exhausted else "will be tried again"
        reason = outcome.error or outcome.detail or ""
        self._history.record(job, verdict, turn.now, reason)
        self._audit(turn, job, verdict, reason, outcome=result)
        _log.info(
            "action_finished",
            action=job.action,
            target=job.target,
            ok=outcome.ok,
            attempt=job.attempts_made,
            error=outcome.error,
        )
        self._publish(turn, job, result)
        if over:
            self.schedule.remove(job)
            turn.batch.delete_retry(job.id)
        elif job.away_since is not None:
            turn.batch.put_retry(job.id, job.to_json())
            self._wait_for_docker(turn, job)
        else:
            job.due = turn.now + round(backoff_s(job.retry or Retry(), max(1, job.attempts_made), job.id) * SECOND)
            self.schedule.retry(job, turn.now)
            turn.batch.put_retry(job.id, job.to_json())
        # The outcome first, then what it learned: a container that is gone ends the match that its deletion stands on.
        return [result, *with_host(outcome.facts, self._options.host)]

    def _wait_for_docker(self, turn: Turn, job: Job) -> None:
        """The schedule holds it back until Docker may be back."""
        job.due = turn.now
        self.schedule.retry(job, turn.now)

    @staticmethod
    def _count(turn: Turn, job: Job, outcome: Outcome) -> bool:
        """Count the attempt; True when the job is over."""
        if outcome.error_kind == "unreachable" and not outcome.permanent:
            # Docker is away: that is "not now", no failed attempt, until it has lasted too long.
            job.away_since = turn.now if job.away_since is None else job.away_since
            if turn.now - job.away_since < MAX_AWAY:
                return False
            job.attempts_made += 1
            return True
        job.away_since = None
        if outcome.error_kind == "in_progress" and job.waits < MAX_WAITS:
            job.waits += 1  # Docker is at it: waiting is no failed attempt
            return False
        job.attempts_made += 1
        return outcome.ok or outcome.permanent or job.retry is None or job.attempts_made >= job.retry.attempts

    def _result(self, turn: Turn, job: Job, outcome: Outcome, *, duration_ms: float, exhausted: bool) -> ActionResult:
        return ActionResult.model_validate(
            job.result_fields()
            | {
                "at": from_micros(turn.now),
                "host": self._options.host,
                "ok": outcome.ok,
                "error": outcome.error,
                "error_kind": outcome.error_kind,
                "detail": outcome.detail,
                "duration_ms": round(duration_ms, 1),
                "exhausted": exhausted,
            }
        )

    def _publish(self, turn: Turn, job: Job, result: ActionResult) -> None:
        turn.batch.outbox.append(
            action_event(
                host=self._options.host,
                action=result.action,
                target=result.target,
                ok=result.ok,
                attempt=result.attempt,
                at=result.at_micros,
                seq=turn.next_seq(),
                exhausted=result.exhausted,
                error=result.error,
                error_kind=result.error_kind,
                detail=result.detail,
                duration_ms=result.duration_ms,
                container_id=result.container_id,
                rule=result.rule,
                activation=job.activation,
                rules_version=turn.rules_version,
            )
        )

    @staticmethod
    def _audit(turn: Turn, job: Job, verdict: str, reason: str, *, outcome: Fact | None = None, evidence: Any = ()) -> None:
        detail: dict[str, Any] = {"job": job.id, "params": job.params, "facts": job.facts[:20], "attempts": job.attempts_made}
        if outcome is not None:
            detail["outcome"] = outcome.to_json_dict()
        if evidence:
            detail["evidence"] = list(evidence[:5])
        turn.batch.audit.append(
            AuditRow(
                at=turn.now,
                kind="action",
                verdict=verdict,
                rule=job.rule,
                key=job.alert_key,
                activation=job.activation,
                action=job.action,
                target=job.target,
                reason=reason,
                detail=detail,
            )
        )


class RetryNow:
    """The action `retry_now`: it touches nothing in the world. The stage makes the jobs due when it takes in its end."""

    name = RETRY_NOW

    async def run(self, params: Mapping[str, Any], *, touch_running: bool = False) -> Outcome:  # noqa: ARG002
        """Nothing is left to do."""
        return Outcome(ok=True)


def _readable(job_id: str, text: str) -> Job | None:
    """A job from the journal; None when it cannot be read, or asks for what this version does not know."""
    try:
        job = Job.from_json(text)
    except ValueError as error:
        _log.error("job_unreadable", job=job_id, error=str(error))
        return None
    if job.action not in ACTIONS:
        _log.error("job_unreadable", job=job_id, error=f"there is no action {job.action}")
        return None
    return job
