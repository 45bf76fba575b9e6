"""Which alerts are over although nobody said so: those that fire here, and are retained at the broker no more. Sans-I/O.

A consumer that was away for longer than the broker keeps its session misses an end: its message expires after an hour. But what
fires is retained, and comes again at each connection. So what has not come a while after, of a host whose sidecar runs, is over.
"""

from collections.abc import Iterable

from connectors.consumers.alert import Alert, HostStatus, alert_from_data

WAIT_S = 60.0
"""After a connection, and …"""
QUIET_S = 10.0
"""… without any message: then everything that is retained has come, also where it is thousands of messages."""
OWN_RULES = frozenset({"sidecar-gone", "alarm-test-missing"})
"""Raised by consumers themselves: no broker has them."""


class Retained:
    """What came since the last connection; whoever owns it tells it of all that comes."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._last = 0.0
        self._alerts: set[str] = set()
        self._hosts: set[str] = set()

    def connected(self, now: float) -> None:
        """A connection began: everything that is retained comes again."""
        self._since = self._last = now
        self._alerts.clear()
        self._hosts.clear()

    def received(self, alerts: Iterable[Alert], statuses: Iterable[HostStatus], now: float) -> None:
        """These came."""
        if self._since is None:
            return
        self._last = now
        self._alerts |= {alert.dedup_key for alert in alerts}
        for status in statuses:
            (self._hosts.add if status.online else self._hosts.discard)(status.host)

    def ready(self, now: float) -> bool:
        """Whether it is time to judge; once for each connection."""
        return self._since is not None and now - self._since >= WAIT_S and now - self._last >= QUIET_S

    def ended(self, firing: Iterable[Alert]) -> list[Alert]:
        """Those that are over of the alerts that fire here, as resolved ones. The next connection is judged anew."""
        self._since = None
        found = [
            over
            for alert in firing
            if alert.dedup_key not in self._alerts and alert.host in self._hosts and alert.rule not in OWN_RULES
            if (over := alert_from_data({**alert.data, "status": "resolved"})) is not None
        ]
        self._alerts.clear()
        self._hosts.clear()
        return found
