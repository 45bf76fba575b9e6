"""Of two engines that decide the same, consumers hear one."""

import asyncio
from collections.abc import Sequence

from engine.fleet.outbox import PATIENCE_S, FirstWinsOutbox
from engine.messages.cloudevents import alert_event
from engine.ports.broker import OutboxRow
from tests.clocks import FixedClock


class Rows:
    """An outbox in memory."""

    def __init__(self, rows: list[OutboxRow]) -> None:
        self.rows = rows

    async def batch(self, limit: int, *, after: int = 0) -> Sequence[OutboxRow]:
        """See the port."""
        return [row for row in self.rows if row.seq > after][:limit]

    async def done(self, seqs: Sequence[int]) -> None:
        """See the port."""
        self.rows = [row for row in self.rows if row.seq not in seqs]

    async def refused(self, seq: int, reason: str) -> None:  # noqa: ARG002  the port's
        """See the port."""
        await self.done([seq])

    async def wait(self, *, after: int) -> None:
        """See the port."""
        if not any(row.seq > after for row in self.rows):
            await asyncio.Event().wait()


def row(seq: int, key: str = "k", *, firing: bool = True) -> OutboxRow:
    """Of the fleet."""
    return alert_event(
        host="fleet", rule="r", key=key, status="firing" if firing else "resolved", severity="error", summary="s",
        starts_at=1, updated_at=2, seq=seq,
    )  # fmt: skip


async def test_what_the_peer_published_goes_unsent() -> None:
    """Also when it came before we had decided the same; another alert waits its time."""
    rows, clock = Rows([row(1), row(2, "other")]), FixedClock()
    outbox = FirstWinsOutbox(rows, clock, lambda: False)
    peers = row(100)
    outbox.came(peers.topic, peers.payload)
    assert await outbox.batch(10) == []
    assert [one.seq for one in rows.rows] == [2]
    assert outbox.left_to_peer == 1


async def test_what_the_peer_does_not_publish_comes_within_a_second() -> None:
    """In the order in which it was decided."""
    rows, clock = Rows([row(1), row(2, firing=False), row(3, "other")]), FixedClock()
    outbox = FirstWinsOutbox(rows, clock, lambda: False)
    assert await outbox.batch(10) == []
    clock.advance(PATIENCE_S + 0.01)
    assert PATIENCE_S < 1.0
    assert [one.seq for one in await outbox.batch(10)] == [1, 2, 3]
    await outbox.wait(after=0)


async def test_with_the_lease_nothing_waits() -> None:
    """And our own messages that come back are not taken for the peer's."""
    rows = Rows([row(1)])
    outbox = FirstWinsOutbox(rows, FixedClock(), lambda: True)
    (first,) = await outbox.batch(10)
    outbox.came(first.topic, first.payload)
    rows.rows = [row(2)]
    assert [one.seq for one in await outbox.batch(10)] == [2]


async def test_a_message_of_the_peer_stands_for_one_of_ours() -> None:
    """A resolved alert that fires anew is published although it fired before."""
    rows, clock = Rows([row(1), row(2, firing=False), row(3)]), FixedClock()
    outbox = FirstWinsOutbox(rows, clock, lambda: False)
    for peers in (row(100), row(101, firing=False)):
        outbox.came(peers.topic, peers.payload)
    clock.advance(PATIENCE_S + 0.01)
    await outbox.batch(10)
    clock.advance(PATIENCE_S + 0.01)
    assert [one.seq for one in await outbox.batch(10)] == [3]
