"""Too much of something: containers without end, memory, open files."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from tests.lab.engine import BOX, ScratchEngine
from tests.lab.processes import PROC
from tests.lab.waiting import until

STORM_CONNECTIONS = 2
"""Two are as fast as the daemon: 1,000 created in 7 s."""
STORM_TIMEOUT = aiohttp.ClientTimeout(total=60)


@dataclass(frozen=True, slots=True)
class Storm:
    """What a storm made."""

    ids: list[str]
    """In the order of their creation."""
    began: float
    """time.monotonic() at the first creation."""
    moments: list[float]
    """time.monotonic() at the end of each creation."""


async def storm(
    engine: ScratchEngine,
    count: int,
    *,
    image: str = BOX,
    command: tuple[str, ...] = ("/run.sh", "inspect-host"),
    start: bool = True,
    labels: dict[str, str] | None = None,
) -> Storm:
    """Create so many containers of one image and command as fast as the daemon takes them; start them too, and they exit.

    Over the API, as a loop of an orchestrator's agent does; the command line would take 60 ms each.
    """
    config: dict[str, Any] = {"Image": image, "Cmd": list(command), "Labels": labels or {}, "HostConfig": {"NetworkMode": "none"}}
    made = Storm([], time.monotonic(), [])
    left = iter(range(count))

    async def loop(session: aiohttp.ClientSession) -> None:
        for _ in left:
            async with session.post("http://docker/containers/create", json=config) as answer:
                answer.raise_for_status()
                container = (await answer.json())["Id"]
            made.ids.append(container)
            made.moments.append(time.monotonic())
            if start:
                async with session.post(f"http://docker/containers/{container}/start") as answer:
                    answer.raise_for_status()

    connector = aiohttp.UnixConnector(str(engine.socket), limit=STORM_CONNECTIONS)
    async with aiohttp.ClientSession(connector=connector, timeout=STORM_TIMEOUT) as session, asyncio.TaskGroup() as group:
        for number in range(STORM_CONNECTIONS):
            group.create_task(loop(session), name=f"storm {number}")
    return made


async def oom_kill(engine: ScratchEngine, *, name: str | None = None) -> str:
    """Have the kernel kill a container's process for using more than its 20 MiB; the container's id. It stays, exited 137."""
    # Not at once: of a container that is killed before its start has returned the daemon forgets that it was (20.10).
    greed = "sleep 0.5; exec dd if=/dev/zero of=/dev/null bs=100M count=1"
    container = await engine.create("sh", "-c", greed, name=name, options=("--memory", "20m", "--memory-swap", "20m"))
    await engine.docker("start", "--attach", container, check=False)
    found = await engine.inspect(container)
    if found is None or not found["State"]["OOMKilled"]:
        msg = f"the kernel did not kill {container[:12]}: {found and found['State']}"
        raise RuntimeError(msg)
    return container


@asynccontextmanager
async def open_files_hog(
    engine: ScratchEngine, *, count: int | None = None, limit: int = 1024, hard: int = 4096, name: str | None = None
) -> AsyncIterator[tuple[str, int]]:
    """Run a container whose process has very many files open: its id and the process id on the host.

    Args:
        engine: where.
        count: how many files; None: as many as the limit allows, and it is refused some more.
        limit: soft limit of open files (RLIMIT_NOFILE).
        hard: hard limit, up to which the soft one can be raised from outside.
        name: of the container.
    """
    # busybox's tail opens every file it is told to follow and keeps it open; what it cannot open it leaves out.
    wanted = limit + 10 if count is None else count
    files = ["/run.sh"] * wanted
    container = await engine.run("tail", "-f", *files, name=name, options=("--ulimit", f"nofile={limit}:{hard}"))
    try:
        found = await engine.inspect(container)
        pid = int(found["State"]["Pid"]) if found else 0
        enough = min(wanted, limit)
        await until(lambda: len(list((PROC / str(pid) / "fd").iterdir())) >= enough, what=f"{enough} open files")
        yield container, pid
    finally:
        await engine.docker("rm", "--force", container, check=False)
