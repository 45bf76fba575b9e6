"""Processes that stop answering: dockerd, containerd, and the runc init that a start waits for."""

import asyncio
import signal
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.lab import processes
from tests.lab.commands import attempt
from tests.lab.engine import ScratchEngine
from tests.lab.waiting import until

INIT = "runc:[2:INIT]"
"""What runc calls the stub that becomes the container's first process (libcontainer/nsenter/nsexec.c)."""

CATCH_S = 5.0
"""A start takes about 0.2 s; the init lives for about 0.1 of them."""
ATTEMPTS = 5


@asynccontextmanager
async def stopped(pid: int) -> AsyncIterator[None]:
    """Stop a process (SIGSTOP) until the block is left; it then goes on where it was.

    Of dockerd or containerd: the process ids that a ScratchEngine tells.
    """
    processes.send(pid, signal.SIGSTOP)
    try:
        await until(lambda: processes.state(pid) in ("T", ""), what=f"process {pid} to be stopped")
        yield
    finally:
        processes.send(pid, signal.SIGCONT)


class CaughtInit:
    """A container whose start stands still, because its init was caught in the short time in which it exists."""

    def __init__(self, container: str, pid: int, starting: asyncio.Task[tuple[int, str, str]]) -> None:
        self.container = container
        self.pid = pid
        self.runc = processes.parent(pid)
        """Process id of the `runc create` that waits for it."""
        self.starting = starting
        """The `docker start`: exit code, output, complaint."""

    async def resume(self) -> tuple[int, str, str]:
        """Let it go on, and return what came of the start."""
        for pid in (self.pid, self.runc):
            if processes.comm(pid).startswith("runc"):
                processes.send(pid, signal.SIGCONT)
        return await self.starting


@asynccontextmanager
async def stopped_init(engine: ScratchEngine, *, name: str | None = None) -> AsyncIterator[CaughtInit]:
    """A container whose start and inspect hang: its `runc:[2:INIT]` is stopped. It runs as soon as that goes on."""
    caught = await _catch(engine, name)
    try:
        yield caught
    finally:
        await caught.resume()
        await engine.docker("rm", "--force", caught.container, check=False)


@asynccontextmanager
async def killed_init(engine: ScratchEngine, *, name: str | None = None) -> AsyncIterator[CaughtInit]:
    """A container whose `runc:[2:INIT]` was killed during its start: runc of today notices, and the start fails."""
    async with stopped_init(engine, name=name) as caught:
        processes.send(caught.pid, signal.SIGKILL)
        await caught.resume()
        yield caught


@asynccontextmanager
async def blocked_runc(engine: ScratchEngine, *, name: str | None = None) -> AsyncIterator[CaughtInit]:
    """A `runc` that waits for ever for an init that was killed, as in incident I2: its container's start and inspect hang.

    The runc of those days waited on the exec fifo; the one of today notices the death, so it is stopped to make it deaf. Killing
    the runc frees Docker.
    """
    async with stopped_init(engine, name=name) as caught:
        processes.send(caught.runc, signal.SIGSTOP)
        processes.send(caught.pid, signal.SIGKILL)
        await until(lambda: not processes.alive(caught.pid), what="the init to be dead")
        yield caught


async def _catch(engine: ScratchEngine, name: str | None) -> CaughtInit:
    for _ in range(ATTEMPTS):
        container = await engine.create("sleep", "1000000", name=name)
        over = threading.Event()
        catching = asyncio.create_task(asyncio.to_thread(_stop_init, str(engine.exec_root), over), name="catch runc init")
        start = attempt("docker", "start", container, within_s=600.0, env=engine.environment)
        starting = asyncio.create_task(start, name=f"docker start {container[:12]}")
        try:
            await asyncio.wait({catching, starting}, return_when=asyncio.FIRST_COMPLETED)
            over.set()
            pid = await catching
        except BaseException:
            over.set()
            starting.cancel()
            raise
        if pid is not None:
            return CaughtInit(container, pid, starting)
        await starting
        await engine.docker("rm", "--force", container)
    msg = f"no {INIT} was caught in {ATTEMPTS} starts"
    raise TimeoutError(msg)


def _stop_init(exec_root: str, over: threading.Event) -> int | None:
    """Look at every new process until one is an init below this exec root, and stop it. Runs in a thread: it may not pause."""
    known = set(processes.pids())
    deadline = time.monotonic() + CATCH_S
    while not over.is_set() and time.monotonic() < deadline:
        for pid in processes.pids():
            if pid in known or processes.comm(pid) != INIT or not _is_below(pid, exec_root):
                continue
            processes.send(pid, signal.SIGSTOP)
            if processes.comm(pid) == INIT:
                return pid
            # It had become the container's own program between the look and the signal.
            processes.send(pid, signal.SIGCONT)
            known.add(pid)
    return None


def _is_below(pid: int, exec_root: str) -> bool:
    """True when it or an ancestor of it was started for this engine: other engines of the machine are none of our business."""
    while pid > 1:
        if any(exec_root in part for part in processes.argv(pid)):
            return True
        pid = processes.parent(pid)
    return False
