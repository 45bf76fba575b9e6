"""What every log source promises, whatever the log is: the fake that ships is held to the same as the real ones."""

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.logs.harnesses import NAME, Harness, InFile, InJournal, InMemory, InRing
from tests.contract.logs.parts import Remembering, running


@pytest.fixture(params=["memory", "file", "ring", "journal"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Harness]:
    """A log of each kind."""
    kinds: dict[str, Harness] = {
        "memory": InMemory(),
        "file": InFile(tmp_path),
        "ring": InRing(),
        "journal": InJournal(tmp_path, sys.executable),
    }
    harness = kinds[request.param]
    yield harness
    harness.close()


async def test_tells_lines_as_facts(log: Harness) -> None:
    """Lines written while it runs come as facts, in order, with host, source and an id each."""
    sink = Remembering()
    async with running(log.source(), sink):
        await sink.until_status("ok")
        log.write(b"BOOM 1", b"nothing", b"BOOM 2")
        log.write(b"BOOM 3")
        await sink.until_events(3)
    assert sink.texts == ["BOOM 1", "BOOM 2", "BOOM 3"]
    assert {fact.source for fact in sink.events} == {"dockerd"}
    assert len({fact.fact_id for fact in sink.events}) == 3
    assert all(fact.fact_id for fact in sink.facts)


async def test_says_how_it_does(log: Harness) -> None:
    """Its first word is a `source` fact under its own name."""
    sink = Remembering()
    source = log.source()
    async with running(source, sink):
        emitted = await sink.until_status("ok")
    assert (emitted.name, emitted.lost) == (NAME, 0)
    assert source.name == NAME


async def test_without_cursor_the_past_is_not_told(log: Harness) -> None:
    """What was written before the first start is not emitted."""
    log.write(b"BOOM old")
    sink = Remembering()
    async with running(log.source(), sink):
        await sink.until_status("ok")
        log.write(b"BOOM new")
        await sink.until_events(1)
    assert sink.texts == ["BOOM new"]


async def test_goes_on_at_its_cursor(log: Harness) -> None:
    """After a restart it emits what was written in between, and nothing of before."""
    sink = Remembering()
    async with running(log.source(), sink):
        await sink.until_status("ok")
        log.write(b"BOOM 1")
        await sink.until_events(1)
    log.write(b"BOOM 2", b"BOOM 3")
    async with running(log.source(), sink, sink.cursor):
        await sink.until_events(3)
        log.write(b"BOOM 4")
        await sink.until_events(4)
    assert sink.texts == ["BOOM 1", "BOOM 2", "BOOM 3", "BOOM 4"]
    assert all(fact.status == "ok" for fact in sink.sources)


async def test_same_lines_same_ids(log: Harness) -> None:
    """Read again from an older cursor, the same lines are the same facts."""
    first = Remembering()
    async with running(log.source(), first):
        await first.until_status("ok")
        log.write(b"BOOM 0")
        await first.until_events(1)
        before = first.cursor
        log.write(b"BOOM 1", b"BOOM 2", b"BEGIN a", b"b", b"END c")
        await first.until_events(4)
    again = Remembering()
    async with running(log.source(), again, before):
        await again.until_events(3)
    assert [fact.fact_id for fact in again.events] == [fact.fact_id for fact in first.events[1:]]
    assert again.texts == first.texts[1:]


async def test_report_across_a_restart(log: Harness) -> None:
    """A report of which half was read is read whole by the next start: the cursor does not go beyond its beginning."""
    sink = Remembering()
    async with running(log.source(), sink):
        await sink.until_status("ok")
        log.write(b"BOOM 1")
        await sink.until_events(1)
        log.write(b"BEGIN report", b"middle BOOM 2")
        await sink.until_events(2)
    log.write(b"END of it")
    async with running(log.source(), sink, sink.cursor):
        await sink.until(lambda seen: any("END" in text for text in seen.texts))
    assert "BEGIN report END of it" in sink.texts


async def test_report_without_an_end(log: Harness) -> None:
    """A report that nothing follows is emitted after a short wait."""
    sink = Remembering()
    async with running(log.source(), sink):
        await sink.until_status("ok")
        log.write(b"BEGIN and silence")
        await sink.until_events(1)
    assert sink.texts == ["BEGIN and silence"]


HOSTILE = {
    "broken UTF-8": b"\xff\xfe\x80 \xc3(",
    "NUL bytes": b"a\0b\0" * 40,
}


@pytest.mark.parametrize("kind", list(HOSTILE))
async def test_hostile_line(log: Harness, kind: str) -> None:
    """A line nobody could have meant is counted and said; the stream goes on."""
    sink = Remembering()
    async with running(log.source(), sink):
        await sink.until_status("ok")
        log.write(HOSTILE[kind], b"BOOM after")
        await sink.until_events(1)
        await sink.until(lambda seen: seen.sources[-1].lost > 0)
    assert sink.texts == ["BOOM after"]
    assert sink.sources[-1].error


@pytest.mark.parametrize("log", ["memory", "file", "journal"], indirect=True)
async def test_endless_line(log: Harness) -> None:
    """A line of 1 MiB is cut or passed over, counted and said; the stream goes on. The kernel cuts its records itself."""
    sink = Remembering()
    async with running(log.source(), sink):
        await sink.until_status("ok")
        log.write(b"x" * (1 << 20) + b"\xff", b"BOOM after")
        await sink.until_events(1)
        await sink.until(lambda seen: seen.sources[-1].lost > 0)
    assert sink.texts == ["BOOM after"]


async def test_waits_for_the_engine(log: Harness) -> None:
    """While the loop is behind nothing is lost, and afterwards everything comes in order."""
    sink = Remembering()
    async with running(log.source(), sink):
        await sink.until_status("ok")
        sink.hold()
        for number in range(500):
            log.write(b"BOOM %d" % number)
        await asyncio.sleep(0.1)
        assert not sink.events
        sink.release()
        await sink.until_events(500)
    assert sink.texts == [f"BOOM {number}" for number in range(500)]


async def test_gap_is_said(log: Harness) -> None:
    """What was overwritten or deleted while nobody read is a gap, and reading goes on behind it."""
    sink = Remembering()
    async with running(log.source(), sink):
        await sink.until_status("ok")
        log.write(b"BOOM 1")
        await sink.until_events(1)
    log.forget()
    async with running(log.source(), sink, sink.cursor):
        log.write(b"BOOM 2", b"BOOM 3")
        emitted = await sink.until_status("gap")
        log.write(b"BOOM 4")
        await sink.until(lambda seen: seen.texts[-1] == "BOOM 4")
    assert emitted.lost >= 1
    assert emitted.error
    assert sink.texts == ["BOOM 1", "BOOM 2", "BOOM 3", "BOOM 4"]


async def test_lost_and_back(log: Harness) -> None:
    """A log that cannot be read is said to be lost, with what to do; when it can be read again that is said too."""
    log.take_away()
    sink = Remembering()
    async with running(log.source(), sink):
        emitted = await sink.until_status("lost")
        assert emitted.error
        assert emitted.since is not None
        log.give_back()
        await sink.until_status("ok")
        log.write(b"BOOM again")
        await sink.until_events(1)
    assert [fact.status for fact in sink.sources] == ["lost", "ok"]


async def test_quiet_log_asks_nothing_of_the_sink(log: Harness) -> None:
    """A log in which nothing is written costs the journal no transaction."""
    sink = Remembering()
    async with running(log.source(), sink):
        await sink.until_status("ok")
        puts = sink.puts
        await asyncio.sleep(0.5)
    assert sink.puts == puts


async def test_cursor_of_another_kind(log: Harness) -> None:
    """A cursor that another kind of log left behind is taken for none."""
    sink = Remembering()
    async with running(log.source(), sink, "?? no cursor of mine"):
        await sink.until_status("ok")
        log.write(b"BOOM 1")
        await sink.until_events(1)
    assert sink.texts == ["BOOM 1"]
