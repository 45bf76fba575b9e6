"""The audit table: what was decided and what came of it. Every function runs inside a transaction of the caller's."""

import json
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from engine.facts.timestamps import Micros
from engine.journal.records import AuditRow, Bounds

_COLUMNS = "at, kind, verdict, rule, key, activation, action, target, reason, detail"
_MAX_TEXT = 4096
"""Characters kept of one text: an error message is cut here, not a megabyte of it repeated with every attempt."""


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
    last = newest = None
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
                json.dumps(dict(row.detail), default=str),
            ),
        )
        last = cursor.lastrowid
        newest = row.at if newest is None else max(newest, row.at)
    if last is None or newest is None:
        return
    # One writer gives ids without gaps, so what is left are at most so many.
    connection.execute("DELETE FROM audit WHERE id <= ?", (last - bounds.audit_rows,))
    connection.execute("DELETE FROM audit WHERE at < ?", (newest - bounds.audit_age,))


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
