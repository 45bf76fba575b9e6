"""PagerDuty's Events API v2: triggers and resolves under one dedup key, so that the same one sent twice is one incident."""

from pathlib import Path
from typing import Any

import aiohttp

from connectors.consumers.alert import Alert
from connectors.consumers.config import read_secret
from connectors.consumers.notes import Note
from connectors.consumers.outcomes import Outcome, no_answer
from connectors.consumers.receivers.http import Request, request_once
from connectors.consumers.summary import container_name, details, runbook_link, summary_line
from engine.errors import SettingsError
from engine.ports.clock import Clock


def events(note: Note, *, routing_key: str, runbooks_url: str = "") -> list[dict[str, Any]]:
    """The note as events, in order. A test alarm is triggered as `info` and resolved at once: it leaves nothing open."""
    alert = note.alert
    if alert is None:
        return []
    dedup_key = note.thread
    resolve = {"routing_key": routing_key, "event_action": "resolve", "dedup_key": dedup_key}
    if note.kind == "end":
        return [resolve]
    trigger = _trigger(alert, note, routing_key, runbooks_url)
    return [trigger, resolve] if note.kind == "test" else [trigger]


def _trigger(alert: Alert, note: Note, routing_key: str, runbooks_url: str) -> dict[str, Any]:
    data = alert.data
    more = {name: data.get(name) for name in ("annotations", "actions", "evidence", "count", "rules_version")}
    event: dict[str, Any] = {
        "routing_key": routing_key,
        "event_action": "trigger",
        "dedup_key": note.thread,
        "client": "dockwarden",
        "payload": {
            "summary": summary_line(alert),
            "source": alert.host,
            "severity": "info" if note.kind == "test" else note.severity or alert.severity,
            "timestamp": data.get("updated_at"),
            "class": alert.rule,
            "component": container_name(alert) or alert.key,
            "custom_details": {"summary": details(alert), "key": alert.key, **more},
        },
    }
    link = runbook_link(alert, runbooks_url)
    if link is not None:
        event["links"] = [{"href": link, "text": "runbook"}]
    return event


class PagerDutySender:
    """Posts events; the key is read for each, so that it can be changed."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        *,
        url: str,
        routing_key_file: Path,
        timeout_s: float,
        clock: Clock,
        runbooks_url: str = "",
    ) -> None:
        self._session = session
        self._url = url
        self._routing_key_file = routing_key_file
        self._timeout_s = timeout_s
        self._clock = clock
        self._runbooks_url = runbooks_url

    async def send(self, note: Note, ref: str | None) -> Outcome:
        """See `Sender`."""
        del ref
        try:
            routing_key = read_secret(self._routing_key_file)
        except SettingsError as error:
            return no_answer(str(error))
        done = Outcome("taken")
        for event in events(note, routing_key=routing_key, runbooks_url=self._runbooks_url):
            done, _ = await request_once(self._session, Request(self._url, event), timeout_s=self._timeout_s, clock=self._clock)
            if done.verdict != "taken":
                return done
        return done
