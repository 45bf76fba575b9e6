"""Each fault of the lab really makes its trouble, and really undoes it. Witness: the docker command line and /proc."""

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

import pytest

from tests.lab import faults, processes
from tests.lab.commands import run
from tests.lab.engine import TAGS, ScratchEngine
from tests.lab.waiting import until

pytestmark = pytest.mark.live


async def hangs(engine: ScratchEngine, *command: str, after_s: float = 1.0) -> bool:
    """True when this docker command does not end in time."""
    try:
        await engine.docker(*command, check=False, within_s=after_s)
    except TimeoutError:
        return True
    return False


async def holders_unmount(container: str, holder: int) -> int:
    """Unmount, in the holder's namespace, what belongs to the container, as operators did by hand; how many."""
    lines = Path(f"/proc/{holder}/mountinfo").read_text().splitlines()
    points = [line.split()[4] for line in lines if container in line]
    for point in reversed(points):
        await run("nsenter", "-t", str(holder), "-m", "-r", "umount", point)
    return len(points)


@pytest.mark.parametrize("where", ["record", "layer"])
async def test_immutable_file_makes_dead_until_mended(engine: ScratchEngine, where: faults.Where) -> None:
    """Deletion fails with "operation not permitted" and the container is dead; mended, the same deletion works."""
    container = await engine.run("true")
    async with faults.immutable_file(engine, container, where=where) as fault:
        failed = await engine.docker("rm", "--force", container, check=False)
        assert failed.code == 1
        assert "operation not permitted" in failed.err
        assert await engine.status(container) == "dead"
        await fault.mend()
        await engine.docker("rm", "--force", container)
        assert await engine.status(container) is None


async def test_dead_containers_are_many_and_go(engine: ScratchEngine) -> None:
    """Thirty containers are dead at once, one mended can be deleted, and none is left afterwards."""
    async with faults.dead_containers(engine, 30) as dead:
        assert {await engine.status(container) for container in dead} == {"dead"}
        first = next(iter(dead))
        await dead[first].mend()
        await engine.docker("rm", "--force", first)
        assert len(await engine.containers()) == 29
    assert await engine.containers() == []


async def test_dead_container_survives_a_restart(own_engine: ScratchEngine) -> None:
    """One whose layer is immutable is dead after a restart of the daemon too, and can be deleted once mended."""
    async with faults.dead_containers(own_engine, where="layer") as dead:
        (container,) = dead
        await own_engine.restart()
        assert await own_engine.status(container) == "dead"
        assert (await own_engine.docker("ps", "-aq", "--no-trunc", "--filter", "status=dead")).out == container
    assert await own_engine.containers() == []


async def test_monitor_holds_and_directory_is_busy_until_it_lets_go(engine: ScratchEngine) -> None:
    """Incident I4: the victim is dead as long as the monitor holds its shm, and is deleted once, and only once, it lets go."""
    victim = await engine.run("sleep", "1000", name="victim", options=("--ipc", "shareable"))
    async with faults.leaky_monitor(engine) as monitor, faults.busy_directory(engine, victim) as fault:
        assert fault.busy
        failed = await engine.docker("rm", "--force", "victim", check=False)
        assert "unable to remove filesystem" in failed.err
        assert "device or resource busy" in failed.err
        assert await engine.status(victim) == "dead"
        found = await engine.inspect(monitor)
        assert found is not None
        assert await holders_unmount(victim, found["State"]["Pid"]) == 1
        await until(lambda: not fault.busy, what="the directory to be free")
        await engine.docker("rm", "--force", victim)
        assert await engine.status(victim) is None
        assert fault.attachments == 1
    assert await engine.containers() == []
    assert faults.tracer(engine.pid) == 0


async def test_nobody_holds_so_deletion_works(engine: ScratchEngine) -> None:
    """Without a holder the same watcher refuses nothing."""
    victim = await engine.run("sleep", "1000", options=("--ipc", "shareable"))
    async with faults.busy_directory(engine, victim) as fault:
        assert not fault.busy
        await engine.docker("rm", "--force", victim)
    assert await engine.status(victim) is None


async def test_oom_kill_is_the_kernels(engine: ScratchEngine) -> None:
    """The container ends with 137 and OOMKilled, and the kernel log names it."""
    with kernel_log() as said:
        container = await faults.oom_kill(engine, name="greedy")
        await until(lambda: f"task_memcg=/docker/{container}" in said(), what="the kernel's line")
    found = await engine.inspect(container)
    assert found is not None
    assert (found["State"]["ExitCode"], found["State"]["OOMKilled"]) == (137, True)


@contextmanager
def kernel_log() -> Iterator[Callable[[], str]]:
    """What the kernel says from now on (/dev/kmsg). Read as it comes: dmesg's buffer is soon overwritten on a busy machine."""
    log = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
    os.lseek(log, 0, os.SEEK_END)
    lines: list[str] = []
    over = threading.Event()

    def read() -> None:
        while not over.is_set():
            try:
                lines.append(os.read(log, 8192).decode(errors="replace"))
            except BlockingIOError:
                over.wait(0.01)
            except BrokenPipeError:
                continue  # records were overwritten before they were read; the next read gives the oldest that is left

    reader = threading.Thread(target=read, name="kernel log")
    reader.start()
    try:
        yield lambda: "".join(lines)
    finally:
        over.set()
        reader.join()
        os.close(log)


async def test_dockerd_stopped_hangs_everything(own_engine: ScratchEngine) -> None:
    """A stopped dockerd takes connections and answers nothing; resumed it goes on."""
    async with faults.stopped(own_engine.pid):
        assert not await own_engine.answers(0.5)
        assert await hangs(own_engine, "ps")
    assert await own_engine.answers()


async def test_containerd_stopped_hangs_version_and_not_list(own_engine: ScratchEngine) -> None:
    """With containerd stopped ping and list answer and version does not; resumed it does."""
    async with faults.stopped(own_engine.containerd_pid):
        assert await own_engine.answers()
        assert not await hangs(own_engine, "ps")
        assert await hangs(own_engine, "version")
    assert not await hangs(own_engine, "version", after_s=10)


async def test_init_stopped_hangs_one_container(engine: ScratchEngine) -> None:
    """Start and inspect of that container hang, list and other containers do not; resumed, it runs."""
    other = await engine.run("sleep", "1000")
    async with faults.stopped_init(engine, name="stuck") as caught:
        assert processes.comm(caught.pid) == "runc:[2:INIT]"
        assert await hangs(engine, "inspect", caught.container)
        assert await engine.status(other) == "running"
        assert len(await engine.containers()) == 2
        code, _, _ = await caught.resume()
        assert code == 0
        assert await engine.status(caught.container) == "running"
    assert await engine.containers() == [other]


async def test_init_killed_fails_the_start(engine: ScratchEngine) -> None:
    """The start fails and says so, and the container stays created."""
    async with faults.killed_init(engine) as caught:
        code, _, complaint = await caught.starting
        assert code == 1
        assert "OCI runtime create failed" in complaint
        assert await engine.status(caught.container) == "created"


async def test_runc_blocked_until_it_is_killed(engine: ScratchEngine) -> None:
    """A runc whose init is gone holds its container's start and inspect; killing it frees them."""
    async with faults.blocked_runc(engine) as caught:
        assert processes.comm(caught.runc) == "runc"
        assert await hangs(engine, "inspect", caught.container)
        await run("kill", "-KILL", str(caught.runc))
        code, _, _ = await caught.starting
        assert code == 1
        assert await engine.status(caught.container) == "created"
    assert await engine.containers() == []


async def test_storm_is_quick_and_of_one_kind(engine: ScratchEngine) -> None:
    """Sixty containers of one image and command are created, run and exit, faster than three a second."""
    made = await faults.storm(engine, 60, image=TAGS[0])
    assert len(set(made.ids)) == 60
    assert made.moments[-1] - made.began < 20
    listed = await engine.docker("ps", "-a", "--no-trunc", "--format", "{{.Image}} {{.Command}}")
    assert set(listed.out.splitlines()) == {f'{TAGS[0]} "/run.sh inspect-host"'}
    await until(lambda: _none_runs(engine), what="all to have exited")


async def _none_runs(engine: ScratchEngine) -> bool:
    return not (await engine.docker("ps", "--quiet")).out


async def test_small_disk_fills_and_empties() -> None:
    """A 64 MiB file system is filled to 90 % and empty again; nothing is mounted afterwards."""
    async with faults.small_disk(64) as disk:
        before = disk.used_ratio
        assert before < 0.1
        async with faults.fill(disk.path, 0.9):
            assert disk.used_ratio == pytest.approx(0.9, abs=0.01)
        assert disk.used_ratio == pytest.approx(before, abs=0.01)
    assert not disk.path.exists()
    assert str(disk.path) not in Path("/proc/self/mountinfo").read_text()


async def test_engine_lives_on_a_small_disk() -> None:
    """A Docker daemon's data root can be such a disk, and both go without a trace."""
    async with AsyncExitStack() as stack:
        disk = await stack.enter_async_context(faults.small_disk(256))
        engine = await stack.enter_async_context(ScratchEngine(data_root=disk.path / "docker"))
        assert (await engine.docker("info", "--format", "{{.DockerRootDir}}")).out == str(disk.path / "docker")
        await engine.run("sleep", "1000")
    assert not disk.path.exists()


async def test_open_files_reach_the_limit(engine: ScratchEngine) -> None:
    """The process has as many files open as its limit allows and goes on; with a count it has about as many as told."""
    async with faults.open_files_hog(engine) as (container, pid):
        assert len(list(Path(f"/proc/{pid}/fd").iterdir())) == 1024
        assert "Too many open files" in (await engine.docker("logs", container)).err
        assert await engine.status(container) == "running"
    async with faults.open_files_hog(engine, count=900) as (_, pid):
        assert 900 <= len(list(Path(f"/proc/{pid}/fd").iterdir())) < 910
    assert await engine.containers() == []


async def test_host_name_changes_in_its_namespace_alone() -> None:
    """What runs in the namespace sees the new name; the machine does not."""
    machine = await run("hostname")
    async with faults.uts_namespace("AMZ-IAD12-OpsResPool-1-2") as namespace:
        assert await namespace.name() == "AMZ-IAD12-OpsResPool-1-2"
        await namespace.rename("ip-10-0-0-1.ec2.internal")
        assert await run(*namespace.prefix, "cat", "/proc/sys/kernel/hostname") == "ip-10-0-0-1.ec2.internal"
        assert await run("hostname") == machine


async def test_a_fault_is_undone_after_a_failed_test(engine: ScratchEngine) -> None:
    """What fails inside a fault does not keep it from being undone."""
    began = time.monotonic()
    with pytest.raises(ZeroDivisionError):
        async with faults.dead_containers(engine, 2), faults.open_files_hog(engine, count=10):
            _ = 1 / 0
    assert await engine.containers() == []
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5), faults.stopped(engine.pid):
            await asyncio.Event().wait()
    assert await engine.answers()
    assert time.monotonic() - began < 20
