"""Entries of journald as `journalctl -o json` prints them (systemd.journal-fields(7), JOURNAL EXPORT FORMATS). Pure.

A field is a text; a list of numbers, its bytes, where it is not printable UTF-8; null where it was too large to be printed; a
list of those where an entry has the field more than once.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from connectors.sources.proc import container_of
from connectors.sources.text import decode, one_line
from engine.facts.timestamps import from_micros

_CONTAINER_FIELDS = ("CONTAINER_ID", "CONTAINER_ID_FULL", "CONTAINER_NAME")
"""dockerd's journald log driver puts these beside what a container prints. Such entries bear dockerd's unit, because dockerd
sends them; they are the words of the container, and no evidence."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry."""

    cursor: str
    at: datetime
    text: str | None
    """None when it has no message, or one that cannot be read."""
    damaged: bool
    """The message was not valid UTF-8, held NUL bytes, or could not be read at all."""
    by_kernel: bool
    """The kernel itself said it; a process that writes to /dev/kmsg gets a facility above 0."""
    of_container: bool
    """A container printed it."""
    own_unit: str
    """The unit whose own process wrote it to its standard output or error, by journald's trusted fields; empty for all else: what
    anybody may send (dockerd forwards what containers print, by its log driver `syslog` too), what others say about a unit."""


def parse_entry(line: bytes) -> Entry:
    """An entry from its line.

    Raises:
        ValueError: it is none: truncated, no object, or without cursor or time.
    """
    try:
        data = json.loads(line.decode(errors="replace"))
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(data, dict):
        raise ValueError("no JSON object")  # noqa: TRY004 -- it is the text that is wrong, not a caller's argument
    cursor = data.get("__CURSOR")
    if not isinstance(cursor, str):
        raise ValueError("no cursor")  # noqa: TRY004 -- as above
    message = data.get("MESSAGE")
    text, damaged = _text(message)
    return Entry(
        cursor=cursor,
        at=_moment(data),
        text=text,
        damaged=damaged,
        by_kernel=data.get("_TRANSPORT") == "kernel" and data.get("SYSLOG_FACILITY") == "0",
        of_container=any(name in data for name in _CONTAINER_FIELDS),
        own_unit=_own_unit(data),
    )


def _own_unit(data: dict[str, Any]) -> str:
    unit, cgroup = data.get("_SYSTEMD_UNIT"), data.get("_SYSTEMD_CGROUP", "")
    if data.get("_TRANSPORT") != "stdout" or not isinstance(unit, str) or not isinstance(cgroup, str):
        return ""
    # A container below the unit's cgroup is no process of the unit's own.
    return "" if container_of(f"0::{cgroup}".encode("utf-8", "replace")) is not None else unit


def _moment(data: dict[str, Any]) -> datetime:
    """When it was said.

    journald stamps what it receives; the kernel's records may lie in the ring for a while before (at boot, say), so their own
    stamp, of the same clock, is better.
    """
    received = _micros(data, "__REALTIME_TIMESTAMP")
    if data.get("_TRANSPORT") == "kernel" and "_SOURCE_MONOTONIC_TIMESTAMP" in data:
        waited = _micros(data, "__MONOTONIC_TIMESTAMP") - _micros(data, "_SOURCE_MONOTONIC_TIMESTAMP")
        return from_micros(received - max(0, waited))
    return from_micros(received)


def _micros(data: dict[str, Any], name: str) -> int:
    value = data.get(name)
    if not isinstance(value, str) or not value.isdecimal() or len(value) > 18:  # noqa: PLR2004 -- 18 digits: year 33,658
        raise ValueError(f"no {name}")
    return int(value)


def _text(value: object) -> tuple[str | None, bool]:
    """A field as one line of text, and whether it was damaged."""
    if isinstance(value, list) and value and not all(isinstance(item, int) for item in value):
        value = value[0]  # said more than once: the first is what journalctl's own short form shows
    if isinstance(value, list):
        try:
            text, damaged = decode(bytes(value))
        except (ValueError, TypeError):
            return None, True
    elif isinstance(value, str):
        text, damaged = decode(value.encode(errors="replace"))
    else:
        return None, value is not None
    # One entry is one line: what a stranger put into a message must not begin a line of its own.
    return one_line(text), damaged
