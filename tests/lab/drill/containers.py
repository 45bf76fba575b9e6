"""Rows about containers: a deletion held up by a monitor, a storm, and a kill by the kernel."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import ClassVar

from tests.lab import faults
from tests.lab.drill.row import Moment, Row, Trouble
from tests.lab.drill.scene import Scene
from tests.lab.engine import TAGS

STORM = 60
CRON = "15 min on average"
MISSED = "never: its filter `status=dead` does not list it"


class HeldDeletion(Row):
    """I1 with I4: a container is dead because a monitor holds its shm mount; unmounted there, it is deleted at once."""

    incident: ClassVar[str] = "I1 + I4"
    fault: ClassVar[str] = "dead container, its mount held by cadvisor"
    rule: ClassVar[str] = "dead-container"

    @asynccontextmanager
    async def make(self, scene: Scene) -> AsyncIterator[Trouble]:
        """Run the victim, then the monitor, then delete the victim in vain."""
        engine = scene.engine
        victim = await engine.run("sleep", "1000000", name="victim", options=("--ipc", "shareable"))

        async def gone() -> bool:
            return not await engine.has(victim)

        async with faults.leaky_monitor(engine), faults.busy_directory(engine, victim):
            failed = await engine.docker("rm", "--force", victim, check=False)
            began = Moment()
            if "device or resource busy" not in failed.err:
                msg = f"the deletion should have failed as busy: {failed}"
                raise RuntimeError(msg)
            listed = await engine.docker("ps", "-aq", "--no-trunc", "--filter", "status=dead")
            yield Trouble(began, victim, repaired=gone, cron=CRON if victim in listed.out else MISSED)


class ImmutableFile(Row):
    """I1 alone: a container is dead because of a file that cannot be deleted; once that is mended a retry deletes it."""

    incident: ClassVar[str] = "I1"
    fault: ClassVar[str] = "dead container, immutable file, mended when received"
    rule: ClassVar[str] = "dead-container"

    @asynccontextmanager
    async def make(self, scene: Scene) -> AsyncIterator[Trouble]:
        """Delete it in vain; the deletion that works is the sidecar's."""
        engine = scene.engine
        async with faults.dead_containers(engine) as dead:
            began = Moment()
            ((container, file),) = dead.items()

            async def gone() -> bool:
                return not await engine.has(container)

            yield Trouble(began, container, repaired=gone, end=file.mend, cron=MISSED)


class ContainerStorm(Row):
    """I5: a loop creates containers of one image and command that exit at once."""

    incident: ClassVar[str] = "I5"
    fault: ClassVar[str] = f"{STORM} containers created in a loop, a storm from the 20th on"
    rule: ClassVar[str] = "container-storm"

    @asynccontextmanager
    async def make(self, scene: Scene) -> AsyncIterator[Trouble]:
        """Create them as fast as Docker takes them; another image and command than the catalogue's."""
        began = Moment()
        made = await faults.storm(scene.engine, STORM, image=TAGS[1], command=("/run.sh", "look-around"))

        left = list(made.ids)

        async def cleaned() -> bool:
            while left and not await scene.engine.has(left[-1]):
                left.pop()
            return not left

        yield Trouble(began, TAGS[1], repaired=cleaned, cron="never: they are exited, not dead")


class KernelOomKill(Row):
    """The kernel kills a container's process for its memory limit."""

    incident: ClassVar[str] = "OOM"
    fault: ClassVar[str] = "process killed by the kernel for memory"
    rule: ClassVar[str] = "memcg-oom-kill"
    repairs: ClassVar[bool] = False

    @asynccontextmanager
    async def make(self, scene: Scene) -> AsyncIterator[Trouble]:
        """Ask for 100 MiB where 20 are allowed."""
        container = await faults.oom_kill(scene.engine, name="greedy")
        began = Moment()

        async def remove() -> None:
            await scene.engine.docker("rm", "--force", container)

        yield Trouble(began, container, end=remove)
