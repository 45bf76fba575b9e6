"""One damaged value in a sound file: the sidecar starts, goes on with the rest, and says what it left out."""

import sqlite3
from pathlib import Path

import pytest

from engine.journal.audit import AuditQuery
from engine.journal.reader import JournalReader
from tests.unit.pipeline.loop import House, container
from tests.unit.pipeline.support import cid

TABLES = {
    "core": ("section", "key", "value"),
    "cursors": ("name", "value"),
    "retries": ("name", "value"),
    "memory": ("name", "value"),
    "outbox": ("topic", "payload", "kind", "retain", "expiry_s"),
    "lost": ("kind", "count"),
    "audit": ("detail",),
}
DAMAGE = (b"\xff\xfe\x00", b"", 7, 1.5, "text", b"{", b"[]", b'{"a": 1}', b"[" * 5_000, b"null")


async def lived(folder: Path) -> None:
    """A sidecar that knows a dead container, waits for a retry, and has told an alert."""
    house = House(folder)
    await house.emit(container(1))
    await house.turn()
    await house.writer.close()
    connection = sqlite3.connect(folder / "journal.db")
    connection.execute("INSERT INTO cursors VALUES (?, ?)", (b"docker", b"1"))
    connection.execute("INSERT INTO lost VALUES ('fact', 1)")
    connection.execute("INSERT OR IGNORE INTO memory VALUES (?, ?)", (b"alerts", b"{}"))
    connection.commit()
    connection.close()


@pytest.mark.parametrize("damage", DAMAGE, ids=[repr(one)[:20] for one in DAMAGE])
@pytest.mark.parametrize(("table", "column"), [(table, column) for table, columns in TABLES.items() for column in columns])
async def test_a_damaged_value_is_left_out_and_the_rest_goes_on(tmp_path: Path, table: str, column: str, damage: object) -> None:
    """Whatever stands in whatever column: facts are taken and alerts leave as before, and the audit can be read."""
    await lived(tmp_path)
    connection = sqlite3.connect(tmp_path / "journal.db")
    connection.execute(f"UPDATE OR IGNORE {table} SET {column} = ?", (damage,))
    connection.commit()
    connection.close()
    house = House(tmp_path)
    await house.turn()
    await house.emit(container(2))
    await house.turn()
    assert house.writer.healthy
    assert any(cid(2) in row.topic for row in house.journal.outbox(1000))
    await house.writer.close()
    with JournalReader(tmp_path / "journal.db") as reader:
        assert reader.audit(AuditQuery(), limit=100)
