"""What the queue file holds: its tables, and its rows as values. Does nothing."""

from dataclasses import dataclass, field

from connectors.consumers.notes import Note

VERSION = 1
"""Of the file's format."""
SCHEMA = """
CREATE TABLE alerts (
    dedup_key TEXT PRIMARY KEY, seq INTEGER NOT NULL, status TEXT NOT NULL, heard_at REAL NOT NULL) WITHOUT ROWID;
CREATE INDEX alerts_by_age ON alerts (heard_at);
CREATE TABLE threads (
    receiver TEXT NOT NULL, thread TEXT NOT NULL, state TEXT NOT NULL, PRIMARY KEY (receiver, thread)) WITHOUT ROWID;
CREATE TABLE queue (
    id INTEGER PRIMARY KEY AUTOINCREMENT, receiver TEXT NOT NULL, thread TEXT NOT NULL, kind TEXT NOT NULL, note TEXT NOT NULL,
    size INTEGER NOT NULL, queued_at REAL NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, error TEXT NOT NULL DEFAULT '');
CREATE INDEX queue_by_receiver ON queue (receiver, id);
CREATE INDEX queue_by_thread ON queue (receiver, thread, id);
CREATE TABLE dead (
    id INTEGER PRIMARY KEY, receiver TEXT NOT NULL, thread TEXT NOT NULL, kind TEXT NOT NULL, note TEXT NOT NULL,
    size INTEGER NOT NULL, queued_at REAL NOT NULL, attempts INTEGER NOT NULL, error TEXT NOT NULL, died_at REAL NOT NULL);
CREATE INDEX dead_by_receiver ON dead (receiver, id);
CREATE TABLE refs (receiver TEXT NOT NULL, thread TEXT NOT NULL, ref TEXT NOT NULL, PRIMARY KEY (receiver, thread)) WITHOUT ROWID;
CREATE TABLE hosts (host TEXT PRIMARY KEY, state TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE replies (id INTEGER PRIMARY KEY AUTOINCREMENT, topic TEXT NOT NULL, payload BLOB NOT NULL);
CREATE TABLE receivers (
    receiver TEXT PRIMARY KEY, paused_until REAL NOT NULL DEFAULT 0, taken INTEGER NOT NULL DEFAULT 0, taken_at REAL,
    error TEXT NOT NULL DEFAULT '', lost INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
CREATE TABLE link (one INTEGER PRIMARY KEY CHECK (one = 1), connected INTEGER NOT NULL, since REAL NOT NULL, error TEXT NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class Row:
    """A note that waits, or that died. Moments are seconds since the epoch."""

    id: int
    receiver: str
    thread: str
    kind: str
    note: Note
    size: int
    queued_at: float
    attempts: int
    error: str
    died_at: float | None = None


@dataclass(frozen=True, slots=True)
class ReceiverState:
    """How one receiver stands."""

    name: str
    waiting: int
    waiting_bytes: int
    oldest_at: float | None
    dead: int
    taken: int
    taken_at: float | None
    paused_until: float
    error: str
    lost: int
    """Dead letters that went because there were too many."""


@dataclass(slots=True)
class Changes:
    """What is to be stored together."""

    alerts: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Number and status of each alert that was news, by dedup key."""
    threads: dict[tuple[str, str], str | None] = field(default_factory=dict)
    """By receiver and thread; None: it is gone."""
    hosts: dict[str, str] = field(default_factory=dict)
    notes: list[tuple[str, Note]] = field(default_factory=list)
    """Receiver and what it is to be told."""

    def __bool__(self) -> bool:
        return bool(self.alerts or self.threads or self.hosts or self.notes)
