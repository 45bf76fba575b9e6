"""Sources that look at a steady pace."""

import asyncio
from datetime import UTC, datetime

import pytest

from connectors.sources.periodic import Facts, PeriodicSource
from engine.errors import SourceError
from engine.facts.host import Sockets, Source
from tests.clocks import FixedClock

AT = datetime(2026, 11, 20, tzinfo=UTC)
CLOCK = FixedClock.of(AT)


class Script(PeriodicSource):
    """Looks as it is asked: an exception is raised, text is a part that failed."""

    def __init__(self, *looks: Exception | str | None, interval_s: float = 0.001) -> None:
        super().__init__(name="script", interval_s=interval_s, clock=CLOCK)
        self.looks = list(looks)
        self.over = asyncio.Event()

    async def look(self) -> Facts:
        if not self.looks:
            self.over.set()
            return []
        step = self.looks.pop(0)
        if isinstance(step, Exception):
            raise step
        if step is not None:
            self._in_part(step)
        return [Sockets(at=AT)]


class Received:
    """A sink that keeps what it is given."""

    def __init__(self) -> None:
        self.facts: Facts = []

    async def put(self, facts: Facts, *, cursor: str | None = None) -> None:
        assert cursor is None
        self.facts += facts


async def received(source: Script) -> list[str]:
    """What the source emitted until its script was over: sockets as S, source facts as status and error."""
    sink = Received()
    task = asyncio.create_task(source.run(sink, None))
    async with asyncio.timeout(5):
        await source.over.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    return [f"{fact.status} {fact.lost} {fact.error}" if isinstance(fact, Source) else "S" for fact in sink.facts]


async def test_steady_looks_say_nothing_of_the_source() -> None:
    """While all is well only facts are emitted."""
    assert await received(Script(None, None, None)) == ["S", "S", "S"]


async def test_trouble_is_told_once_and_its_end_too() -> None:
    """The same failure again is counted, not emitted; another one is emitted; so is the recovery, with the count."""
    looks = (None, SourceError("no"), SourceError("no"), OSError("disk"), None)
    assert await received(Script(*looks)) == ["S", "lost 1 no", "lost 3 disk", "ok 3 None", "S"]


async def test_trouble_in_part_keeps_the_facts() -> None:
    """What could be seen is emitted beside what could not."""
    assert await received(Script("half", "half", None)) == ["lost 1 half", "S", "S", "ok 2 None", "S"]


async def test_a_bug_is_not_swallowed() -> None:
    """What no look foresees ends the source, for its supervisor to see."""
    with pytest.raises(ZeroDivisionError):
        await Script(ZeroDivisionError()).run(Received(), None)


def test_an_interval_of_nothing_is_refused() -> None:
    """A source cannot look all the time."""
    with pytest.raises(ValueError, match="interval"):
        Script(interval_s=0)
