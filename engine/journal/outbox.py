"""The outbox table and its bounds. Every function runs inside a transaction of the caller's; none decides when to commit."""

import itertools
import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence

from engine.errors import JournalError
from engine.journal.records import Bounds
from engine.ports.broker import OutboxRow, RowKind

_RANK: dict[RowKind, int] = {"fact": 0, "status": 0, "reply": 0, "action": 0, "resolved": 1, "alert": 2}
"""When there is too much, everything that is no alert goes before any alert, and a resolved one before a firing one."""

_AT_ONCE = 500
"""Rows deleted by one statement; SQLite took 999 parameters in its older versions."""


def append(connection: sqlite3.Connection, rows: Iterable[OutboxRow]) -> tuple[tuple[int, ...], int, int]:
    """Add rows; their numbers, how many, and how many bytes.

    Raises:
        JournalError: a row brings a number that is not above all earlier ones.
    """
    seqs: list[int] = []
    added = 0
    last = last_seq(connection)
    for row in rows:
        if row.seq and row.seq <= last:
            raise JournalError(f"outbox number {row.seq} is not above {last}, which was used already")
        topic = row.topic.encode("utf-8", "replace").decode()
        size = len(row.payload) + len(topic)
        cursor = connection.execute(
            "INSERT INTO outbox (seq, topic, payload, kind, retain, expiry_s, size, rank) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (row.seq or None, topic, row.payload, row.kind, row.retain, row.expiry_s, size, _RANK[row.kind]),
        )
        last = cursor.lastrowid or last
        seqs.append(last)
        added += size
    return tuple(seqs), len(seqs), added


def remove(connection: sqlite3.Connection, seqs: Iterable[int]) -> tuple[int, int]:
    """Delete rows; how many there were, and how many bytes."""
    rows = size = 0
    wanted = iter(seqs)
    while some := list(itertools.islice(wanted, _AT_ONCE)):
        where = f"seq IN ({', '.join('?' * len(some))})"
        # Not RETURNING: each row that comes back is a wait of this thread for Python's lock while the event loop is busy.
        found = f"SELECT count(*), coalesce(sum(size), 0) FROM outbox WHERE {where}"  # noqa: S608  question marks
        ((number, bytes_of_them),) = connection.execute(found, some).fetchall()
        connection.execute(f"DELETE FROM outbox WHERE {where}", some)  # noqa: S608  likewise
        rows += number
        size += bytes_of_them
    return rows, size


def shrink(connection: sqlite3.Connection, rows: int, size: int, bounds: Bounds) -> tuple[int, int, Counter[str]]:
    """Delete what is too much; what remains (rows, bytes), and what was lost by kind.

    In this order, each oldest first: what is no alert; alerts that a newer row of the same topic overtook (nobody misses
    those: the newest holds how it stands); resolved alerts; firing alerts.
    """
    lost: Counter[str] = Counter()
    for condition in (
        "rank = 0",
        "rank > 0 AND EXISTS (SELECT 1 FROM outbox AS newer WHERE newer.topic = outbox.topic AND newer.seq > outbox.seq)",
        "rank = 1",
        "rank = 2",
    ):
        while rows > bounds.outbox_rows or size > bounds.outbox_bytes:
            # By hundreds, so that a flood of large rows is not loaded at once to delete a few of them.
            found = connection.execute(
                f"SELECT seq, size, kind FROM outbox WHERE {condition} ORDER BY seq LIMIT 100"  # noqa: S608  constants above
            ).fetchall()
            if not found:
                break
            for seq, bytes_of_it, kind in found:
                if rows <= bounds.outbox_rows and size <= bounds.outbox_bytes:
                    break
                connection.execute("DELETE FROM outbox WHERE seq = ?", (seq,))
                rows -= 1
                size -= bytes_of_it
                lost[kind] += 1
    count_lost(connection, lost)
    return rows, size, lost


def count_lost(connection: sqlite3.Connection, lost: Counter[str]) -> None:
    """Add to the losses since the journal began."""
    connection.executemany(
        "INSERT INTO lost (kind, count) VALUES (?, ?) ON CONFLICT (kind) DO UPDATE SET count = count + excluded.count",
        lost.items(),
    )


def read(connection: sqlite3.Connection, limit: int, after: int) -> list[OutboxRow]:
    """The `limit` oldest rows with a number above `after`."""
    found = connection.execute(
        "SELECT topic, payload, kind, retain, expiry_s, seq FROM outbox WHERE seq > ? ORDER BY seq LIMIT ?", (after, limit)
    )
    return [
        OutboxRow(topic=topic, payload=bytes(payload), kind=kind, retain=bool(retain), expiry_s=expiry_s, seq=seq)
        for topic, payload, kind, retain, expiry_s, seq in found
    ]


def remove_unreadable(connection: sqlite3.Connection) -> Counter[str]:
    """Take out rows that no broker could be sent, which a damaged file has; how many."""
    found = connection.execute(
        "DELETE FROM outbox WHERE typeof(topic) != 'text' OR typeof(payload) != 'blob' OR typeof(kind) != 'text' OR topic = ''"
        " OR typeof(retain) != 'integer' OR typeof(expiry_s) NOT IN ('integer', 'null')"
    )
    return Counter({"outbox": found.rowcount} if found.rowcount > 0 else {})


def last_seq(connection: sqlite3.Connection) -> int:
    """The highest number ever used, also by rows that are gone."""
    found: Sequence[int] | None = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'outbox'").fetchone()
    return found[0] if found else 0


def totals(connection: sqlite3.Connection) -> tuple[int, int]:
    """How many rows wait, and how many bytes they have."""
    rows, size = connection.execute("SELECT count(*), coalesce(sum(size), 0) FROM outbox").fetchone()
    return rows, size


def lost_so_far(connection: sqlite3.Connection) -> Counter[str]:
    """Rows lost since the journal began, by kind."""
    found = connection.execute("SELECT kind, count FROM lost WHERE typeof(kind) = 'text' AND typeof(count) = 'integer'")
    return Counter(dict(found.fetchall()))
