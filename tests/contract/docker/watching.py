"""Runs the sources of one engine into a sink that remembers, and waits for what they emit."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from connectors.docker.containers.book import ContainerBook
from connectors.docker.containers.listing import DockerListing, ListingSettings
from connectors.docker.containers.protection import Protection
from connectors.docker.containers.resync import Resync
from connectors.docker.events.lookup import Lookup
from connectors.docker.events.source import DockerEvents, EventSettings
from engine.facts import Fact, Retraction
from engine.facts.docker import Container, ContainerEvent
from engine.facts.host import Source
from engine.ports.sources import FactSource
from tests.clocks import SYSTEM
from tests.contract.docker.harness import Harness
from tests.lab.waiting import until

F = TypeVar("F", bound=Fact)


class RecordingSink:
    """Keeps all that is emitted."""

    def __init__(self) -> None:
        self.emitted: list[Fact | Retraction] = []
        self.cursor: str | None = None
        self.open = asyncio.Event()
        self.open.set()

    async def put(self, facts: list[Fact | Retraction], *, cursor: str | None = None) -> None:
        await self.open.wait()
        self.emitted += facts
        if cursor is not None:
            self.cursor = cursor

    def of(self, kind: type[F]) -> list[F]:
        return [fact for fact in self.emitted if isinstance(fact, kind)]

    def events(self, container: str) -> list[ContainerEvent]:
        return [event for event in self.of(ContainerEvent) if event.id == container]

    def actions(self, container: str) -> list[str]:
        return [event.action for event in self.events(container)]

    def state(self, container: str) -> Container | None:
        """What a working memory would hold of this container."""
        held: Container | None = None
        for fact in self.emitted:
            if isinstance(fact, Container) and fact.id == container and (held is None or fact.at >= held.at):
                held = fact
            if isinstance(fact, Retraction) and fact.key == container:
                held = None
        return held

    def status(self, container: str) -> str | None:
        state = self.state(container)
        return state.status if state else None

    def source(self, name: str) -> list[str]:
        return [fact.status for fact in self.of(Source) if fact.name == name]

    async def until(self, look: Callable[[], object], what: str, within_s: float = 10.0) -> None:
        await until(lambda: bool(look()), what=what, within_s=within_s)


@asynccontextmanager
async def watching(
    harness: Harness,
    *,
    cursor: str | None = None,
    known: tuple[str, ...] = (),
    protection: Protection | None = None,
    listing: ListingSettings | None = None,
    events: EventSettings | None = None,
    sink: RecordingSink | None = None,
) -> AsyncIterator[RecordingSink]:
    """The event source and the listing, at work until the block ends; entered once both have said that they are well."""
    sink = sink or RecordingSink()
    book, resync = ContainerBook(protection=protection), Resync()
    lookup = Lookup(harness.client(), book, clock=SYSTEM)
    sources: list[FactSource] = [
        DockerEvents(harness.client(), lookup, book, resync, clock=SYSTEM, settings=events or EventSettings(first_event=0.3)),
        DockerListing(harness.client(), book, resync, clock=SYSTEM, known=known, settings=listing),
    ]
    tasks = [asyncio.create_task(source.run(sink, cursor if source.name == "docker" else None)) for source in sources]
    try:
        await sink.until(lambda: sink.source("docker_listing") and sink.source("docker"), "both sources to be well")
        yield sink
    finally:
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ends), ends
