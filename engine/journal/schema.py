"""The journal's tables, and how an older file becomes a present one.

`PRAGMA user_version` counts the migrations a file has seen; each runs in one transaction, once. Never edit one that was
released: add another.
"""

import sqlite3

from engine.errors import JournalError

APPLICATION_ID = 0x646F636B
"""`dock`: what `file(1)` and SQLite's `PRAGMA application_id` know the file by. A foreign SQLite file has another, or 0."""

# Opaque text (keys and state of the core, cursors) is kept as BLOB in UTF-8 with surrogates let through, so that what a hostile
# container name put into it comes back as it was; SQLite's TEXT would refuse it. `sqlite3 FILE` shows it all the same.
_MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE cursors (name BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE retries (name BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE memory (name BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE core (section BLOB, key BLOB, value BLOB NOT NULL, PRIMARY KEY (section, key)) WITHOUT ROWID;
    CREATE TABLE outbox (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,  -- AUTOINCREMENT: a number is not used again when its row is gone
        topic TEXT NOT NULL,
        payload BLOB NOT NULL,
        kind TEXT NOT NULL,
        retain INTEGER NOT NULL,
        expiry_s INTEGER,
        size INTEGER NOT NULL,
        rank INTEGER NOT NULL                   -- what goes first when there is too much: 0 before 1 before 2
    );
    CREATE INDEX outbox_rank ON outbox (rank, seq);
    CREATE INDEX outbox_topic ON outbox (topic, seq);
    CREATE TABLE lost (kind TEXT PRIMARY KEY, count INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE audit (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        at INTEGER NOT NULL,                    -- microseconds since 1970-01-01 UTC
        kind TEXT NOT NULL,
        verdict TEXT NOT NULL,
        rule TEXT NOT NULL,
        key TEXT NOT NULL,
        activation TEXT NOT NULL,
        action TEXT NOT NULL,
        target TEXT NOT NULL,
        reason TEXT NOT NULL,
        detail TEXT NOT NULL
    );
    CREATE INDEX audit_at ON audit (at);
    CREATE INDEX audit_activation ON audit (activation) WHERE activation != '';
    CREATE INDEX audit_rule ON audit (rule, key);
    CREATE INDEX audit_target ON audit (target) WHERE target != '';
    """,
)

VERSION = len(_MIGRATIONS)


def check(connection: sqlite3.Connection) -> int:
    """The version of the file, which is not touched.

    Raises:
        JournalError: a newer dockwarden wrote it, or it is some other program's SQLite file.
        sqlite3.Error: it cannot be read.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if application != APPLICATION_ID and (application or version or tables):
        raise JournalError("the file is an SQLite database of another program; name another state folder")
    if version > VERSION:
        raise JournalError(f"the journal has version {version}, this dockwarden knows up to {VERSION}: a newer one wrote it")
    return int(version)


def migrate(connection: sqlite3.Connection, version: int, *, first_seq: int) -> None:
    """Bring the file from its version to the present one; nothing happens when it is there.

    Args:
        connection: in autocommit mode (isolation_level None).
        version: as `check` tells it.
        first_seq: the number after which a fresh outbox counts on.

    Raises:
        sqlite3.Error: it cannot be written.
    """
    for number in range(version, VERSION):
        # PRAGMA user_version and application_id are part of the transaction, as the tables are.
        connection.executescript(
            f"BEGIN IMMEDIATE; {_MIGRATIONS[number]}PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {number + 1};"
        )
        if number == 0:
            connection.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('outbox', ?)", (first_seq,))
        connection.execute("COMMIT")
