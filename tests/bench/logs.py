"""How many lines a second the log sources read, and what they cost when nothing is written. Prints; asserts nothing.

.venv/bin/python -m tests.bench.logs
"""

import asyncio
import json
import stat
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import structlog
import uvloop

from connectors.logs.factory import make_log_source
from connectors.logs.journald import Journald
from engine.facts import Fact, Retraction
from engine.logparse import ReportAssembler
from engine.ports.sources import FactSource
from tests.clocks import SYSTEM

LINES = 400_000
IDLE_S = 10.0
STAMP = 'time="2026-11-20T16:51:52.525487Z" '
ORDINARY = STAMP + 'level=info msg="ignoring event" container={id} module=libcontainerd namespace=moby topic=/tasks/delete'
TROUBLE = (
    STAMP
    + 'level=error msg="Handler for DELETE /v1.41/containers/{id} returned error: container {id}: driver \\"overlay2\\" failed'
    ' to remove root filesystem: unlinkat /var/lib/docker/overlay2/{id}/merged: device or resource busy"'
)


class Counting:
    """A sink that counts; `done` is set by the last line's fact."""

    def __init__(self) -> None:
        self.facts = 0
        self.done = asyncio.Event()

    async def put(self, facts: list[Fact | Retraction], *, cursor: str | None = None) -> None:  # noqa: ARG002 -- the port's
        """Count them."""
        self.facts += len(facts)
        if any("f" * 64 in getattr(fact, "text", "") for fact in facts):
            self.done.set()


def lines() -> list[str]:
    """A busy day: one line in two hundred is a trouble, the last one bears an id of its own."""
    made = [(TROUBLE if number % 200 == 0 else ORDINARY).format(id=f"{number:064x}") for number in range(LINES)]
    return [*made, TROUBLE.format(id="f" * 64)]


async def measure(name: str, source: FactSource, write: Callable[[], object]) -> None:
    """Time from the first line to the last fact."""
    sink = Counting()
    task = asyncio.create_task(source.run(sink, None), name=name)
    await asyncio.sleep(0.7)  # it stands at the end of the log
    cpu = time.process_time()
    begun = time.monotonic()
    write()
    await sink.done.wait()
    took, used = time.monotonic() - begun, time.process_time() - cpu
    print(
        f"{name:10} {LINES / took:10,.0f} lines/s  {LINES / used:10,.0f} lines a second of this process's CPU  {sink.facts} facts"
    )
    await stop(task)


async def idle(name: str, source: FactSource) -> None:
    """CPU of this process while nothing is written."""
    task = asyncio.create_task(source.run(Counting(), None), name=name)
    await asyncio.sleep(1)
    cpu = time.process_time()
    await asyncio.sleep(IDLE_S)
    print(f"{name:10} idle {100 * (time.process_time() - cpu) / IDLE_S:.4f} % of a core")
    await stop(task)


async def stop(task: asyncio.Task[None]) -> None:
    """Cancel it and wait."""
    task.cancel()
    await asyncio.wait([task])


async def main() -> None:
    """All sources, one after another."""
    with tempfile.TemporaryDirectory() as folder:
        text = "".join(line + "\n" for line in lines())
        path = Path(folder) / "dockerd.log"
        path.touch()
        tail = make_log_source("dockerd", str(path), clock=SYSTEM)
        if tail is not None:
            await measure("file", tail, lambda: path.write_text(text, encoding="utf-8"))
            await idle("file", tail)
        await measure("journald", journal_of(Path(folder)), (Path(folder) / "go").touch)
        kernel = make_log_source("kernel", "/dev/kmsg", clock=SYSTEM)
        if kernel is not None:
            await idle("kmsg", kernel)


def journal_of(folder: Path) -> Journald:
    """A journald whose journalctl is played by `cat`: what is measured is our side."""
    micros = str(time.time_ns() // 1000 + 3_600_000_000)
    with (folder / "journal").open("w", encoding="utf-8") as journal:
        for number, line in enumerate(lines()):
            entry = {
                "__CURSOR": f"s=1;i={number:x}",
                "__REALTIME_TIMESTAMP": micros,
                "_SYSTEMD_UNIT": "docker.service",
                "_TRANSPORT": "stdout",
                "PRIORITY": "6",
            }
            journal.write(json.dumps(entry | {"MESSAGE": line}) + "\n")
    program = folder / "journalctl"
    program.write_text(
        f'#!/bin/sh\ncase "$*" in *--lines=1*) echo one; exit;; esac\n'
        f"while [ ! -e {folder}/go ]; do sleep 0.05; done\ncat {folder}/journal\nsleep 60\n"
    )
    program.chmod(stat.S_IRWXU)
    return Journald(
        ReportAssembler("dockerd"), matches=[], name="bench", source="dockerd", clock=SYSTEM, journalctl=[str(program)]
    )


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    uvloop.run(main())
