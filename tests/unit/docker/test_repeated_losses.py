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
from engine.ports.docker import ContainerSummary
from tests.clocks import SYSTEM
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
