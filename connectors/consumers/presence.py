"""Who watches the watchers: a sidecar that stays away, and a test alarm that does not come, are alerts of their own. Sans-I/O."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from connectors.consumers.alert import Alert, HostStatus, alert_from_data

MAX_HOSTS = 10_000
"""Hosts that are watched; more are not, and `Presence.unwatched` counts them."""


@dataclass(slots=True)
class Host:
    """What is known of one host. Moments are seconds since the epoch; None: not so."""

    since: float
    """First received of."""
    gone_at: float | None = None
    tested_at: float | None = None
    """When its last test alarm came."""
    gone_raised: bool = False
    test_raised: bool = False


class Presence:
    """Watches the hosts.

    Args:
        grace_s: seconds that a sidecar may be away; a restart is no problem.
        test_every_s: seconds within which a test alarm is expected of every host that is online; None: none is.
    """

    def __init__(self, *, grace_s: float, test_every_s: float | None = None) -> None:
        self._grace_s = grace_s
        self._test_every_s = test_every_s
        self._hosts: dict[str, Host] = {}
        self.changed: set[str] = set()
        """Hosts that are to be stored; whoever stores them clears it."""
        self.unwatched = 0

    def load(self, stored: Iterable[tuple[str, str]]) -> None:
        """What `stored` gave before a restart."""
        self._hosts = {name: Host(**json.loads(text)) for name, text in stored}
        self.changed.clear()

    def stored(self, name: str) -> str:
        """A host as text."""
        return json.dumps(asdict(self._hosts[name]), separators=(",", ":"))

    def received(self, status: HostStatus, now: float) -> list[Alert]:
        """A status came; the end of an alert when it ends one."""
        host = self._host(status.host, now)
        if host is None:
            return []
        if not status.online:
            if host.gone_at is None:
                host.gone_at = now
                self.changed.add(status.host)
            return []
        if host.gone_at is None:
            return []
        host.gone_at = None
        self.changed.add(status.host)
        if not host.gone_raised:
            return []
        host.gone_raised = False
        return [_gone(status.host, now, firing=False)]

    def tested(self, name: str, now: float) -> list[Alert]:
        """A test alarm came."""
        host = self._host(name, now)
        if host is None:
            return []
        host.tested_at = now
        self.changed.add(name)
        if not host.test_raised:
            return []
        host.test_raised = False
        return [_untested(name, now, self._test_every_s or 0.0, firing=False)]

    def due(self, now: float) -> list[Alert]:
        """Alerts about what has been missing for too long now."""
        alerts = []
        for name, host in self._hosts.items():
            if host.gone_at is not None and not host.gone_raised and now - host.gone_at >= self._grace_s:
                host.gone_raised = True
                self.changed.add(name)
                alerts.append(_gone(name, now, firing=True))
            if self._test_every_s is None or host.test_raised or host.gone_at is not None:
                continue
            if now - (host.tested_at or host.since) >= self._test_every_s:
                host.test_raised = True
                self.changed.add(name)
                alerts.append(_untested(name, now, self._test_every_s, firing=True))
        return alerts

    def _host(self, name: str, now: float) -> Host | None:
        host = self._hosts.get(name)
        if host is None:
            if len(self._hosts) >= MAX_HOSTS:
                self.unwatched += 1
                return None
            host = self._hosts[name] = Host(since=now)
            self.changed.add(name)
        return host


def _gone(host: str, now: float, *, firing: bool) -> Alert:
    summary = f"dockwarden on {host} is gone: nothing is noticed there. Next: systemctl status dockwarden on {host}."
    return _alert(host, "sidecar-gone", "The sidecar is gone", summary, now, firing=firing)


def _untested(host: str, now: float, every_s: float, *, firing: bool) -> Alert:
    summary = (
        f"No test alarm of {host} came within {every_s / 3600:g} h: alerts may not get through."
        f" Next: dockwarden alarm-test on {host}, and look where it ends."
    )
    return _alert(host, "alarm-test-missing", "No test alarm came", summary, now, firing=firing)


def _alert(host: str, rule: str, title: str, summary: str, now: float, *, firing: bool) -> Alert:
    data: dict[str, Any] = {
        "dedup_key": f"{host}/{rule}",
        "status": "firing" if firing else "resolved",
        "severity": "error",
        "summary": summary,
        "host": host,
        "rule": rule,
        "key": "",
        "labels": {"alertname": rule, "host": host, "severity": "error"},
        "annotations": {"title": title, "summary": summary},
        "seq": round(now * 1_000_000),
    }
    alert = alert_from_data(data)
    assert alert is not None  # noqa: S101  all fields that are needed stand above
    return alert
