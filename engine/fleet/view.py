"""What the messages of all hosts add up to: hosts, firing alerts, incidents, latest actions. Sans-I/O: messages and time come in.

Everything that comes in is hostile: what does not keep to the contract is counted and left out; nothing grows without bound.
"""

import json
from collections import Counter, OrderedDict, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeVar

from pydantic import ConfigDict

from engine.facts.outcomes import Severity
from engine.facts.timestamps import SECOND, Micros, to_micros
from engine.messages.models import ActionData, AlertData, StatusData
from engine.messages.topics import level_text

STALE_AFTER: Final[Micros] = 120 * SECOND
"""A host that calls itself online and has said nothing for so long is stale: it renews its status every 30 s."""

MAX_HOSTS: Final = 20_000
MAX_ALERTS: Final = 100_000
"""Bounds against a broker that somebody fills; ten times the largest fleet that this is made for. What is beyond is counted."""

ACTIONS_KEPT: Final = 2_000
"""Latest outcomes of actions, over all hosts: for the page; the audit of each host has all."""

MAX_PAYLOAD: Final = 256 * 1024
"""Bytes; twice what a sidecar publishes."""

SEVERITIES: Final[tuple[Severity, ...]] = ("critical", "error", "warning", "info")
"""From the worst down."""

AlertId = tuple[str, str, str]
"""Host, rule, key."""


class _AlertRead(AlertData):
    """Of a sidecar that may be newer than this engine: what it does not know is left out, not refused."""

    model_config = ConfigDict(extra="ignore")

    incident_id: str = ""


class _ActionRead(ActionData):
    model_config = ConfigDict(extra="ignore")


class _StatusRead(StatusData):
    model_config = ConfigDict(extra="ignore")


_Data = TypeVar("_Data", _StatusRead, _AlertRead, _ActionRead)


@dataclass(frozen=True, slots=True)
class HostView:
    """One host as its retained status has it. `seen_at` is when any message of it came last, by our clock."""

    host: str
    data: StatusData
    seen_at: Micros
    firing: int = 0

    def condition(self, now: Micros) -> Literal["online", "stale", "offline"]:
        """Online, or gone by its own word or its last will, or silent for too long."""
        if self.data.state == "offline":
            return "offline"
        return "stale" if self.seen_at + STALE_AFTER < now else "online"


@dataclass(frozen=True, slots=True)
class AlertView:
    """One alert as its newest message has it. Evidence and actions stay encoded until it is opened, as few are."""

    host: str
    rule: str
    key: str
    status: Literal["firing", "resolved"]
    severity: Severity
    title: str
    summary: str
    starts_at: Micros
    ends_at: Micros | None
    updated_at: Micros
    count: int
    seq: int
    incident_id: str
    """The incident that it belongs to; an alert that names none is an incident of its own."""
    acknowledged_by: str
    runbook_url: str | None
    rules_version: str
    payload: bytes

    @property
    def id(self) -> AlertId:
        """What it is known by."""
        return self.host, self.rule, self.key

    def data(self) -> AlertData:
        """The whole message."""
        return _AlertRead.model_validate(json.loads(self.payload)["data"])


@dataclass(frozen=True, slots=True)
class IncidentView:
    """Alerts that belong together, the worst first."""

    id: str
    alerts: tuple[AlertView, ...]

    @property
    def severity(self) -> Severity:
        """Of the worst alert."""
        return min((alert.severity for alert in self.alerts), key=SEVERITIES.index)

    @property
    def starts_at(self) -> Micros:
        """Of the first alert."""
        return min(alert.starts_at for alert in self.alerts)

    @property
    def hosts(self) -> tuple[str, ...]:
        """Every host concerned, once each."""
        return tuple(dict.fromkeys(alert.host for alert in self.alerts))


@dataclass(frozen=True, slots=True)
class Change:
    """What one message changed: for pages that follow. `id` is the host, the incident, or the number of the action."""

    what: Literal["host", "incident", "action"]
    id: str


class FleetView:
    """Takes messages of all hosts in, and answers questions about the whole."""

    def __init__(self) -> None:
        self._hosts: dict[str, HostView] = {}
        self._firing_of: Counter[str] = Counter()
        self._alerts: dict[AlertId, AlertView] = {}
        self._incidents: dict[str, dict[AlertId, None]] = {}
        self._counts: Counter[Severity] = Counter()
        self._last_seq: OrderedDict[AlertId, int] = OrderedDict()
        self.actions: deque[ActionData] = deque(maxlen=ACTIONS_KEPT)
        self.rejected: Counter[str] = Counter()
        """Messages left out, by reason."""

    # -- messages in --------------------------------------------------------------------------------------------------

    def apply(self, topic: str, payload: bytes, now: Micros) -> list[Change]:
        """Take one message of `dockwarden/#` in.

        Args:
            topic: as it came; levels are encoded as `engine.messages.topics` does.
            payload: a CloudEvent, or nothing: a retained message that was taken away.
            now: our wall clock.
        """
        match topic.split("/"):
            case [_, host, "status"]:
                return self._status(level_text(host), payload, now)
            case [_, host, "alert", rule, key]:
                return self._alert((level_text(host), level_text(rule), level_text(key)), payload, now)
            case [_, host, "action", _, _]:
                return self._action(level_text(host), payload, now)
        return []

    def _status(self, host: str, payload: bytes, now: Micros) -> list[Change]:
        if not payload:
            return [Change("host", host)] if self._hosts.pop(host, None) is not None else []
        data = self._read(payload, _StatusRead, host)
        if data is None:
            return []
        if host not in self._hosts and len(self._hosts) >= MAX_HOSTS:
            self.rejected["too_many_hosts"] += 1
            return []
        self._hosts[host] = HostView(host, data, now, self._firing_of[host])
        return [Change("host", host)]

    def _alert(self, identity: AlertId, payload: bytes, now: Micros) -> list[Change]:
        if not payload:
            return self._forget(identity)
        data = self._read(payload, _AlertRead, identity[0])
        if data is None:
            return []
        # The payload has the names whole where the topic cuts them.
        identity = data.host, data.rule, data.key
        if data.seq <= self._last_seq.get(identity, -1):
            return []  # an older message that comes again: a retained one after a reconnection, or the second of two engines
        if identity not in self._alerts and data.status == "firing" and len(self._alerts) >= MAX_ALERTS:
            self.rejected["too_many_alerts"] += 1
            return []
        self._remember(identity, data.seq)
        changes = self._forget(identity)
        self._seen(identity[0], now)
        if data.status == "firing":
            changes = self._put(_alert_view(data, payload))
        return [*dict.fromkeys([*changes, Change("host", identity[0])])]

    def _action(self, host: str, payload: bytes, now: Micros) -> list[Change]:
        data = self._read(payload, _ActionRead, host)
        if data is None:
            return []
        self.actions.append(data)
        self._seen(host, now)
        return [Change("action", f"{host}/{data.seq}")]

    def _read(self, payload: bytes, model: type[_Data], host: str) -> _Data | None:
        if len(payload) > MAX_PAYLOAD:
            self.rejected["too_large"] += 1
            return None
        try:
            data = model.model_validate(json.loads(payload)["data"])
        except (ValueError, KeyError, TypeError, RecursionError):
            self.rejected["not_of_the_contract"] += 1
            return None
        if data.host != host:
            # The broker's access list speaks of topics: what a host publishes below its own name is about itself alone.
            self.rejected["host_mismatch"] += 1
            return None
        return data

    def _put(self, alert: AlertView) -> list[Change]:
        self._alerts[alert.id] = alert
        self._incidents.setdefault(alert.incident_id, {})[alert.id] = None
        self._counts[alert.severity] += 1
        self._count(alert.host, 1)
        return [Change("incident", alert.incident_id)]

    def _forget(self, identity: AlertId) -> list[Change]:
        alert = self._alerts.pop(identity, None)
        if alert is None:
            return []
        members = self._incidents[alert.incident_id]
        del members[identity]
        if not members:
            del self._incidents[alert.incident_id]
        self._counts[alert.severity] -= 1
        self._count(alert.host, -1)
        return [Change("incident", alert.incident_id), Change("host", alert.host)]

    def _count(self, host: str, difference: int) -> None:
        self._firing_of[host] += difference
        if not self._firing_of[host]:
            del self._firing_of[host]
        known = self._hosts.get(host)
        if known is not None:
            self._hosts[host] = HostView(host, known.data, known.seen_at, self._firing_of[host])

    def _seen(self, host: str, now: Micros) -> None:
        known = self._hosts.get(host)
        if known is not None:
            self._hosts[host] = HostView(host, known.data, now, known.firing)

    def _remember(self, identity: AlertId, seq: int) -> None:
        self._last_seq[identity] = seq
        self._last_seq.move_to_end(identity)
        if len(self._last_seq) > 2 * MAX_ALERTS:
            self._last_seq.popitem(last=False)

    # -- questions ----------------------------------------------------------------------------------------------------

    @property
    def hosts(self) -> Mapping[str, HostView]:
        """By name."""
        return self._hosts

    @property
    def alerts(self) -> Mapping[AlertId, AlertView]:
        """Those that fire."""
        return self._alerts

    def counts(self) -> dict[Severity, int]:
        """Alerts that fire, by severity, the worst first."""
        return {severity: self._counts[severity] for severity in SEVERITIES}

    def incident(self, ident: str) -> IncidentView | None:
        """One incident, None when nothing of it fires any more."""
        members = self._incidents.get(ident)
        if members is None:
            return None
        alerts = [self._alerts[identity] for identity in members]
        return IncidentView(ident, tuple(sorted(alerts, key=lambda alert: (SEVERITIES.index(alert.severity), alert.starts_at))))

    def incidents(self) -> Iterator[IncidentView]:
        """All of them, in the order in which they became known."""
        for ident in list(self._incidents):
            incident = self.incident(ident)
            if incident is not None:
                yield incident


def _alert_view(data: _AlertRead, payload: bytes) -> AlertView:
    return AlertView(
        host=data.host,
        rule=data.rule,
        key=data.key,
        status=data.status,
        severity=data.severity,
        title=data.annotations.get("title", data.rule),
        summary=data.summary,
        starts_at=to_micros(data.starts_at),
        ends_at=None if data.ends_at is None else to_micros(data.ends_at),
        updated_at=to_micros(data.updated_at),
        count=data.count,
        seq=data.seq,
        incident_id=data.incident_id or data.dedup_key,
        acknowledged_by=data.annotations.get("acknowledged_by", ""),
        runbook_url=data.runbook_url,
        rules_version=data.rules_version,
        payload=payload,
    )
