"""The audit table: what was decided and what came of it. Every function runs inside a transaction of the caller's."""

import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from engine.facts.timestamps import Micros
from engine.journal.records import AuditRow, Bounds

_COLUMNS = "at, kind, verdict, rule, key, activation, action, target, reason, detail"
_MAX_TEXT = 4096
"""Characters kept of one text: an error message is cut here, not a megabyte of it repeated with every attempt."""

_MAX_DETAIL = 16 * 1024
"""Characters of one entry's detail. An ordinary one has some 2,000."""
_SLIM_TEXT = 300
_SLIM_ENTRIES = 24
_SLIM_DEPTH = 5
"""What is left of texts, maps and lists of a detail that is too long."""
_SIZE_CHECKED_EVERY = 64
"""Entries; the check is three PRAGMAs that read the file's header."""


@dataclass(frozen=True, slots=True)
class AuditQuery:
    """Which entries; what is None is not asked for. `since` and `until` are inclusive."""

    rule: str | None = None
    key: str | None = None
    activation: str | None = None
    action: str | None = None
    target: str | None = None
    since: Micros | None = None
    until: Micros | None = None


def _text(value: str) -> str:
    """As SQLite can keep it: valid UTF-8, bounded."""
    if len(value) > _MAX_TEXT:
        value = value[: _MAX_TEXT - 1] + "…"
    return value if value.isascii() else value.encode("utf-8", "replace").decode()


def append(connection: sqlite3.Connection, rows: Iterable[AuditRow], bounds: Bounds) -> None:
    """Add entries, then let go what is too old or too much."""
    last = None
    for row in rows:
        cursor = connection.execute(
            f"INSERT INTO audit ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608  a constant
            (
                row.at,
                _text(row.kind),
                _text(row.verdict),
                _text(row.rule),
                _text(row.key),
                _text(row.activation),
                _text(row.action),
                _text(row.target),
                _text(row.reason),
                _detail_text(row.detail),
            ),
        )
        last = cursor.lastrowid
        if last is not None and last % _SIZE_CHECKED_EVERY == 0:
            _keep_to_size(connection, last, bounds)
    if last is not None:
        # One writer gives ids without gaps, so what is left are at most so many.
        connection.execute("DELETE FROM audit WHERE id <= ?", (last - bounds.audit_rows,))


def _keep_to_size(connection: sqlite3.Connection, last: int, bounds: Bounds) -> None:
    """Let the oldest twentieth go while the file is too large; its pages are used again, so the file grows no further."""
    pages, free, size = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    if (pages - free) * size > bounds.file_bytes:
        (first,) = connection.execute("SELECT min(id) FROM audit").fetchone()
        connection.execute("DELETE FROM audit WHERE id <= ?", (first + max(_SIZE_CHECKED_EVERY, (last - first) // 20),))


def _detail_text(detail: Mapping[str, Any]) -> str:
    """As JSON of bounded length: a container with 200 labels of 4 KiB, told at each attempt, must not fill the disk."""
    text = json.dumps(dict(detail), default=str)
    if len(text) <= _MAX_DETAIL:
        return text
    slim = {name: _slim(value, 0) for name, value in detail.items()}
    for evidence in (3, 1, 0):
        if isinstance(slim.get("evidence"), list):
            slim["evidence"] = slim["evidence"][:evidence]
        text = json.dumps({**slim, "cut": True}, default=str)
        if len(text) <= _MAX_DETAIL:
            return text
    return json.dumps({"job": str(detail.get("job", ""))[:200], "cut": True})


def _slim(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return value if len(value) <= _SLIM_TEXT else value[: _SLIM_TEXT - 1] + "…"
    if isinstance(value, Mapping):
        few = list(value.items())[:_SLIM_ENTRIES]
        return {str(name)[:_SLIM_TEXT]: _slim(one, depth + 1) for name, one in few} if depth < _SLIM_DEPTH else "…"
    if isinstance(value, list | tuple):
        return [_slim(one, depth + 1) for one in value[:_SLIM_ENTRIES]] if depth < _SLIM_DEPTH else "…"
    return value


def read(connection: sqlite3.Connection, query: AuditQuery, limit: int) -> list[AuditRow]:
    """The newest `limit` entries that match, oldest of them first."""
    conditions = {
        "rule = ?": query.rule,
        "key = ?": query.key,
        "activation = ?": query.activation,
        "action = ?": query.action,
        "target = ?": query.target,
        "at >= ?": query.since,
        "at <= ?": query.until,
    }
    asked = {condition: value for condition, value in conditions.items() if value is not None}
    where = " AND ".join(asked) or "1"
    found = connection.execute(
        f"SELECT {_COLUMNS} FROM audit WHERE {where} ORDER BY id DESC LIMIT ?",  # noqa: S608  constants above
        (*(_text(value) if isinstance(value, str) else value for value in asked.values()), limit),
    ).fetchall()
    return [
        AuditRow(
            at=at,
            kind=kind,
            verdict=verdict,
            rule=rule,
            key=key,
            activation=activation,
            action=action,
            target=target,
            reason=reason,
            detail=_detail(detail),
        )
        for at, kind, verdict, rule, key, activation, action, target, reason, detail in reversed(found)
    ]


def _detail(text: object) -> dict[str, Any]:
    """As it was written; empty for a damaged one, so that the others can be read."""
    try:
        found = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        found = None
    return found if isinstance(found, dict) else {}
