"""Alerts: which are firing, on whose support, and how often they fired.

An alert is one for each rule and key. It fires while a match that raised it lives, and is resolved at the end of the moment in
which the last of them goes, or `resolve_after` after it last fired. A resolved one is remembered for an hour, so that a flapping
trouble stays one alert with a count.
"""

from typing import Any

from engine.facts.timestamps import SECOND, Micros
from engine.inference.decision import AlertDetails, Decision
from engine.inference.matches import Match
from engine.inference.moment import Moment
from engine.rules.model import Rule

REMEMBERED_S = 3600.0
"""Seconds for which a resolved alert is remembered: as long as the broker keeps its message."""

AlertKey = tuple[str, str]


class AlertState:
    """One alert."""

    __slots__ = ("activation", "details", "ends_at", "evidence", "facts", "firing", "key", "rule", "supports")

    def __init__(self, rule: str, key: str) -> None:
        self.rule = rule
        self.key = key
        self.firing = False
        self.details: dict[str, Any] = {}
        self.facts: tuple[str, ...] = ()
        self.evidence: tuple[dict[str, Any], ...] = ()
        self.activation = ""
        self.supports: dict[Match, None] = {}
        self.ends_at: Micros | None = None
        """When `resolve_after` is over, None for never."""

    def saved(self) -> dict[str, Any]:
        """As the journal keeps it."""
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

    def decision(self, at: Micros) -> Decision:
        """What is said of it at this moment."""
        return Decision(
            at=at,
            rule=self.rule,
            key=self.key,
            does="alert",
            facts=self.facts,
            activation=self.activation,
            evidence=self.evidence,
            status="firing" if self.firing else "resolved",
            alert=AlertDetails(**self.details),
        )


class AlertBook:
    """All alerts that fire or are remembered."""

    def __init__(self, moment: Moment) -> None:
        self._moment = moment
        self.states: dict[AlertKey, AlertState] = {}
        self._unsure: dict[AlertKey, None] = {}
        """Alerts that may have lost their support in this moment."""

    @property
    def unsure(self) -> bool:
        """Whether an alert may have lost its support."""
        return bool(self._unsure)

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
    ) -> Decision:
        """A match raises an alert, or supports one that fires already. `advice` is what to do next, filled in."""
        now = self._moment.now
        state = self.states.get((rule.id, key))
        if state is None:
            state = self.states[rule.id, key] = AlertState(rule.id, key)
        starts_at = state.details["starts_at"] if state.firing else now
        state.firing = True
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
            self._moment.call_at(state.ends_at, self._over, (rule.id, key))
        self._save(state)
        return state.decision(now)

    def withdraw(self, match: Match) -> None:
        """The match supports its alert no longer."""
        if match.raised is None:
            return
        address = (match.node.rule.id, match.raised)
        match.raised = None
        state = self.states.get(address)
        if state is not None and state.supports.pop(match, False) is None and not state.supports:
            self._unsure[address] = None

    def _over(self, address: AlertKey) -> None:
        state = self.states.get(address)
        if state is not None and state.firing and self._is_over(state):
            self._unsure[address] = None  # whether it is resolved is seen at the end of the moment: it may be raised anew before

    def _is_over(self, state: AlertState) -> bool:
        return state.ends_at is not None and state.ends_at <= self._moment.now

    def resolve_unsupported(self) -> list[Decision]:
        """Resolve what has lost its support, or is over, and was not raised anew in this moment."""
        decisions: list[Decision] = []
        for address in sorted(self._unsure):
            state = self.states.get(address)
            if state is None or not state.firing or (state.supports and not self._is_over(state)):
                continue
            for match in state.supports:
                match.raised = None
                match.node.save(match)
            state.supports.clear()
            now = self._moment.now
            state.firing = False
            state.ends_at = None
            state.details = {**state.details, "updated_at": now, "ends_at": now}
            self._save(state)
            self._moment.call_at(now + int(REMEMBERED_S * SECOND), self._forget, address)
            decisions.append(state.decision(now))
        self._unsure.clear()
        return decisions

    def _forget(self, address: AlertKey) -> None:
        state = self.states.get(address)
        if (
            state is not None
            and not state.firing
            and state.details["updated_at"] + int(REMEMBERED_S * SECOND) <= self._moment.now
        ):
            del self.states[address]
            self._moment.ledger.delete("alert", "\x1f".join(address))

    def _save(self, state: AlertState) -> None:
        self._moment.ledger.put("alert", f"{state.rule}\x1f{state.key}", state.saved)

    def restore(self, saved: dict[str, Any], supporters: list[Match]) -> None:
        """An alert from the journal, with the matches that support it still."""
        state = self.states[saved["rule"], saved["key"]] = AlertState(saved["rule"], saved["key"])
        state.firing = saved["firing"]
        state.details = saved["details"]
        state.facts = tuple(saved["facts"])
        state.evidence = tuple(saved["evidence"])
        state.activation = saved["activation"]
        state.ends_at = saved["ends_at"]
        state.supports = dict.fromkeys(supporters)
        address = (state.rule, state.key)
        if not state.firing:
            self._moment.call_at(state.details["updated_at"] + int(REMEMBERED_S * SECOND), self._forget, address)
            return
        if state.ends_at is not None:
            self._moment.call_at(state.ends_at, self._over, address)
        if not state.supports:
            self._unsure[address] = None
