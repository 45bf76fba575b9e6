"""Deletions that fail: an immutable file, a directory that is busy while somebody holds a mount, a monitor that holds mounts."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Literal

from tests.lab.commands import launch, run
from tests.lab.engine import ScratchEngine
from tests.lab.processes import PROC, pids
from tests.lab.waiting import until

Where = Literal["record", "layer"]
"""`record`: hostconfig.json in the container's folder; `layer`: a file in what it wrote."""

WATCH_S = 0.03
"""How soon the directory stops being busy after the last holder let go: well below the 0.1 s after which dockerd tries again."""


class Immutable:
    """A file of a container that nobody, root included, can delete (chattr(1), attribute i)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._set = False

    async def make(self) -> None:
        """Set the attribute."""
        await run("chattr", "+i", str(self.path))
        self._set = True

    async def mend(self) -> None:
        """Take the attribute away; twice is once."""
        if self._set:
            self._set = False
            await run("chattr", "-i", str(self.path))


@asynccontextmanager
async def immutable_file(engine: ScratchEngine, container: str, *, where: Where = "record") -> AsyncIterator[Immutable]:
    """Make deletion of this container fail with "operation not permitted" until it is mended.

    Args:
        engine: Docker it is on.
        container: full id.
        where: only a file in its layer survives a restart of the daemon; with `record` the daemon forgets the container then,
            because the deletion took the other half of its record.
    """
    fault = Immutable(await _file_of(engine, container, where))
    await fault.make()
    try:
        yield fault
    finally:
        await fault.mend()


async def _file_of(engine: ScratchEngine, container: str, where: Where) -> Path:
    if where == "record":
        return engine.data_root / "containers" / container / "hostconfig.json"
    path = await engine.upper_dir(container) / "kept"
    path.touch()
    return path


@asynccontextmanager
async def dead_containers(
    engine: ScratchEngine, count: int = 1, *, where: Where = "record"
) -> AsyncIterator[dict[str, Immutable]]:
    """Have so many containers that are dead, because an immutable file made their deletion fail; by id.

    On leaving they are mended and removed.
    """
    dead: dict[str, Immutable] = {}
    try:
        for _ in range(count):
            container = await engine.create("true")
            dead[container] = Immutable(await _file_of(engine, container, where))
            await _fail_deletion(engine, container, dead[container])
        yield dead
    finally:
        for fault in dead.values():
            await fault.mend()
        if dead and engine.running:
            await engine.docker("rm", "--force", *dead, check=False)


async def _fail_deletion(engine: ScratchEngine, container: str, fault: Immutable) -> None:
    await fault.make()
    await engine.docker("rm", "--force", container, check=False)
    status = await engine.status(container)
    if status != "dead":
        msg = f"container {container[:12]} should be dead, is {status}"
        raise RuntimeError(msg)


def holds_mounts_of(engine: ScratchEngine, container: str) -> Callable[[], bool]:
    """Tell whether any mount of this container is seen in a mount namespace that is neither the daemon's nor its own.

    Its mounts are known by its id and by the storage driver's (image/<driver>/layerdb/mounts/<id>/mount-id), as operators did.
    """
    needles = [container.encode()]
    needles += [path.read_bytes() for path in engine.data_root.glob(f"image/*/layerdb/mounts/{container}/mount-id")]

    def look() -> bool:
        seen = {_namespace(engine.pid), None}
        for pid in pids():
            namespace = _namespace(pid)
            if namespace in seen or _is_in(pid, needles[0]):
                continue
            seen.add(namespace)
            with suppress(OSError):
                table = (PROC / str(pid) / "mountinfo").read_bytes()
                if any(needle in table for needle in needles):
                    return True
        return False

    return look


def _namespace(pid: int) -> str | None:
    try:
        return str((PROC / str(pid) / "ns/mnt").readlink())
    except OSError:
        return None


def _is_in(pid: int, container: bytes) -> bool:
    try:
        return container in (PROC / str(pid) / "cgroup").read_bytes()
    except OSError:
        return True


class BusyDirectory:
    """Makes a modern kernel behave like 3.10: a container's directory cannot be deleted while its mounts are held elsewhere.

    strace(1) is attached to dockerd exactly as long as `held` says so, and answers unlinkat(2) on that directory with EBUSY.
    """

    def __init__(self, engine: ScratchEngine, path: Path, held: Callable[[], bool]) -> None:
        self.path = path
        self.attachments = 0
        """How often it became busy."""
        self._engine = engine
        self._held = held
        self._strace: subprocess.Popen[bytes] | None = None

    @property
    def busy(self) -> bool:
        """True while deletions are refused."""
        return self._strace is not None

    async def watch(self) -> None:
        """Go on until cancelled."""
        try:
            while True:
                held = self._held()
                if held and not self.busy:
                    await self._attach()
                elif not held and self.busy:
                    await self._detach()
                await asyncio.sleep(WATCH_S)
        finally:
            await asyncio.shield(self._detach())

    async def _attach(self) -> None:
        # -P with the directory, not a file in it: Go's RemoveAll gives up at the first name it cannot unlink, so the
        # mount point inside stays, as it did on the old kernels.
        only = ("-P", str(self.path), "-e", "trace=unlinkat", "-e", "inject=unlinkat:error=EBUSY")
        self._strace = launch("strace", "-f", "-qq", *only, "-p", str(self._engine.pid))
        await until(self._is_attached, what="strace to attach to dockerd")
        self.attachments += 1

    def _is_attached(self) -> bool:
        if self._strace is None or self._strace.poll() is not None:
            msg = "strace ended; is another tracer attached to dockerd?"
            raise RuntimeError(msg)
        return tracer(self._engine.pid) == self._strace.pid

    async def _detach(self) -> None:
        strace, self._strace = self._strace, None
        if strace is not None:
            strace.terminate()
            await until(lambda: strace.poll() is not None, what="strace to detach")


def tracer(pid: int) -> int:
    """Process id of what traces all threads of this process; 0 when one of them is traced by none (proc_pid_status(5))."""
    found = set()
    for status in (PROC / str(pid) / "task").glob("*/status"):
        with suppress(OSError):
            found |= {int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("TracerPid:")}
    return found.pop() if len(found) == 1 else 0


@asynccontextmanager
async def busy_directory(
    engine: ScratchEngine, container: str, *, held: Callable[[], bool] | None = None, where: Where = "record"
) -> AsyncIterator[BusyDirectory]:
    """Make deletion of this container fail with "device or resource busy" as long as somebody holds a mount of it.

    One at a time for each engine: a process has one tracer.

    Args:
        engine: Docker it is on.
        container: full id.
        held: says whether it is held; None: whether any mount of it is seen in another mount namespace.
        where: Docker 26 locks the container while it deletes its record, and answers nobody who asks about it meanwhile; while
            it deletes the layer it answers.
    """
    look = held or holds_mounts_of(engine, container)
    record = engine.data_root / "containers" / container
    fault = BusyDirectory(engine, record if where == "record" else (await engine.upper_dir(container)).parent, look)
    watcher = asyncio.create_task(fault.watch(), name=f"busy directory of {container[:12]}")
    try:
        if look():
            await until(lambda: fault.busy or watcher.done(), what="the directory to be busy")
        yield fault
    finally:
        watcher.cancel()
        with suppress(asyncio.CancelledError):
            await watcher


@asynccontextmanager
async def leaky_monitor(engine: ScratchEngine, *, name: str = "cadvisor") -> AsyncIterator[str]:
    """Run a monitoring container that holds copies of the mounts of all containers that run already; its id.

    The data root is mounted through a symbolic link: Docker 18.03 and later would make a direct mount `rslave`, which does not
    leak. Containers started with `--ipc shareable` leak their shm mount, which stays until they are deleted.
    """
    link = engine.folder / f"root-of-{name}"
    link.symlink_to(engine.data_root)
    try:
        monitor = await engine.run("sleep", "1000000", name=name, options=("--volume", f"{link}:/var/lib/docker:ro"))
        try:
            yield monitor
        finally:
            if engine.running:
                await engine.docker("rm", "--force", monitor, check=False)
    finally:
        link.unlink(missing_ok=True)
