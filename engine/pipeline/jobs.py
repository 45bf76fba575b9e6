"""A job: an action that was decided on, from the first attempt to the last. The journal holds it as JSON between attempts."""

import json
from collections.abc import Container
from hashlib import blake2b, sha256
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field

from engine.action_catalog import ACTIONS
from engine.facts.timestamps import SECOND, Micros, from_micros, rfc3339
from engine.inference.decision import ActionDecision
from engine.rules.model import Rate, Retry

MAX_WAITS = 100
"""How often an attempt may find Docker at it already (409) before that counts as a failure: hours, at the usual backoff."""

MAX_AWAY: Micros = 24 * 3600 * SECOND
"""A job waits so long for a Docker that does not answer; then it is given up."""

_OTHER_ACTIVATIONS = 8
"""Newest further reasons that a job remembers: enough that one of them is the one that lasts."""


def backoff_s(retry: Retry, attempt: int, job: str) -> float:
    """Seconds to wait after attempt `attempt` (from 1) of a job failed.

    min(first * factor ** (attempt - 1), max) * (1 + jitter * u), where u in [-1, 1] is fixed for the job and attempt, not drawn:
    many jobs that failed together are spread, and the same journal gives the same schedule.
    """
    grown = retry.first * retry.factor ** min(attempt - 1, 64)  # beyond 2**64 every maximum is reached; floats would overflow
    base = min(grown, retry.max) / SECOND
    return max(0.0, base * (1 + retry.jitter * (_unit(job, attempt) * 2 - 1)))


def _unit(job: str, attempt: int) -> float:
    """In [0, 1], fixed for the job and attempt."""
    digest = blake2b(f"{job}/{attempt}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest) / (2**64 - 1)


class Job(BaseModel):
    """One action on one target. Times in microseconds of the wall clock, so that a schedule outlives the process."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    id: str
    activation: str
    """The firing that decided it."""
    other_activations: list[str] = Field(default_factory=list, alias="also")
    """Further firings that asked for the same meanwhile: it is wanted for as long as one of all these is."""
    rule: str
    alert_key: str = Field(alias="key")
    """`key` of the rule that asked, as in its alert."""
    action: str
    params: dict[str, Any] = Field(default_factory=dict)
    target: str
    container: str | None = None
    attempts_made: int = 0
    waits: int = 0
    away_since: Micros | None = None
    """Since when its attempts find that Docker does not answer."""
    begun: bool = False
    """Whether an attempt is under way: in the journal before it begins, so that a crash in it is known afterwards."""
    due: Micros
    decided_at: Micros
    retry: Retry | None = None
    rate: Rate | None = None
    facts: list[str] = Field(default_factory=list)

    @classmethod
    def of(cls, decision: ActionDecision) -> Self:
        """The job that carries out a decision."""
        spec = ACTIONS[decision.action]
        content = json.dumps([decision.activation, decision.action, decision.params], sort_keys=True, default=str)
        container = decision.params.get(spec.container) if spec.container else None
        return cls(
            id=sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:20],
            activation=decision.activation,
            rule=decision.rule,
            alert_key=decision.key,
            action=spec.name,
            params=decision.params,
            target=spec.target_of(decision.params),
            container=str(container) if container else None,
            due=decision.at,
            decided_at=decision.at,
            retry=decision.retry,
            rate=decision.rate,
            facts=list(decision.facts)[:100],  # a storm's thousand supporters are in the audit of the storm itself
        )

    def to_json(self) -> str:
        """For the journal. A path that is no UTF-8 has lone surrogates in it, which pydantic's own JSON refuses."""
        return json.dumps(self.model_dump(mode="json", by_alias=True))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """From the journal.

        Raises:
            ValueError: it is no job.
        """
        return cls.model_validate(json.loads(text))

    @property
    def key(self) -> tuple[str, str]:
        """Action and target: there is one job for each."""
        return (self.action, self.target)

    def join(self, other: Self, active: Container[str]) -> None:
        """Another firing asks for the same. Reasons that stand no longer make room: each new firing of a rule is one."""
        known = {self.activation, *self.other_activations}
        new = [activation for activation in (other.activation, *other.other_activations) if activation not in known]
        standing = (activation for activation in self.other_activations if activation in active)
        self.other_activations = [*standing, *new][-_OTHER_ACTIVATIONS:]

    def wanted(self, active: Container[str]) -> bool:
        """Whether a firing that asked for it still stands."""
        return self.activation in active or any(activation in active for activation in self.other_activations)

    def shift(self, step: Micros) -> None:
        """The clock was set by so much."""
        self.due += step
        self.decided_at += step
        if self.away_since is not None:
            self.away_since += step

    def jitter(self, attempt: int) -> float:
        """In [0, 1]: spreads jobs that wait for the same."""
        return _unit(self.id, attempt)

    def result_fields(self) -> dict[str, Any]:
        """What the fact about an attempt says of the job."""
        return {
            "fact_id": f"{self.id}#{self.attempts_made + self.waits}",
            "action": self.action,
            "target": self.target,
            "container_id": self.container,
            "attempt": max(1, self.attempts_made),
            "rule": self.rule,
            "source": "action",
        }

    def describe(self) -> dict[str, Any]:
        """For the status: what waits, and until when."""
        return {
            "action": self.action,
            "target": self.target,
            "rule": self.rule,
            "attempts": self.attempts_made,
            "due": rfc3339(self.due),
            "since": from_micros(self.decided_at).isoformat(timespec="seconds"),
        }
