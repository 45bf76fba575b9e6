"""The drill takes its times rightly and never calls an incomplete row complete. A stand-in plays the sidecar here."""

import asyncio
import io
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import ClassVar, cast
from urllib.parse import quote

import pytest
from rich.console import Console

from tests.lab.broker import ScratchBroker
from tests.lab.commands import run
from tests.lab.drill.containers import ContainerStorm, HeldDeletion, KernelOomKill
from tests.lab.drill.row import Moment, Row, Times, Trouble
from tests.lab.drill.scene import Scene
from tests.lab.drill.table import show
from tests.lab.engine import TAGS, ScratchEngine
from tests.lab.sidecar import Sidecar
from tests.lab.subscriber import Subscriber
from tests.lab.waiting import until

pytestmark = pytest.mark.live


class StandIn:
    """Says what a sidecar would say, when the test tells it to."""

    def __init__(self, broker: ScratchBroker) -> None:
        self.port = str(broker.port)

    async def say(self, rule: str, status: str, key: str, *, starts_at: datetime | None = None) -> None:
        """Publish an alert."""
        data = {"rule": rule, "key": key, "status": status, "starts_at": (starts_at or datetime.now(UTC)).isoformat()}
        program = "import sys; from paho.mqtt.publish import single; single(sys.argv[1], sys.argv[2], 1, port=int(sys.argv[3]))"
        text = json.dumps({"specversion": "1.0", "data": data})
        await run(sys.executable, "-c", program, f"dockwarden/here/alert/{rule}/{quote(key, safe='')}", text, self.port)


class Scripted(Row):
    """A row without a fault."""

    incident: ClassVar[str] = "I0"
    fault: ClassVar[str] = "nothing"
    rule: ClassVar[str] = "some-rule"
    within_s: ClassVar[float] = 2.0

    def __init__(self) -> None:
        self.there = asyncio.Event()
        self.mended = asyncio.Event()
        self.undone = False

    @asynccontextmanager
    async def make(self, scene: Scene) -> AsyncIterator[Trouble]:
        """Claim that something is broken until the test says otherwise."""
        assert await scene.engine.answers()

        async def look() -> bool:
            return self.mended.is_set()

        self.there.set()
        try:
            yield Trouble(Moment(), "it", repaired=look, cron="15 min on average")
        finally:
            self.undone = True


@pytest.fixture
async def stage(engine: ScratchEngine) -> AsyncIterator[tuple[Scene, StandIn]]:
    """A scene whose sidecar is the test."""
    with ScratchBroker() as broker, Subscriber(broker.url) as subscriber:
        yield Scene("here", engine, cast("Sidecar", None), subscriber), StandIn(broker)


def printed(row: Row, times: Times) -> str:
    """The table with this one row."""
    console = Console(file=io.StringIO(), width=140)
    show([(row, times)], 1.0, console)
    return cast("io.StringIO", console.file).getvalue()


async def test_times_follow_one_another(stage: tuple[Scene, StandIn]) -> None:
    """Noticed comes before received, and that before repaired and resolved; the row is complete."""
    scene, fake_program = stage
    row = Scripted()
    running = asyncio.create_task(row.run(scene))
    await row.there.wait()
    await fake_program.say("some-rule", "firing", "it")
    row.mended.set()
    await fake_program.say("some-rule", "resolved", "it")
    times = await running
    assert times.missing == ""
    assert None not in (times.noticed, times.received, times.repaired, times.resolved)
    assert (times.noticed or 0) < (times.received or 0) < (times.repaired or 0)
    assert (times.received or 0) < (times.resolved or 0)
    assert row.undone
    assert "1 of 1 rows complete" in printed(row, times)


@pytest.mark.parametrize(
    ("rule", "key", "mend", "status", "missing"),
    [
        ("other-rule", "it", True, "firing", "alert some-rule"),
        ("some-rule", "something-else", True, "firing", "alert some-rule"),
        ("some-rule", "it", False, "firing", "the repair"),
        ("some-rule", "it", True, "firing", "alert some-rule it resolved"),
    ],
)
async def test_a_step_that_does_not_come_makes_the_row_incomplete(
    stage: tuple[Scene, StandIn], rule: str, key: str, mend: bool, status: str, missing: str
) -> None:
    """Another rule's alert, one about something else, no repair, no resolution: each is told, and the fault undone."""
    scene, fake_program = stage
    row = Scripted()
    running = asyncio.create_task(row.run(scene))
    await row.there.wait()
    await fake_program.say(rule, status, key)
    if mend:
        row.mended.set()
    times = await running
    assert missing in times.missing
    assert row.undone
    text = printed(row, times)
    assert "0 of 1 rows complete" in text
    assert missing in text


async def test_an_older_time_than_the_fault_counts_as_at_once(stage: tuple[Scene, StandIn]) -> None:
    """What was noticed while the fault was still being made has no negative time."""
    scene, fake_program = stage
    row = Scripted()
    running = asyncio.create_task(row.run(scene))
    await row.there.wait()
    await fake_program.say("some-rule", "firing", "it", starts_at=datetime.now(UTC) - timedelta(seconds=9))
    row.mended.set()
    await fake_program.say("some-rule", "resolved", "it")
    assert (await running).noticed == 0


async def test_held_deletion_is_repaired_by_unmounting_at_the_holder(stage: tuple[Scene, StandIn]) -> None:
    """The row's fault is the incident: the deletion works once the monitor's copy is unmounted, and the row sees it."""
    scene, fake_program = stage
    engine = scene.engine

    async def sidecar() -> None:
        victim = await until(lambda: dead(engine), what="the dead victim", within_s=20)
        await fake_program.say("dead-container", "firing", victim)
        found = await engine.inspect("cadvisor")
        assert found is not None
        point = f"/var/lib/docker/containers/{victim}/mounts/shm"
        await run("nsenter", "-t", str(found["State"]["Pid"]), "-m", "-r", "umount", point)
        await engine.docker("rm", "--force", victim)
        await fake_program.say("dead-container", "resolved", victim)

    playing = asyncio.create_task(sidecar())
    times = await HeldDeletion().run(scene)
    await playing
    assert times.missing == ""
    assert times.cron.startswith("never")
    assert await engine.containers() == []


async def dead(engine: ScratchEngine) -> str | None:
    """Id of the victim once it is dead."""
    found = await engine.inspect("victim")
    return str(found["Id"]) if found and found["State"]["Status"] == "dead" else None


async def test_storm_row_is_repaired_when_none_is_left(stage: tuple[Scene, StandIn]) -> None:
    """The row waits until every container of the storm is removed; one that is left is no repair."""
    scene, fake_program = stage
    engine = scene.engine

    async def sidecar() -> None:
        await until(lambda: storm_is_over(engine), what="the storm", within_s=40)
        await fake_program.say("container-storm", "firing", TAGS[1])
        first, *others = await engine.containers()
        await engine.docker("wait", first, *others)  # the last ones may have been seen before they ended
        await engine.docker("rm", *others)
        await asyncio.sleep(0.5)
        assert not playing.done()
        await engine.docker("rm", first)
        await fake_program.say("container-storm", "resolved", TAGS[1])

    playing = asyncio.create_task(ContainerStorm().run(scene))
    await sidecar()
    times = await playing
    assert times.missing == ""
    assert 0 < (times.repaired or 0) - (times.received or 0) < 10


async def storm_is_over(engine: ScratchEngine) -> bool:
    """True when all have come and exited."""
    return len(await engine.containers()) == 60 and not (await engine.docker("ps", "--quiet")).out


async def test_oom_row_names_its_container(stage: tuple[Scene, StandIn]) -> None:
    """The alert must be about the container that the row had killed; no repair is waited for."""
    scene, fake_program = stage

    async def sidecar() -> None:
        found = await until(lambda: killed(scene.engine), what="the kill", within_s=20)
        await fake_program.say("memcg-oom-kill", "firing", "0" * 64)
        await fake_program.say("memcg-oom-kill", "firing", found)
        await fake_program.say("memcg-oom-kill", "resolved", found)

    playing = asyncio.create_task(sidecar())
    times = await KernelOomKill().run(scene)
    await playing
    assert times.missing == ""
    assert times.repaired is None
    assert times.resolved is not None
    assert "no remedy" in printed(KernelOomKill(), times)


async def killed(engine: ScratchEngine) -> str | None:
    """Id of the container that the kernel's kill ended."""
    found = await engine.inspect("greedy")
    return str(found["Id"]) if found and found["State"]["OOMKilled"] else None
