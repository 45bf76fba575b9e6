"""What the event source and the listing emit together, on the fake and on a real engine."""

import asyncio
import time

import pytest

from connectors.docker.containers.listing import ListingSettings
from connectors.docker.containers.protection import Protection
from connectors.docker.events.lookup import A_SECOND, BURST
from connectors.docker.events.source import EventSettings
from engine.facts import Retraction
from engine.facts.docker import ContainerEvent
from engine.facts.host import Source
from tests.contract.docker.harness import FakeHarness, Harness
from tests.contract.docker.watching import RecordingSink, watching

EAGER = ListingSettings(interval=1.0)
"""For tests in which only a list of all can show it."""


async def test_a_container_s_life_is_told(harness: Harness) -> None:
    """Create, start, die and destroy come in order, with command and labels; the state follows and is taken back at the end."""
    async with watching(harness) as sink:
        container = await harness.exited(
            7, name="web", labels={"com.docker.compose.project": "shop", "com.docker.compose.service": "web"}
        )
        await sink.until(lambda: "die" in sink.actions(container), "the death")
        die = sink.events(container)[-1]
        assert (die.exit_code, die.name, die.image, die.command) == (7, "web", "box:1", "sh -c 'exit 7'")
        assert die.parent == "compose:shop/web"
        state = sink.state(container)
        assert state is not None
        assert (state.status, state.exit_code, state.command, state.parent) == ("exited", 7, "sh -c 'exit 7'", "compose:shop/web")
        await harness.client().remove(container)
        await sink.until(lambda: "destroy" in sink.actions(container), "the destruction")
        assert sink.state(container) is None
    assert [action for action in sink.actions(container) if action != "attach"] == ["create", "start", "die", "destroy"]
    assert len({event.fact_id for event in sink.events(container)}) == len(sink.events(container))


async def test_containers_from_before_are_listed_and_those_gone_meanwhile_retracted(harness: Harness) -> None:
    """At the start all that is there is emitted, and what working memory remembers of others is taken back."""
    container = await harness.exited(3)
    gone = "e" * 64
    async with watching(harness, known=(container, gone)) as sink:
        assert sink.status(container) == "exited"
        state = sink.state(container)
        assert state is not None
        assert state.exit_code == 3
        retracted = {fact.key for fact in sink.emitted if isinstance(fact, Retraction)}
        assert gone in retracted
        assert container not in retracted


@pytest.mark.parametrize("key", ["exitCode", "signal"])
async def test_a_label_cannot_forge_what_an_event_says(harness: Harness, key: str) -> None:
    """A label named like an attribute of the event is never taken for it: the exit code comes from inspect."""
    async with watching(harness) as sink:
        container = await harness.exited(7, labels={key: "0"})
        await sink.until(lambda: "die" in sink.actions(container), "the death")
        (die,) = (event for event in sink.events(container) if event.action == "die")
        assert die.exit_code == 7
        assert die.labels == {key: "0"}
        await sink.until(lambda: (state := sink.state(container)) is not None and state.exit_code == 7, "the state's exit code")


async def test_a_failed_removal_is_noticed_within_five_seconds(harness: Harness) -> None:
    """No event reports it; the state becomes dead with Docker's reason, stays so, and is taken back when it is repaired."""
    container = await harness.exited(0)
    await harness.break_removal(container)
    async with watching(harness) as sink:
        with pytest.raises(Exception, match="unable to remove"):
            await harness.client().remove(container, force=True)
        await sink.until(lambda: sink.status(container) == "dead", "the dead container to be noticed", within_s=5.0)
        state = sink.state(container)
        assert state is not None
        assert "unable to remove filesystem" in (state.error or "")
        emitted = len(sink.emitted)
        with pytest.raises(Exception, match="unable to remove"):
            await harness.client().remove(container, force=True)
        await asyncio.sleep(2.5)  # more than one round of the listing, which must not say anything new
        assert sink.status(container) == "dead"
        assert len(sink.emitted) <= emitted + 1
        await harness.repair_removal(container)
        await harness.client().remove(container, force=True)
        await sink.until(lambda: sink.state(container) is None, "the removal")


async def test_a_failed_start_is_noticed(harness: Harness) -> None:
    """No event reports it; after a while the container is inspected, and the reason is there."""
    async with watching(harness) as sink:
        container = await harness.unstartable()
        await sink.until(lambda: (state := sink.state(container)) is not None and state.error, "the reason", within_s=10.0)
        assert sink.status(container) == "created"
        assert "start" not in sink.actions(container)


async def test_protection_is_told(harness: Harness) -> None:
    """By label, by name and by image; others are not protected."""
    async with watching(harness, protection=Protection(names=("db-*",))) as sink:
        by_label = await harness.create("true", labels={"dockwarden.protect": "true"})
        by_name = await harness.create("true", name="db-1")
        other = await harness.create("true", name="web-1")
        await sink.until(lambda: sink.state(other), "the last one")
        states = [sink.state(container) for container in (by_label, by_name, other)]
        assert [state.protected for state in states if state is not None] == [True, True, False]


async def test_a_restarted_reader_misses_nothing_and_repeats_under_the_same_ids(harness: Harness) -> None:
    """From the cursor on, everything that happened meanwhile is emitted; what is emitted again has the fact id it had."""
    async with watching(harness) as sink:
        first = await harness.create("true", name="first")
        await sink.until(lambda: sink.actions(first), "the first event")
    meanwhile = await harness.create("true", name="meanwhile")
    async with watching(harness, cursor=sink.cursor) as again:
        await again.until(lambda: again.actions(meanwhile), "what happened meanwhile")
        later = await harness.create("true", name="later")
        await again.until(lambda: again.actions(later), "what happened later")
    assert again.source("docker") == ["ok"]
    ids = {event.fact_id for event in sink.of(ContainerEvent)}
    assert all(event.fact_id in ids for event in again.events(first))
    for container in (meanwhile, later):
        assert again.actions(container) == ["create"]


async def test_an_overrun_of_the_engine_s_memory_is_a_gap(harness: Harness) -> None:
    """When more happened than Docker remembers, the source says gap, the list makes up for it, and the source is well."""
    async with watching(harness) as sink:
        first = await harness.create("true", name="first")
        await sink.until(lambda: sink.actions(first), "the first event")
    lost = await harness.create("true", name="lost")
    await harness.noise(300)
    async with watching(harness, cursor=sink.cursor) as again:
        await again.until(lambda: again.source("docker") == ["gap", "ok"], "the gap and its end")
        assert again.actions(lost) == []
        assert again.status(lost) == "created"


async def test_a_sink_that_waits_does_not_stall_the_engine(harness: Harness) -> None:
    """While the sink is behind, the stream is drained all the same; everything is emitted once it goes on."""
    async with watching(harness) as sink:
        sink.open.clear()
        first = await harness.create("true")
        await harness.noise(400)
        last = await harness.create("true")
        sink.open.set()
        await sink.until(lambda: sink.actions(last), "the last event")
        assert sink.actions(first) == ["create"]
    assert set(sink.source("docker")) == {"ok"}


async def test_a_queue_that_overflows_is_a_gap_with_a_count() -> None:
    """What did not fit is dropped and counted, never waited for; the list makes up for it, and the source is well again."""
    harness = FakeHarness()
    async with watching(harness, events=EventSettings(queue=100, batch=10)) as sink:
        sink.open.clear()
        containers = [await harness.exited(0) for _ in range(200)]
        sink.open.set()
        await sink.until(lambda: sink.source("docker")[-2:] == ["gap", "ok"], "the gap and its end")
        assert sink.of(Source)[-1].lost >= 600 - 100 - 10 * 5
        await sink.until(lambda: all(sink.status(container) == "exited" for container in containers), "all states")


async def test_a_silent_stream_is_opened_anew_without_a_word() -> None:
    """A peer that died without a word looks like a quiet one; a quiet one is no loss, and no event is missed or repeated."""
    harness = FakeHarness()
    async with watching(harness, events=EventSettings(silence=0.1, first_event=5.0)) as sink:
        container = await harness.create("true")
        await sink.until(lambda: harness.fake.calls.count("events") >= 4, "the stream to be opened anew")
        harness.fake.start(container)
        await sink.until(lambda: "start" in sink.actions(container), "the next event")
        assert sink.actions(container) == ["create", "start"]
        assert set(sink.source("docker")) == {"ok"}


async def test_a_restart_of_the_engine_is_survived(breakable: Harness) -> None:
    """The stream is lost, found again, and what changed while Docker was down is emitted from the list."""
    container = await breakable.create("true")
    async with watching(breakable) as sink:
        other = await breakable.create("true")
        await sink.until(lambda: sink.actions(other), "the event before")
        await breakable.restart()
        await sink.until(lambda: sink.source("docker")[-2:] == ["gap", "ok"], "the end of the gap", within_s=30.0)
        after = await breakable.create("true")
        await sink.until(lambda: sink.actions(after), "the event after")
        assert sink.actions(after) == ["create"]
        assert "lost" in sink.source("docker")
        assert [sink.status(c) for c in (container, other, after)] == ["created"] * 3


async def test_an_engine_that_is_not_there_yet_is_waited_for(breakable: Harness) -> None:
    """Both sources say lost, go on trying, and are well once Docker is up."""
    await breakable.stop()
    sink = RecordingSink()
    async with watching(breakable, sink=sink):
        assert sink.source("docker") == ["lost"]
        await breakable.restart()
        await sink.until(lambda: sink.source("docker")[-1] == "ok", "the events", within_s=30.0)
        await sink.until(lambda: sink.source("docker_listing")[-1] == "ok", "the listing", within_s=30.0)


async def test_hostile_lines_are_counted_and_the_stream_goes_on() -> None:
    """Broken JSON, deep nesting, broken UTF-8, huge numbers and other junk: one counted loss each, nothing else."""
    harness = FakeHarness()
    junk = [
        b"{\n",
        b"[" * 100_000 + b"\n",
        b"\xff\xfe\n",
        b'"text"\n',
        b"null\n",
        b"{}\n",
        b'{"timeNano": 1' + b"0" * 5_000 + b"}\n",
    ]
    junk.append(b'{"Type": "container", "Action": "die", "Actor": {"ID": 5, "Attributes": []}, "timeNano": -1}\n')
    async with watching(harness) as sink:
        for line in junk:
            harness.fake.send(line)
        await sink.until(lambda: any(getattr(f, "lost", 0) == len(junk) for f in sink.emitted), "the count of losses")
        container = await harness.create("true")
        await sink.until(lambda: sink.actions(container), "the next event")
        assert set(sink.source("docker")) == {"ok"}


async def test_a_line_of_five_mebibytes_is_skipped_as_a_gap() -> None:
    """It is not kept in memory, is counted, and the list makes up for it."""
    harness = FakeHarness()
    async with watching(harness) as sink:
        for _ in range(5):
            harness.fake.send(b"x" * (1 << 20))
        harness.fake.send(b"\n")
        await sink.until(lambda: sink.source("docker") == ["ok", "gap", "ok"], "the gap and its end")
        container = await harness.create("true")
        await sink.until(lambda: sink.actions(container), "the next event")


async def test_huge_and_hostile_labels_are_cut(harness: Harness) -> None:
    """A label of 200 KB and one with control characters reach the facts within bounds; the protecting label is kept."""
    hostile = {f"k{number}": "v" for number in range(300)} | {
        "big": "x" * 100_000,
        "bell": "\x07\x1b[31m",
        "dockwarden.protect": "true",
    }
    async with watching(harness) as sink:
        container = await harness.create("true", labels=hostile)
        await sink.until(lambda: sink.actions(container), "the event")
        state = sink.state(container)
        assert state is not None
        assert state.protected
        assert len(state.labels) <= 200
        assert len(sink.events(container)[0].model_dump_json()) < 30_000


async def test_a_hung_look_up_delays_events_once_and_loses_none() -> None:
    """While lists hang, events go on without a command; when they answer again, the list completes the state."""
    harness = FakeHarness()
    async with watching(harness, listing=EAGER) as sink:
        harness.fake.hang("list")
        started = asyncio.get_running_loop().time()
        first = harness.fake.create("true")
        await sink.until(lambda: sink.actions(first), "the first event")
        assert sink.events(first)[0].command is None
        second = harness.fake.create("true")
        await sink.until(lambda: sink.actions(second), "the second event")
        assert asyncio.get_running_loop().time() - started < 4.0
        harness.fake.go_on()
        await sink.until(lambda: (state := sink.state(first)) is not None and state.command == "true", "the command")


async def test_a_storm_costs_no_inspection() -> None:
    """1,000 containers created and exited at once: every event has its command, with a few lists and not one inspection."""
    harness = FakeHarness()
    async with watching(harness) as sink:
        harness.fake.calls.clear()
        started = time.monotonic()
        storm = [await harness.exited(0, name=f"s{number}") for number in range(1_000)]
        await sink.until(lambda: sink.actions(storm[-1])[-1:] == ["die"], "the last death")
        assert all(event.command == "sh -c 'exit 0'" for event in sink.of(ContainerEvent))
        assert len(sink.of(ContainerEvent)) == 3_000
        assert "inspect" not in harness.fake.calls
        # A busy machine takes longer for the same storm, with look-ups all along; a few of the lists are the listing's.
        assert harness.fake.calls.count("list") < BURST + A_SECOND * (time.monotonic() - started) + 5
