"""Every fault of the drill beyond the main job's comes and goes, in its scene, with a stand-in for the sidecar."""

import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.broker import ScratchBroker
from tests.lab.drill.containers import ImmutableFile
from tests.lab.drill.hangs import ContainerdStopped, DockerdStopped, InitStopped, StartFails
from tests.lab.drill.host import NEW_NAME, DiskFills, DriverChanges, HostRenamed, OpenFiles
from tests.lab.drill.scene import on_small_disk, ordinary, under_own_name
from tests.lab.subscriber import Subscriber

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("fake_program")]

Listening = tuple[ScratchBroker, Subscriber]


@pytest.fixture
def listening() -> Iterator[Listening]:
    """A broker, and who listens to it."""
    with ScratchBroker() as broker, Subscriber(broker.url) as subscriber:
        yield broker, subscriber


async def test_hangs_come_and_go(listening: Listening) -> None:
    """dockerd, containerd and one init stand still until the row's end, and go on after it."""
    async with ordinary("h", *listening) as scene:
        async with DockerdStopped().make(scene) as trouble:
            assert trouble.end is not None
            assert not await scene.engine.answers(0.3)
            await trouble.end()
            assert await scene.engine.answers()
        async with ContainerdStopped().make(scene) as trouble:
            assert trouble.end is not None
            assert await scene.engine.answers()
            with pytest.raises(TimeoutError):
                await scene.engine.docker("version", within_s=0.5)
            await trouble.end()
            await scene.engine.docker("version", within_s=10)
        async with InitStopped().make(scene) as trouble:
            assert trouble.end is not None
            with pytest.raises(TimeoutError):
                await scene.engine.docker("inspect", trouble.names, within_s=0.5)
            await trouble.end()
            assert await scene.engine.status(trouble.names) == "running"


async def test_start_fails_and_works_again(listening: Listening) -> None:
    """The daemon's log says why it cannot start; at the row's end it runs as before."""
    async with ordinary("h", *listening) as scene:
        container = await scene.engine.create("true")
        async with StartFails().make(scene) as trouble:
            assert trouble.end is not None
            assert not scene.engine.running
            assert "error initializing graphdriver" in scene.engine.log()
            await trouble.end()
            assert await scene.engine.containers() == [container]


async def test_immutable_file_is_mended_by_the_row(listening: Listening) -> None:
    """The deletion works after the row's end, and the row sees that as the repair."""
    async with ordinary("h", *listening) as scene, ImmutableFile().make(scene) as trouble:
        assert trouble.end is not None
        assert trouble.repaired is not None
        assert (await scene.engine.docker("rm", "-f", trouble.names, check=False)).code == 1
        assert not await trouble.repaired()
        await trouble.end()
        await scene.engine.docker("rm", "-f", trouble.names)
        assert await trouble.repaired()


async def test_disk_fills_and_driver_changes(listening: Listening) -> None:
    """The data root's disk is 93 % full until the row's end; the driver is another one until the row's end."""
    async with on_small_disk("h", *listening) as scene:
        assert scene.disk is not None
        async with DiskFills().make(scene) as trouble:
            assert trouble.end is not None
            assert scene.disk.used_ratio == pytest.approx(0.93, abs=0.01)
            await trouble.end()
            assert scene.disk.used_ratio < 0.5
        async with DriverChanges().make(scene) as trouble:
            assert trouble.end is not None
            assert (await scene.engine.docker("info", "--format", "{{.Driver}}")).out == "vfs"
            await trouble.end()
            assert (await scene.engine.docker("info", "--format", "{{.Driver}}")).out != "vfs"


async def test_open_files_are_repaired_by_a_higher_limit(listening: Listening) -> None:
    """The process is near its limit, and a higher soft limit is what the row calls repaired."""
    async with ordinary("h", *listening) as scene, OpenFiles().make(scene) as trouble:
        assert trouble.repaired is not None
        assert not await trouble.repaired()
        found = await scene.engine.inspect(trouble.names)
        assert found is not None
        pid = found["State"]["Pid"]
        assert len(list(Path(f"/proc/{pid}/fd").iterdir())) >= 1000
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (4096, 4096))
        assert await trouble.repaired()


async def test_host_is_renamed_where_the_sidecar_is(listening: Listening) -> None:
    """The sidecar's process sees the new name until the row's end."""
    async with under_own_name("h", *listening) as scene:
        assert scene.uts is not None
        assert Path(f"/proc/{scene.sidecar.pid}/ns/uts").readlink() != Path("/proc/self/ns/uts").readlink()
        async with HostRenamed().make(scene) as trouble:
            assert trouble.end is not None
            assert await scene.uts.name() == NEW_NAME
            await trouble.end()
            assert await scene.uts.name() == "AMZ-IAD12-OpsResPool-1-2"
