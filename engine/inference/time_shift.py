"""A core's journal entries, as they are after the host's clock was set: every time in them moved by as much. Pure functions.

What took ten minutes has still taken ten minutes: `for`, `missing`, `within`, ttl and `resolve_after` go on as if nobody had
touched the clock. Times that Docker or a log gave as values (`created_at`, say) stay: Docker goes on giving them so.
"""

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from engine.facts.timestamps import Micros, rfc3339, to_micros
from engine.inference.change_log import encode

Entries = Mapping[tuple[str, str], str]


def shift_entries(entries: Entries, step: Micros) -> dict[tuple[str, str], str]:
    """The entries with their times moved by `step`, into the past where it is negative."""
    return {
        (section, key): text if section == "count" else encode(_SHIFTS[section](json.loads(text), step))
        for (section, key), text in entries.items()
        if section in _SHIFTS or section == "count"
    }


def _clock(content: list[Any], step: Micros) -> list[Any]:
    now, started, seq = content
    return [now + step, None if started is None else started + step, seq]


def _fact(content: list[Any], step: Micros) -> list[Any]:
    seq, supporters, fact = content
    return [seq, supporters, fact | {"at": rfc3339(to_micros(datetime.fromisoformat(fact["at"])) + step)}]


def _window(content: list[Any], step: Micros) -> list[Any]:
    window, key, name, at, *rest = content
    return [window, key, name, at + step, *rest]


def _seen(content: list[Any], step: Micros) -> list[Any]:
    address, key, at = content
    return [address, key, at + step]


def _match(content: list[Any], step: Micros) -> list[Any]:
    match_id, since, *rest = content
    return [match_id, None if since is None else since + step, *rest]


def _alert(content: dict[str, Any], step: Micros) -> dict[str, Any]:
    details = content["details"]
    times = {name: details[name] + step for name in ("starts_at", "updated_at", "ends_at") if details.get(name) is not None}
    ends_at = content["ends_at"]
    return content | {"details": details | times, "ends_at": None if ends_at is None else ends_at + step}


_SHIFTS: dict[str, Callable[[Any, Micros], Any]] = {
    "clock": _clock,
    "fact": _fact,
    "window": _window,
    "seen": _seen,
    "match": _match,
    "alert": _alert,
}
