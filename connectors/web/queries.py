"""What the page asks of the fleet, as JSON: filtered, ordered, bounded. Pure: a view and the time in, plain values out."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from engine.facts.timestamps import Micros, rfc3339
from engine.fleet.view import SEVERITIES, AlertView, FleetView, HostView, IncidentView
from engine.messages.timeline import Entry, action_entry, entries_of_alert, in_order, picture

MAX_ROWS: Final = 200
"""Rows of one answer. Nobody reads more at once; the counts are of all, and the search finds the rest."""

MAX_MEMBERS: Final = 100
"""Alerts of one incident that are shown whole."""

CONDITIONS: Final = ("online", "stale", "offline")


@dataclass(frozen=True, slots=True)
class Filter:
    """What a list is narrowed to; as it stands in the page's URL."""

    text: str = ""
    severity: str = ""
    condition: str = ""
    host: str = ""

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Self:
        """From the query part of a URL; what is unknown or overlong narrows nothing."""
        severity, condition = query.get("severity", ""), query.get("condition", "")
        return cls(
            text=query.get("q", "")[:200].casefold().strip(),
            severity=severity if severity in SEVERITIES else "",
            condition=condition if condition in CONDITIONS else "",
            host=query.get("host", "")[:255],
        )


def overview(view: FleetView, now: Micros) -> dict[str, Any]:
    """The numbers on top of the page."""
    conditions = Counter(host.condition(now) for host in view.hosts.values())
    return {
        "now": rfc3339(now),
        "severities": view.counts(),
        "hosts": {condition: conditions[condition] for condition in CONDITIONS},
        "frozen": sum(host.data.frozen for host in view.hosts.values()),
        "versions": dict(Counter(host.data.version for host in view.hosts.values()).most_common(5)),
    }


def incidents(view: FleetView, wanted: Filter) -> dict[str, Any]:
    """Incidents, the worst first, then the newest."""
    found = [incident for incident in view.incidents() if _incident_matches(incident, wanted)]
    found.sort(key=lambda incident: (SEVERITIES.index(incident.severity), -incident.starts_at, incident.id))
    return {"total": len(found), "rows": [_incident_row(incident) for incident in found[:MAX_ROWS]]}


def hosts(view: FleetView, wanted: Filter, now: Micros) -> dict[str, Any]:
    """Hosts: those that are away first, then by what fires, then by name."""
    found = [
        host
        for host in view.hosts.values()
        if wanted.condition in ("", host.condition(now)) and (not wanted.text or wanted.text in host.host.casefold())
    ]
    found.sort(key=lambda host: (-CONDITIONS.index(host.condition(now)), -host.firing, host.host))
    return {"total": len(found), "rows": [_host_row(host, now) for host in found[:MAX_ROWS]]}


def incident(view: FleetView, ident: str) -> dict[str, Any] | None:
    """Everything about one incident; None when nothing of it fires any more."""
    found = view.incident(ident)
    if found is None:
        return None
    members = found.alerts[:MAX_MEMBERS]
    entries = _entries(view, members)
    return {
        **_incident_row(found),
        "alerts": [_alert(alert) for alert in members],
        "omitted": len(found.alerts) - len(members),
        "picture": picture(entries),
        "entries": [{"at": rfc3339(entry.at), "lane": entry.lane, "tone": entry.tone, "text": entry.text} for entry in entries],
    }


def _entries(view: FleetView, alerts: Iterable[AlertView]) -> list[Entry]:
    """What the messages of the alerts tell, and outcomes of actions on what they are about."""
    entries: list[Entry] = []
    subjects: set[tuple[str, str]] = set()
    for alert in alerts:
        data = alert.data()
        entries += entries_of_alert(data)
        subjects |= {(alert.host, action.target) for action in data.actions}
        subjects |= {(alert.host, str(fact[name])) for fact in data.evidence for name in ("id", "container_id") if fact.get(name)}
    for action in view.actions:
        if (action.host, action.target) in subjects or (action.host, action.container_id or "") in subjects:
            at = round(action.at.timestamp() * 1_000_000)
            entries.append(action_entry(at, action.action, action.target, "done" if action.ok else "failed", action.error or ""))
    return in_order(entries)


def _incident_matches(incident: IncidentView, wanted: Filter) -> bool:
    if wanted.severity and incident.severity != wanted.severity:
        return False
    if wanted.host and wanted.host not in incident.hosts:
        return False
    return not wanted.text or any(
        wanted.text in text.casefold() for alert in incident.alerts for text in (alert.host, alert.rule, alert.key, alert.summary)
    )


def _incident_row(incident: IncidentView) -> dict[str, Any]:
    worst = incident.alerts[0]
    acknowledged = {alert.acknowledged_by for alert in incident.alerts}
    return {
        "id": incident.id,
        "severity": incident.severity,
        "title": worst.title,
        "summary": worst.summary,
        "rule": worst.rule,
        "hosts": list(incident.hosts[:5]),
        "hosts_total": len(incident.hosts),
        "alerts_total": len(incident.alerts),
        "starts_at": rfc3339(incident.starts_at),
        "acknowledged_by": ", ".join(sorted(acknowledged)) if "" not in acknowledged else "",
    }


def _host_row(host: HostView, now: Micros) -> dict[str, Any]:
    data = host.data
    return {
        "host": host.host,
        "condition": host.condition(now),
        "version": data.version,
        "mode": data.mode or "",
        "frozen": data.frozen,
        "rules_version": data.rules_version,
        "firing": host.firing,
        "outbox_depth": data.outbox_depth or 0,
        "problems": list(data.troubles[:5]),
        "seen_at": rfc3339(host.seen_at),
    }


def _alert(alert: AlertView) -> dict[str, Any]:
    data = alert.data()
    return {
        "host": alert.host,
        "rule": alert.rule,
        "key": alert.key,
        "severity": alert.severity,
        "title": alert.title,
        "summary": alert.summary,
        "description": data.annotations.get("description", ""),
        "next": data.annotations.get("next", ""),
        "count": alert.count,
        "starts_at": rfc3339(alert.starts_at),
        "updated_at": rfc3339(alert.updated_at),
        "acknowledged_by": alert.acknowledged_by,
        "runbook_url": alert.runbook_url,
        "rules_version": alert.rules_version,
        "evidence": data.evidence,
        "evidence_omitted": data.evidence_omitted,
        "actions": [action.model_dump(mode="json") for action in data.actions],
    }
