"""The journal behind the loop, above all while it cannot be written. The disk is full as SQLite has it: a bound on its pages."""

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.journal import Batch, Journal, backlog
from engine.journal import writer as writer_module
from engine.journal.records import AuditRow, Committed
from engine.journal.writer import RETRY_S, JournalWriter
from engine.ports.broker import OutboxRow, RowKind
from tests.clocks import SYSTEM, FixedClock
from tests.lab.waiting import until

FIRST = 1_001
"""Number of the first message of a journal that was begun at 1,000 milliseconds."""


class Disk:
    """A journal with its writer, and the say over whether the disk takes more."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = FixedClock(1_000_000)
        self.journal = Journal.open(path, now=1_000_000)
        self.writer = JournalWriter(self.journal, self.clock)

    def fill(self) -> None:
        """From now on there is no room for another page."""
        (pages,) = self.journal._db.execute("PRAGMA page_count").fetchone()
        self.journal._db.execute(f"PRAGMA max_page_count = {pages}")

    def make_room(self) -> None:
        """Take the bound away."""
        self.journal._db.execute("PRAGMA max_page_count = 1000000")
        self.clock.advance(RETRY_S)

    def row(self, kind: RowKind = "alert", topic: str = "t", size: int = 9_000) -> OutboxRow:
        """A message that needs more than a page."""
        return OutboxRow(topic=topic, payload=bytes(size), kind=kind, seq=self.writer.next_seq())

    async def seqs(self, limit: int = 100, after: int = 0) -> list[int]:
        """Numbers of what waits, as the publisher would get it."""
        return [row.seq for row in await self.writer.batch(limit, after=after)]

    async def reopened(self) -> Journal:
        """What a restart finds."""
        await self.writer.close()
        return Journal.open(self.path, now=SYSTEM.wall())


@pytest.fixture
async def disk(tmp_path: Path) -> AsyncIterator[Disk]:
    """A fresh journal; closed at the end."""
    disk = Disk(tmp_path / "journal.db")
    yield disk
    await disk.writer.close()


class TestFullDisk:
    async def test_what_cannot_be_written_is_backlog_and_published_from_memory(self, disk: Disk) -> None:
        """An alert is not lost while the disk is full, and it is said that nothing is being kept."""
        await disk.writer.commit(Batch(outbox=[disk.row()]))
        disk.fill()
        assert not await disk.writer.commit(Batch(outbox=[disk.row()]))
        assert not disk.writer.healthy
        assert "full" in str(disk.writer.problem)
        assert await disk.seqs() == [FIRST, FIRST + 1]
        assert disk.writer.depth == 2

    async def test_when_there_is_room_again_all_of_it_is_kept_in_order(self, disk: Disk) -> None:
        """Nothing that was decided meanwhile is forgotten."""
        disk.fill()
        for number in range(3):
            await disk.writer.commit(Batch(cursors={"docker": str(number)}, outbox=[disk.row()]))
        disk.make_room()
        assert await disk.writer.commit(Batch(audit=[AuditRow(1, "alert", "firing")]))
        assert disk.writer.healthy
        with await disk.reopened() as journal:
            assert [row.seq for row in journal.outbox(10)] == [FIRST, FIRST + 1, FIRST + 2]
            assert journal.load().cursors == {"docker": "2"}
            assert len(journal.audit()) == 1

    async def test_a_message_published_from_memory_is_not_published_again(self, disk: Disk) -> None:
        """Neither before nor after the disk has room again; and it is not waited for."""
        disk.fill()
        await disk.writer.commit(Batch(outbox=[disk.row(), disk.row()]))
        await disk.writer.done([FIRST])
        assert await disk.seqs() == [FIRST + 1]
        assert disk.writer.depth == 1
        disk.make_room()
        await disk.writer.commit(Batch(cursors={"docker": "1"}))
        assert await disk.seqs() == [FIRST + 1]

    async def test_a_message_of_the_file_that_cannot_be_deleted_is_not_published_again(self, disk: Disk) -> None:
        """A reconnection asks from the start: what the broker took already is left out, and what comes behind is found."""
        await disk.writer.commit(Batch(outbox=[disk.row() for _ in range(5)]))
        disk.fill()
        await disk.writer.commit(Batch(outbox=[disk.row()]))
        await disk.writer.done([FIRST, FIRST + 1, FIRST + 2])
        assert await disk.seqs(limit=1) == [FIRST + 3]
        assert await disk.seqs() == [FIRST + 3, FIRST + 4, FIRST + 5]
        assert disk.writer.depth == 3
        await disk.writer.done([FIRST + 3, FIRST + 4, FIRST + 5])
        await asyncio.wait_for(disk.writer.drained(), 1.0)

    async def test_the_disk_is_not_asked_with_every_batch(self, disk: Disk) -> None:
        """A storm while it is full does not write all that is held again and again."""
        tries = _counted(disk)
        disk.fill()
        for _ in range(50):
            await disk.writer.commit(Batch(outbox=[disk.row()]))
        assert len(tries) == 1
        disk.clock.advance(RETRY_S)
        await disk.writer.commit(Batch())
        assert len(tries) == 2

    async def test_a_stop_tries_once_more_whatever_the_pause(self, disk: Disk) -> None:
        """What is held at the end is written if there is room by then."""
        disk.fill()
        await disk.writer.commit(Batch(outbox=[disk.row()]))
        disk.journal._db.execute("PRAGMA max_page_count = 1000000")
        with await disk.reopened() as journal:
            assert len(journal.outbox(10)) == 1

    async def test_what_is_backlog_is_bounded_and_alerts_go_last(self, disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
        """Outcomes go before alerts that are overtaken, those before resolved ones, those before what fires; all are counted."""
        monkeypatch.setattr(backlog, "BACKLOG_ROWS", 3)
        monkeypatch.setattr(backlog, "BACKLOG_AUDIT", 2)
        disk.fill()
        kinds: list[tuple[RowKind, str]] = [
            ("alert", "a"),
            ("resolved", "b"),
            ("action", "x"),
            ("alert", "c"),
            ("alert", "a"),
            ("reply", "y"),
            ("alert", "d"),
        ]
        for kind, topic in kinds:
            row = disk.row(kind, topic)
            await disk.writer.commit(Batch(outbox=[row], audit=[AuditRow(row.seq, "alert", "firing")]))
        rows = await disk.writer.batch(100)
        assert [(row.kind, row.topic) for row in rows] == [("alert", "c"), ("alert", "a"), ("alert", "d")]
        assert disk.writer.lost == {"action": 1, "reply": 1, "alert": 1, "resolved": 1}
        assert disk.writer._backlog is not None
        assert len(disk.writer._backlog.audit) == 2


class TestHangingDisk:
    """A disk that does not answer: a frozen file system, say. It is a gate that the test opens."""

    @pytest.fixture(autouse=True)
    def _soon(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(writer_module, "ANSWER_S", 0.05)
        monkeypatch.setattr(writer_module, "CLOSE_S", 0.2)

    async def test_messages_are_published_from_memory_and_it_is_a_problem(self, disk: Disk) -> None:
        """Also those of which nobody knows whether they are written."""
        gate = _gated(disk)
        assert not await disk.writer.commit(Batch(outbox=[disk.row()]))
        assert not await disk.writer.commit(Batch(outbox=[disk.row()]))
        assert "not answered" in str(disk.writer.problem)
        assert await disk.seqs() == [FIRST, FIRST + 1]
        assert disk.writer.depth == 2
        await disk.writer.done([FIRST])
        assert await disk.seqs() == [FIRST + 1]
        assert disk.writer.depth == 1
        gate.set()

    async def test_when_it_answers_everything_is_written_once_and_in_order(self, disk: Disk) -> None:
        """What was published meanwhile is not published again, what was not is still there."""
        gate = _gated(disk)
        for number in range(3):
            await disk.writer.commit(Batch(cursors={"docker": str(number)}, outbox=[disk.row()]))
        await disk.writer.done([FIRST, FIRST + 1])
        gate.set()
        await _answered(disk)
        assert await disk.writer.commit(Batch(audit=[AuditRow(1, "alert", "firing")]))
        assert disk.writer.healthy
        assert await disk.seqs() == [FIRST + 2]
        assert disk.writer.depth == 1
        with await disk.reopened() as journal:
            assert [row.seq for row in journal.outbox(10)] == [FIRST + 2]
            assert journal.load().cursors == {"docker": "2"}
            assert len(journal.audit()) == 1

    async def test_when_it_refuses_in_the_end_nothing_is_lost_either(self, disk: Disk) -> None:
        """A file system that is remounted read-only after a while."""
        gate = _gated(disk)
        for _ in range(2):
            await disk.writer.commit(Batch(outbox=[disk.row()]))
        disk.fill()
        gate.set()
        await _answered(disk)
        assert not await disk.writer.commit(Batch())
        assert await disk.seqs() == [FIRST, FIRST + 1]
        disk.make_room()
        assert await disk.writer.commit(Batch())
        assert await disk.seqs() == [FIRST, FIRST + 1]

    async def test_an_alert_of_the_file_that_was_overtaken_is_given_up(self, disk: Disk) -> None:
        """Published after the newer one, the broker would keep the older one for ever."""
        await disk.writer.commit(Batch(outbox=[replace(disk.row(), retain=True), disk.row(topic="other")]))
        gate = _gated(disk)
        newer = replace(disk.row(), retain=True)
        await disk.writer.commit(Batch(outbox=[newer]))
        assert await disk.seqs() == [newer.seq]
        await disk.writer.done([newer.seq])
        gate.set()
        await _answered(disk)
        assert await disk.seqs() == [FIRST + 1]
        assert await disk.writer.commit(Batch())
        assert await disk.seqs() == [FIRST + 1]

    async def test_the_end_does_not_wait_for_it(self, disk: Disk) -> None:
        """The process ends, whatever the disk does; its thread holds nobody."""
        gate = _gated(disk)
        await disk.writer.commit(Batch(outbox=[disk.row()]))
        await asyncio.wait_for(disk.writer.close(), 2.0)
        assert all(thread.daemon for thread in threading.enumerate() if thread.name == "journal")
        gate.set()
        await until(lambda: all(thread.name != "journal" for thread in threading.enumerate()), what="the end of the thread")
        disk.journal.close()  # nobody else does; from CPython 3.13 on an open file is noticed


class TestCancelling:
    async def test_a_commit_whose_caller_is_cancelled_is_kept_all_the_same(self, disk: Disk) -> None:
        """At a stop, the core has moved on: a batch that was lost would be missing for ever."""
        gate = _gated(disk)
        first = asyncio.create_task(disk.writer.commit(Batch(cursors={"a": "1"})), name="first")
        second = asyncio.create_task(disk.writer.commit(Batch(cursors={"b": "2"})), name="second")
        await asyncio.sleep(0)
        for task in (first, second):
            task.cancel()
        await asyncio.wait({first, second}, timeout=1.0)
        assert first.cancelled()
        assert second.cancelled()
        gate.set()
        with await disk.reopened() as journal:
            assert journal.load().cursors == {"a": "1", "b": "2"}

    async def test_commits_at_once_are_kept_in_their_order(self, disk: Disk) -> None:
        """The later cursor wins, the numbers rise."""
        await asyncio.gather(
            *(disk.writer.commit(Batch(cursors={"a": str(number)}, outbox=[disk.row(size=10)])) for number in range(20))
        )
        assert await disk.seqs() == list(range(FIRST, FIRST + 20))
        with await disk.reopened() as journal:
            assert journal.load().cursors == {"a": "19"}


class TestOutbox:
    async def test_who_waits_is_woken_by_a_message(self, disk: Disk) -> None:
        """Also by one that is held in memory alone."""
        await disk.writer.commit(Batch(outbox=[disk.row()]))
        waiting = asyncio.create_task(disk.writer.wait(after=FIRST), name="waiting")
        disk.fill()
        await disk.writer.commit(Batch(cursors={"a": "1"}))
        assert not waiting.done()
        await disk.writer.commit(Batch(outbox=[disk.row()]))
        await asyncio.wait_for(waiting, 5.0)

    async def test_a_refused_message_goes_and_counts_as_lost(self, disk: Disk) -> None:
        """One that the broker can never take does not stand before the others."""
        await disk.writer.commit(Batch(outbox=[disk.row(), disk.row()]))
        await disk.writer.refused(FIRST, "too large")
        assert await disk.seqs() == [FIRST + 1]
        assert disk.writer.lost == {"refused": 1}

    async def test_numbers_go_on_above_those_of_a_process_that_could_not_write_them_down(self, tmp_path: Path) -> None:
        """Consumers drop a number that they know: one that was published from memory must not come again."""
        before = JournalWriter(Journal.open(tmp_path / "journal.db", now=1_000_000), FixedClock(1_000_000))
        used = before.next_seq()  # published, never written: the disk was full
        await before.close()
        after = JournalWriter(Journal.open(tmp_path / "journal.db", now=2_000_000), FixedClock(2_000_000))
        assert after.next_seq() > used
        await after.close()


def _counted(disk: Disk) -> list[Batch]:
    """The batches that the journal is asked to commit."""
    asked: list[Batch] = []
    commit = disk.journal.commit

    def counting(batch: Batch) -> Committed:
        asked.append(batch)
        return commit(batch)

    _replace(disk.journal, counting)
    return asked


def _gated(disk: Disk) -> threading.Event:
    """The journal commits nothing before this is set: a slow disk."""
    gate = threading.Event()
    commit = disk.journal.commit

    def waiting(batch: Batch) -> Committed:
        assert gate.wait(10.0)
        return commit(batch)

    _replace(disk.journal, waiting)
    return gate


async def _answered(disk: Disk) -> None:
    """The disk has answered all that it was asked."""
    await until(lambda: not disk.writer.hangs, what="the disk", pause_s=0.001)


def _replace(journal: Any, commit: Any) -> None:
    journal.commit = commit
