"""The journal's files on disk: who may write, and what becomes of one that is damaged. Knows no tables."""

import errno
import fcntl
import os
import sqlite3
from pathlib import Path

from engine.errors import JournalError, JournalUnavailableError

_KEPT_DAMAGED = 3
"""How many damaged files are kept for a person to look at; older ones go, so that a failing disk is not filled with copies."""

_COMPANIONS = ("", "-wal", "-shm")
"""SQLite's files: the database, its write-ahead log, and the index of that, shared between processes."""


_DISK_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO})
"""Full, over a quota, read-only, failing: nothing that whoever set the sidecar up did wrong."""


def disk_error(text: str, error: OSError) -> JournalError:
    """The error of a call to the system: `JournalUnavailableError` where the disk is at fault."""
    return JournalUnavailableError(text) if error.errno in _DISK_ERRORS else JournalError(text)


class WriterLock:
    """One writer per journal, also across processes: a lock that the kernel lets go when its holder dies (flock(2)).

    SQLite's own locks would let two sidecars take turns, and each would act on what the other decided.
    """

    def __init__(self, path: Path) -> None:
        """Take it.

        Raises:
            JournalError: another process has it, it is a link, or the file cannot be written.
        """
        try:
            # What a link leads to would be truncated.
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise JournalError(f"{path} is a symbolic link, which is not followed: remove it") from error
            raise disk_error(f"cannot write {path}: {error.strerror}", error) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(self._descriptor, 32).decode(errors="replace").strip() or "unknown"
            os.close(self._descriptor)
            raise JournalError(f"{path}: another dockwarden (process {holder}) writes this journal") from error
        try:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)
        except OSError:
            pass  # a full disk: the lock holds all the same, only the name of its holder is missing

    def release(self) -> None:
        """Let it go. May be called twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def damage(connection: sqlite3.Connection) -> str | None:
    """What is wrong with the file, None if nothing is.

    `quick_check` reads every page and checks the trees, without comparing indexes with tables: 18 ms for 32 MB in the page cache.
    """
    try:
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise
        return str(error)
    return None if verdict == "ok" else str(verdict)


def is_damage(error: sqlite3.Error) -> bool:
    """True if the file itself is broken (SQLITE_CORRUPT, SQLITE_NOTADB), not the disk, the permissions or the moment."""
    # The low byte is the primary result code (https://www.sqlite.org/rescode.html).
    return (getattr(error, "sqlite_errorcode", 0) & 0xFF) in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def keep_private(path: Path) -> None:
    """For us alone, with what SQLite keeps beside it: the journal names what runs on this host."""
    for companion in _COMPANIONS:
        file = path.with_name(path.name + companion)
        if file.exists():
            file.chmod(0o600)


def move_aside(path: Path, stamp: str) -> Path:
    """Rename the journal's files to `NAME.damaged-STAMP`; the oldest such beyond three go.

    Raises:
        JournalError: they cannot be renamed.
    """
    target = path.with_name(f"{path.name}.damaged-{stamp}")
    try:
        for companion in _COMPANIONS:
            source = path.with_name(path.name + companion)
            if source.exists():
                source.replace(target.with_name(target.name + companion))
        # The stamp sorts by time.
        kept = sorted(found for found in path.parent.glob(f"{path.name}.damaged-*") if not found.name.endswith(("-wal", "-shm")))
        for old in kept[:-_KEPT_DAMAGED]:
            for companion in _COMPANIONS:
                old.with_name(old.name + companion).unlink(missing_ok=True)
    except OSError as error:
        raise JournalError(f"{path} is damaged and cannot be moved aside: {error}") from error
    return target
