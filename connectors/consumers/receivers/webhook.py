"""A receiver that takes JSON by HTTP: in a form of our own, or in the one of Opsgenie's Alert API, which others copy."""

import hashlib
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import aiohttp

from connectors.consumers.config import Webhook, read_secret
from connectors.consumers.notes import Note
from connectors.consumers.outcomes import Outcome, no_answer
from connectors.consumers.receivers.http import Request, request_once
from connectors.consumers.summary import container_name, cut, details, runbook_link, summary_line
from engine.errors import SettingsError
from engine.ports.clock import Clock

_PRIORITIES = {"critical": "P1", "error": "P2", "warning": "P3", "info": "P5"}
_OPSGENIE_ALIAS = 512
_OPSGENIE_MESSAGE = 130
"""Characters that Opsgenie takes (docs.opsgenie.com, Alert API)."""


def plain_request(note: Note, url: str, runbooks_url: str = "") -> list[Request]:
    """The note in our own form; `id` is the same for the same note, however often it is sent."""
    alert = note.alert
    if alert is None:
        return []
    key = delivery_id(note)
    body = {
        "schema": "dockwarden.note.v1",
        "id": key,
        "kind": note.kind,
        "test": note.kind == "test",
        "status": "firing" if note.firing_now else "resolved",
        "severity": note.severity or alert.severity,
        "line": summary_line(alert),
        "host": alert.host,
        "rule": alert.rule,
        "container": container_name(alert),
        "dedup_key": note.thread,
        "runbook_url": runbook_link(alert, runbooks_url),
        "flaps": note.flaps,
        "alert": alert.data,
    }
    return [Request(url, body, {"Idempotency-Key": key})]


def opsgenie_requests(note: Note, url: str, runbooks_url: str = "") -> list[Request]:
    """The note as Opsgenie's Alert API takes it: created, and closed by its alias. A test alarm is closed at once."""
    alert = note.alert
    if alert is None:
        return []
    alias = note.thread if len(note.thread) <= _OPSGENIE_ALIAS else hashlib.sha256(note.thread.encode()).hexdigest()
    close = Request(
        f"{url.rstrip('/')}/{quote(alias, safe='')}/close?identifierType=alias",
        {"source": "dockwarden", "note": cut(details(alert), 1000)},
    )
    if note.kind == "end":
        return [close]
    link = runbook_link(alert, runbooks_url)
    create = Request(
        url.rstrip("/"),
        {
            "message": cut(summary_line(alert), _OPSGENIE_MESSAGE),
            "alias": alias,
            "description": details(alert),
            "source": "dockwarden",
            "entity": alert.host,
            "priority": "P5" if note.kind == "test" else _PRIORITIES[note.severity or alert.severity],
            "tags": [alert.rule, note.severity or alert.severity, *(["TEST"] if note.kind == "test" else [])],
            "details": {**alert.labels, **({"runbook": link} if link else {})},
        },
    )
    return [create, close] if note.kind == "test" else [create]


def delivery_id(note: Note) -> str:
    """Names a note: the same at every attempt, another for every other note."""
    alert = note.alert
    text = f"{note.kind}\0{note.thread}\0{alert.seq if alert is not None else 0}\0{note.at}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


_FORMS: dict[str, Callable[[Note, str, str], list[Request]]] = {"dockwarden": plain_request, "opsgenie": opsgenie_requests}


class WebhookSender:
    """Posts to the address of the configuration; secrets are read for each note, so that they can be changed."""

    def __init__(self, session: aiohttp.ClientSession, config: Webhook, *, clock: Clock, runbooks_url: str = "") -> None:
        self._session = session
        self._config = config
        self._clock = clock
        self._runbooks_url = runbooks_url

    async def send(self, note: Note, ref: str | None) -> Outcome:
        """See `Sender`."""
        del ref
        config = self._config
        secret: dict[str, Any] = {}
        try:
            url = str(config.url) if config.url_file is None else read_secret(config.url_file)
            if config.authorization_file is not None:
                secret["Authorization"] = read_secret(config.authorization_file)
        except SettingsError as error:
            return no_answer(str(error))
        done = Outcome("taken")
        for request in _FORMS[config.form](note, url, self._runbooks_url):
            whole = Request(request.url, request.body, {**config.headers, **request.headers, **secret})
            done, _ = await request_once(self._session, whole, timeout_s=config.timeout_s, clock=self._clock)
            if done.verdict != "taken":
                return done
        return done
