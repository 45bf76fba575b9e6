"""What this engine publishes of what both decide: with the lease everything at once, else what has not come from its peer..

Who has the lease delays nothing. The other waits `PATIENCE_S` for each message to arrive from the peer: then its own goes
unsent, else it publishes. So consumers see each alert once, and one that the peer died with comes within a second, long before
the lease is over.
"""

import asyncio
import json
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

from engine.ports.broker import Outbox, OutboxRow
from engine.ports.clock import Clock

PATIENCE_S: Final = 0.6
"""Seconds; with turns and the network an alert is then late by less than a second."""

REMEMBERED_S: Final = 10.0
"""A peer may be ahead of us by so much: what it published is then still remembered."""

MAX_TOPICS: Final = 20_000
_PER_TOPIC: Final = 8
_KINDS: Final = frozenset({"alert", "resolved", "action"})


class FirstWinsOutbox:
    """An `Outbox` that holds back what the peer may publish."""

    def __init__(self, inner: Outbox, clock: Clock, holds: Callable[[], bool]) -> None:
        """Make one.

        Args:
            inner: of the journal.
            clock: for how long a row has waited.
            holds: whether this engine has the lease.
        """
        self._inner = inner
        self._clock = clock
        self._holds = holds
        self._first_seen: dict[int, float] = {}
        self._peers: dict[str, deque[tuple[str, float]]] = {}
        self._ours: dict[int, None] = {}
        """Numbers of what we published or published under way: what comes back with one of these is not the peer's."""
        self._came = asyncio.Event()
        self.left_to_peer = 0
        """Rows that the peer published first."""

    def came(self, topic: str, payload: bytes) -> None:
        """A live message of the fleet's own came: of the peer, or one of ours that comes back."""
        status, seq = _gist(payload)
        if not status or seq in self._ours:
            return
        if topic not in self._peers and len(self._peers) >= MAX_TOPICS:
            del self._peers[next(iter(self._peers))]
        self._peers.setdefault(topic, deque(maxlen=_PER_TOPIC)).append((status, self._clock.monotonic()))
        self._came.set()

    async def batch(self, limit: int, *, after: int = 0) -> Sequence[OutboxRow]:
        """See the port: rows that are ready."""
        while True:
            rows = await self._inner.batch(limit, after=after)
            ready, left = self._sort(rows)
            if not left:
                return ready
            await self._inner.done(left)
            self.left_to_peer += len(left)
            for seq in left:
                self._first_seen.pop(seq, None)
            if ready:
                return ready

    def _sort(self, rows: Sequence[OutboxRow]) -> tuple[list[OutboxRow], list[int]]:
        """Rows to publish now, in order up to the first that has to wait; and those that the peer published."""
        now = self._clock.monotonic()
        ready: list[OutboxRow] = []
        left: list[int] = []
        waits = False
        for row in rows:
            seen = self._first_seen.setdefault(row.seq, now)
            if row.seq not in self._ours and self._from_peer(row, now):
                left.append(row.seq)
            elif waits:
                continue
            elif row.kind not in _KINDS or row.seq in self._ours or self._holds() or now - seen >= PATIENCE_S:
                self._ours[row.seq] = None
                ready.append(row)
            else:
                waits = True
        while len(self._ours) > 2 * MAX_TOPICS:
            del self._ours[next(iter(self._ours))]
        return ready, left

    def _from_peer(self, row: OutboxRow, now: float) -> bool:
        """Whether the peer has published the same; each of its messages stands for one row of ours."""
        published = self._peers.get(row.topic)
        if published is None:
            return False
        while published and published[0][1] < now - REMEMBERED_S:
            published.popleft()
        status = _gist(row.payload)[0]
        found = next((place for place, (one, _) in enumerate(published) if one == status), None)
        if found is not None:
            for _ in range(found + 1):
                published.popleft()
        if not published:
            del self._peers[row.topic]
        return found is not None

    async def done(self, seqs: Sequence[int]) -> None:
        """See the port."""
        for seq in seqs:
            self._first_seen.pop(seq, None)
        await self._inner.done(seqs)

    async def refused(self, seq: int, reason: str) -> None:
        """See the port."""
        self._first_seen.pop(seq, None)
        await self._inner.refused(seq, reason)

    async def wait(self, *, after: int) -> None:
        """See the port: returns when a row is ready."""
        while True:
            await self._inner.wait(after=after)
            if await self.batch(1_000, after=after):
                return
            self._came.clear()
            # Until the oldest has waited long enough, or the peer has published it.
            sleeping = asyncio.ensure_future(self._clock.sleep(PATIENCE_S / 6))
            coming = asyncio.ensure_future(self._came.wait())
            try:
                await asyncio.wait({sleeping, coming}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                sleeping.cancel()
                coming.cancel()
                await asyncio.wait({sleeping, coming})


def _gist(payload: bytes) -> tuple[str, int]:
    """What a message says of its topic, as far as two engines must agree; and its number. Empty for what is none of ours."""
    try:
        data: Any = json.loads(payload)["data"]
        if data["schema"] == "dockwarden.action.v1":
            return f"action {data['ok']}", int(data["seq"])
        return str(data["status"]), int(data["seq"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return "", 0
