"""The one queue into the engine: bounded, in order, in batches."""

import asyncio
from datetime import UTC, datetime

from engine.facts import Retraction
from engine.pipeline.intake import FromSource, Intake
from tests.unit.pipeline.support import settle

GONE = Retraction(retract="container", key="a", at=datetime(2027, 1, 1, tzinfo=UTC))


async def test_who_puts_waits_while_the_engine_is_behind() -> None:
    """A source is held back rather than the memory filled."""
    intake = Intake(2)
    sink = intake.sink("docker")
    for _ in range(2):
        await sink.put([GONE])
    third = asyncio.create_task(sink.put([GONE]), name="third")
    await settle()
    assert not third.done()
    assert len(await intake.batch(1, 1.0)) == 1
    await asyncio.wait_for(third, 1.0)
    assert intake.depth == 2


async def test_a_batch_is_what_is_there_in_order_and_no_more_than_asked_for() -> None:
    """A burst shares a commit; the rest comes with the next batch."""
    intake = Intake()
    for number in range(5):
        await intake.sink(str(number)).put([GONE])
    first, rest = await intake.batch(3, 1.0), await intake.batch(3, 1.0)
    assert [entry.source for entry in first + rest if isinstance(entry, FromSource)] == list("01234")
    assert (len(first), len(rest)) == (3, 2)


async def test_without_entries_a_batch_is_empty_after_its_time() -> None:
    """The engine goes on to what became due by the clock."""
    assert await Intake().batch(10, 0.0) == []


async def test_what_is_there_is_given_even_without_time_to_wait() -> None:
    """A time-out of nothing still takes what waits."""
    intake = Intake()
    await intake.sink("docker").put([GONE])
    assert len(await intake.batch(10, 0.0)) == 1


async def test_a_cursor_that_moved_without_facts_is_news_and_nothing_at_all_is_not() -> None:
    """A source that read lines which mean nothing still moves on."""
    intake = Intake()
    await intake.sink("docker").put([], cursor="7")
    await intake.sink("docker").put([])
    (entry,) = await intake.batch(10, 1.0)
    assert isinstance(entry, FromSource)
    assert (entry.cursor, entry.facts) == ("7", [])
