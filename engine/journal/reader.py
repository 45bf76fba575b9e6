"""Reads a journal that another process writes: for `explain` and `status`. Never writes, and never waits for the writer."""

import sqlite3
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Self

from engine.errors import JournalError
from engine.journal import audit, outbox
from engine.journal.audit import AuditQuery
from engine.journal.records import AuditRow

_BUSY_S = 2.0
"""In WAL mode a reader waits for nobody, but for the moment in which a first one sets up the index of the log."""


class JournalReader:
    """A read-only view. Each call sees the newest committed state."""

    def __init__(self, path: Path) -> None:
        """Open it.

        Raises:
            JournalError: there is no journal, or it cannot be read.
        """
        self._path = path
        if not path.exists():
            raise JournalError(f"there is no journal at {path}: has the sidecar run with this state folder?")
        try:
            self._db = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None, timeout=_BUSY_S)
        except sqlite3.Error as error:
            raise JournalError(f"cannot open {path}: {error}") from error

    def audit(self, query: AuditQuery | None = None, *, limit: int = 1000) -> list[AuditRow]:
        """The newest `limit` entries that match, oldest of them first.

        Raises:
            JournalError: it cannot be read.
        """
        try:
            return audit.read(self._db, query or AuditQuery(), limit)
        except sqlite3.Error as error:
            raise JournalError(f"cannot read {self._path}: {error}") from error

    def outbox(self) -> tuple[int, int, Counter[str]]:
        """Rows that wait, their bytes, and what was lost since the journal began, by kind.

        Raises:
            JournalError: it cannot be read.
        """
        try:
            return *outbox.totals(self._db), outbox.lost_so_far(self._db)
        except sqlite3.Error as error:
            raise JournalError(f"cannot read {self._path}: {error}") from error

    def core(self, section: str) -> dict[str, str]:
        """One section of the inference core's state, by key.

        Raises:
            JournalError: it cannot be read.
        """
        return self._texts("SELECT key, value FROM core WHERE section = ?", section.encode("utf-8", "surrogatepass"))

    def memory(self) -> dict[str, str]:
        """The small things remembered.

        Raises:
            JournalError: it cannot be read.
        """
        return self._texts("SELECT name, value FROM memory")

    def close(self) -> None:
        """Let go. May be called twice."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _texts(self, statement: str, *parameters: bytes) -> dict[str, str]:
        try:
            found = self._db.execute(statement, parameters).fetchall()
        except sqlite3.Error as error:
            raise JournalError(f"cannot read {self._path}: {error}") from error
        return {name.decode("utf-8", "surrogatepass"): value.decode("utf-8", "surrogatepass") for name, value in found}
