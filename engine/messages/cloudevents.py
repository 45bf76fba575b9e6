"""What subscribers get: CloudEvents 1.0 in JSON structured mode (cloudevents.io, JSON event format 1.0). Pure.

Where the fields of an alert go, so that a consumer needs no look-up:

| here | PagerDuty Events v2 | Alertmanager POST /api/v2/alerts |
|---|---|---|
| `dedup_key` | `dedup_key` | (its own, of all `labels`) |
| `status` firing / resolved | `event_action` trigger / resolve | `endsAt` absent / `ends_at` |
| `severity` | `payload.severity` (same four words) | in `labels` |
| `summary` | `payload.summary` | `annotations.summary` |
| `host` | `payload.source` | in `labels` |
| `rule` | `payload.class` | `labels.alertname` |
| `key` | `payload.component` | in `labels` |
| `starts_at`, `ends_at` | `payload.timestamp` is `updated_at` | `startsAt`, `endsAt` |
| `labels`, `annotations` | `payload.custom_details` | as they are: names already fit |
| `runbook_url` | `links[0].href` | `generatorURL` |

A chat takes `severity`, `status`, `summary`, `runbook_url`.
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

from engine.facts.base import Fact
from engine.facts.outcomes import ErrorKind, Severity
from engine.facts.timestamps import Micros, from_micros, rfc3339
from engine.messages.models import ActionData, AlertAction, AlertData, Data, StatusData, short_text
from engine.messages.topics import action_topic, alert_topic, dedup_key, fact_topic, level, one_line, status_topic
from engine.ports.broker import Message, OutboxRow, RowKind

__all__ = [
    "ActionData",
    "AlertAction",
    "AlertData",
    "StatusData",
    "action_event",
    "alert_event",
    "fact_event",
    "last_will",
    "status_event",
    "unknown_alert_event",
]

RESOLVED_EXPIRY_S: Final = 3600
"""The retained message of a resolved alert goes after an hour."""

MAX_PAYLOAD: Final = 128 * 1024
"""Bytes. AWS IoT Core takes no more, the strictest of the usual brokers; PagerDuty takes 512 KiB, Alertmanager has no bound."""

_MAX_ENTRIES = 64
"""Entries of a single map or list inside evidence."""
_MAX_DEPTH = 4
_MAX_EVIDENCE = 20
"""Facts that one alert carries; a count has its number in the summary and a few samples here."""

_LABEL_NAME = re.compile("[^a-zA-Z0-9_]")


def alert_event(
    *,
    host: str,
    rule: str,
    key: str,
    status: Literal["firing", "resolved"],
    severity: Severity,
    summary: str,
    starts_at: Micros,
    updated_at: Micros,
    seq: int,
    ends_at: Micros | None = None,
    count: int = 1,
    evidence: Iterable[Fact | Mapping[str, Any]] = (),
    actions: Iterable[AlertAction] = (),
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    runbook_url: str | None = None,
    rules_version: str = "",
) -> OutboxRow:
    """The message that says how an alert stands: retained; a resolved one expires after an hour.

    Texts are cleaned and cut to what every consumer takes; the whole is at most 128 KiB.

    Args:
        host: name of the host in topics.
        rule: id of the rule.
        key: what it is about.
        status: firing or resolved.
        severity: of the rule.
        summary: what to say, of any length.
        starts_at: since when it fires.
        updated_at: event time of this message.
        seq: number of the outbox row, from the journal.
        ends_at: when it was resolved; for a resolved one without it, `updated_at`.
        count: how often it fired.
        evidence: the facts that support it, most telling first.
        actions: what was decided.
        labels: beyond alertname, host, severity and key. Names are made to fit Prometheus; empty values are left out.
        annotations: beyond the summary.
        runbook_url: where to read on.
        rules_version: hash or commit of the rules.
    """
    line = one_line(summary) or rule
    facts = [_slim(fact.to_json_dict() if isinstance(fact, Fact) else fact, 0) for fact in evidence]
    own = {"alertname": rule, "host": host, "severity": severity, "key": key}
    data = AlertData(
        dedup_key=dedup_key(host, rule, key),
        status=status,
        severity=severity,
        summary=line,
        host=host,
        rule=rule,
        key=key,
        labels=_named(labels or {}) | _named(own),
        annotations=_named(annotations or {}) | {"summary": line},
        runbook_url=runbook_url or None,
        starts_at=from_micros(starts_at),
        ends_at=from_micros(updated_at if ends_at is None else ends_at) if status == "resolved" else None,
        updated_at=from_micros(updated_at),
        count=count,
        evidence=facts[:_MAX_EVIDENCE],
        evidence_omitted=max(0, len(facts) - _MAX_EVIDENCE),
        actions=[
            action.model_copy(update={"reason": short_text(action.reason), "target": short_text(action.target)})
            for action in actions
        ][-_MAX_ENTRIES:],
        rules_version=rules_version,
        seq=seq,
    )
    subject = f"{level(rule)}/{level(key)}"
    payload = _event("alert", host, subject, seq, updated_at, data)
    while len(payload) > MAX_PAYLOAD and data.evidence:
        kept = data.evidence[: len(data.evidence) // 2]
        omitted = data.evidence_omitted + len(data.evidence) - len(kept)
        data = data.model_copy(update={"evidence": kept, "evidence_omitted": omitted})
        payload = _event("alert", host, subject, seq, updated_at, data)
    return OutboxRow(
        topic=alert_topic(host, rule, key),
        payload=payload,
        kind="alert" if status == "firing" else "resolved",
        retain=True,
        expiry_s=RESOLVED_EXPIRY_S if status == "resolved" else None,
        seq=seq,
    )


def unknown_alert_event(topic: str, data: AlertData, *, at: Micros, seq: int) -> OutboxRow:
    """The end of an alert that fires at the broker alone: of a lost journal, a renamed host, an older store.

    Args:
        topic: where it is retained.
        data: of its message there.
        at: now.
        seq: number of the outbox row.
    """
    line = one_line(f"resolved, as nothing is known of it any more: {data.summary}")
    ended = data.model_copy(
        update={
            "status": "resolved",
            "summary": line,
            "annotations": data.annotations | {"summary": line},
            "ends_at": from_micros(at),
            "updated_at": from_micros(at),
            "evidence": [],
            "evidence_omitted": data.evidence_omitted + len(data.evidence),
            "seq": seq,
        }
    )
    payload = _event("alert", data.host, f"{level(data.rule)}/{level(data.key)}", seq, at, ended)
    return OutboxRow(topic, payload, "resolved", retain=True, expiry_s=RESOLVED_EXPIRY_S, seq=seq)


def action_event(
    *,
    host: str,
    action: str,
    target: str,
    ok: bool,
    attempt: int,
    at: Micros,
    seq: int,
    exhausted: bool = False,
    error: str | None = None,
    error_kind: ErrorKind | None = None,
    detail: str | None = None,
    duration_ms: float = 0.0,
    container_id: str | None = None,
    rule: str | None = None,
    activation: str = "",
    rules_version: str = "",
) -> OutboxRow:
    """The outcome of one attempt of an action."""
    data = ActionData(
        action=action,
        target=target,
        host=host,
        ok=ok,
        attempt=attempt,
        exhausted=exhausted,
        error=error,
        error_kind=error_kind,
        detail=detail,
        duration_ms=duration_ms,
        container_id=container_id,
        rule=rule,
        activation=activation,
        at=from_micros(at),
        rules_version=rules_version,
        seq=seq,
    )
    payload = _event("action", host, f"{level(action)}/{level(target)}", seq, at, data)
    return OutboxRow(topic=action_topic(host, action, target), payload=payload, kind="action", seq=seq)


def fact_event(*, host: str, fact: Fact, seq: int) -> OutboxRow:
    """A fact as it was seen, long texts cut."""
    body = _slim(fact.to_json_dict(), 0) | {"seq": seq, "schema": "dockwarden.fact.v1"}
    kind = body["fact"]
    payload = _envelope("fact", host, level(kind), str(seq), fact.at_micros, body)
    return OutboxRow(topic=fact_topic(host, kind), payload=payload, kind="fact", seq=seq)


def status_event(data: StatusData, *, at: Micros, event_id: str) -> Message:
    """The status, retained. It is not kept in the outbox, because only the newest one matters.

    Args:
        data: what to say.
        at: the present moment.
        event_id: unique among the host's status events: a start of the process and a counter, say.
    """
    payload = _event("status", data.host, "status", event_id, at, data.model_copy(update={"at": from_micros(at)}))
    return Message(topic=status_topic(data.host), payload=payload)


def last_will(*, host: str, version: str, at: Micros) -> Message:
    """What the broker says in our name when we are gone. `at` is when we connected: nobody knows yet when we shall be gone."""
    data = StatusData(state="offline", host=host, version=version)
    return Message(topic=status_topic(host), payload=_event("status", host, "status", f"will-{at}", at, data))


def _event(name: RowKind, host: str, subject: str, event_id: int | str, at: Micros, data: Data) -> bytes:
    return _envelope(name, host, subject, str(event_id), at, data.model_dump(mode="json", by_alias=True))


def _envelope(name: RowKind, host: str, subject: str, event_id: str, at: Micros, data: Mapping[str, Any]) -> bytes:
    """The CloudEvents attributes. `source` and `id` together are unique; `source` is a URI reference, hence encoded."""
    event = {
        "specversion": "1.0",
        "id": event_id,
        "source": f"/dockwarden/{level(host)}",
        "type": f"dockwarden.{name}.v1",
        "subject": subject,
        "time": rfc3339(at),
        "datacontenttype": "application/json",
        "data": data,
    }
    # allow_nan: what is no number is null by now; a NaN would be JSON that nobody reads.
    return json.dumps(event, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode("utf-8", "replace")


def _named(texts: Mapping[str, str]) -> dict[str, str]:
    """With names as Prometheus takes them for labels: letters, digits, underscores, no digit first. Empty values are left out."""
    named: dict[str, str] = {}
    for name, value in list(texts.items())[:_MAX_ENTRIES]:
        fitting = _LABEL_NAME.sub("_", name)[:128]
        if value and fitting:
            named[f"_{fitting}" if fitting[0].isdigit() else fitting] = short_text(value)
    return named


def _slim(value: Any, depth: int) -> Any:
    """The same value with long texts cut, large maps and lists cut, deep nesting ended, and nothing that JSON has no form for."""
    if isinstance(value, str):
        return short_text(value)
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if abs(value) != float("inf") and value == value else None  # noqa: PLR0124  NaN alone differs from itself
    if depth >= _MAX_DEPTH:
        return "…"
    if isinstance(value, Mapping):
        return {short_text(str(name)): _slim(item, depth + 1) for name, item in list(value.items())[:_MAX_ENTRIES]}
    if isinstance(value, list | tuple | set | frozenset):
        return [_slim(item, depth + 1) for item in list(value)[:_MAX_ENTRIES]]
    return short_text(str(value))
