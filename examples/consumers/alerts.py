"""What a message from dockwarden says, and which of several messages counts. Pure: knows no MQTT, no HTTP and no clock.

Every message about an alert is its whole state, so only the newest one of each alert matters: a consumer that was away, or whose
receiver was, hands on the newest and nothing else.
"""

import json
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

SEVERITIES = ("info", "warning", "error", "critical")
"""In rising order; PagerDuty's Events API v2 has the same four words."""

KEPT = 10_000
"""Alerts remembered; the one that was heard of longest ago goes first."""


@dataclass(frozen=True)
class Alert:
    """One alert as it stands. `data` is the `data` of the `dockwarden.alert.v1` event."""

    dedup_key: str
    status: str
    severity: str
    seq: int
    data: dict[str, Any]

    @property
    def firing(self) -> bool:
        """False: it is resolved."""
        return self.status == "firing"

    def at_least(self, severity: str) -> bool:
        """Whether it is as severe as that."""
        return SEVERITIES.index(self.severity) >= SEVERITIES.index(severity)


def read_alert(payload: bytes) -> Alert | None:
    """The alert in a message; None for a message that is none (an emptied retained one, another type, broken JSON)."""
    try:
        event = json.loads(payload)
        if event["type"] != "dockwarden.alert.v1":
            return None
        data = event["data"]
        alert = Alert(str(data["dedup_key"]), str(data["status"]), str(data["severity"]), int(data["seq"]), data)
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return alert if alert.severity in SEVERITIES and alert.status in ("firing", "resolved") else None


def read_status(payload: bytes) -> tuple[str, bool] | None:
    """Host and whether its sidecar runs, from a status message (the last will is one too); None for a message that is none."""
    try:
        event = json.loads(payload)
        return (
            (str(event["data"]["host"]), event["data"]["state"] != "offline") if event["type"] == "dockwarden.status.v1" else None
        )
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


class Newest:
    """Tells which messages are news. `seq` rises on each host and is never used twice."""

    def __init__(self) -> None:
        self._seen: OrderedDict[str, int] = OrderedDict()

    def is_news(self, alert: Alert) -> bool:
        """False for a message that was seen already, or that a newer one has overtaken."""
        known = self._seen.get(alert.dedup_key)
        if known is not None and known >= alert.seq:
            return False
        self._seen[alert.dedup_key] = alert.seq
        self._seen.move_to_end(alert.dedup_key)
        while len(self._seen) > KEPT:
            self._seen.popitem(last=False)
        return True


class Presence:
    """Who watches the watcher: a host whose sidecar stays away for a while is an alert of its own.

    Args:
        grace_s: seconds; a restart is no trouble.
    """

    def __init__(self, grace_s: float = 60.0) -> None:
        self._grace_s = grace_s
        self._gone: dict[str, float] = {}
        self._raised: dict[str, int] = {}
        self._seq = 0

    def told(self, host: str, *, here: bool, now: float) -> Alert | None:
        """A status was heard; an alert when that ends one."""
        if not here:
            self._gone.setdefault(host, now)
            return None
        self._gone.pop(host, None)
        return self._alert(host, "resolved") if self._raised.pop(host, None) is not None else None

    def due(self, now: float) -> list[Alert]:
        """Alerts about those that are gone for too long now."""
        late = [host for host, since in self._gone.items() if now - since >= self._grace_s and host not in self._raised]
        for host in late:
            self._raised[host] = 1
        return [self._alert(host, "firing") for host in late]

    def _alert(self, host: str, status: str) -> Alert:
        self._seq += 1
        data = {
            "dedup_key": f"{host}/sidecar-gone",
            "status": status,
            "severity": "error",
            "summary": f"dockwarden on {host} is gone: nothing is noticed there. Next: systemctl status dockwarden on {host}.",
            "host": host,
            "rule": "sidecar-gone",
            "key": "",
            "labels": {"alertname": "sidecar-gone", "host": host, "severity": "error"},
            "annotations": {"summary": f"dockwarden on {host} is gone"},
            "seq": self._seq,
        }
        return Alert(str(data["dedup_key"]), status, "error", self._seq, data)
