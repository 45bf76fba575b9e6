"""Writes the journal in a thread of its own, and goes on in memory while it cannot be written.

While the disk refuses, or does not answer, what was to be written is collected in memory and tried again: alerts go on being
published from there, acting stops (`healthy` is False), and nothing that was decided is forgotten unless the process ends.
"""

import asyncio
import itertools
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import structlog

from engine.errors import JournalDamagedError, JournalError
from engine.facts import Fact, Retraction
from engine.journal.backlog import add_to_backlog, shrink_backlog
from engine.journal.fact_log import FactLog
from engine.journal.records import Batch, Committed, JournalState
from engine.journal.store import Journal
from engine.journal.thread import JournalThread
from engine.ports.broker import OutboxRow
from engine.ports.clock import Clock

_log = structlog.get_logger(__name__)

RETRY_S = 1.0
"""A disk that refused is asked again no sooner: each try writes the whole backlog, which grows."""

ANSWER_S = 3.0
"""A disk that has not answered after so long hangs: a frozen file system, a thin pool that queues, a file server that is away. A
busy disk takes tenths of a second for a commit."""

CLOSE_S = 3.0
"""For writing the backlog once more and closing the file at the end: a disk that hangs must not hold the process."""


REOPEN_S = 30.0
"""A file that could not be opened is tried again so often."""

MAX_CARRIED = 10_000
"""Messages and audit entries that move from memory into a file."""


class JournalWriter:
    """The journal, for the event loop. Also the outbox that the publisher drains (`engine.ports.broker.Outbox`)."""

    def __init__(
        self,
        journal: Journal,
        clock: Clock,
        fact_log: FactLog | None = None,
        *,
        state: JournalState | None = None,
        reopen: Callable[[], Journal] | None = None,
        numbers_by_clock: bool = False,
    ) -> None:
        """Nothing is written yet.

        Args:
            journal: open, in a file or, while that cannot be, in memory.
            clock: for pauses, and for the first number.
            fact_log: a recording of all facts, where there is one.
            state: what the journal had at first.
            reopen: opens the file anew, when it could not be written at the start or was damaged while running; None: it is not
                tried.
            numbers_by_clock: no number is below the milliseconds of the present: of two engines that publish the same alerts, the
                one that takes over goes on above the other.
        """
        self._numbers_by_clock = numbers_by_clock
        self._reopen = reopen
        self._reopening: asyncio.Future[Journal] | None = None
        self._reopen_at = float("-inf") if journal.in_memory_because is None else clock.monotonic() + REOPEN_S
        self._cursors = {} if state is None else dict(state.cursors)
        self._memory = {} if state is None else dict(state.memory)
        self.incomplete = False
        """Whether a file that was just opened waits for a batch that has all there is to know (`Batch.replaces`)."""
        self._fact_log = fact_log
        self._journal = journal
        self._clock = clock
        self._thread = JournalThread()
        self._backlog: Batch | None = None
        self._writing: tuple[asyncio.Future[Committed], Batch] | None = None
        """A commit that the thread is at, and its batch: while it hangs, nobody knows whether that is written."""
        self._stuck: list[asyncio.Future[Any]] = []
        """What the disk has not answered in time."""
        self._overtaken: dict[str, int] = {}
        """Topics of alerts that were published from memory past what the file has of them, with the newest number."""
        self._retry_at = float("-inf")
        # As the journal's first number: above those of an earlier process too that published while it could not write them down.
        self._seq = max(journal.last_seq, clock.wall() // 1000)
        self._more = asyncio.Event()
        self._less = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()
        self._closed = False
        self._commits: set[asyncio.Task[bool]] = set()
        self.problem: str | None = journal.in_memory_because
        """Why it cannot be written at present, None when it can."""
        self.lost: Counter[str] = Counter()
        """Messages lost to the bounds, by kind."""
        self._damaged = False

    @property
    def healthy(self) -> bool:
        """Whether what is decided is being written."""
        return self.problem is None

    @property
    def hangs(self) -> bool:
        """Whether the disk has not answered in time and has not answered since."""
        for future in [future for future in self._stuck if future.done()]:
            self._stuck.remove(future)
            future.exception()  # of a reading that nobody waits for any more
        return bool(self._stuck)

    @property
    def depth(self) -> int:
        """Messages that wait for the broker."""
        in_doubt = {row.seq for row in self._writing[1].outbox} if self._writing is not None and self.hangs else set()
        in_file = self._journal.depth[0] - len(self._published() - in_doubt)
        return in_file + sum(1 for _ in self._in_memory())

    def record(self, fact: Fact | Retraction) -> None:
        """Remember a fact for the recording; it is written within a second or with the end."""
        if self._fact_log is not None:
            self._fact_log.add(fact)

    def next_seq(self) -> int:
        """Number for the next message; rises, also across restarts."""
        self._seq += 1
        if self._numbers_by_clock:
            self._seq = max(self._seq, self._clock.wall() // 1000)
        return self._seq

    async def commit(self, batch: Batch) -> bool:
        """Write a batch; False when it can only be kept in memory for now.

        Cancelling the caller does not take the batch back: the core has moved on, so it is written or kept all the same.
        """
        return await self._shielded(batch, at_once=False)

    async def _shielded(self, batch: Batch, *, at_once: bool) -> bool:
        task = asyncio.get_running_loop().create_task(self._commit(batch, at_once=at_once), name="journal:commit")
        self._commits.add(task)  # the loop itself refers to its tasks weakly
        task.add_done_callback(self._commits.discard)
        return await asyncio.shield(task)

    async def _commit(self, batch: Batch, *, at_once: bool) -> bool:
        async with self._one_at_a_time:
            news = bool(batch.outbox)
            self._cursors |= batch.cursors
            self._memory |= batch.memory
            if self._writing is not None and self._writing[0].done():
                self._settle()
            await self._renew()
            if batch.replaces:
                batch.extend(Batch(cursors=self._cursors.copy(), memory=self._memory.copy()))
                self.incomplete = False
            if self._backlog is not None:
                add_to_backlog(self._backlog, batch)
                batch = self._backlog
            if self.hangs or self.incomplete or not (at_once or self._clock.monotonic() >= self._retry_at):
                self._backlog = batch
            elif batch:
                self._backlog = None
                future = self._thread.call(self._journal.commit, batch)
                self._writing = (future, batch)
                await asyncio.wait({future}, timeout=ANSWER_S)
                if future.done():
                    self._settle()
                else:
                    self._stuck.append(future)
                    self._lose(f"the disk has not answered for {ANSWER_S:g} s")
            if self._backlog is not None:
                self.lost += shrink_backlog(self._backlog)
            if self._fact_log is not None and not self.hangs and self._fact_log.due(self._clock.monotonic()):
                # Not waited for: nothing depends on it, and compressing a full segment takes a while.
                self._thread.call(self._fact_log.write)
        if news:
            self._more.set()
        return self.healthy

    def _settle(self) -> None:
        """Take in what came of a commit, in time or late."""
        assert self._writing is not None  # noqa: S101  looked at by who calls
        future, batch = self._writing
        self._writing = None
        try:
            done = future.result()
        except JournalError as error:
            if self._backlog is not None:
                add_to_backlog(batch, self._backlog)
            self._backlog = batch
            self._retry_at = self._clock.monotonic() + RETRY_S
            self._damaged = isinstance(error, JournalDamagedError) and self._reopen is not None
            self._lose(str(error))
            return
        self.lost += done.lost
        self._retry_at = float("-inf")
        # While there is a backlog it is sound again only once that is written too.
        sound = self._backlog is None and not self.incomplete and self._journal.in_memory_because is None
        if sound and self.problem is not None:
            _log.warning("journal_recovered")
            self.problem = None

    async def _renew(self) -> None:
        """Leave a damaged file for memory, and memory for a file that can be written again."""
        if self._damaged and not self.hangs:
            self._damaged = False
            old, because = self._journal, str(self.problem)
            found = None
            with suppress(JournalError):  # what can be read of it is not lost
                found = await self._read(MAX_CARRIED, 0)
            self._thread.call(_close, old)
            self._journal = Journal.in_memory(because, now=self._clock.wall())
            if self._backlog is not None:
                in_memory = {row.seq for row in self._backlog.outbox} | self._published()
                self._backlog.outbox[:0] = [row for row in found or () if row.seq not in in_memory]
            self._reopen_at = self._retry_at = float("-inf")
        due = self._journal.in_memory_because is not None and self._clock.monotonic() >= self._reopen_at
        if due and self._reopening is None and self._reopen is not None and not self.hangs:
            self._reopening = self._thread.call(self._reopen)
            await asyncio.wait({self._reopening}, timeout=ANSWER_S)
            if not self._reopening.done():
                self._stuck.append(self._reopening)
        if self._reopening is None or not self._reopening.done():
            return
        opened, self._reopening = self._reopening, None
        self._reopen_at = self._clock.monotonic() + REOPEN_S
        if opened.exception() is None:
            await self._move_to(opened.result())
        else:
            self.problem = str(opened.exception())

    async def _move_to(self, journal: Journal) -> None:
        """Go on in a file; what it has is replaced by the next batch that has everything."""
        old = self._journal
        carried = Batch(outbox=await self._thread.call(old.outbox, MAX_CARRIED))
        carried.audit = await self._thread.call(old.audit, limit=MAX_CARRIED)
        if self._backlog is not None:
            add_to_backlog(carried, self._backlog)
        self._backlog = carried
        self._thread.call(_close, old)
        self._journal = journal
        self._seq = max(self._seq, journal.last_seq)
        self.incomplete = True
        _log.warning("journal_reopened", path=str(journal.path))

    def _lose(self, problem: str) -> None:
        if self.problem is None:
            _log.critical("journal_lost", error=problem, consequence="acting stops, alerts are published from memory")
        self.problem = problem

    # -- as the outbox ------------------------------------------------------------------------------------------------

    async def batch(self, limit: int, *, after: int = 0) -> Sequence[OutboxRow]:
        """The oldest waiting messages with a number above `after`; those in memory alone while the disk hangs."""
        self._more.clear()
        while True:
            # What was published and could not be deleted yet is read in addition, and left out.
            asked = limit + len(self._published())
            found = None if self.hangs else await self._read(asked, after)
            if found is None:
                return [row for row in self._in_memory() if row.seq > after][:limit]
            published = self._published()
            rows = [row for row in found if row.seq not in published]
            if await self._drop_overtaken(rows):
                continue
            if self._backlog is None and self._writing is None:
                return rows[:limit]
            if len(found) < asked:  # that was all of the file: what is in memory comes behind it
                last = found[-1].seq if found else after
                return (rows + [row for row in self._in_memory() if row.seq > last])[:limit]
            if rows:
                return rows[:limit]

    async def oldest(self) -> OutboxRow | None:
        """The oldest message that waits; takes nothing and wakes nobody."""
        published = self._published()
        found = None if self.hangs else await self._read(1 + len(published), 0)
        return next((row for row in [*(found or ()), *self._in_memory()] if row.seq not in published), None)

    async def _read(self, limit: int, after: int) -> list[OutboxRow] | None:
        """Rows of the file; None when the disk does not answer."""
        future = self._thread.call(self._journal.outbox, limit, after=after)
        await asyncio.wait({future}, timeout=ANSWER_S)
        if not future.done():
            self._stuck.append(future)
            self._lose(f"the disk has not answered for {ANSWER_S:g} s")
            return None
        return future.result()

    def _in_memory(self) -> Iterator[OutboxRow]:
        """Messages that are in no file for sure, and were not published from memory."""
        published = self._published()
        batches = [self._writing[1]] if self._writing is not None and self.hangs else []
        batches += [self._backlog] if self._backlog is not None else []
        return (row for row in itertools.chain.from_iterable(batch.outbox for batch in batches) if row.seq not in published)

    def _published(self) -> set[int]:
        """Numbers that the broker took and that could not be deleted yet."""
        return set() if self._backlog is None else set(self._backlog.outbox_done)

    async def _drop_overtaken(self, rows: Sequence[OutboxRow]) -> bool:
        """Give up what the file has of alerts that were published past it: the broker would keep the older message."""
        old = [row.seq for row in rows if row.seq < self._overtaken.get(row.topic, 0)]
        if old:
            await self.done(old)
        return bool(old)

    async def done(self, seqs: Sequence[int]) -> None:
        """The broker took these."""
        if self.hangs:
            taken = set(seqs)
            self._overtaken |= {row.topic: row.seq for row in self._in_memory() if row.retain and row.seq in taken}
        await self.commit(Batch(outbox_done=list(seqs), durable=False))
        self._less.set()

    async def refused(self, seq: int, reason: str) -> None:
        """The broker can never take this one."""
        _log.error("message_refused", seq=seq, reason=reason)
        self.lost["refused"] += 1
        await self.done([seq])

    async def wait(self, *, after: int) -> None:
        """Return when there is a message with a number above `after`."""
        while not await self.batch(1, after=after):
            await self._more.wait()

    async def drained(self) -> None:
        """Return when no message waits any more."""
        while self.depth:
            self._less.clear()
            await self._less.wait()

    # -- the end ------------------------------------------------------------------------------------------------------

    async def close(self, deadline_s: float = CLOSE_S) -> None:
        """Try once more to write the backlog, then close the file, each within half of so long. May be called twice."""
        if self._closed:
            return
        self._closed = True
        with suppress(TimeoutError):
            async with asyncio.timeout(deadline_s / 2):
                await self._shielded(Batch(), at_once=True)
        if self._backlog is not None or self._writing is not None:
            _log.critical("journal_backlog_lost", error=self.problem)
        if not self.hangs:
            if self._fact_log is not None:
                self._thread.call(self._fact_log.write)
            await asyncio.wait({self._thread.call(self._journal.close)}, timeout=deadline_s / 2)
        self._thread.end()


def _close(journal: Journal) -> None:
    with suppress(sqlite3.Error):  # a damaged file may refuse even that
        journal.close()
