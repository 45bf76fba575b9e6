"""The one queue into the loop: bounded, in order, in batches."""

import asyncio
from datetime import UTC, datetime

import pytest

from engine.facts import Retraction
from engine.facts.docker import Container
from engine.pipeline.intake import FromSource, Intake, Question
from tests.unit.pipeline.support import settle

GONE = Retraction(retract="container", key="a", at=datetime(2027, 1, 1, tzinfo=UTC))


async def test_who_puts_waits_while_the_loop_is_behind() -> None:
    """A source is held back rather than the memory filled."""
    intake = Intake("h1", 2)
    sink = intake.sink("docker")
    for _ in range(2):
        await sink.put([GONE])
    third = asyncio.create_task(sink.put([GONE]), name="third")
    await settle()
    assert not third.done()
    assert len(await intake.take(1, 1.0)) == 1
    await asyncio.wait_for(third, 1.0)
    assert intake.depth == 2


async def test_a_batch_is_what_is_there_in_order_and_no_more_than_asked_for() -> None:
    """A burst shares a commit; the rest comes with the next batch."""
    intake = Intake("h1")
    for number in range(5):
        await intake.sink(str(number)).put([GONE])
    first, rest = await intake.take(3, 1.0), await intake.take(3, 1.0)
    assert [entry.source for entry in first + rest if isinstance(entry, FromSource)] == list("01234")
    assert (len(first), len(rest)) == (3, 2)


async def test_without_entries_a_batch_is_empty_after_its_time() -> None:
    """The loop goes on to what became due by the clock."""
    assert await Intake("h1").take(10, 0.0) == []


async def test_what_is_there_is_given_even_without_time_to_wait() -> None:
    """A time-out of nothing still takes what waits."""
    intake = Intake("h1")
    await intake.sink("docker").put([GONE])
    assert len(await intake.take(10, 0.0)) == 1


async def test_a_fact_without_a_host_is_about_this_one() -> None:
    """Sources need not know the host's name; a fact that names one keeps it."""
    intake = Intake("h1")
    await intake.sink("docker").put([GONE, GONE.model_copy(update={"host": "other"})])
    (entry,) = await intake.take(1, 1.0)
    assert isinstance(entry, FromSource)
    assert [fact.host for fact in entry.facts] == ["h1", "other"]


async def test_a_question_that_nobody_answers_is_given_up() -> None:
    """Who asks waits no longer than it said, and the answer is cancelled."""
    intake = Intake("h1")
    with pytest.raises(TimeoutError):
        await intake.ask("summary", timeout_s=0.0)
    for entry in await intake.take(1, 0.0):
        assert isinstance(entry, Question)
        assert entry.answer.cancelled()


async def test_a_cursor_that_moved_without_facts_is_news_and_nothing_at_all_is_not() -> None:
    """A source that read lines which mean nothing still moves on."""
    intake = Intake("h1")
    await intake.sink("docker").put([], cursor="7")
    await intake.sink("docker").put([])
    (entry,) = await intake.take(10, 1.0)
    assert isinstance(entry, FromSource)
    assert (entry.cursor, entry.facts) == ("7", [])


async def test_it_is_bounded_by_facts_not_by_entries() -> None:
    """A list of thousands of containers in one piece waits like thousands of events; one with large labels counts as more."""
    intake = Intake("h1", 1_000)
    big = Container(id="c", at=GONE.at, labels={"a": "x" * 4096 * 399})
    putting = [
        asyncio.create_task(intake.sink("docker").put([GONE] * 1_200, cursor="7"), name="list"),
        asyncio.create_task(intake.sink("other").put([big]), name="big"),
    ]
    await settle()
    assert intake.depth == 2
    entries = []
    while not all(task.done() for task in putting) or intake.depth:
        entries += await intake.take(1, 1.0)
        await settle()
    sources = [entry for entry in entries if isinstance(entry, FromSource)]
    assert sum(len(entry.facts) for entry in sources if entry.source == "docker") == 1_200
    assert [entry.cursor for entry in sources if entry.source == "docker"][-1] == "7"
    assert [entry.cursor for entry in sources if entry.cursor] == ["7"]


async def test_an_entry_larger_than_all_room_comes_in_by_itself() -> None:
    """It waits for an empty intake, not for ever."""
    intake = Intake("h1", 2)
    await intake.sink("docker").put([GONE])
    putting = asyncio.create_task(intake.sink("docker").put([GONE] * 5), name="large")
    await settle()
    assert not putting.done()
    await intake.take(1, 1.0)
    await asyncio.wait_for(putting, 1.0)
    assert intake.depth == 1


async def test_a_turn_takes_no_more_than_so_many_facts() -> None:
    """However few the entries."""
    intake = Intake("h1")
    for _ in range(5):
        await intake.sink("docker").put([GONE] * 400)
    assert [len(await intake.take(100, 0.0, most_facts=1_000)) for _ in range(2)] == [3, 2]
