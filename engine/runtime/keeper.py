"""Keeps the journal in a thread of its own, and goes on in memory while it cannot be written.

While the disk refuses, what was to be kept is held together in memory and tried again with every commit: alerts go on being
published from there, acting stops (`healthy` is False), and nothing that was decided is forgotten unless the process ends.
"""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import structlog

from engine.errors import JournalError
from engine.journal.records import Batch, Committed
from engine.journal.store import Journal
from engine.ports.broker import OutboxRow

_log = structlog.get_logger(__name__)

HELD_ROWS = 2_000
"""Messages held in memory while the journal cannot be written; beyond that the oldest that are no alerts go first."""

HELD_AUDIT = 10_000
"""Audit entries held in memory meanwhile; beyond that the oldest go."""


class Keeper:
    """The journal, for the event loop. Also the outbox that the publisher drains (`engine.ports.broker.Outbox`)."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="journal")
        self._held: Batch | None = None
        self._seq = journal.last_seq
        self._more = asyncio.Event()
        self._less = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()
        self.trouble: str | None = None
        """Why it cannot be written at present, None when it can."""
        self.lost: dict[str, int] = {}
        """Messages lost to the bounds, by kind."""

    @property
    def healthy(self) -> bool:
        """Whether what is decided is being kept."""
        return self.trouble is None

    @property
    def depth(self) -> int:
        """Messages that wait for the broker."""
        return self._journal.depth[0] + (len(self._held.outbox) if self._held else 0)

    def next_seq(self) -> int:
        """Number for the next message; rises, also across restarts."""
        self._seq += 1
        return self._seq

    async def commit(self, batch: Batch) -> bool:
        """Keep a batch; False when it can only be held in memory for now."""
        async with self._one_at_a_time:
            if self._held is not None:
                self._held.extend(batch)
                batch = self._held
            if not batch:
                return True
            try:
                done = await self._in_thread(self._journal.commit, batch)
            except JournalError as error:
                self._hold(batch, error)
            else:
                self._kept(done)
        if batch.outbox:
            self._more.set()
        return self.healthy

    def _hold(self, batch: Batch, error: JournalError) -> None:
        if self.trouble is None:
            _log.critical(
                "the journal cannot be written: acting stops, alerts stay in memory", action="journal", error=str(error)
            )
        self.trouble = str(error)
        self._held = batch
        surplus = len(batch.outbox) - HELD_ROWS
        for kinds in (("fact", "action", "reply", "status"), ("resolved", "alert")):
            for row in [row for row in batch.outbox if row.kind in kinds][: max(0, surplus)]:
                batch.outbox.remove(row)
                self.lost[row.kind] = self.lost.get(row.kind, 0) + 1
                surplus -= 1
        del batch.audit[: max(0, len(batch.audit) - HELD_AUDIT)]

    def _kept(self, done: Committed) -> None:
        if self.trouble is not None:
            _log.warning("the journal can be written again", action="journal")
        self.trouble, self._held = None, None
        for kind, number in done.lost.items():
            self.lost[kind] = self.lost.get(kind, 0) + number

    # -- as the outbox ------------------------------------------------------------------------------------------------

    async def batch(self, limit: int, *, after: int = 0) -> Sequence[OutboxRow]:
        """The oldest waiting messages with a number above `after`."""
        self._more.clear()
        rows = list(await self._in_thread(lambda: self._journal.outbox(limit, after=after)))
        if self._held is not None and len(rows) < limit:
            taken = set(self._held.outbox_done)
            rows += [row for row in self._held.outbox if row.seq > after and row.seq not in taken][: limit - len(rows)]
        return rows

    async def done(self, seqs: Sequence[int]) -> None:
        """The broker took these."""
        if self._held is not None:
            mine = set(seqs)
            self._held.outbox[:] = [row for row in self._held.outbox if row.seq not in mine]
        await self.commit(Batch(outbox_done=list(seqs), durable=False))
        self._less.set()

    async def refused(self, seq: int, reason: str) -> None:
        """The broker can never take this one."""
        _log.error("the broker can never take a message", action="publish", seq=seq, reason=reason)
        self.lost["refused"] = self.lost.get("refused", 0) + 1
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
        """Try once more to keep what is held, then close the file."""
        await self.commit(Batch())
        await self._in_thread(self._journal.close)
        self._thread.shutdown(wait=False)
