"""A host that is renamed under a running sidecar, in a UTS namespace of its own."""

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.lab.waiting import until

pytestmark = pytest.mark.live

ROOT = Path(__file__).parents[2]

SIDECAR = """
import asyncio, json, sys, uvloop
from connectors.host import identity
from engine.ports.clock import SystemClock
identity.LOOK_S = identity.FIRST_LOOK_S = 3600.0  # only the kernel's word counts
class Printing:
    async def put(self, facts, *, cursor=None):
        for fact in facts:
            print(json.dumps(fact.to_json_dict() | {"cursor": cursor}), flush=True)
loop = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}[sys.argv[1]]
with asyncio.Runner(loop_factory=loop) as runner:
    runner.run(identity.HostIdentity(clock=SystemClock()).run(Printing(), sys.argv[2] or None))
"""


@asynccontextmanager
async def sidecar(loop: str, hostname: str, cursor: str = "") -> AsyncIterator[Process]:
    """The source in a UTS namespace whose host is called `hostname`."""
    start = f'echo {hostname} > /proc/sys/kernel/hostname; exec "$@"'
    child = await asyncio.create_subprocess_exec(
        *("unshare", "--uts", "sh", "-c", start, "sh", sys.executable, "-c", SIDECAR, loop, cursor), stdout=PIPE, cwd=ROOT
    )
    try:
        yield child
    finally:
        child.kill()
        await child.wait()


async def received(child: Process) -> dict[str, Any]:
    """The next fact."""
    assert child.stdout is not None
    async with asyncio.timeout(10):
        while not (line := await child.stdout.readline()).startswith(b"{"):
            assert line, "the source has ended"
        fact: dict[str, Any] = json.loads(line)
        return fact


async def rename(child: Process, name: str) -> None:
    """What an administrator types, in the namespace of the child."""
    done = await asyncio.create_subprocess_exec("nsenter", "--uts", f"--target={child.pid}", "hostname", name)
    assert await done.wait() == 0


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
async def test_renamed_while_it_runs(loop: str) -> None:
    """Each new name is emitted the moment it is set, with the old one, by the kernel's word alone."""
    async with sidecar(loop, "old-name") as child:
        assert (await received(child))["hostname"] == "old-name"
        await until(lambda: _waits(child.pid), what="the source to wait")
        for old, new in [("old-name", "ip-10-0-0-1.ec2.internal"), ("ip-10-0-0-1.ec2.internal", "third"), ("third", "old-name")]:
            await rename(child, new)
            assert (await received(child))["hostname"] == new
            change = await received(child)
            assert (change["fact"], change["field"], change["old"], change["new"]) == ("host_change", "hostname", old, new)
            await until(lambda: _waits(child.pid), what="the source to wait")


async def test_renamed_while_it_was_away() -> None:
    """A name that changed between two runs is named by the second."""
    async with sidecar("uvloop", "before") as child:
        cursor = (await received(child))["cursor"]
    async with sidecar("uvloop", "after", cursor) as child:
        assert (await received(child))["fact"] == "host"
        change = await received(child)
    assert (change["field"], change["old"], change["new"]) == ("hostname", "before", "after")


def _waits(pid: int) -> bool:
    """It sleeps: it has begun to watch, and nothing is left to do."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(") ")[2][0] == "S"


def test_this_process_is_untouched() -> None:
    """None of it renamed the machine that runs the tests."""
    assert os.uname().nodename not in {"before", "after", "third", "old-name"}
