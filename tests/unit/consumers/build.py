"""Alerts as consumers read them, made by the sidecar's own encoder."""

from typing import Any, Literal

from connectors.consumers.alert import Alert, read_alert
from engine.facts.outcomes import Severity
from engine.messages.cloudevents import alert_event

START = 1_700_000_000_000_000
ID = "5a173ecf39ba" + "0" * 52
Status = Literal["firing", "resolved"]


def payload(
    seq: int = 1,
    status: Status = "firing",
    *,
    key: str = "web",
    severity: Severity = "error",
    rule: str = "restart-loop",
    host: str = "web-7",
    summary: str = "container web died 5 times",
    title: str = "A container dies and is started again and again",
    labels: dict[str, str] | None = None,
    evidence: list[dict[str, Any]] | None = None,
    runbook: str | None = "runbooks/restart-loop.md",
) -> bytes:
    """A message."""
    return alert_event(
        host=host,
        rule=rule,
        key=key,
        status=status,
        severity=severity,
        summary=summary,
        starts_at=START,
        updated_at=START + seq * 1_000_000,
        seq=seq,
        labels=labels or {},
        annotations={"title": title},
        evidence=evidence or (),
        runbook_url=runbook,
    ).payload


def alert(seq: int = 1, status: Status = "firing", **fields: Any) -> Alert:
    """The alert in such a message."""
    read = read_alert(payload(seq, status, **fields))
    assert read is not None
    return read
