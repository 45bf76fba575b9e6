"""A list that overtakes events, and events that come once more after a restart: one exit is reported as one exit."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager

from connectors.docker.containers.book import ContainerBook
from connectors.docker.containers.listing import DockerListing, ListingSettings
from connectors.docker.containers.resync import Resync
from connectors.docker.events.lookup import Lookup
from connectors.docker.events.source import DockerEvents
from connectors.docker.fake import FakeDocker
from engine.facts import Retraction
from engine.facts.docker import Container, ContainerEvent
from engine.ports.docker import ContainerSummary
from tests.clocks import SYSTEM
from tests.contract.docker.watching import RecordingSink


class Slow(FakeDocker):
    """Its events come late and one by one; something happens while it makes up its first full list."""

    def __init__(self, meanwhile: Callable[["Slow"], None]) -> None:
        super().__init__()
        self._meanwhile: Callable[[Slow], None] | None = meanwhile
        self.events_come = asyncio.Event()

    async def list_containers(self, *, ids: Collection[str] = (), statuses: Collection[str] = ()) -> list[ContainerSummary]:
        """See the port."""
        if self._meanwhile is not None and not ids and not statuses:
            happens, self._meanwhile = self._meanwhile, None
            happens(self)
        return await super().list_containers(ids=ids, statuses=statuses)

    async def _late(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for chunk in chunks:
            await self.events_come.wait()
            await asyncio.sleep(0.05)  # so that each is a batch of its own
            yield chunk

    @asynccontextmanager
    async def events(self, *, since: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """See the port."""
        async with super().events(since=since) as chunks:
            yield self._late(chunks)


@asynccontextmanager
async def watched(docker: FakeDocker, cursor: str | None = None) -> AsyncIterator[RecordingSink]:
    """Events and listing at work on one book."""
    sink, book, resync = RecordingSink(), ContainerBook(), Resync()
    sources = (
        DockerEvents(docker, Lookup(docker, book, clock=SYSTEM), book, resync, clock=SYSTEM),
        DockerListing(docker, book, resync, clock=SYSTEM, settings=ListingSettings(interval=60.0)),
    )
    tasks = [asyncio.create_task(one.run(sink, cursor if one.name == "docker" else None), name=one.name) for one in sources]
    try:
        yield sink
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def states(sink: RecordingSink) -> list[str]:
    """Of all containers, as emitted."""
    return [fact.status for fact in sink.emitted if isinstance(fact, Container)]


async def test_a_start_that_the_list_has_overtaken_does_not_revive_an_exited_container() -> None:
    """It started and exited while the list was made up: the list has the exit, and both events come after it."""
    container = ""

    def run_and_exit(docker: Slow) -> None:
        nonlocal container
        container = docker.create("true")
        docker.start(container)
        docker.die(container, exit_code=3)

    docker = Slow(run_and_exit)
    async with watched(docker) as sink:
        await sink.until(lambda: states(sink) == ["exited"], "the list")
        docker.events_come.set()
        await sink.until(lambda: sink.actions(container) == ["create", "start", "die"], "the events")
    assert set(states(sink)) == {"exited"}
    last = [fact for fact in sink.emitted if isinstance(fact, Container)][-1]
    assert last.exit_code == 3


async def test_a_start_that_the_list_has_missed_counts() -> None:
    """It may as well have happened after the list was made up: then it runs."""
    docker = Slow(lambda docker: docker.start(container))
    container = docker.create("sleep")
    real = docker._summary
    docker._summary = lambda box: real(box) if docker.events_come.is_set() else ContainerSummary(box.detail.id, status="created")  # type: ignore[method-assign]  # as before the start
    async with watched(docker) as sink:
        await sink.until(lambda: states(sink) == ["created"], "the list")
        docker.events_come.set()
        await sink.until(lambda: states(sink)[-1] == "running", "that it runs")


async def test_only_the_last_state_of_a_batch_is_emitted() -> None:
    """A container that was started anew and has exited again is an exited container; the events are all there."""
    docker = FakeDocker()
    container = docker.create("true")
    docker.start(container)
    docker.die(container, exit_code=1)
    async with watched(docker) as sink:
        await sink.until(lambda: sink.actions(container) == ["create", "start", "die"], "the first run")
        before = len(states(sink))
        docker.start(container)
        docker.die(container, exit_code=2)
        await sink.until(lambda: sink.actions(container)[3:] == ["start", "die"], "the events")
        assert states(sink)[before:] == ["exited"]


async def test_a_container_that_was_gone_before_a_restart_does_not_come_back() -> None:
    """The last second's events come once more to a process that knows no container: they bring none back."""
    docker = FakeDocker()
    async with watched(docker) as sink:
        await sink.until(lambda: sink.source("docker"), "the stream")
        container = docker.create("true")
        docker.start(container)
        docker.die(container)
        await docker.remove(container)
        await sink.until(lambda: sink.actions(container)[-1:] == ["destroy"], "its end")
        await sink.until(lambda: sink.cursor, "a cursor")
        cursor = sink.cursor
    async with watched(docker, cursor) as again:
        await again.until(lambda: again.actions(container)[-1:] == ["destroy"], "the events of the overlap")
    assert states(again) == []
    assert [fact for fact in again.emitted if isinstance(fact, Retraction)] == []
    assert {fact.fact_id for fact in again.emitted if isinstance(fact, ContainerEvent)} <= {
        fact.fact_id for fact in sink.emitted if isinstance(fact, ContainerEvent)
    }
