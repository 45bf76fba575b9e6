"""What the core decides: one of four kinds of decision. The core decides; the pipeline carries out."""

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from engine.facts import Fact
from engine.facts.outcomes import Severity
from engine.facts.timestamps import Micros, rfc3339
from engine.rules.model import Rate, Retry

AlertStatus = Literal["firing", "resolved"]


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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Decided:
    """What every decision says.

    `facts` are the ids of the facts that support it, in the order of the rule's patterns; `evidence` is those facts, as JSON.
    `activation` names the firing that led to it: the same rule, version and supporting facts give the same id.
    """

    at: Micros
    rule: str
    key: str
    facts: tuple[str, ...]
    activation: str
    evidence: tuple[dict[str, Any], ...] = ()

    def _line(self, does: str, **more: Any) -> dict[str, Any]:
        head = {"at": rfc3339(self.at), "rule": self.rule, "key": self.key, "does": does}
        return {**head, **more, "facts": list(self.facts)}


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertDecision(_Decided):
    """An alert fires, again or for the first time, or is resolved."""

    does: ClassVar[Literal["alert"]] = "alert"
    status: AlertStatus
    alert: AlertDetails

    def to_json_dict(self) -> dict[str, Any]:
        """One line of `dockwarden replay --format json`."""
        return self._line(self.does, status=self.status, severity=self.alert.severity, text=self.alert.text)


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionDecision(_Decided):
    """An action is asked for."""

    does: ClassVar[Literal["action"]] = "action"
    action: str
    params: dict[str, Any] = field(default_factory=dict)
    rate: Rate | None = None
    retry: Retry | None = None

    def to_json_dict(self) -> dict[str, Any]:
        """One line of `dockwarden replay --format json`."""
        return self._line(self.does, action=self.action, params=self.params)


@dataclass(frozen=True, slots=True, kw_only=True)
class AssertDecision(_Decided):
    """A fact enters working memory."""

    does: ClassVar[Literal["assert"]] = "assert"
    fact: Fact

    def to_json_dict(self) -> dict[str, Any]:
        """One line of `dockwarden replay --format json`."""
        return self._line(self.does, fact=self.fact.to_json_dict())


@dataclass(frozen=True, slots=True, kw_only=True)
class RetractDecision(_Decided):
    """A fact leaves working memory."""

    does: ClassVar[Literal["retract"]] = "retract"
    fact: Fact

    def to_json_dict(self) -> dict[str, Any]:
        """One line of `dockwarden replay --format json`."""
        return self._line(self.does, fact=self.fact.to_json_dict())


Decision = AlertDecision | ActionDecision | AssertDecision | RetractDecision


@dataclass(slots=True)
class Changes:
    """What the journal is to write and to delete, in order; entries are addressed by section and key."""

    puts: dict[tuple[str, str], str] = field(default_factory=dict)
    deletes: dict[tuple[str, str], None] = field(default_factory=dict)
