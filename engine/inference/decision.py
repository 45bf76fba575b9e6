"""What the core decides. It says; the runtime does."""

from dataclasses import dataclass, field
from typing import Any, Literal

from engine.facts import Fact, Retraction
from engine.facts.outcomes import Severity
from engine.facts.timestamps import Micros, rfc3339
from engine.rules.model import Rate, Retry

Does = Literal["alert", "action", "assert", "retract"]


@dataclass(frozen=True, slots=True)
class AlertDetails:
    """What an alert says beyond its rule and key."""

    severity: Severity
    title: str
    text: str
    starts_at: Micros
    updated_at: Micros
    ends_at: Micros | None
    count: int
    """How often it fired since it was first raised, flapping included."""
    runbook: str = ""
    advice: str = ""
    incident: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """One thing that a rule decided at a moment.

    `facts` are the ids of the facts that support it, in the order of the rule's patterns; `evidence` is those facts, as JSON.
    `activation` names the firing that led to it: the same rule, version and supporting facts give the same id.
    """

    at: Micros
    rule: str
    key: str
    does: Does
    facts: tuple[str, ...]
    activation: str
    evidence: tuple[dict[str, Any], ...] = ()
    status: Literal["firing", "resolved"] | None = None
    alert: AlertDetails | None = None
    action: str | None = None
    params: dict[str, Any] = field(default_factory=dict)
    rate: Rate | None = None
    retry: Retry | None = None
    fact: Fact | Retraction | None = None

    def to_json_dict(self) -> dict[str, Any]:
        """One line of `dockwarden replay --format json`."""
        line: dict[str, Any] = {"at": rfc3339(self.at), "rule": self.rule, "key": self.key, "does": self.does}
        if self.status is not None:
            line["status"] = self.status
        if self.alert is not None:
            line["severity"] = self.alert.severity
            line["text"] = self.alert.text
        if self.action is not None:
            line["action"] = self.action
            line["params"] = self.params
        if self.fact is not None:
            line["fact"] = self.fact.to_json_dict()
        line["facts"] = list(self.facts)
        return line


@dataclass(slots=True)
class Changes:
    """What the journal is to keep anew and to forget; entries are addressed by section and key."""

    puts: dict[tuple[str, str], str] = field(default_factory=dict)
    deletes: set[tuple[str, str]] = field(default_factory=set)
