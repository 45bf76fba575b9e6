"""What is said of alerts: the sentence that a pager shows, and what was done about it. Pure."""

from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping
from typing import Any

from engine.facts.timestamps import Micros, from_micros
from engine.inference.decision import AlertDetails, Decision
from engine.messages.cloudevents import AlertAction
from engine.pipeline.jobs import Job

SUBJECTS = 2_000
"""Subjects (activations, containers) whose actions are remembered for the alerts about them."""

PER_SUBJECT = 8
"""Newest actions remembered of each: an alert says what was done, the audit says all of it."""

_SUBJECT_FIELDS = ("id", "container_id", "owner_id", "target", "pid", "hung_pid")
"""Fields of evidence that name what an action may have been done to: containers, processes, what an action calls its target."""


class Doings:
    """What was decided and done, by what it was about: so that an alert can say it. Bounded; the oldest subjects go first."""

    def __init__(self) -> None:
        self._by_subject: OrderedDict[str, deque[AlertAction]] = OrderedDict()

    def note(self, job: Job, verdict: str, at: Micros, reason: str = "") -> None:
        """Something became of a job."""
        action = AlertAction(action=job.action, target=job.target, verdict=verdict, at=from_micros(at), reason=reason[:512])
        for subject in {job.activation, job.container or "", job.target}:
            if subject:
                known = self._by_subject.setdefault(subject, deque(maxlen=PER_SUBJECT))
                self._by_subject.move_to_end(subject)
                # One entry for a job's place: the newest word on it.
                for old in [one for one in known if (one.action, one.target) == job.place]:
                    known.remove(old)
                known.append(action)
        while len(self._by_subject) > SUBJECTS:
            self._by_subject.popitem(last=False)

    @staticmethod
    def concerns(job: Job, decision: Decision) -> bool:
        """Whether a job is about what an alert is about."""
        subjects = {decision.activation, *_subjects(decision.evidence)}
        return job.activation in subjects or job.container in subjects or job.target in subjects

    def about(self, decision: Decision) -> list[AlertAction]:
        """What was decided about what an alert is about, oldest first."""
        subjects = {decision.activation, *_subjects(decision.evidence)}
        found: dict[tuple[str, str], AlertAction] = {}
        for subject in subjects:
            for action in self._by_subject.get(subject, ()):
                found[action.action, action.target] = action
        return sorted(found.values(), key=lambda action: (action.at or from_micros(0), action.action, action.target))


def _subjects(evidence: Iterable[Mapping[str, Any]]) -> set[str]:
    found: set[str] = set()
    for fact in evidence:
        found |= {str(fact[name]) for name in _SUBJECT_FIELDS if fact.get(name)}
        found |= {str(sample) for sample in fact.get("samples", ())}
    return found


def summary(details: AlertDetails, actions: list[AlertAction], *, firing: bool) -> str:
    """One line: what is wrong, since when, what was done about it, what to do next."""
    parts = [details.text.rstrip(". ")]
    since = from_micros(details.starts_at)
    if firing:
        parts[0] += f", since {since:%Y-%m-%d %H:%M:%S} UTC"
        if details.count > 1:
            parts[0] += f" (fired {details.count} times)"
    else:
        ended = from_micros(details.ends_at or details.updated_at)
        parts[0] = f"Resolved: {parts[0]}, from {since:%Y-%m-%d %H:%M:%S} to {ended:%H:%M:%S} UTC"
    if actions:
        parts.append("Done: " + "; ".join(_done(action) for action in actions[-3:]))
    elif firing:
        parts.append("Done: nothing yet")
    if firing and details.advice:
        parts.append("Next: " + details.advice.rstrip(". "))
    return ". ".join(parts) + "."


def _done(action: AlertAction) -> str:
    target = ":".join(part[:12] if len(part) == 64 else part for part in action.target.split(":"))  # noqa: PLR2004  a full id
    text = f"{action.action} {target}: {action.verdict}"
    return f"{text} ({action.reason[:120]})" if action.reason else text
