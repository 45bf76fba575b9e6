"""Alerts: which are firing, on whose support, and how often they fired.

An alert is one for each rule and key. It fires while a match that raised it lives, and is resolved at the end of the moment in
which the last of them goes, or `resolve_after` after it last fired. A resolved one is remembered for an hour, so that a flapping
problem stays one alert with a count.
"""

from typing import Any

from engine.facts.timestamps import SECOND, Micros
from engine.inference.change_log import ChangeLog
from engine.inference.clock import EventClock
from engine.inference.decision import AlertDecision, AlertDetails
from engine.inference.match import Match
from engine.rules.model import Rule

REMEMBERED_S = 3600.0
"""Seconds for which a resolved alert is remembered: as long as the broker keeps its message."""

AlertKey = tuple[str, str]

Order = tuple[int, tuple[int, int]]
"""Priority (a higher one is a lower number), file and place in the file of a rule."""

NO_RULE: Order = (0, (1 << 30, 0))
"""Of a rule that is no longer in force: after those of the same priority that are."""


class AlertState:
    """One alert."""

    __slots__ = (
        "activation",
        "details",
        "ends_at",
        "evidence",
        "facts",
        "firing",
        "has_timer",
        "key",
        "order",
        "rule",
        "supports",
    )

    def __init__(self, rule: str, key: str) -> None:
        self.rule = rule
        self.key = key
        self.firing = False
        self.details: dict[str, Any] = {}
        self.facts: tuple[str, ...] = ()
        self.evidence: tuple[dict[str, Any], ...] = ()
        self.activation = ""
        self.order = NO_RULE
        """Of its rule: alerts that resolve at one moment come in this order."""
        self.supports: dict[Match, None] = {}
        self.ends_at: Micros | None = None
        """When `resolve_after` is over, None for never."""
        self.has_timer = False

    def to_json(self) -> dict[str, Any]:
        """As it stands in the journal."""
        return {
            "rule": self.rule,
            "key": self.key,
            "firing": self.firing,
            "details": self.details,
            "facts": list(self.facts),
            "evidence": list(self.evidence),
            "activation": self.activation,
            "ends_at": self.ends_at,
        }

    def decision(self, at: Micros) -> AlertDecision:
        """What is decided about it at this moment."""
        return AlertDecision(
            at=at,
            rule=self.rule,
            key=self.key,
            facts=self.facts,
            activation=self.activation,
            evidence=self.evidence,
            status="firing" if self.firing else "resolved",
            alert=AlertDetails(**self.details),
        )


class AlertBook:
    """All alerts that fire or are remembered."""

    def __init__(self, clock: EventClock, changes: ChangeLog) -> None:
        self._clock = clock
        self._changes = changes
        self.states: dict[AlertKey, AlertState] = {}
        self.pending_resolution: dict[AlertKey, None] = {}
        """Alerts that may have lost their support in this moment."""

    def fire(
        self,
        rule: Rule,
        key: str,
        text: str,
        match: Match,
        evidence: tuple[dict[str, Any], ...],
        facts: tuple[str, ...],
        *,
        advice: str = "",
    ) -> AlertDecision:
        """A match raises an alert, or supports one that fires already. `advice` is what to do next, filled in."""
        now = self._clock.now
        state = self.states.get((rule.id, key))
        if state is None:
            state = self.states[rule.id, key] = AlertState(rule.id, key)
        starts_at = state.details["starts_at"] if state.firing else now
        state.firing = True
        state.order = (-rule.priority, rule.order)
        state.details = {
            "severity": rule.severity,
            "title": rule.title,
            "text": text,
            "starts_at": starts_at,
            "updated_at": now,
            "ends_at": None,
            "count": state.details.get("count", 0) + 1,
            "runbook": rule.runbook,
            "advice": advice,
            "incident": rule.incident,
        }
        state.facts, state.evidence, state.activation = facts, evidence, match.activation
        state.supports[match] = None
        match.raised = key
        if rule.resolve_after is not None:
            state.ends_at = now + rule.resolve_after
            self._expire_at(state, (rule.id, key))
        self._save(state)
        return state.decision(now)

    def withdraw(self, match: Match) -> None:
        """The match supports its alert no longer."""
        if match.raised is None:
            return
        address = (match.rule.id, match.raised)
        match.raised = None
        state = self.states.get(address)
        if state is not None and state.supports.pop(match, False) is None and not state.supports:
            self.pending_resolution[address] = None

    def _expire_at(self, state: AlertState, address: AlertKey) -> None:
        """One timer an alert: each firing moves its end on, and it is looked at when the first one comes."""
        if not state.has_timer and state.ends_at is not None:
            state.has_timer = True
            self._clock.call_at(state.ends_at, self._expire, address)

    def _expire(self, address: AlertKey) -> None:
        state = self.states.get(address)
        if state is not None:
            state.has_timer = False
            if not self._is_over(state):
                self._expire_at(state, address)
        if state is not None and state.firing and self._is_over(state):
            # Whether it is resolved is seen at the end of the moment: it may be raised anew before.
            self.pending_resolution[address] = None

    def _is_over(self, state: AlertState) -> bool:
        return state.ends_at is not None and state.ends_at <= self._clock.now

    def resolve_unsupported(self) -> list[AlertDecision]:
        """Resolve what has lost its support, or is over, and was not raised anew in this moment."""
        decisions: list[AlertDecision] = []
        for address in sorted(self.pending_resolution, key=self._order_of):
            state = self.states.get(address)
            if state is None or not state.firing or (state.supports and not self._is_over(state)):
                continue
            for match in state.supports:
                match.raised = None
                self._changes.put("match", match.id, match.to_json)
            state.supports.clear()
            now = self._clock.now
            state.firing = False
            state.ends_at = None
            state.details = {**state.details, "updated_at": now, "ends_at": now}
            self._save(state)
            self._clock.call_at(now + int(REMEMBERED_S * SECOND), self._forget, address)
            decisions.append(state.decision(now))
        self.pending_resolution.clear()
        return decisions

    def _order_of(self, address: AlertKey) -> tuple[Order, AlertKey]:
        state = self.states.get(address)
        return (NO_RULE if state is None else state.order), address

    def _forget(self, address: AlertKey) -> None:
        state = self.states.get(address)
        if state is not None and not state.firing and state.details["updated_at"] + int(REMEMBERED_S * SECOND) <= self._clock.now:
            del self.states[address]
            self._changes.delete("alert", "\x1f".join(address))

    def _save(self, state: AlertState) -> None:
        self._changes.put("alert", f"{state.rule}\x1f{state.key}", state.to_json)

    def restore(self, saved: dict[str, Any], supporters: list[Match], order: Order) -> None:
        """An alert from the journal, with the matches that support it still."""
        state = self.states[saved["rule"], saved["key"]] = AlertState(saved["rule"], saved["key"])
        state.order = order
        state.firing = saved["firing"]
        state.details = saved["details"]
        state.facts = tuple(saved["facts"])
        state.evidence = tuple(saved["evidence"])
        state.activation = saved["activation"]
        state.ends_at = saved["ends_at"]
        state.supports = dict.fromkeys(supporters)
        address = (state.rule, state.key)
        if not state.firing:
            self._clock.call_at(state.details["updated_at"] + int(REMEMBERED_S * SECOND), self._forget, address)
            return
        if state.ends_at is not None:
            self._expire_at(state, address)
        if not state.supports:
            self.pending_resolution[address] = None
