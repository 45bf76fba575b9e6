"""Bytes become lines, within bounds, however they are cut."""

import asyncio
import itertools

from hypothesis import given
from hypothesis import strategies as st

from connectors.docker.events.queue import Connected, Disconnected, LineQueue
from connectors.sources.lines import LineSplitter


def _cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({min(place, len(data)) for place in places} | {0, len(data)})
    return [data[a:b] for a, b in itertools.pairwise(edges)]


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=10), st.integers(1, 30))
def test_cutting_makes_no_difference(data: bytes, places: list[int], limit: int) -> None:
    """The same bytes give the same lines and the same count of skipped ones, in whatever chunks they come."""
    whole, pieces = LineSplitter(limit=limit, leave_out=True), LineSplitter(limit=limit, leave_out=True)
    at_once = whole.feed(data)
    in_pieces = [line for chunk in _cut(data, places) for line in pieces.feed(chunk)]
    assert in_pieces == at_once
    assert pieces.cut == whole.cut


def test_a_line_that_is_too_long_is_skipped_and_the_next_is_read() -> None:
    """Its bytes are not kept, it is counted once, and the line after it is whole."""
    splitter = LineSplitter(limit=10, leave_out=True)
    assert splitter.feed(b"x" * 8) == []
    assert splitter.feed(b"x" * 8) == []
    assert splitter.feed(b"x" * 8 + b"\n{}\n\r\n{}\r\n") == [(25, b"{}"), (28, b"\r"), (30, b"{}\r")]
    assert splitter.cut == 1


async def test_a_full_queue_drops_lines_and_counts_them() -> None:
    """By number and by bytes; changes of the connection always fit."""
    queue = LineQueue(lines=3, size=10)
    for line in (b"aaaa", b"bbbb", b"cccc", b"d", b"e"):
        queue.put(line)
    queue.put(Disconnected("x"))
    assert queue.dropped == 2
    assert await queue.take(10, 0.0) == [b"aaaa", b"bbbb", b"d", Disconnected("x")]
    queue.put(b"ffffffffff")
    assert await queue.take(10, 0.0) == [b"ffffffffff"]


async def test_take_waits_for_something_and_no_longer_than_told() -> None:
    """It returns what comes while it waits, and nothing when nothing comes."""
    queue = LineQueue()
    assert await queue.take(10, 0.01) == []
    waiting = asyncio.create_task(queue.take(10, 5.0))
    await asyncio.sleep(0)
    queue.put(Connected())
    assert await asyncio.wait_for(waiting, 1.0) == [Connected()]


async def test_take_takes_no_more_than_told() -> None:
    """The rest stays, in order."""
    queue = LineQueue()
    for number in range(5):
        queue.put(bytes([65 + number]))
    assert await queue.take(2, 0.0) == [b"A", b"B"]
    assert await queue.take(9, 0.0) == [b"C", b"D", b"E"]
    assert len(queue) == 0
