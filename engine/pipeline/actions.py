"""What becomes of actions that rules ask for: guardrails, jobs, outcomes. What is to be kept goes into the batch of the turn.

Knows no loop: it is told of decisions and of ends of attempts, and hands back the facts that follow.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any, Literal

import structlog

from engine.action_catalog import ACTIONS
from engine.facts import Fact, Retraction
from engine.facts.docker import Container
from engine.facts.outcomes import ActionResult
from engine.facts.timestamps import SECOND, from_micros
from engine.guardrails import Verdict, judge
from engine.inference.core import Core
from engine.inference.decision import ActionDecision, Decision
from engine.journal.records import AuditRow, Batch
from engine.messages.cloudevents import action_event
from engine.pipeline.action_history import Doings
from engine.pipeline.attempts import Executor
from engine.pipeline.clock import wall_clock
from engine.pipeline.intake import AttemptEnded
from engine.pipeline.jobs import Job
from engine.pipeline.options import Options
from engine.pipeline.retries import WAITS, backoff_s
from engine.ports.actions import Outcome
from engine.rules.model import Retry

_log = structlog.get_logger(__name__)

OBSERVED_KEPT = 10_000
"""Decisions that mode observe leaves undone and that are kept for mode act; beyond that the oldest go."""

_OBSERVED_LOOK = 256
"""They are looked through for those that nobody wants any more when there are so many, and again whenever that doubles."""


class Repairs:
    """Decisions about actions, from the rule that asks to the last attempt."""

    def __init__(
        self,
        *,
        options: Options,
        doings: Doings,
        counters: Counter[str],
        core: Callable[[], Core],
        batch: Callable[[], Batch],
        after: Callable[[Callable[[], None]], None],
        next_seq: Callable[[], int],
        healthy: Callable[[], bool],
    ) -> None:
        """Make one.

        Args:
            options: policy, host, version of the rules.
            doings: is told what was done about what.
            counters: for the status.
            core: the core in force.
            batch: what the present turn of the loop leads to.
            after: has something called once that is kept.
            next_seq: numbers messages.
            healthy: whether what is decided is being kept.
        """
        self._options = options
        self._doings = doings
        self._counters = counters
        self._core = core
        self._batch = batch
        self._after = after
        self._next_seq = next_seq
        self._healthy = healthy
        self.executor: Executor | None = None
        self._observed: dict[tuple[str, str], Job] = {}
        """What mode observe left undone, by place; the oldest first."""
        self._look_through_at = _OBSERVED_LOOK

    # -- from decision to job -----------------------------------------------------------------------------------------

    def asked_for(self, decision: ActionDecision) -> None:
        """A rule asks for an action: refused, said, joined to what is under way, or scheduled."""
        if decision.action not in ACTIONS:
            self._batch().audit.append(
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
        verdict = self._verdict(job)
        if verdict.kind in ("refused", "observed"):
            self._doings.note(job, verdict.kind, decision.at, verdict.reason)
            self._audit_job(job, verdict.kind, verdict.reason, evidence=decision.evidence)
            say = _log.warning if verdict.kind == "refused" else _log.info
            say("action", action=job.action, target=job.target, rule=job.rule, verdict=verdict.kind, reason=verdict.reason)
            if verdict.kind == "observed":
                self._observe(job)
            return
        assert self.executor is not None  # noqa: S101  set before the loop runs
        there = self.executor.at_place(job)
        if there is not None:
            # The same thing is under way for another reason: one job does it, and stays for as long as this reason holds too.
            there.join(job, self._core().active)
            self._batch().put_retry(there.id, there.kept())
            self._audit_job(job, "merged", f"job {there.id} is at it already", evidence=decision.evidence)
            return
        self._doings.note(job, "scheduled", decision.at)
        self._audit_job(job, "scheduled", verdict.reason, evidence=decision.evidence)
        self._batch().put_retry(job.id, job.kept())
        executor = self.executor
        executor.expect(job)
        self._after(lambda: executor.add(job))

    def _observe(self, job: Job) -> None:
        """Keep what mode observe leaves undone: it is done when the sidecar comes back in mode act and it is still wanted."""
        before = self._observed.pop(job.place, None)
        if before is not None and before.id != job.id:
            self._batch().delete_retry(before.id)
        self._observed[job.place] = job
        self._batch().put_retry(job.id, job.kept())
        if len(self._observed) > self._look_through_at:
            active = self._core().active
            for place in [place for place, one in self._observed.items() if not one.wanted(active)]:
                self._batch().delete_retry(self._observed.pop(place).id)
            while len(self._observed) > OBSERVED_KEPT:
                self._batch().delete_retry(self._observed.pop(next(iter(self._observed))).id)
            self._look_through_at = max(_OBSERVED_LOOK, 2 * len(self._observed))

    def _verdict(self, job: Job) -> Verdict:
        item = self._core().memory.get(("container", job.container)) if job.container else None
        return judge(
            ACTIONS[job.action],
            job.params,
            rule=job.rule,
            policy=self._options.policy,
            container=item.fact if item is not None and isinstance(item.fact, Container) else None,
            frozen=self._options.frozen(),
        )

    def judge_now(self, job: Job) -> Verdict | None:
        """The verdict on a job just before an attempt; None when what it was decided on is over."""
        if not job.wanted(self._core().active):
            return None
        if not self._healthy() and ACTIONS[job.action].changes:
            return Verdict("wait", "the journal cannot be written: nothing is done that could be forgotten")
        return self._verdict(job)

    def being_mended(self, decision: Decision) -> bool:
        """The engine tells that a container is gone before it answers the deletion: the alert waits for that answer."""
        executor = self.executor
        return executor is not None and any(
            executor.running(job) for job in executor.jobs.values() if self._doings.concerns(job, decision)
        )

    def take_back(self, saved: dict[str, str]) -> None:
        """Jobs that were scheduled when the process ended."""
        assert self.executor is not None  # noqa: S101  set before the loop runs
        for job_id, text in saved.items():
            job = _readable(job_id, text)
            there = None if job is None else self.executor.at_place(job)
            if job is None:
                self._batch().delete_retry(job_id)
            elif self._verdict(job).kind == "observed":
                self._observed[job.place] = job
            elif there is None:
                self.executor.add(job)
            else:
                there.join(job, self._core().active)
                self._batch().delete_retry(job_id)
                self._batch().put_retry(there.id, there.kept())

    # -- from attempt to outcome --------------------------------------------------------------------------------------

    def dropped(self, job: Job, reason: str) -> None:
        """A job goes without a further attempt."""
        self._doings.note(job, "cancelled", wall_clock(), reason)
        self._audit_job(job, "cancelled", reason)
        self._batch().delete_retry(job.id)

    def attempt_ended(self, ended: AttemptEnded) -> list[Fact | Retraction]:
        """Take in what came of an attempt; the facts that follow from it, in order."""
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
                "host": self._options.host,
                "ok": outcome.ok,
                "error": outcome.error,
                "error_kind": outcome.error_kind,
                "detail": outcome.detail,
                "duration_ms": round(ended.duration_ms, 1),
                "exhausted": exhausted,
            }
        )
        self._counters[f"action_{job.action}_{'ok' if outcome.ok else outcome.error_kind or 'failed'}"] += 1
        verdict = "done" if outcome.ok else "failed" if exhausted else "will be tried again"
        reason = outcome.error or outcome.detail or ""
        self._doings.note(job, verdict, now, reason)
        self._audit_job(job, verdict, reason, outcome=result)
        _log.info("action", action=job.action, target=job.target, ok=outcome.ok, attempt=job.attempts_made, error=outcome.error)
        self._publish_result(job, result)
        if outcome.ok or exhausted:
            self.executor.forget(job)
            self._batch().delete_retry(job.id)
        else:
            job.due = now + round(backoff_s(job.retry or Retry(), max(1, job.attempts_made), job.id) * SECOND)
            self._batch().put_retry(job.id, job.kept())
            executor = self.executor
            self._after(lambda: executor.reschedule(job))
        # The outcome first, then what it learned: a container that is gone ends the match that its deletion stands on.
        return [result, *outcome.facts]

    @staticmethod
    def _may_try_again(job: Job, outcome: Outcome) -> bool:
        if outcome.ok or outcome.permanent or job.retry is None:
            return False
        return job.attempts_made < job.retry.attempts

    def _publish_result(self, job: Job, result: ActionResult) -> None:
        self._batch().outbox.append(
            action_event(
                host=self._options.host,
                action=result.action,
                target=result.target,
                ok=result.ok,
                attempt=result.attempt,
                at=result.at_micros,
                seq=self._next_seq(),
                exhausted=result.exhausted,
                error=result.error,
                error_kind=result.error_kind,
                detail=result.detail,
                duration_ms=result.duration_ms,
                container_id=result.container_id,
                rule=result.rule,
                activation=job.activation,
                rules_version=self._options.rules_version,
            )
        )

    def _audit_job(self, job: Job, verdict: str, reason: str, *, outcome: Fact | None = None, evidence: Any = ()) -> None:
        detail: dict[str, Any] = {"job": job.id, "params": job.params, "facts": job.facts[:20], "attempts": job.attempts_made}
        if outcome is not None:
            detail["outcome"] = outcome.to_json_dict()
        if evidence:
            detail["evidence"] = list(evidence[:5])
        self._batch().audit.append(
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


def _readable(job_id: str, text: str) -> Job | None:
    """A job from the journal; None when it cannot be read, or asks for what this version does not know."""
    try:
        job = Job.taken_back(text)
    except ValueError as error:
        _log.error("a scheduled retry cannot be read and is dropped", action="retry", job=job_id, error=str(error))
        return None
    if job.action not in ACTIONS:
        _log.error("a scheduled retry is of an action that there is not, and is dropped", action="retry", job=job_id)
        return None
    return job
