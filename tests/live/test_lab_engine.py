"""The scratch engine does what tests rely on, and leaves nothing behind."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from tests.lab import leftovers, processes
from tests.lab.engine import BOX, TAGS, ScratchEngine
from tests.lab.waiting import until

pytestmark = pytest.mark.live

ROOT = Path(__file__).parents[2]


async def test_containers_run_with_names_labels_and_options(engine: ScratchEngine) -> None:
    """A container runs under the name, labels and options it was given, and inspect tells its end."""
    container = await engine.run("sh", "-c", "exit 7", name="seven", labels={"a": "b c"}, options=("--memory", "32m"))
    await until(lambda: _is(engine, container, "exited"), what="the container to exit")
    found = await engine.inspect("seven")
    assert found is not None
    assert (found["Id"], found["State"]["ExitCode"], found["Config"]["Labels"]) == (container, 7, {"a": "b c"})
    assert found["HostConfig"]["Memory"] == 32 << 20


async def test_image_has_its_other_names(engine: ScratchEngine) -> None:
    """The image of incident I5 runs its own script, and no registry is asked."""
    names = (await engine.docker("images", "--format", "{{.Repository}}:{{.Tag}}")).out.split()
    assert {BOX, *TAGS} <= set(names)
    assert (await engine.docker("run", "--rm", "--network", "none", TAGS[0], "/run.sh", "inspect-host")).code == 0


async def test_restart_keeps_containers_and_takes_another_driver(own_engine: ScratchEngine) -> None:
    """After a restart the containers are there; after one with another storage driver they are not, and the info says why."""
    container = await own_engine.run("sleep", "1000")
    await own_engine.restart()
    assert await own_engine.status(container) == "exited"
    await own_engine.restart(storage_driver="vfs")
    assert await own_engine.containers() == []
    assert (await own_engine.docker("info", "--format", "{{.Driver}}")).out == "vfs"


@pytest.mark.parametrize("how", ["close", "kill", "freeze"])
async def test_nothing_is_left(how: str) -> None:
    """No process, mount, control group, socket or file remains, also when the daemon was killed or frozen before."""
    async with ScratchEngine() as engine:
        container = await engine.run("sleep", "1000", options=("--ipc", "shareable"))
        pids = [engine.pid, engine.containerd_pid, *leftovers.shims(engine.containerd_socket)]
        pids += [child for pid in pids for child in processes.descendants(pid)]
        assert len(leftovers.mounts_below(engine.folder)) >= 2
        immutable = await engine.upper_dir(container) / "held"
        immutable.touch()
        await _chattr_immutable(immutable)
        if how == "kill":
            await engine.kill()
        if how == "freeze":
            os.kill(engine.containerd_pid, signal.SIGSTOP)
            os.kill(engine.pid, signal.SIGSTOP)
    assert [pid for pid in pids if processes.alive(pid)] == []
    assert not engine.folder.exists()
    assert leftovers.mounts_below(engine.folder) == []
    assert list(Path("/sys/fs/cgroup").glob(f"*/docker/{container}")) == []


async def test_failed_start_tells_the_log() -> None:
    """A daemon that cannot start is an error that holds its last words, and its folder goes."""
    engine = ScratchEngine(storage_driver="devicemapper", flags=("--storage-opt", "dm.thinpooldev=docker-thinpool"))
    with pytest.raises(RuntimeError, match="devicemapper"):
        await engine.__aenter__()
    assert not engine.folder.exists()


async def _is(engine: ScratchEngine, container: str, status: str) -> bool:
    return await engine.status(container) == status


async def _chattr_immutable(path: Path) -> None:
    child = await asyncio.create_subprocess_exec("chattr", "+i", str(path))
    assert await child.wait() == 0


async def test_what_a_killed_test_left_is_swept_up() -> None:
    """A test that is killed leaves a daemon, a container and mounts; the next engine that starts ends and deletes them."""
    program = """
import asyncio, sys
from tests.lab.engine import ScratchEngine

async def main():
    async with ScratchEngine() as engine:
        await engine.run("sleep", "1000", options=("--ipc", "shareable"))
        print(engine.folder, engine.pid, engine.containerd_pid, flush=True)
        await asyncio.sleep(1000)

asyncio.run(main())
"""
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE, cwd=ROOT)
    assert child.stdout is not None
    folder, daemon, containerd = (await asyncio.wait_for(child.stdout.readline(), 30)).decode().split()
    child.kill()
    await child.wait()
    assert Path(folder) in list(leftovers.abandoned(Path(folder).parent))
    leftovers.sweep(Path(folder).parent)
    await until(lambda: not processes.alive(int(daemon)) and not processes.alive(int(containerd)), what="the daemon to end")
    assert not Path(folder).exists()
    assert leftovers.mounts_below(Path(folder)) == []


async def test_interrupted_test_leaves_nothing(tmp_path: Path) -> None:
    """Ctrl-C in the middle of a test stops its engine and deletes its folder before pytest ends."""
    (tmp_path / "test_long.py").write_text(
        """
import asyncio
from tests.conftest import engine, shared_engine

async def test_long(engine):
    container = await engine.run("sleep", "1000")
    print("RUNNING", engine.folder, engine.pid, flush=True)
    await asyncio.sleep(1000)
"""
    )
    command = [sys.executable, "-m", "pytest", "-q", "-s", "-c", str(ROOT / "pyproject.toml"), "-p", "no:cacheprovider"]
    child = await asyncio.create_subprocess_exec(
        *command, str(tmp_path / "test_long.py"), "--rootdir", str(ROOT), stdout=asyncio.subprocess.PIPE, cwd=ROOT
    )
    assert child.stdout is not None
    async with asyncio.timeout(60):
        said = (await child.stdout.readuntil(b"RUNNING ")) and await child.stdout.readline()
        folder, daemon = said.decode().split()
        child.send_signal(signal.SIGINT)
        await child.stdout.read()
        assert await child.wait() == pytest.ExitCode.INTERRUPTED
    assert not processes.alive(int(daemon))
    assert not Path(folder).exists()
