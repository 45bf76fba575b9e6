"""What was done about what, and what is being tried. Written by the action stage, read by the alert stage. Sans-I/O."""

from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping
from typing import Any

from engine.facts.timestamps import Micros, from_micros
from engine.inference.decision import AlertDecision
from engine.messages.models import AlertAction
from engine.pipeline.jobs import Job

SUBJECTS = 2_000
"""Subjects (activations, containers) whose actions are remembered for the alerts about them."""

PER_SUBJECT = 8
"""Newest actions remembered of each: an alert says what was done, the audit says all of it."""

_SUBJECT_FIELDS = ("id", "container_id", "owner_id", "target", "pid", "hung_pid")
"""Fields of evidence that name what an action may have been done to: containers, processes, what an action calls its target."""


def subjects_of_alert(decision: AlertDecision) -> frozenset[str]:
    """What an alert is about: its firing, and what its evidence names."""
    return frozenset({decision.activation, *_subjects(decision.evidence)})


def subjects_of_job(job: Job) -> frozenset[str]:
    """What a job is about: the firing that asked for it, its container, its target."""
    return frozenset(subject for subject in (job.activation, job.container, job.target) if subject)


class ActionHistory:
    """Actions by what they were about. Bounded; the oldest subjects go first."""

    def __init__(self) -> None:
        self._by_subject: OrderedDict[str, deque[AlertAction]] = OrderedDict()
        self._in_flight: dict[str, frozenset[str]] = {}

    def record(self, job: Job, verdict: str, at: Micros, reason: str = "") -> None:
        """Something became of a job."""
        action = AlertAction(action=job.action, target=job.target, verdict=verdict, at=from_micros(at), reason=reason[:512])
        for subject in sorted(subjects_of_job(job)):
            known = self._by_subject.setdefault(subject, deque(maxlen=PER_SUBJECT))
            self._by_subject.move_to_end(subject)
            # One entry for a job's key: the newest word on it.
            for old in [one for one in known if (one.action, one.target) == job.key]:
                known.remove(old)
            known.append(action)
        while len(self._by_subject) > SUBJECTS:
            self._by_subject.popitem(last=False)

    def attempt_started(self, job: Job) -> None:
        """An attempt of it is under way, until its end has been taken in."""
        self._in_flight[job.id] = subjects_of_job(job)

    def attempt_ended(self, job: Job) -> None:
        """Its end has been taken in."""
        self._in_flight.pop(job.id, None)

    def has_attempt_in_flight(self, subjects: frozenset[str]) -> bool:
        """Whether an action about one of these subjects is being tried."""
        return any(not subjects.isdisjoint(one) for one in self._in_flight.values())

    def about(self, decision: AlertDecision) -> list[AlertAction]:
        """What was decided about what an alert is about, oldest first."""
        found: dict[tuple[str, str], AlertAction] = {}
        for subject in sorted(subjects_of_alert(decision)):
            for action in self._by_subject.get(subject, ()):
                found[action.action, action.target] = action
        return sorted(found.values(), key=lambda action: (action.at or from_micros(0), action.action, action.target))


def _subjects(evidence: Iterable[Mapping[str, Any]]) -> set[str]:
    found: set[str] = set()
    for fact in evidence:
        found |= {str(fact[name]) for name in _SUBJECT_FIELDS if fact.get(name)}
        found |= {str(sample) for sample in fact.get("samples", ())}
    return found
