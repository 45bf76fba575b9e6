import sqlite3
import stat
import threading
from pathlib import Path

import pytest

from engine.errors import JournalError
from engine.journal import AuditRow, Batch, Journal, JournalReader
from engine.ports.broker import OutboxRow
from tests.clocks import SYSTEM


def row(topic: str = "t", payload: bytes = b"{}", seq: int = 0) -> OutboxRow:
    """An alert that waits."""
    return OutboxRow(topic=topic, payload=payload, kind="alert", seq=seq)


def full_batch() -> Batch:
    """A batch with something in every part."""
    return Batch(
        cursors={"docker": "1700000000.000000001"},
        core_puts={("fact", "a"): '{"n": 1}', ("hold", "a"): "2"},
        retries_puts={"remove:x": "{}"},
        outbox=[OutboxRow(topic="a/b", payload=b"\x00\xff", kind="alert", retain=True, expiry_s=3600)],
        audit=[AuditRow(at=5, kind="action", verdict="done", rule="r", detail={"attempt": 2})],
        memory={"host": "h1"},
    )


def test_what_was_committed_is_there_after_opening_again(path: Path) -> None:
    """Every part of a batch comes back as it was put in."""
    with Journal.open(path, now=1_000_000) as journal:
        assert journal.commit(full_batch()).seqs == (1001,)
    with Journal.open(path, now=SYSTEM.wall()) as journal:
        state = journal.load()
        assert state.cursors == {"docker": "1700000000.000000001"}
        assert state.core == {("fact", "a"): '{"n": 1}', ("hold", "a"): "2"}
        assert state.retries == {"remove:x": "{}"}
        assert state.memory == {"host": "h1"}
        assert (state.last_seq, state.outbox_rows, state.outbox_bytes, state.recovered) == (1001, 1, 5, None)
        assert journal.outbox(10) == [
            OutboxRow(topic="a/b", payload=b"\x00\xff", kind="alert", retain=True, expiry_s=3600, seq=1001)
        ]
        assert journal.audit() == [AuditRow(at=5, kind="action", verdict="done", rule="r", detail={"attempt": 2})]


def test_deletions_take_away_what_they_name_and_nothing_else(journal: Journal) -> None:
    """Deleting one key leaves its neighbours; deleting what is not there is no error."""
    journal.commit(Batch(core_puts={("s", "a"): "1", ("s", "b"): "2", ("t", "a"): "3"}, retries_puts={"x": "1", "y": "2"}))
    journal.commit(Batch(core_deletes={("s", "a"), ("s", "none")}, retries_deletes={"x", "none"}))
    state = journal.load()
    assert state.core == {("s", "b"): "2", ("t", "a"): "3"}
    assert state.retries == {"y": "2"}


def test_numbers_rise_and_are_never_used_again(path: Path) -> None:
    """A row's number is not given to another one, not even when the outbox was emptied and the journal opened anew."""
    with Journal.open(path, now=1_000_000) as journal:
        first = journal.commit(Batch(outbox=[row(), row()])).seqs
        journal.commit(Batch(outbox_done=list(first)))
        assert journal.depth == (0, 0)
    with Journal.open(path, now=1_000_000) as journal:
        assert journal.last_seq == first[-1]
        assert journal.commit(Batch(outbox=[row()])).seqs == (first[-1] + 1,)


def test_numbers_go_on_rising_when_the_journal_was_lost(tmp_path: Path) -> None:
    """A journal begun later counts from a higher number: what subscribers order by survives its loss."""
    with Journal.open(tmp_path / "one.db", now=1_700_000_000_000_000) as old:
        (before,) = old.commit(Batch(outbox=[row()])).seqs
    with Journal.open(tmp_path / "two.db", now=1_700_000_001_000_000) as new:
        (after,) = new.commit(Batch(outbox=[row()])).seqs
    assert before == 1_700_000_000_001
    assert after == 1_700_000_001_001


def test_rows_may_bring_their_number(journal: Journal) -> None:
    """Who numbers rows itself (a payload holds its number) may, from `last_seq` on; numbers that were used are refused."""
    assert journal.commit(Batch(outbox=[row(seq=1005), row(), row(seq=1010)])).seqs == (1005, 1006, 1010)
    with pytest.raises(JournalError, match="1010 is not above 1010"):
        journal.commit(Batch(cursors={"docker": "x"}, outbox=[row(seq=1010)]))
    assert journal.load().cursors == {}
    assert journal.last_seq == 1010


def test_a_failed_batch_leaves_nothing_and_the_journal_usable(journal: Journal) -> None:
    """All of a batch or none: an error at its end takes back its beginning."""
    bad = full_batch()
    bad.audit.append(AuditRow(at=2**63, kind="x", verdict="y"))  # one more than SQLite's integers hold
    with pytest.raises(OverflowError):
        journal.commit(bad)
    state = journal.load()
    assert (state.cursors, state.core, state.outbox_rows, journal.depth) == ({}, {}, 0, (0, 0))
    journal.commit(full_batch())
    assert journal.depth == (1, 5)


@pytest.mark.parametrize(
    "text", ["\x00", "a\x00b", "\ud800 lone surrogate", "\U0001f433", "x" * 1_000_000, "'; DROP TABLE core; --"]
)
def test_hostile_text_comes_back_as_it_was(journal: Journal, text: str) -> None:
    """What the core and the sources keep is kept to the letter, whatever a container is called."""
    journal.commit(Batch(cursors={text: text}, core_puts={(text, text): text}, retries_puts={text: text}, memory={text: text}))
    state = journal.load()
    assert state.cursors == state.retries == state.memory == {text: text}
    assert state.core == {(text, text): text}


def test_hostile_text_in_audit_and_topics_is_kept_readable(journal: Journal) -> None:
    """A lone surrogate becomes a question mark there, and a megabyte is cut: people read these."""
    journal.commit(
        Batch(
            audit=[AuditRow(at=1, kind="action", verdict="failed", key="\ud800", reason="e" * 1_000_000, detail={"n": "\ud800"})],
            outbox=[row(topic="x/\ud800")],
        )
    )
    (entry,) = journal.audit()
    assert (entry.key, len(entry.reason), entry.detail) == ("?", 4096, {"n": "\ud800"})
    assert journal.outbox(1)[0].topic == "x/?"


def test_a_second_writer_is_refused_and_told_who_holds_it(journal: Journal) -> None:
    """Two sidecars never write one journal; when the first lets go, the second may."""
    with pytest.raises(JournalError, match=r"another dockwarden \(process \d+\)"):
        Journal.open(journal.path, now=SYSTEM.wall())
    journal.close()
    Journal.open(journal.path, now=SYSTEM.wall()).close()


def test_only_its_owner_may_read_it(journal: Journal) -> None:
    """The audit names what runs on this host."""
    assert stat.S_IMODE(journal.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(journal.path.parent.stat().st_mode) == 0o700


def test_commits_that_precede_acting_are_synced(journal: Journal) -> None:
    """SQLite is told FULL (2) for a durable batch and NORMAL (1) for one that may be repeated."""
    synchronous = "PRAGMA synchronous"
    journal.commit(Batch(cursors={"a": "1"}))
    assert journal._db.execute(synchronous).fetchone() == (2,)
    journal.commit(Batch(cursors={"a": "2"}, durable=False))
    assert journal._db.execute(synchronous).fetchone() == (1,)
    journal.commit(Batch(cursors={"a": "3"}))
    assert journal._db.execute(synchronous).fetchone() == (2,)


def test_another_thread_may_use_it(journal: Journal) -> None:
    """It is opened at the start and used by a thread of its own afterwards."""
    thread = threading.Thread(target=journal.commit, args=(full_batch(),), name="journal")
    thread.start()
    thread.join(10)
    assert journal.load().memory == {"host": "h1"}


def test_a_reader_sees_what_is_committed_while_the_writer_writes(journal: Journal) -> None:
    """`explain` and `status` look into the journal of a running sidecar."""
    with pytest.raises(JournalError, match="no journal"):
        JournalReader(journal.path.with_name("none.db"))
    journal.commit(full_batch())
    with JournalReader(journal.path) as reader:
        assert [entry.rule for entry in reader.audit()] == ["r"]
        assert reader.memory() == {"host": "h1"}
        assert reader.core("fact") == {"a": '{"n": 1}'}
        journal.commit(Batch(memory={"host": "h2"}))
        assert reader.memory() == {"host": "h2"}
        assert reader.outbox() == (1, 5, {})


def test_a_foreign_database_is_left_alone(path: Path) -> None:
    """Some other program's SQLite file is neither used nor moved."""
    path.parent.mkdir()
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE photos (id)")
    other.close()
    before = path.read_bytes()
    with pytest.raises(JournalError, match="another program"):
        Journal.open(path, now=SYSTEM.wall())
    assert path.read_bytes() == before


def test_a_newer_version_is_left_alone(journal: Journal) -> None:
    """A journal that a newer dockwarden wrote is refused, with both versions named."""
    journal.close()
    with sqlite3.connect(journal.path) as newer:
        newer.execute("PRAGMA user_version = 99")
    newer.close()
    with pytest.raises(JournalError, match="has version 99, this dockwarden knows up to 1"):
        Journal.open(journal.path, now=SYSTEM.wall())


def test_extend_is_the_same_as_two_commits(journal: Journal, tmp_path: Path) -> None:
    """A batch kept in memory while the disk is full, with later ones added, ends as if each had been committed."""
    first = Batch(core_puts={("s", "a"): "1", ("s", "b"): "1"}, retries_puts={"x": "1"}, cursors={"c": "1"}, durable=False)
    second = Batch(core_deletes={("s", "a")}, retries_deletes={"x"}, cursors={"c": "2"}, outbox=[row()])
    third = Batch(core_puts={("s", "a"): "3"}, retries_puts={"x": "3"}, audit=[AuditRow(at=1, kind="k", verdict="v")])
    for batch in (first, second, third):
        journal.commit(batch)
    with Journal.open(tmp_path / "other.db", now=1_000_000) as other:
        together = Batch(durable=False)
        for batch in (first, second, third):
            together.extend(batch)
        assert together.durable
        other.commit(together)
        assert other.load() == journal.load()
        assert other.audit() == journal.audit()


def test_an_empty_batch_is_nothing(journal: Journal) -> None:
    """It is false, and committing it writes nothing."""
    assert not Batch()
    changes = journal._db.total_changes
    assert journal.commit(Batch()).seqs == ()
    assert journal._db.total_changes == changes
