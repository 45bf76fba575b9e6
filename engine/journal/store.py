"""The journal: opens, checks, commits, reads. Synchronous, and without a view on what it keeps.

Durability, in the words of https://www.sqlite.org/pragma.html#pragma_synchronous: in WAL mode with `synchronous=FULL` the log is
synced (fsync) at each commit, so that a committed transaction survives a power failure; with NORMAL it survives the death of the
process, but a power failure may roll back the last ones (always a suffix: what is left is a state that existed). So what precedes
an act or a message is committed with FULL: else a host that loses power would do the same thing twice, or number a second message
as the first. What is merely repeated when lost (an acknowledgement, a cursor) may be committed with NORMAL: `Batch.durable`.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import structlog

from engine.errors import JournalDamagedError, JournalError, JournalUnavailableError
from engine.facts.timestamps import Micros, from_micros
from engine.journal import audit, outbox, schema
from engine.journal.audit import AuditQuery
from engine.journal.files import WriterLock, damage, disk_error, is_damage, keep_private, move_aside
from engine.journal.records import AuditRow, Batch, Bounds, Committed, CoreKey, JournalState
from engine.ports.broker import OutboxRow

_log = structlog.get_logger(__name__)

_LOG_BYTES = 16 * 1024 * 1024
"""The write-ahead log is cut back to this after a checkpoint: a large batch would leave it large for ever."""

_BUSY_S = 5.0
"""How long to wait for another process that holds a lock for a moment (a reader that recovers the log, a backup)."""


_SMALLEST = 512
"""Bytes: SQLite's smallest page. It takes a shorter file for a new one, without a word; an empty one is new indeed."""


def _pack(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _unpack(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")


def _unpacked(row: tuple[object, ...]) -> list[str] | None:
    """The texts of a row; None when one of them is no text: one damaged value must not keep the sidecar from starting."""
    try:
        return [_unpack(value) for value in row if isinstance(value, bytes)] if all(isinstance(it, bytes) for it in row) else None
    except UnicodeDecodeError:
        return None


_DISK_CODES = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN})
"""What the disk is to blame for (https://www.sqlite.org/rescode.html)."""


def _as_journal_error(path: Path, doing: str, error: sqlite3.Error) -> JournalError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    what = f"{path.parent} is full" if code == sqlite3.SQLITE_FULL else str(error)
    text = f"cannot {doing} the journal {path}: {what}"
    if is_damage(error):
        return JournalDamagedError(text)
    return JournalUnavailableError(text) if code in _DISK_CODES else JournalError(text)


class Journal:
    """One SQLite file and the right to write it. Any thread may call it, one at a time."""

    def __init__(
        self,
        path: Path,
        connection: sqlite3.Connection,
        lock: WriterLock | None,
        bounds: Bounds,
        recovered: str | None = None,
        *,
        in_memory_because: str | None = None,
    ) -> None:
        """Use `open`, or `in_memory`."""
        self.path = path
        self.in_memory_because = in_memory_because
        """Why it is in no file, None when it is in one."""
        self.recovered = recovered
        self._db = connection
        self._lock = lock
        self._bounds = bounds
        self._full: bool | None = None
        self._rows, self._bytes = outbox.totals(connection)
        self._last_seq = outbox.last_seq(connection)

    @classmethod
    def open(cls, path: Path, *, bounds: Bounds | None = None, now: Micros) -> Self:
        """Open the journal, or begin one; its folder is made when missing.

        A damaged file is moved aside to `NAME.damaged-TIME` and a fresh one is begun: the sidecar is more use without its past
        than not at all. That is logged, and stands in `recovered`.

        Args:
            path: the file.
            bounds: how much to keep.
            now: microseconds since the epoch. A fresh outbox is numbered from the milliseconds of this
                moment on, so that numbers rise and none is used again even after a journal was lost.

        Raises:
            JournalError: another process writes it, a newer version or another program wrote it, or the disk refuses.
        """
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise disk_error(f"cannot make the folder {path.parent}: {error.strerror}", error) from error
        lock = WriterLock(path.with_name(path.name + ".lock"))
        try:
            connection, recovered = _open_or_begin(path, now)
            return cls(path, connection, lock, bounds or Bounds(), recovered)
        except sqlite3.Error as error:
            lock.release()
            raise _as_journal_error(path, "open", error) from error
        except BaseException:
            lock.release()
            raise

    @classmethod
    def in_memory(cls, because: str, *, bounds: Bounds | None = None, now: Micros) -> Self:
        """A journal that ends with the process: for as long as no file can be written.

        Args:
            because: why.
            bounds: how much to keep.
            now: as for `open`.
        """
        connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        schema.migrate(connection, 0, first_seq=now // 1000)
        return cls(Path(":memory:"), connection, None, bounds or Bounds(), in_memory_because=because)

    @property
    def last_seq(self) -> int:
        """The highest outbox number ever used. Who numbers rows itself goes on from here."""
        return self._last_seq

    @property
    def depth(self) -> tuple[int, int]:
        """Rows that wait in the outbox, and their bytes."""
        return self._rows, self._bytes

    def load(self) -> JournalState:
        """Everything a restart starts from.

        Raises:
            JournalError: it cannot be read.
        """
        try:
            unreadable: Counter[str] = Counter()
            core: dict[CoreKey, str] = {}
            for row in self._db.execute("SELECT section, key, value FROM core"):
                texts = _unpacked(row)
                if texts is None:
                    unreadable["core"] += 1
                else:
                    core[texts[0], texts[1]] = texts[2]
            return JournalState(
                cursors=self._map("cursors", unreadable),
                core=core,
                retries=self._map("retries", unreadable),
                memory=self._map("memory", unreadable),
                last_seq=self._last_seq,
                outbox_rows=self._rows,
                outbox_bytes=self._bytes,
                lost=outbox.lost_so_far(self._db),
                recovered=self.recovered,
                unreadable=unreadable + outbox.remove_unreadable(self._db),
            )
        except sqlite3.Error as error:
            raise _as_journal_error(self.path, "read", error) from error

    def commit(self, batch: Batch) -> Committed:
        """Write the batch in one transaction: afterwards all of it is kept, or after an error none.

        Raises:
            JournalError: the disk is full or refuses, or an outbox number is not above all earlier ones. The journal stays
                usable: the same batch may be tried again.
        """
        if not batch:
            return Committed()
        try:
            if batch.durable is not self._full:
                self._db.execute(f"PRAGMA synchronous = {'FULL' if batch.durable else 'NORMAL'}")
                self._full = batch.durable
            self._db.execute("BEGIN IMMEDIATE")
            done, rows, size = self._write(batch)
            self._db.execute("COMMIT")
        except BaseException as error:
            self._roll_back()
            if isinstance(error, sqlite3.Error):
                raise _as_journal_error(self.path, "write", error) from error
            raise
        self._rows, self._bytes = rows, size
        self._last_seq = max(self._last_seq, *done.seqs) if done.seqs else self._last_seq
        return done

    def outbox(self, limit: int, *, after: int = 0) -> list[OutboxRow]:
        """The `limit` oldest waiting rows with a number above `after`.

        Raises:
            JournalError: it cannot be read.
        """
        try:
            return outbox.read(self._db, limit, after)
        except sqlite3.Error as error:
            raise _as_journal_error(self.path, "read", error) from error

    def audit(self, query: AuditQuery | None = None, *, limit: int = 1000) -> list[AuditRow]:
        """The newest `limit` entries that match, oldest of them first.

        Raises:
            JournalError: it cannot be read.
        """
        try:
            return audit.read(self._db, query or AuditQuery(), limit)
        except sqlite3.Error as error:
            raise _as_journal_error(self.path, "read", error) from error

    def close(self) -> None:
        """Fold the log into the file and let go. May be called twice."""
        self._db.close()
        if self._lock is not None:
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _write(self, batch: Batch) -> tuple[Committed, int, int]:
        """Everything of the batch; what was done, and how many rows and bytes the outbox then has."""
        db = self._db
        replaced: Counter[str] = Counter()
        if batch.replaces:
            replaced.update(dict(db.execute("SELECT kind, count(*) FROM outbox GROUP BY kind").fetchall()))
            for table in ("cursors", "retries", "memory", "core", "outbox"):
                db.execute(f"DELETE FROM {table}")  # noqa: S608  a name from this list
            self._rows, self._bytes = 0, 0
            # Messages were numbered before it was known what the file has; those that come are above all of them again.
            first = min((row.seq for row in batch.outbox if row.seq), default=self._last_seq + 1)
            db.execute("UPDATE sqlite_sequence SET seq = min(seq, ?) WHERE name = 'outbox'", (first - 1,))
        self._put("cursors", batch.cursors)
        self._delete("retries", batch.retries_deletes)
        self._put("retries", batch.retries_puts)
        self._put("memory", batch.memory)
        db.executemany(
            "DELETE FROM core WHERE section = ? AND key = ?",
            ((_pack(section), _pack(key)) for section, key in batch.core_deletes),
        )
        db.executemany(
            "INSERT OR REPLACE INTO core (section, key, value) VALUES (?, ?, ?)",
            ((_pack(section), _pack(key), _pack(text)) for (section, key), text in batch.core_puts.items()),
        )
        gone_rows, gone_bytes = outbox.remove(db, batch.outbox_done)
        seqs, new_rows, new_bytes = outbox.append(db, batch.outbox)
        rows, size, lost = outbox.shrink(
            db, self._rows - gone_rows + new_rows, self._bytes - gone_bytes + new_bytes, self._bounds
        )
        audit.append(db, batch.audit, self._bounds)
        return Committed(seqs, lost + replaced), rows, size

    def _map(self, table: str, unreadable: Counter[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        for row in self._db.execute(f"SELECT name, value FROM {table}"):  # noqa: S608  a name from this module
            texts = _unpacked(row)
            if texts is None:
                unreadable[table] += 1
            else:
                found[texts[0]] = texts[1]
        return found

    def _put(self, table: str, entries: Mapping[str, str]) -> None:
        self._db.executemany(
            f"INSERT OR REPLACE INTO {table} (name, value) VALUES (?, ?)",  # noqa: S608  a name from this module
            ((_pack(name), _pack(value)) for name, value in entries.items()),
        )

    def _delete(self, table: str, names: Iterable[str]) -> None:
        self._db.executemany(
            f"DELETE FROM {table} WHERE name = ?",  # noqa: S608  a name from this module
            ((_pack(name),) for name in names),
        )

    def _roll_back(self) -> None:
        """After some errors SQLite has rolled back by itself already (https://www.sqlite.org/lang_transaction.html)."""
        if self._db.in_transaction:
            try:
                self._db.execute("ROLLBACK")
            except sqlite3.Error as error:
                _log.warning("the journal could not roll back", action="journal_rollback", error=str(error))


def _open_or_begin(path: Path, now: Micros) -> tuple[sqlite3.Connection, str | None]:
    """A connection ready for use; and a sentence, if what was there had to be moved aside."""
    connection, fault = _try_open(path, now)
    if connection is not None:
        return connection, None
    aside = move_aside(path, from_micros(now).strftime("%Y%m%dT%H%M%S.%fZ"))
    recovered = f"the journal was damaged ({fault}): it is kept as {aside.name}, and a fresh one was begun"
    _log.critical(recovered, action="journal_recovered", path=str(path))
    connection, fault = _try_open(path, now)
    if connection is None:
        raise JournalError(f"a fresh journal at {path} is damaged at once ({fault}): is the disk sound?")
    return connection, recovered


def _try_open(path: Path, now: Micros) -> tuple[sqlite3.Connection | None, str]:
    """A connection that is ready for use; or None, and what is wrong with the file."""
    if path.is_file() and 0 < path.stat().st_size < _SMALLEST:
        return None, f"it has {path.stat().st_size} bytes"
    # One thread at a time is the caller's business: it opens here and works on a thread of its own.
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=_BUSY_S)
    try:
        fault = damage(connection)
        if fault is None:
            version = schema.check(connection)  # before anything is changed in a file that may be another's
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA journal_size_limit = {_LOG_BYTES}")
            connection.execute("PRAGMA temp_store = MEMORY")
            schema.migrate(connection, version, first_seq=now // 1000)
            keep_private(path)
            return connection, ""
    except sqlite3.Error as error:
        connection.close()
        if is_damage(error):
            return None, str(error)
        raise
    except BaseException:
        connection.close()
        raise
    connection.close()
    return None, fault
