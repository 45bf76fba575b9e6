"""What is logged of a Docker daemon that stays away: once, however often it is tried."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

from structlog.testing import capture_logs

from connectors.docker.containers.book import ContainerBook
from connectors.docker.containers.listing import DockerListing, ListingSettings
from connectors.docker.containers.resync import Resync
from connectors.docker.events.lookup import Lookup
from connectors.docker.events.source import DockerEvents, EventSettings
from connectors.docker.fake import FakeDocker
from engine.ports.docker import ContainerDetail, ContainerSummary
from tests.clocks import SYSTEM, FixedClock
from tests.contract.docker.watching import RecordingSink
from tests.lab.waiting import until


class Away(FakeDocker):
    """A Docker daemon that nobody reaches, and that counts who tries."""

    def __init__(self) -> None:
        super().__init__()
        self.lists = self.streams = 0
        self.go_down()

    async def list_containers(self, *, ids: Collection[str] = (), statuses: Collection[str] = ()) -> list[ContainerSummary]:
        """Counted."""
        self.lists += 1
        return await super().list_containers(ids=ids, statuses=statuses)

    @asynccontextmanager
    async def events(self, *, since: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """Counted."""
        self.streams += 1
        async with super().events(since=since) as stream:
            yield stream


async def test_an_engine_that_stays_away_is_logged_once_by_each_source() -> None:
    """Tenths of seconds of vain attempts gave a line each, and a night of them a log that nobody reads."""
    engine = Away()
    book, resync, sink = ContainerBook(), Resync(), RecordingSink()
    events = DockerEvents(
        engine,
        Lookup(engine, book, clock=SYSTEM),
        book,
        resync,
        clock=SYSTEM,
        settings=EventSettings(first_pause=0.01, longest_pause=0.01),
    )
    listing = DockerListing(engine, book, resync, clock=SYSTEM, settings=ListingSettings(round=0.01, longest_pause=0.01))
    with capture_logs() as logs:
        tasks = [asyncio.create_task(source.run(sink, None), name=source.name) for source in (events, listing)]
        await until(lambda: min(engine.lists, engine.streams) > 3, what="several attempts")
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    lost = [entry["source"] for entry in logs if entry["event"] == "source_lost"]
    assert sorted(lost) == ["docker", "docker_listing"]


async def test_a_container_whose_inspection_hangs_is_asked_seldom() -> None:
    """Each call given up goes on in Docker; others' inspections are answered all the while, and when it is, all is as before."""
    docker = FakeDocker()
    hung, other = docker.create("true"), docker.create("true")
    for container in (hung, other):
        docker.begin_removal(container)
    docker.hang(f"inspect {hung}")
    asked: list[str] = []
    inspect = docker.inspect

    async def counted(container: str) -> ContainerDetail:
        asked.append(container)
        return await inspect(container)

    docker.inspect = counted  # type: ignore[method-assign]  # counted
    clock, sink = Night(), RecordingSink()
    listing = DockerListing(
        docker,
        ContainerBook(),
        Resync(),
        clock=clock,
        settings=ListingSettings(round=0.001, longest_round=0.001, inspect_timeout=0.002),
    )
    task = asyncio.create_task(listing.run(sink, None), name="listing")
    try:
        await until(lambda: asked.count(other) > 50, what="the other one's inspections", within_s=20)
        assert asked.count(hung) <= 12
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class Night(FixedClock):
    """Each time it is looked at, half a second has passed."""

    def monotonic(self) -> float:
        """See the port."""
        self.seconds += 0.5
        return self.seconds
