"""Writes the journal in a thread of its own, and goes on in memory while it cannot be written.

While the disk refuses, what was to be written is collected in memory and tried again: alerts go on being published from there,
acting stops (`healthy` is False), and nothing that was decided is forgotten unless the process ends.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import structlog

from engine.errors import JournalError
from engine.facts import Fact, Retraction
from engine.journal.backlog import add_to_backlog, shrink_backlog
from engine.journal.fact_log import FactLog
from engine.journal.records import Batch, Committed
from engine.journal.store import Journal
from engine.ports.broker import OutboxRow
from engine.ports.clock import Clock

_log = structlog.get_logger(__name__)

RETRY_S = 1.0
"""A disk that refused is asked again no sooner: each try writes the whole backlog, which grows."""


class JournalWriter:
    """The journal, for the event loop. Also the outbox that the publisher drains (`engine.ports.broker.Outbox`)."""

    def __init__(self, journal: Journal, clock: Clock, fact_log: FactLog | None = None) -> None:
        """Write to an open journal; facts to a recording of their own, where there is one."""
        self._fact_log = fact_log
        self._journal = journal
        self._clock = clock
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="journal")
        self._backlog: Batch | None = None
        self._retry_at = float("-inf")
        # As the journal's first number: above those of an earlier process too that published while it could not write them down.
        self._seq = max(journal.last_seq, clock.wall() // 1000)
        self._more = asyncio.Event()
        self._less = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()
        self._closed = False
        self._commits: set[asyncio.Task[bool]] = set()
        self.problem: str | None = None
        """Why it cannot be written at present, None when it can."""
        self.lost: Counter[str] = Counter()
        """Messages lost to the bounds, by kind."""

    @property
    def healthy(self) -> bool:
        """Whether what is decided is being written."""
        return self.problem is None

    @property
    def depth(self) -> int:
        """Messages that wait for the broker."""
        in_file = self._journal.depth[0]
        return in_file if self._backlog is None else in_file - len(set(self._backlog.outbox_done)) + len(self._backlog.outbox)

    def record(self, fact: Fact | Retraction) -> None:
        """Remember a fact for the recording; it is written within a second or with the end."""
        if self._fact_log is not None:
            self._fact_log.add(fact)

    def next_seq(self) -> int:
        """Number for the next message; rises, also across restarts."""
        self._seq += 1
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
            if self._backlog is not None:
                add_to_backlog(self._backlog, batch)
                batch = self._backlog
            if batch and (at_once or self._clock.monotonic() >= self._retry_at):
                try:
                    self._written(await self._in_thread(self._journal.commit, batch))
                except JournalError as error:
                    self._refused(batch, error)
            if self._backlog is not None:
                self.lost += shrink_backlog(self._backlog)
        if self._fact_log is not None and self._fact_log.due(self._clock.monotonic()):
            # Not waited for: nothing depends on it, and compressing a full segment takes a while.
            asyncio.get_running_loop().run_in_executor(self._thread, self._fact_log.write)
        if news:
            self._more.set()
        return self.healthy

    def _refused(self, batch: Batch, error: JournalError) -> None:
        if self.problem is None:
            _log.critical("journal_lost", error=str(error), consequence="acting stops, alerts are published from memory")
        self.problem = str(error)
        self._backlog = batch
        self._retry_at = self._clock.monotonic() + RETRY_S

    def _written(self, done: Committed) -> None:
        if self.problem is not None:
            _log.warning("journal_recovered")
        self.problem, self._backlog, self._retry_at = None, None, float("-inf")
        self.lost += done.lost

    # -- as the outbox ------------------------------------------------------------------------------------------------

    async def batch(self, limit: int, *, after: int = 0) -> Sequence[OutboxRow]:
        """The oldest waiting messages with a number above `after`."""
        self._more.clear()
        while True:
            # What was published and could not be deleted yet is read in addition, and left out.
            asked = limit + (0 if self._backlog is None else len(self._backlog.outbox_done))
            found: list[OutboxRow] = await self._in_thread(lambda most=asked: self._journal.outbox(most, after=after))
            if self._backlog is None:
                return found[:limit]
            published = set(self._backlog.outbox_done)
            rows = [row for row in found if row.seq not in published]
            if len(found) < asked:  # that was all of the file: the backlog comes behind it
                last = found[-1].seq if found else after
                return (rows + [row for row in self._backlog.outbox if row.seq > last])[:limit]
            if rows:
                return rows[:limit]

    async def done(self, seqs: Sequence[int]) -> None:
        """The broker took these."""
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

    # -- the thread ---------------------------------------------------------------------------------------------------

    async def _in_thread(self, function: Any, *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)

    async def close(self) -> None:
        """Try once more to write the backlog, then close the file. May be called twice."""
        if self._closed:
            return
        self._closed = True
        if not await self._shielded(Batch(), at_once=True):
            _log.critical("journal_backlog_lost", error=self.problem)
        if self._fact_log is not None:
            await self._in_thread(self._fact_log.write)
        await self._in_thread(self._journal.close)
        self._thread.shutdown(wait=False)
