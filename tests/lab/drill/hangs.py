"""Rows about a Docker daemon that does not answer, or does not start. The sidecar can free none of these: the drill ends them."""

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import ClassVar

from tests.lab import faults, processes
from tests.lab.drill.row import Moment, Row, Trouble
from tests.lab.drill.scene import Scene
from tests.lab.waiting import until

NO_THINPOOL = ("--storage-opt", "dm.thinpooldev=docker-thinpool")
"""Incident I3: the logical volume that this names does not exist. Where the kernel has no device mapper, the daemon says
"error initializing graphdriver: driver not supported" instead of naming it: the same end, for the same reason."""


class DockerdStopped(Row):
    """I2: dockerd takes connections and answers nothing."""

    incident: ClassVar[str] = "I2"
    fault: ClassVar[str] = "dockerd hangs"
    rule: ClassVar[str] = "daemon-hung"
    repairs: ClassVar[bool] = False

    def victim(self, scene: Scene) -> int:
        """Process that is stopped."""
        return scene.engine.pid

    @asynccontextmanager
    async def make(self, scene: Scene) -> AsyncIterator[Trouble]:
        """Stop it until the alert was received."""
        pid = self.victim(scene)

        async def resume() -> None:
            processes.send(pid, signal.SIGCONT)

        async with faults.stopped(pid):
            yield Trouble(Moment(), scene.host, end=resume)


class ContainerdStopped(DockerdStopped):
    """I2: ping and list answer, and everything that needs containerd hangs."""

    fault: ClassVar[str] = "containerd hangs"

    def victim(self, scene: Scene) -> int:
        """Process that is stopped."""
        return scene.engine.containerd_pid


class InitStopped(Row):
    """I2: start and inspect of one container hang."""

    incident: ClassVar[str] = "I2"
    fault: ClassVar[str] = "runc:[2:INIT] hangs"
    rule: ClassVar[str] = "daemon-hung"
    repairs: ClassVar[bool] = False

    @asynccontextmanager
    async def make(self, scene: Scene) -> AsyncIterator[Trouble]:
        """Stop it until the alert was received, which must name the container."""
        async with faults.stopped_init(scene.engine) as caught:
            yield Trouble(Moment(), caught.container, end=caught.resume)


class StartFails(Row):
    """I3: the daemon does not start, because its storage is not there."""

    incident: ClassVar[str] = "I3"
    fault: ClassVar[str] = "daemon cannot start: storage missing"
    rule: ClassVar[str] = "daemon-start-failed"
    repairs: ClassVar[bool] = False

    @asynccontextmanager
    async def make(self, scene: Scene) -> AsyncIterator[Trouble]:
        """Start it with a thin pool that does not exist; with the former settings again when the alert was received."""
        engine = scene.engine
        usual = engine.storage_driver, engine.flags

        async def start_as_usual() -> None:
            engine.storage_driver, engine.flags = usual
            if not engine.running:
                await engine.start()

        await engine.stop()
        engine.storage_driver, engine.flags = "devicemapper", NO_THINPOOL
        try:
            engine.launch()
            await until(lambda: not engine.running, what="dockerd to fail", within_s=20)
            yield Trouble(Moment(), "graphdriver", end=start_as_usual)
        finally:
            with suppress(RuntimeError, TimeoutError):
                await start_as_usual()
