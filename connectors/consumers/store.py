"""What a consumer must not forget, in one SQLite file: alerts, threads, and for each receiver a queue and its dead letters.

Synchronous; one thread uses it at a time. A message of the broker is acknowledged only after `commit`, which syncs to the disk
(WAL, synchronous=FULL). Knows no MQTT, no HTTP, and nothing of what a note says but its size.
"""

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from connectors.consumers.notes import Note, merge
from connectors.consumers.records import SCHEMA, VERSION, Changes, ReceiverState, Row
from engine.errors import JournalError

MAX_ALERTS: Final = 50_000
"""Alerts whose newest number is remembered; the one that was received of longest ago goes first."""
MAX_REPLIES: Final = 1_000
DEAD_ROWS: Final = 1_000
"""Dead letters of one receiver; of more the oldest go, and are counted."""

_QUEUE_COLUMNS = "id, receiver, thread, kind, note, size, queued_at, attempts, error"


class Store:
    """The file, opened.

    Args:
        path: the file; its folder is made when missing.
        max_rows: notes that may wait for one receiver; beyond it the oldest become dead letters.
        max_bytes: the same in bytes, also of its dead letters.
    """

    def __init__(self, path: Path, *, max_rows: int, max_bytes: int) -> None:
        """Open it.

        Raises:
            JournalError: it cannot be opened, or a newer version wrote it.
        """
        self.path = path
        self._max_rows = max_rows
        self._max_bytes = max_bytes
        self._in_flight: dict[str, int] = {}
        with self._errors("open"):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Threads take turns: every call goes through one lock or one worker thread of the caller.
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5.0)
            path.chmod(0o600)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
            if version == 0:
                with self._transaction():
                    for statement in SCHEMA.split(";\n"):
                        self._db.execute(statement)
                    self._db.execute(f"PRAGMA user_version = {VERSION}")
            elif version != VERSION:
                self._db.close()
                raise JournalError(
                    f"{path}: written by another version of dockwarden (format {version}, this one knows {VERSION})"
                )

    def close(self) -> None:
        """Let go."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    # -- what was received -----------------------------------------------------------------------------------------------

    def known(self, keys: Iterable[str]) -> dict[str, tuple[int, str]]:
        """Newest number and status of these alerts, where they were received before."""
        with self._errors("read"):
            found = (
                (key, self._db.execute("SELECT seq, status FROM alerts WHERE dedup_key = ?", (key,)).fetchone()) for key in keys
            )
            return {key: (row[0], row[1]) for key, row in found if row is not None}

    def threads(self, receiver: str) -> list[tuple[str, str]]:
        """Threads of a receiver, as they were stored."""
        with self._errors("read"):
            return self._db.execute("SELECT thread, state FROM threads WHERE receiver = ?", (receiver,)).fetchall()

    def hosts(self) -> list[tuple[str, str]]:
        """Hosts, as they were stored."""
        with self._errors("read"):
            return self._db.execute("SELECT host, state FROM hosts").fetchall()

    def commit(self, changes: Changes, now: float) -> None:
        """Store all of it, or after an error none. Afterwards it survives a power failure."""
        with self._errors("write"), self._transaction():
            db = self._db
            db.executemany(
                "INSERT OR REPLACE INTO alerts VALUES (?, ?, ?, ?)",
                ((key, seq, status, now) for key, (seq, status) in changes.alerts.items()),
            )
            if changes.alerts:
                db.execute(
                    "DELETE FROM alerts WHERE dedup_key IN"
                    " (SELECT dedup_key FROM alerts ORDER BY heard_at DESC LIMIT -1 OFFSET ?)",
                    (MAX_ALERTS,),
                )
            for (receiver, thread), state in changes.threads.items():
                if state is None:
                    db.execute("DELETE FROM threads WHERE (receiver, thread) = (?, ?)", (receiver, thread))
                    db.execute("DELETE FROM refs WHERE (receiver, thread) = (?, ?)", (receiver, thread))
                else:
                    db.execute("INSERT OR REPLACE INTO threads VALUES (?, ?, ?)", (receiver, thread, state))
            db.executemany("INSERT OR REPLACE INTO hosts VALUES (?, ?)", changes.hosts.items())
            for receiver, note in changes.notes:
                self._enqueue(receiver, note, now)
            for receiver in {receiver for receiver, _ in changes.notes}:
                self._bound(receiver, now)

    # -- what waits ---------------------------------------------------------------------------------------------------

    def head(self, receiver: str) -> Row | None:
        """The note that waits longest for a receiver; from now on it is in flight, and newer ones are not merged into it."""
        with self._errors("read"):
            row = self._db.execute(
                f"SELECT {_QUEUE_COLUMNS} FROM queue WHERE receiver = ? ORDER BY id LIMIT 1",  # noqa: S608  constant columns
                (receiver,),
            ).fetchone()
        if row is None:
            return None
        self._in_flight[receiver] = row[0]
        return _row(row)

    def taken(self, row: Row, now: float, *, ref: str | None = None, reply: tuple[str, bytes] | None = None) -> None:
        """The receiver has it: it goes from the queue.

        Args:
            row: it.
            now: seconds since the epoch.
            ref: how the receiver names its message, for edits; None: it has no name (any more).
            reply: topic and payload of what is to be published about it.
        """
        with self._errors("write"), self._transaction():
            self._db.execute("DELETE FROM queue WHERE id = ?", (row.id,))
            if ref is None or row.note.kind == "end":
                self._db.execute("DELETE FROM refs WHERE (receiver, thread) = (?, ?)", (row.receiver, row.thread))
            else:
                self._db.execute("INSERT OR REPLACE INTO refs VALUES (?, ?, ?)", (row.receiver, row.thread, ref))
            if reply is not None:
                self._db.execute("INSERT INTO replies (topic, payload) VALUES (?, ?)", reply)
                self._db.execute(
                    "DELETE FROM replies WHERE id NOT IN (SELECT id FROM replies ORDER BY id DESC LIMIT ?)", (MAX_REPLIES,)
                )
            self._receiver(row.receiver)
            self._db.execute(
                "UPDATE receivers SET taken = taken + 1, taken_at = ?, error = '', paused_until = 0 WHERE receiver = ?",
                (now, row.receiver),
            )
        self._in_flight.pop(row.receiver, None)

    def failed(self, row: Row, reason: str, *, paused_until: float) -> None:
        """It was not taken and is tried again; the receiver is left alone until then."""
        with self._errors("write"), self._transaction():
            self._db.execute("UPDATE queue SET attempts = attempts + 1, error = ? WHERE id = ?", (reason, row.id))
            self._receiver(row.receiver)
            self._db.execute(
                "UPDATE receivers SET error = ?, paused_until = ? WHERE receiver = ?", (reason, paused_until, row.receiver)
            )
        self._in_flight.pop(row.receiver, None)

    def refused(self, row: Row, reason: str, now: float) -> None:
        """It will never be taken: it becomes a dead letter."""
        with self._errors("write"), self._transaction():
            self._db.execute("UPDATE queue SET attempts = attempts + 1 WHERE id = ?", (row.id,))
            self._bury([row.id], row.receiver, reason, now)
            self._db.execute("UPDATE receivers SET error = ? WHERE receiver = ?", (reason, row.receiver))
        self._in_flight.pop(row.receiver, None)

    def paused_until(self, receiver: str) -> float:
        """Until when the receiver is to be left alone, in seconds since the epoch."""
        with self._errors("read"):
            row = self._db.execute("SELECT paused_until FROM receivers WHERE receiver = ?", (receiver,)).fetchone()
        return 0.0 if row is None else float(row[0])

    def ref(self, receiver: str, thread: str) -> str | None:
        """How the receiver names its message about a thread."""
        with self._errors("read"):
            row = self._db.execute("SELECT ref FROM refs WHERE (receiver, thread) = (?, ?)", (receiver, thread)).fetchone()
        return None if row is None else str(row[0])

    def replies(self, limit: int = 100) -> list[tuple[int, str, bytes]]:
        """Number, topic and payload of what is to be published."""
        with self._errors("read"):
            return self._db.execute("SELECT id, topic, payload FROM replies ORDER BY id LIMIT ?", (limit,)).fetchall()

    def published(self, number: int) -> None:
        """The broker has a reply."""
        with self._errors("write"):
            self._db.execute("DELETE FROM replies WHERE id = ?", (number,))

    def link(self, *, connected: bool, now: float, error: str = "") -> None:
        """How the connection to the broker stands, for `status`."""
        with self._errors("write"):
            self._db.execute("INSERT OR REPLACE INTO link VALUES (1, ?, ?, ?)", (connected, now, error))

    # -- what operators see and do ------------------------------------------------------------------------------------

    def link_state(self) -> tuple[bool, float, str] | None:
        """Whether the broker is connected, since when, and the last error; None: it never was."""
        with self._errors("read"):
            row = self._db.execute("SELECT connected, since, error FROM link").fetchone()
        return None if row is None else (bool(row[0]), float(row[1]), str(row[2]))

    def receiver_states(self, names: Iterable[str]) -> list[ReceiverState]:
        """How these receivers stand."""
        states = []
        with self._errors("read"):
            for name in names:
                one = self._db.execute
                waiting, size, oldest = one(
                    "SELECT count(*), coalesce(sum(size), 0), min(queued_at) FROM queue WHERE receiver = ?", (name,)
                ).fetchone()
                (dead,) = one("SELECT count(*) FROM dead WHERE receiver = ?", (name,)).fetchone()
                known = one("SELECT taken, taken_at, paused_until, error, lost FROM receivers WHERE receiver = ?", (name,))
                taken, taken_at, paused_until, error, lost = known.fetchone() or (0, None, 0.0, "", 0)
                states.append(
                    ReceiverState(
                        name=name,
                        waiting=waiting,
                        waiting_bytes=size,
                        oldest_at=oldest,
                        dead=dead,
                        taken=taken,
                        taken_at=taken_at,
                        paused_until=paused_until,
                        error=error,
                        lost=lost,
                    )
                )
        return states

    def dead_letters(self, receiver: str | None = None) -> list[Row]:
        """Dead letters, oldest first."""
        with self._errors("read"):
            rows = self._db.execute(
                f"SELECT {_QUEUE_COLUMNS}, died_at FROM dead WHERE ? IS NULL OR receiver = ? ORDER BY id",  # noqa: S608  constant
                (receiver, receiver),
            ).fetchall()
        return [_row(row) for row in rows]

    def retry(self, numbers: Iterable[int]) -> int:
        """Put dead letters back into their queues, at the end; how many there were."""
        count = 0
        with self._errors("write"), self._transaction():
            for number in numbers:
                moved = self._db.execute(
                    "INSERT INTO queue (receiver, thread, kind, note, size, queued_at)"
                    " SELECT receiver, thread, kind, note, size, queued_at FROM dead WHERE id = ?",
                    (number,),
                ).rowcount
                self._db.execute("DELETE FROM dead WHERE id = ?", (number,))
                count += moved
        return count

    def drop(self, numbers: Iterable[int]) -> int:
        """Throw dead letters away; how many there were."""
        with self._errors("write"), self._transaction():
            return sum(self._db.execute("DELETE FROM dead WHERE id = ?", (number,)).rowcount for number in numbers)

    # -- inside -------------------------------------------------------------------------------------------------------

    def _enqueue(self, receiver: str, note: Note, now: float) -> None:
        last = self._db.execute(
            "SELECT id, note FROM queue WHERE receiver = ? AND thread = ? ORDER BY id DESC LIMIT 1", (receiver, note.thread)
        ).fetchone()
        merged = None
        if last is not None and last[0] != self._in_flight.get(receiver):
            merged = merge(Note.from_json(last[1]), note)
        text = (merged or note).to_json()
        size = len(text.encode())
        if last is not None and merged is not None:
            self._db.execute("UPDATE queue SET kind = ?, note = ?, size = ? WHERE id = ?", (merged.kind, text, size, last[0]))
        else:
            self._db.execute(
                "INSERT INTO queue (receiver, thread, kind, note, size, queued_at) VALUES (?, ?, ?, ?, ?, ?)",
                (receiver, note.thread, note.kind, text, size, now),
            )

    def _bound(self, receiver: str, now: float) -> None:
        rows, size = self._db.execute(
            "SELECT count(*), coalesce(sum(size), 0) FROM queue WHERE receiver = ?", (receiver,)
        ).fetchone()
        if rows <= self._max_rows and size <= self._max_bytes:
            return
        oldest = self._db.execute(
            "SELECT id, size FROM queue WHERE receiver = ? AND id != ? ORDER BY id", (receiver, self._in_flight.get(receiver, -1))
        )
        buried = []
        for number, one in oldest.fetchall():
            if rows <= self._max_rows and size <= self._max_bytes:
                break
            buried.append(number)
            rows, size = rows - 1, size - one
        self._bury(buried, receiver, "the queue is full", now)

    def _bury(self, numbers: Iterable[int], receiver: str, reason: str, now: float) -> None:
        for number in numbers:
            self._db.execute(
                "INSERT INTO dead SELECT id, receiver, thread, kind, note, size, queued_at, attempts, ?, ?"
                " FROM queue WHERE id = ?",
                (reason, now, number),
            )
            self._db.execute("DELETE FROM queue WHERE id = ?", (number,))
        self._receiver(receiver)
        rows, size = self._db.execute(
            "SELECT count(*), coalesce(sum(size), 0) FROM dead WHERE receiver = ?", (receiver,)
        ).fetchone()
        if rows <= DEAD_ROWS and size <= self._max_bytes:
            return
        lost = []
        for number, one in self._db.execute("SELECT id, size FROM dead WHERE receiver = ? ORDER BY id", (receiver,)).fetchall():
            if rows <= DEAD_ROWS and size <= self._max_bytes:
                break
            lost.append((number,))
            rows, size = rows - 1, size - one
        self._db.executemany("DELETE FROM dead WHERE id = ?", lost)
        self._db.execute("UPDATE receivers SET lost = lost + ? WHERE receiver = ?", (len(lost), receiver))

    def _receiver(self, name: str) -> None:
        self._db.execute("INSERT OR IGNORE INTO receivers (receiver) VALUES (?)", (name,))

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            raise

    @contextlib.contextmanager
    def _errors(self, doing: str) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise JournalError(f"cannot {doing} the queue file {self.path}: {error}") from error


def _row(columns: tuple[Any, ...]) -> Row:
    number, receiver, thread, kind, note, size, queued_at, attempts, error, *died = columns
    return Row(number, receiver, thread, kind, Note.from_json(note), size, queued_at, attempts, error, died[0] if died else None)
