"""Rows about the host: its disk, its engine's storage driver, open files, its name."""

import resource
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import ClassVar

from tests.lab import faults
from tests.lab.drill.row import Moment, Row, Trouble
from tests.lab.drill.scene import Scene

LIMIT = 1024
"""`ulimit -n` of incident I10."""
FULL = 0.93
NEW_NAME = "ip-10-0-0-1.ec2.internal"


class DiskFills(Row):
    """I8: the file system of the data root is nearly full."""

    incident: ClassVar[str] = "I8"
    fault: ClassVar[str] = f"disk of the data root {FULL:.0%} full"
    rule: ClassVar[str] = "disk-filling"
    repairs: ClassVar[bool] = False

    @asynccontextmanager
    async def make(self, scene: Scene) -> AsyncIterator[Trouble]:
        """Fill it until the alert was received."""
        if scene.disk is None:
            msg = "this row needs a scene on a small disk"
            raise RuntimeError(msg)
        async with AsyncExitStack() as filling:
            await filling.enter_async_context(faults.fill(scene.disk.path, FULL))
            yield Trouble(Moment(), str(scene.disk.path), end=filling.aclose)


class DriverChanges(Row):
    """I8: after a restart Docker uses another storage driver, and its containers and images are out of sight."""

    incident: ClassVar[str] = "I8"
    fault: ClassVar[str] = "storage driver changed by a restart"
    rule: ClassVar[str] = "storage-driver-changed"
    repairs: ClassVar[bool] = False

    @asynccontextmanager
    async def make(self, scene: Scene) -> AsyncIterator[Trouble]:
        """Restart it with vfs; with the former driver again when the alert was received."""
        former = (await scene.engine.docker("info", "--format", "{{.Driver}}")).out

        async def back() -> None:
            if scene.engine.storage_driver != former:
                await scene.engine.restart(storage_driver=former)

        try:
            await scene.engine.restart(storage_driver="vfs")
            yield Trouble(Moment(), "vfs", end=back)
        finally:
            await back()


class OpenFiles(Row):
    """I10: a process in a container has nearly as many files open as it may; its limit is raised."""

    incident: ClassVar[str] = "I10"
    fault: ClassVar[str] = f"1,000 open files, {LIMIT:,} allowed"
    rule: ClassVar[str] = "open-files-near-limit"

    @asynccontextmanager
    async def make(self, scene: Scene) -> AsyncIterator[Trouble]:
        """Open them; repaired when the soft limit of that process is higher."""
        async with faults.open_files_hog(scene.engine, count=1000, limit=LIMIT, name="calico-node") as (container, pid):

            async def raised() -> bool:
                soft, _ = resource.prlimit(pid, resource.RLIMIT_NOFILE)
                return soft > LIMIT

            yield Trouble(Moment(), container, repaired=raised)


class HostRenamed(Row):
    """I11: the host has another name than before."""

    incident: ClassVar[str] = "I11"
    fault: ClassVar[str] = "host renamed"
    rule: ClassVar[str] = "host-renamed"
    repairs: ClassVar[bool] = False

    @asynccontextmanager
    async def make(self, scene: Scene) -> AsyncIterator[Trouble]:
        """Rename it in the sidecar's namespace; back again when the alert was received."""
        uts = scene.uts
        if uts is None:
            msg = "this row needs a scene with a host name of its own"
            raise RuntimeError(msg)
        former = await uts.name()

        async def back() -> None:
            await uts.rename(former)

        await uts.rename(NEW_NAME)
        try:
            yield Trouble(Moment(), NEW_NAME, end=back)
        finally:
            await back()
