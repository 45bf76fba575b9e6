"""Alertmanager's API v2: every change, and what fires again and again, as Prometheus does it."""

from collections.abc import Iterable, Mapping
from typing import Any

import aiohttp

from connectors.consumers.alert import Alert, alert_from_data
from connectors.consumers.notes import Note
from connectors.consumers.outcomes import Outcome
from connectors.consumers.receivers.http import Request, request_once
from connectors.consumers.summary import container_name, details, runbook_link, summary_line
from engine.ports.clock import Clock

_AT_A_TIME = 200
"""Alerts in one request of a repetition."""
_PATH = "/api/v2/alerts"


def posted_alert(alert: Alert, *, runbooks_url: str = "", over: bool = False) -> dict[str, Any]:
    """The alert as `POST /api/v2/alerts` takes it (in a list). Alertmanager knows an alert by all of its labels together."""
    data = alert.data
    labels = alert.labels
    if alert.test:
        labels["test"] = "true"
    annotations = alert.annotations | {"summary": summary_line(alert), "description": details(alert)}
    container = container_name(alert)
    if container:
        annotations["container"] = container
    posted: dict[str, Any] = {"labels": labels, "annotations": annotations}
    if data.get("starts_at"):
        posted["startsAt"] = data["starts_at"]
    if (over or not alert.firing) and (data.get("ends_at") or data.get("updated_at")):
        posted["endsAt"] = data.get("ends_at") or data["updated_at"]
    link = runbook_link(alert, runbooks_url)
    if link is not None:
        posted["generatorURL"] = link
    return posted


class AlertmanagerSender:
    """Posts alerts."""

    def __init__(
        self, session: aiohttp.ClientSession, *, url: str, timeout_s: float, clock: Clock, runbooks_url: str = ""
    ) -> None:
        self._session = session
        self._url = url.rstrip("/") + _PATH
        self._timeout_s = timeout_s
        self._clock = clock
        self._runbooks_url = runbooks_url

    async def send(self, note: Note, ref: str | None) -> Outcome:
        """See `Sender`."""
        del ref
        alert = note.alert
        return Outcome("taken") if alert is None else await self._post([alert])

    async def repeat(self, firing: Iterable[Mapping[str, Any]]) -> Outcome:
        """Say again what fires; of the newest word on each, so that missing one repetition loses nothing."""
        alerts = [alert for data in firing if (alert := alert_from_data(data)) is not None and alert.firing]
        done = Outcome("taken")
        for start in range(0, len(alerts), _AT_A_TIME):
            done = await self._post(alerts[start : start + _AT_A_TIME])
            if done.verdict != "taken":
                break
        return done

    async def _post(self, alerts: list[Alert]) -> Outcome:
        body = [posted_alert(alert, runbooks_url=self._runbooks_url) for alert in alerts]
        done, _ = await request_once(self._session, Request(self._url, body), timeout_s=self._timeout_s, clock=self._clock)
        return done
