"""What a message from dockwarden says. Pure: knows no MQTT, no HTTP and no clock.

Fields that are not known here are kept and ignored, so that a newer sidecar can be listened to.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SEVERITIES = ("info", "warning", "error", "critical")
"""In rising order; PagerDuty's Events API v2 has the same four words."""

MAX_PAYLOAD = 1024 * 1024
"""Bytes. A sidecar's messages have 128 KiB at most; anything far above is none of them."""

ALARM_TEST = "alarm-test"
"""Rule id of a test alarm."""


@dataclass(frozen=True, slots=True)
class Alert:
    """The state of one alert. `data` is the `data` of the `dockwarden.alert.v1` event."""

    dedup_key: str
    status: str
    severity: str
    seq: int
    host: str
    rule: str
    key: str
    data: Mapping[str, Any]

    @property
    def firing(self) -> bool:
        """False: it is resolved."""
        return self.status == "firing"

    @property
    def labels(self) -> dict[str, str]:
        """Identity, as texts."""
        return _texts(self.data.get("labels"))

    @property
    def annotations(self) -> dict[str, str]:
        """Texts for people."""
        return _texts(self.data.get("annotations"))

    @property
    def test(self) -> bool:
        """True: a test alarm, that is to go the whole way and alarm nobody."""
        return self.data.get("test") is True or self.labels.get("test") == "true"

    @property
    def test_id(self) -> str:
        """Names the reply to a test alarm."""
        return str(self.data.get("test_id") or self.labels.get("test_id") or self.key or self.seq)

    @property
    def group(self) -> str:
        """Alerts of one group are one incident to people: those of one `incident_id`, else of one host, rule and key."""
        incident = self.data.get("incident_id")
        return f"incident/{incident}" if isinstance(incident, str) and incident else self.dedup_key

    def at_least(self, severity: str) -> bool:
        """Whether it is as severe as that."""
        return rank(self.severity) >= rank(severity)


@dataclass(frozen=True, slots=True)
class HostStatus:
    """What a status message (the last will is one too) says of a host."""

    host: str
    online: bool


def rank(severity: str) -> int:
    """Place in the order of severities; -1 for none."""
    return SEVERITIES.index(severity) if severity in SEVERITIES else -1


def read_alert(payload: bytes) -> Alert | None:
    """The alert in a message; None for a message that is none (an emptied retained one, another type, not valid JSON)."""
    data = _data(payload, "dockwarden.alert.v1")
    return None if data is None else alert_from_data(data)


def alert_from_data(data: Mapping[str, Any]) -> Alert | None:
    """The alert in the `data` of an event; None when a field that is needed is missing or of another type."""
    try:
        alert = Alert(
            dedup_key=str(data["dedup_key"]),
            status=str(data["status"]),
            severity=str(data["severity"]),
            seq=int(data["seq"]),
            host=str(data["host"]),
            rule=str(data["rule"]),
            key=str(data.get("key") or ""),
            data=data,
        )
    except (ValueError, KeyError, TypeError):
        return None
    return alert if alert.severity in SEVERITIES and alert.status in {"firing", "resolved"} else None


def read_status(payload: bytes) -> HostStatus | None:
    """Host and whether its sidecar runs; None for a message that is no status."""
    data = _data(payload, "dockwarden.status.v1")
    if data is None or not isinstance(data.get("host"), str) or data.get("state") not in {"online", "offline"}:
        return None
    return HostStatus(data["host"], online=data["state"] == "online")


def _data(payload: bytes, kind: str) -> dict[str, Any] | None:
    if not payload or len(payload) > MAX_PAYLOAD:
        return None
    try:
        event = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    if not isinstance(event, dict) or event.get("type") != kind or not isinstance(event.get("data"), dict):
        return None
    data: dict[str, Any] = event["data"]
    return data


def _texts(value: Any) -> dict[str, str]:
    return {str(name): str(text) for name, text in value.items()} if isinstance(value, Mapping) else {}
