"""What the health probe emits, on the fake and on a real engine that is stopped, frozen and slowed down."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace

import pytest

from connectors.docker.api import readings
from connectors.docker.fake import FakeDocker
from connectors.docker.health.source import MAX_INSPECTIONS, DockerHealth, HealthSettings
from engine.facts.docker import Daemon, DaemonChange
from engine.ports.docker import ContainerDetail, DockerInfo
from tests.clocks import SYSTEM
from tests.contract.docker.harness import FakeHarness, Harness, RealHarness
from tests.contract.docker.watching import RecordingSink
from tests.lab.faults.stops import stopped, stopped_init

QUICK = HealthSettings(interval=0.2, hung_after=1.0, unreachable_interval=0.2, info_interval=0.5)


class Watch:
    """A sink with the present `daemon` fact in reach."""

    def __init__(self) -> None:
        self.sink = RecordingSink()

    @property
    def now(self) -> Daemon:
        return self.sink.of(Daemon)[-1]

    async def until_hung(self, call: str | None, within_s: float = 8.0) -> Daemon:
        await self.sink.until(lambda: self.sink.of(Daemon) and self.now.hung == call, f"hung = {call}", within_s)
        return self.now


@asynccontextmanager
async def probing(harness: Harness, *, settings: HealthSettings = QUICK, cursor: str | None = None) -> AsyncIterator[Watch]:
    """The probe at work until the block ends."""
    watch = Watch()
    health = DockerHealth(harness.client(), clock=SYSTEM, settings=settings)
    task = asyncio.create_task(health.run(watch.sink, cursor))
    try:
        await watch.sink.until(lambda: watch.sink.of(Daemon), "the first fact", within_s=15.0)
        yield watch
    finally:
        task.cancel()
        (end,) = await asyncio.gather(task, return_exceptions=True)
        assert isinstance(end, asyncio.CancelledError), end


@asynccontextmanager
async def _fake_hang(harness: FakeHarness, *calls: str) -> AsyncIterator[None]:
    harness.fake.hang(*calls)
    yield
    harness.fake.go_on()


def frozen_engine(harness: Harness) -> AbstractAsyncContextManager[None]:
    """Connecting works, nothing is answered."""
    if isinstance(harness, RealHarness):
        return stopped(harness.engine.pid)
    assert isinstance(harness, FakeHarness)
    return _fake_hang(harness, "everything")


def frozen_containerd(harness: Harness) -> AbstractAsyncContextManager[None]:
    """Ping and list are answered, version and info are not."""
    if isinstance(harness, RealHarness):
        return stopped(harness.engine.containerd_pid)
    assert isinstance(harness, FakeHarness)
    return _fake_hang(harness, "version", "info")


@asynccontextmanager
async def frozen_start(harness: Harness) -> AsyncIterator[str]:
    """One container's start does not end, and neither does its inspection."""
    if isinstance(harness, RealHarness):
        async with stopped_init(harness.engine) as caught:
            yield caught.container
    elif isinstance(harness, FakeHarness):
        container = harness.fake.create("true")
        async with _fake_hang(harness, f"inspect {container}"):
            yield container


async def test_a_well_engine_is_told_with_what_it_is(harness: Harness) -> None:
    """Reachable, nothing hangs, with versions, drivers, counts and milliseconds; and emitted once, not at every look."""
    await harness.exited(0)
    async with probing(harness) as watch:
        await watch.sink.until(lambda: watch.now.storage_driver, "Docker's set-up")
        daemon = watch.now
        assert (daemon.reachable, daemon.hung, daemon.hung_container, daemon.error) == (True, None, None, None)
        assert daemon.storage_driver == "overlay2"
        assert daemon.version
        assert daemon.kernel
        assert daemon.cgroup_driver
        assert (daemon.containers, daemon.running, daemon.stopped) == (1, 0, 1)
        assert daemon.ping_ms is not None
        assert daemon.list_ms is not None
        emitted = len(watch.sink.of(Daemon))
        await asyncio.sleep(1.0)  # five looks, none of which has news
        assert len(watch.sink.of(Daemon)) == emitted


async def test_a_frozen_engine_hangs_at_ping_and_is_well_when_it_goes_on(breakable: Harness) -> None:
    """Reachable, but even the ping is not answered; emitted as soon as the call counts as hung, and taken back at once."""
    async with probing(breakable) as watch:
        async with frozen_engine(breakable):
            daemon = await watch.until_hung("ping")
            assert daemon.reachable
            assert daemon.hung_container is None
        daemon = await watch.until_hung(None, within_s=2.0)
        assert daemon.reachable


async def test_a_frozen_containerd_hangs_at_version(breakable: Harness) -> None:
    """Ping and list are answered all the while; no container is blamed."""
    await breakable.running()
    async with probing(breakable) as watch:
        async with frozen_containerd(breakable):
            daemon = await watch.until_hung("version")
            assert (daemon.reachable, daemon.hung_container) == (True, None)
            assert daemon.list_ms is not None
        await watch.until_hung(None, within_s=2.0)


async def test_one_frozen_start_names_the_container(breakable: Harness) -> None:
    """All else answers; the container whose inspection hangs is named, and no other."""
    await breakable.running()
    async with probing(breakable) as watch:
        async with frozen_start(breakable) as container:
            daemon = await watch.until_hung("inspect")
            assert daemon.hung_container == container
        await watch.until_hung(None, within_s=3.0)


async def test_a_stopped_engine_is_unreachable_and_says_what_to_do(breakable: Harness) -> None:
    """Not hung: nobody accepts the connection. What was known of it stays; it is well when it is back."""
    async with probing(breakable) as watch:
        await watch.sink.until(lambda: watch.now.version, "its version")
        await breakable.stop()
        await watch.sink.until(lambda: not watch.now.reachable, "unreachable")
        assert watch.now.hung is None
        assert "Docker" in (watch.now.error or "")
        assert watch.now.version
        await breakable.restart()
        await watch.sink.until(lambda: watch.now.reachable, "reachable again", within_s=30.0)
        assert watch.now.error is None


async def test_a_hung_list_of_an_old_engine_names_the_container_to_blame() -> None:
    """The list takes each container's lock in turn: the one whose inspection hangs too is the culprit."""
    harness = FakeHarness()
    containers = [await harness.running() for _ in range(20)]
    async with probing(harness) as watch:
        async with _fake_hang(harness, "list", f"inspect {containers[13]}"):
            await watch.until_hung("list")
            await watch.sink.until(lambda: watch.now.hung_container == containers[13], "the culprit")
        daemon = await watch.until_hung(None)
        assert daemon.hung_container is None


async def test_a_slow_engine_is_not_hung() -> None:
    """Two seconds for a list are slow; ten would be hung. Nothing is emitted but the time it took."""
    harness = FakeHarness()
    async with probing(harness, settings=replace(QUICK, hung_after=10.0, refresh=0.1)) as watch:
        async with _fake_hang(harness, "list"):
            await asyncio.sleep(2.0)  # the fault itself is two seconds of silence
        await watch.sink.until(lambda: (watch.now.list_ms or 0) > 1_500, "the slow list")
        assert {daemon.hung for daemon in watch.sink.of(Daemon)} == {None}


async def test_a_hung_call_is_not_sent_again() -> None:
    """However long it hangs there is one list under way: each further one would wait under the same lock."""
    harness = FakeHarness()
    async with probing(harness) as watch:
        harness.fake.calls.clear()
        async with _fake_hang(harness, "list"):
            await watch.until_hung("list")
            await asyncio.sleep(1.0)  # five looks
            assert harness.fake.calls.count("list") == 1


async def test_the_pool_s_figures_and_its_trend_are_told() -> None:
    """The published figures of a devicemapper host: shares of data and metadata, deferred settings, warnings."""
    harness = FakeHarness()
    harness.fake.info_given = DockerInfo(
        version="1.10.3",
        kernel="3.10.0-327.13.1.el7.x86_64",
        storage_driver="devicemapper",
        driver_status=(
            ("Data Space Used", "16.2 GB"),
            ("Data Space Total", "33.97 GB"),
            ("Metadata Space Used", "40.19 MB"),
            ("Metadata Space Total", "75.5 MB"),
            ("Deferred Removal Enabled", "false"),
            ("Deferred Deletion Enabled", "false"),
        ),
        warnings=("bridge-nf-call-iptables is disabled",),
    )
    async with probing(harness) as watch:
        await watch.sink.until(lambda: watch.now.data_ratio, "the pool")
        daemon = watch.now
        assert daemon.data_ratio == pytest.approx(0.4769, abs=1e-4)
        assert daemon.metadata_ratio == pytest.approx(0.5323, abs=1e-4)
        assert (daemon.deferred_removal, daemon.deferred_deletion) == (False, False)
        assert daemon.warnings == ["bridge-nf-call-iptables is disabled"]


async def test_a_change_while_nobody_looked_is_told_once() -> None:
    """The cursor remembers kernel and storage driver; after a restart of the probe a difference is an event, and only once."""
    harness = FakeHarness()
    async with probing(harness) as watch:
        await watch.sink.until(lambda: watch.sink.cursor, "the memory")
        assert watch.sink.of(DaemonChange) == []
    harness.fake.info_given = replace(harness.fake.info_given, storage_driver="devicemapper", kernel="4.9.0")
    async with probing(harness, cursor=watch.sink.cursor) as later:
        await later.sink.until(lambda: len(later.sink.of(DaemonChange)) == 2, "two changes")
        changes = {(change.field, change.old, change.new) for change in later.sink.of(DaemonChange)}
        assert changes == {("storage_driver", "overlay2", "devicemapper"), ("kernel", "6.1.0", "4.9.0")}
        await asyncio.sleep(1.2)  # two more looks at the set-up
        assert len(later.sink.of(DaemonChange)) == 2
    assert json.loads(later.sink.cursor or "")["storage_driver"] == "devicemapper"


@pytest.mark.parametrize("cursor", ["", "{", "[]", '{"kernel": 5}', "[" * 100_000])
async def test_a_broken_memory_is_no_memory(cursor: str) -> None:
    """A cursor that cannot be read causes no changes and harms nothing."""
    async with probing(FakeHarness(), cursor=cursor) as watch:
        await watch.sink.until(lambda: watch.now.storage_driver, "the set-up")
        assert watch.sink.of(DaemonChange) == []


async def test_told_to_hurry_it_looks_at_once(harness: Harness) -> None:
    """A Docker daemon that came back as another is noticed without waiting a minute for the next look at how it is set up."""
    slow = HealthSettings(interval=60.0, hung_after=5.0, info_interval=60.0)
    watch = Watch()
    health = DockerHealth(harness.client(), clock=SYSTEM, settings=slow)
    task = asyncio.create_task(health.run(watch.sink, json.dumps({"storage_driver": "aufs"})))
    try:
        await watch.sink.until(lambda: watch.sink.of(DaemonChange), "the change since last time", within_s=15.0)
        before = len(watch.sink.of(Daemon))
        async with frozen_engine(harness):
            health.hurry()
            await watch.sink.until(lambda: len(watch.sink.of(Daemon)) > before, "the hang", within_s=10.0)
        assert watch.now.hung == "ping"
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class _Counting(FakeDocker):
    """Counts the inspections that are not answered at the same time."""

    def __init__(self) -> None:
        super().__init__()
        self.open = self.most = 0

    async def inspect(self, container: str) -> ContainerDetail:
        self.open += 1
        self.most = max(self.most, self.open)
        try:
            return await super().inspect(container)
        finally:
            self.open -= 1


async def test_inspections_that_hang_are_bounded_and_ping_is_well() -> None:
    """Hundreds of containers whose inspection hangs: a few are waited for, however long, and what hangs is not called ping."""
    harness = FakeHarness()
    harness.fake = docker = _Counting()
    for _ in range(300):
        await harness.running()
    async with probing(harness, settings=replace(QUICK, hung_after=0.1, interval=0.05)) as watch:
        docker.hang("inspect")
        await watch.until_hung("inspect")
        docker.hang("list")
        await watch.until_hung("list")
        for _ in range(20):
            await asyncio.sleep(0.05)
        assert watch.now.hung == "list"
        assert docker.most == docker.open == MAX_INSPECTIONS


async def test_one_that_hangs_among_many_is_found_while_the_list_hangs() -> None:
    """They are asked in turns of a bounded number, all within one look."""
    harness = FakeHarness()
    containers = [await harness.running() for _ in range(60)]
    async with probing(harness, settings=replace(QUICK, hung_after=0.2)) as watch:
        await watch.sink.until(lambda: watch.now.list_ms, "a list")
        culprit = sorted(containers)[40]
        async with _fake_hang(harness, "list", f"inspect {culprit}"):
            await watch.sink.until(lambda: watch.now.hung_container == culprit, "the culprit")


async def test_who_waits_for_an_answer_hears_of_it() -> None:
    """After a look in which nothing hung, and not before."""
    harness = FakeHarness()
    answers: list[str | None] = []
    watch = Watch()
    health = DockerHealth(
        harness.fake,
        clock=SYSTEM,
        settings=replace(QUICK, hung_after=0.1),
        on_answer=lambda: answers.append(watch.now.hung if watch.sink.of(Daemon) else None),
    )
    harness.fake.hang("everything")
    task = asyncio.create_task(health.run(watch.sink, None))
    try:
        await watch.until_hung("ping")
        assert answers == []
        harness.fake.go_on()
        await watch.sink.until(lambda: answers, "the answer")
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_data_root_that_is_no_absolute_path_is_none() -> None:
    """Neither from Docker nor from what a cursor remembers: what stands on it would end the process."""
    harness = FakeHarness()
    harness.fake.info_given = readings.info({"DockerRootDir": "var/lib/docker", "ServerVersion": "1"})
    assert harness.fake.info_given.root_dir == ""
    health = DockerHealth(harness.fake, clock=SYSTEM, settings=QUICK)
    watch = Watch()
    task = asyncio.create_task(health.run(watch.sink, json.dumps({"root_dir": "../x"})))
    try:
        await watch.sink.until(lambda: watch.sink.of(Daemon) and watch.now.version, "the set-up")
        assert health.root_dir is None
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
