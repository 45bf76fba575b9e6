"""Calls that may hang are watched; look-ups for events keep to their bounds."""

import asyncio
import json

import pytest

from connectors.docker.api.event import DockerEvent, read_event
from connectors.docker.containers.book import ContainerBook
from connectors.docker.events.lookup import BURST, FILTER_IDS, Lookup
from connectors.docker.fake import FakeDocker
from connectors.docker.health.probe import Probe
from engine.errors import DockerError
from tests.clocks import SYSTEM, FixedClock


async def test_a_probe_has_one_call_under_way_and_keeps_what_came_of_it() -> None:
    """Started again while it waits it does not call again; its value stays through a later error."""
    gate = asyncio.Event()
    calls: list[int] = []

    async def call() -> int:
        calls.append(1)
        await gate.wait()
        if len(calls) > 1:
            raise DockerError("no", kind="failed")
        return 5

    probe = Probe("x", call, clock=SYSTEM)
    task = probe.start()
    assert probe.start() is task
    await asyncio.sleep(0)
    assert len(calls) == 1
    assert probe.waited_s > 0
    gate.set()
    await task
    assert (probe.value, probe.error, probe.task, probe.waited_s) == (5, None, None, 0.0)
    assert probe.took_ms is not None
    await probe.start()
    assert probe.value == 5
    assert str(probe.error) == "no"


async def test_a_probe_can_be_stopped_while_it_hangs() -> None:
    """Also before it was started, and twice."""
    probe = Probe("x", asyncio.Event().wait, clock=SYSTEM)
    await probe.stop()
    task = probe.start()
    await asyncio.sleep(0)
    await probe.stop()
    await probe.stop()
    assert task.cancelled()


def death(container: str, nano: int = 1_763_657_512_525_487_123, **attributes: str) -> DockerEvent:
    """A die event."""
    actor = {"ID": container, "Attributes": attributes}
    return read_event(json.dumps({"Type": "container", "Action": "die", "Actor": actor, "timeNano": nano}).encode())


async def test_few_are_asked_for_by_id_and_many_by_one_list() -> None:
    """One call in either case, and none for what was asked for already."""
    engine, book = FakeDocker(), ContainerBook()
    lookup = Lookup(engine, book, clock=SYSTEM)
    few = [engine.create("sleep", "1") for _ in range(3)]
    await lookup.learn([death(container) for container in few])
    await lookup.learn([death(container) for container in few])
    many = [engine.create("true") for _ in range(FILTER_IDS + 1)]
    await lookup.learn([death(container) for container in many])
    assert engine.calls == ["list", "list"]
    assert [book.command(container) for container in (few[0], many[-1])] == ["sleep 1", "true"]


async def test_a_container_that_is_gone_is_asked_for_once() -> None:
    """A flood of events of one that nobody knows costs one call."""
    engine = FakeDocker()
    lookup = Lookup(engine, ContainerBook(), clock=SYSTEM)
    for _ in range(10):
        await lookup.learn([death("f" * 64)])
    assert engine.calls == ["list"]


async def test_after_a_timeout_there_is_a_pause() -> None:
    """A Docker daemon that hangs delays events once in ten seconds."""
    engine, book, clock = FakeDocker(), ContainerBook(), FixedClock()
    lookup = Lookup(engine, book, clock=clock, timeout_s=0.05)
    engine.hang("list")
    await lookup.learn([death("a" * 64)])
    await lookup.learn([death("b" * 64)])
    assert engine.calls == ["list"]
    engine.go_on()
    clock.advance(10.1)
    container = engine.create("true")
    await lookup.learn([death(container)])
    assert book.command(container) == "true"


async def test_a_storm_s_look_ups_share_turns() -> None:
    """The first ones go at once, then each waits for its turn, 50 ms at most."""
    waits: list[float] = []

    class Standing(FixedClock):
        async def sleep(self, seconds: float) -> None:
            waits.append(seconds)

    engine = FakeDocker()
    lookup = Lookup(engine, ContainerBook(), clock=Standing())
    containers = [engine.create("true") for _ in range(BURST + 1)]
    for container in containers:
        await lookup.learn([death(container)])
    assert [wait for wait in waits if wait] == [pytest.approx(0.05)]


async def test_exit_codes_are_confirmed_for_the_same_death_only() -> None:
    """Of a later death inspect has another code; and no more than four are confirmed at a time."""
    engine, book = FakeDocker(), ContainerBook()
    lookup = Lookup(engine, book, clock=SYSTEM)
    container = engine.create("true", labels={"exitCode": "0"})
    engine.start(container)
    engine.die(container, exit_code=7)
    detail = await engine.inspect(container)
    assert detail.finished_at is not None
    nano = int(detail.finished_at.timestamp() * 1_000_000) * 1_000
    assert await lookup.exit_codes([death(container, nano)]) == {nano: 7}
    assert await lookup.exit_codes([death(container, nano - 5 * 10**9)]) == {}
    engine.calls.clear()
    await lookup.exit_codes([death(container, nano + number) for number in range(10)])
    assert engine.calls == ["inspect"] * 4
