"""What people read about an alert: one line, a link, a few details. Pure.

Full container ids mean nothing to people: they are replaced by the container's name where the evidence has it, else by the
twelve digits that `docker ps` shows.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from connectors.consumers.alert import Alert

MAX_LINE = 1024
"""Characters; PagerDuty's Events API v2 takes no more in a summary."""

_FULL_ID = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_SHOWN = 12
"""Digits of an id that Docker shows."""
_TITLE = 120
"""Characters of a title: more does not fit into a notification on a phone."""
_ID_FIELDS = (("id", "name"), ("container_id", "container_name"), ("container_id", "name"), ("holder_id", "holder_name"))
"""Where evidence names a container: field of the id, field of the name."""


def summary_line(alert: Alert, limit: int = MAX_LINE) -> str:
    """Severity (or TEST, RESOLVED), short title, host, container name."""
    parts = [f"[{status_word(alert)}] {title(alert)}", alert.host]
    container = container_name(alert)
    if container:
        parts.append(container)
    return cut(" | ".join(parts), limit)


def status_word(alert: Alert) -> str:
    """The word in front: TEST, RESOLVED, or the severity in capitals."""
    if alert.test:
        return "TEST"
    return alert.severity.upper() if alert.firing else "RESOLVED"


def title(alert: Alert) -> str:
    """The rule's title, or its id in words."""
    text = alert.annotations.get("title") or alert.rule.replace("-", " ").capitalize()
    return cut(readable(text, names_by_id(alert)), _TITLE)


def details(alert: Alert, limit: int = MAX_LINE) -> str:
    """The alert's own summary with names in place of ids."""
    return cut(readable(str(alert.data.get("summary") or ""), names_by_id(alert)), limit)


def container_name(alert: Alert) -> str:
    """Name of the container that the alert is about; what its key says where it is about something else; may be empty."""
    named = alert.labels.get("container") or alert.labels.get("container_name")
    if named:
        return _plain_name(named)
    names = names_by_id(alert)
    if alert.key in names:
        return names[alert.key]
    if alert.key:
        return cut(readable(alert.key, names), _TITLE)
    return next(iter(names.values()), "") if len(set(names.values())) == 1 else ""


def names_by_id(alert: Alert) -> dict[str, str]:
    """Names of containers in the evidence, by id."""
    names: dict[str, str] = {}
    for fact in _evidence(alert):
        for id_field, name_field in _ID_FIELDS:
            number, name = fact.get(id_field), fact.get(name_field)
            if isinstance(number, str) and isinstance(name, str) and number and name and "container" in _about(fact, id_field):
                names.setdefault(number, _plain_name(name))
    return names


def readable(text: str, names: Mapping[str, str]) -> str:
    """The text with each full id replaced by its name, or by its first twelve digits."""
    return _FULL_ID.sub(lambda found: names.get(found[0]) or found[0][:_SHOWN], text)


def runbook_link(alert: Alert, base: str) -> str | None:
    """Where the runbook can be read: a rule names a URL, or a file of its rules repository, which stands below `base`."""
    url = str(alert.data.get("runbook_url") or "")
    if url.startswith(("https://", "http://")):
        return url
    return f"{base.rstrip('/')}/{url}" if url and base else None


def defused(text: str) -> str:
    """The text without mentions: a container named `@everyone` or `<!channel>` must not wake everybody up.

    A zero-width space behind the sign ends what every chat service looks for; people read the same text.
    """
    return re.sub(r"(@|<!|<@|<#)(?=\S)", "\\1\u200b", text)


def cut(text: str, limit: int) -> str:
    """At most `limit` characters; what is cut ends with an ellipsis."""
    return text if len(text) <= limit else f"{text[: limit - 1].rstrip()}…"


def _evidence(alert: Alert) -> Iterator[Mapping[str, Any]]:
    evidence = alert.data.get("evidence")
    for fact in evidence if isinstance(evidence, list) else ():
        if isinstance(fact, Mapping):
            yield fact


def _about(fact: Mapping[str, Any], id_field: str) -> str:
    """`id` alone is a container's only in facts about containers, or in a count of them (that have no kind)."""
    return str(fact.get("fact") or "container") if id_field == "id" else "container"


def _plain_name(name: str) -> str:
    """Docker's API writes names with a slash in front."""
    return cut(name.removeprefix("/"), _TITLE)
