"""Pages: dockwarden's alerts to PagerDuty (Events API v2) and to Alertmanager (API v2).

    export PAGERDUTY_ROUTING_KEY=…        # of an "Events API v2" integration, 32 characters
    python -m examples.consumers.pager --broker mqtt://broker.example:1883 --pagerduty
    python -m examples.consumers.pager --broker mqtt://broker.example:1883 --alertmanager http://alertmanager:9093

Both take the same alert any number of times as one: PagerDuty by `dedup_key`, Alertmanager by the labels.
"""

import argparse
import os
from collections.abc import Sequence
from typing import Any

from .alerts import SEVERITIES, Alert
from .consumer import Consumer, run
from .delivery import Request

PAGERDUTY = "https://events.pagerduty.com/v2/enqueue"
"""EU tenants: https://events.eu.pagerduty.com/v2/enqueue."""

AGAIN_S = 60.0
"""Alertmanager takes an alert for resolved that nobody repeats for `resolve_timeout` (5 minutes). Prometheus does it so often."""


def runbook(alert: Alert, base: str) -> str | None:
    """Where the runbook is read: a rule may name a URL, or a file of its rules repository, which stands below `base`."""
    url = alert.data.get("runbook_url") or ""
    if url.startswith(("https://", "http://")):
        return str(url)
    return f"{base.rstrip('/')}/{url}" if url and base else None


def pagerduty_event(alert: Alert, *, routing_key: str, runbooks: str = "") -> dict[str, Any]:
    """The alert as an event of PagerDuty's Events API v2."""
    event: dict[str, Any] = {
        "routing_key": routing_key,
        "event_action": "trigger" if alert.firing else "resolve",
        "dedup_key": alert.dedup_key,
    }
    if not alert.firing:
        return event  # a resolve needs no more
    data = alert.data
    event["client"] = "dockwarden"
    event["payload"] = {
        "summary": data["summary"],
        "source": data["host"],
        "severity": alert.severity,
        "timestamp": data.get("updated_at"),
        "class": data["rule"],
        "component": data["key"],
        "custom_details": {name: data.get(name) for name in ("annotations", "actions", "evidence", "count", "rules_version")},
    }
    link = runbook(alert, runbooks)
    if link is not None:
        event["links"] = [{"href": link, "text": "runbook"}]
    return event


def alertmanager_alert(alert: Alert, *, runbooks: str = "") -> dict[str, Any]:
    """The alert as Alertmanager's `POST /api/v2/alerts` takes it (in a list)."""
    data = alert.data
    posted: dict[str, Any] = {"labels": data["labels"], "annotations": data["annotations"]}
    if data.get("starts_at"):
        posted["startsAt"] = data["starts_at"]
    if not alert.firing and data.get("ends_at"):
        posted["endsAt"] = data["ends_at"]
    link = runbook(alert, runbooks)
    if link is not None:
        posted["generatorURL"] = link
    return posted


class Pager:
    """Tells PagerDuty when there is a routing key, and Alertmanager when there is an address.

    Args:
        routing_key: of PagerDuty's integration.
        pagerduty: where its events go.
        alertmanager: its address, without `/api`.
        at_least: severity; lesser alerts are left out.
        runbooks: URL of the folder that relative runbooks stand in.
    """

    def __init__(
        self,
        *,
        routing_key: str = "",
        pagerduty: str = PAGERDUTY,
        alertmanager: str = "",
        at_least: str = "warning",
        runbooks: str = "",
    ) -> None:
        self._routing_key = routing_key
        self._pagerduty = pagerduty
        self._alertmanager = f"{alertmanager.rstrip('/')}/api/v2/alerts" if alertmanager else ""
        self._at_least = at_least
        self._runbooks = runbooks

    def requests(self, alert: Alert) -> Sequence[Request]:
        """One for each of them."""
        if not alert.at_least(self._at_least):
            return ()
        requests = []
        if self._routing_key:
            event = pagerduty_event(alert, routing_key=self._routing_key, runbooks=self._runbooks)
            requests.append(Request(self._pagerduty, event))
        if self._alertmanager:
            requests.append(Request(self._alertmanager, [alertmanager_alert(alert, runbooks=self._runbooks)]))
        return requests

    def delivered(self, alert: Alert) -> None:
        """Nothing to remember: both take the same alert any number of times as one."""


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="dockwarden's alerts to PagerDuty and Alertmanager")
    parser.add_argument("--broker", default="mqtt://127.0.0.1:1883", help="password in MQTT_PASSWORD")
    parser.add_argument("--pagerduty", nargs="?", const=PAGERDUTY, default="", metavar="URL", help="key in PAGERDUTY_ROUTING_KEY")
    parser.add_argument("--alertmanager", default="", metavar="URL", help="for example http://alertmanager:9093")
    parser.add_argument("--at-least", default="warning", choices=SEVERITIES)
    parser.add_argument("--runbooks", default="", metavar="URL", help="where your rules repository can be read")
    chosen = parser.parse_args()
    routing_key = os.environ.get("PAGERDUTY_ROUTING_KEY", "") if chosen.pagerduty else ""
    if chosen.pagerduty and not routing_key:
        parser.error("--pagerduty needs the integration's key in PAGERDUTY_ROUTING_KEY")
    if not routing_key and not chosen.alertmanager:
        parser.error("name --pagerduty, --alertmanager or both")
    pager = Pager(
        routing_key=routing_key,
        pagerduty=chosen.pagerduty,
        alertmanager=chosen.alertmanager,
        at_least=chosen.at_least,
        runbooks=chosen.runbooks,
    )
    again_s = AGAIN_S if chosen.alertmanager else None
    run(Consumer(pager, again_s=again_s).run(chosen.broker, "dockwarden-pager"))


if __name__ == "__main__":
    main()
