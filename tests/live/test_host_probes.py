"""Incidents I2, I8 and I10 with real faults: a disk that fills, a process that runs out of files, a daemon that hangs."""

import resource
import time
from pathlib import Path

import pytest

from connectors.host.daemon import find_daemon
from connectors.host.disks import DiskUsage
from connectors.host.files import OpenFiles
from connectors.host.nofile import RaiseNofile
from connectors.host.runc import KillRunc, blocked_runcs, find_blocked_runc
from connectors.host.stacks import CollectStacks
from engine.facts.host import Disk, ProcessFiles
from tests.clocks import SYSTEM, FixedClock
from tests.guards import allow
from tests.lab import faults
from tests.lab.engine import ScratchEngine
from tests.lab.waiting import until

pytestmark = pytest.mark.live


async def disk(source: DiskUsage) -> Disk:
    """The one fact that it emits now."""
    (fact,) = await source.look()
    assert isinstance(fact, Disk)
    return fact


async def test_a_filling_disk_is_told_as_df_has_it() -> None:
    """A small ext4, empty, filled to 85 %, and emptied: the share that df shows, free bytes, inodes, by its mount point."""
    async with faults.small_disk(64) as small:
        (small.path / "docker").mkdir()
        source = DiskUsage(lambda: [small.path / "docker", small.path], clock=SYSTEM)
        empty = await disk(source)
        assert (empty.path, empty.full_in_s) == (str(small.path), None)
        assert empty.used_ratio < 0.05
        assert empty.inodes_ratio is not None
        async with faults.fill(small.path, 0.85):
            full = await disk(source)
            assert full.used_ratio == pytest.approx(small.used_ratio, abs=1e-3)
            assert full.used_ratio == pytest.approx(0.85, abs=0.01)
            assert full.free_bytes is not None
            assert full.free_bytes < 15 << 20
        assert (await disk(source)).used_ratio < 0.05


async def test_a_filling_disk_tells_when_it_is_full() -> None:
    """Written to at a steady pace, the line reaches the end where the space does."""
    async with faults.small_disk(64) as small:
        clock = FixedClock(seconds=0.0)
        source = DiskUsage(lambda: [small.path], clock=clock, trend_window_s=100)
        fact = await disk(source)
        for step in range(1, 11):
            clock.seconds = step * 10.0
            (small.path / str(step)).write_bytes(bytes(2 << 20))
            fact = (await _or_none(source)) or fact
        assert fact.full_in_s is not None
        assert fact.free_bytes is not None
        assert fact.full_in_s == pytest.approx(fact.free_bytes / (2 << 20) * 10, rel=0.15)


async def _or_none(source: DiskUsage) -> Disk | None:
    facts = await source.look()
    return facts[0] if facts and isinstance(facts[0], Disk) else None


async def test_a_container_that_runs_out_of_files_gets_more(engine: ScratchEngine) -> None:
    """A process in a container at its limit of 256 is reported with its container, its limit is raised, and the share falls."""
    probe = OpenFiles(clock=SYSTEM, interval_s=1)
    action = RaiseNofile(ceiling=1_000, started=probe.started, guard=allow, clock=SYSTEM)
    async with faults.open_files_hog(engine, limit=256, hard=2048) as (container, pid):
        facts = {fact.pid: fact for fact in await probe.look() if isinstance(fact, ProcessFiles)}
        assert (facts[pid].container_id, facts[pid].process, facts[pid].soft_limit) == (container, "tail", 256)
        assert facts[pid].ratio > 0.95
        outcome = await action.run({"pid": pid, "limit": 100_000})
        assert outcome.ok, outcome.error
        assert resource.prlimit(pid, resource.RLIMIT_NOFILE) == (1_000, 2048)
        (after,) = outcome.facts
        assert isinstance(after, ProcessFiles)
        assert (after.container_id, after.soft_limit) == (container, 1_000)
        assert after.ratio < 0.5


async def test_looking_at_all_processes_costs_little() -> None:
    """All of this machine's processes, twenty times over, within what a probe may use: 0.1 % of a core at 15 s."""
    probe = OpenFiles(clock=SYSTEM)
    await probe.look()
    processes = len([entry for entry in Path("/proc").iterdir() if entry.name.isdigit()])
    began = time.process_time()
    for _ in range(20):
        await probe.look()
    each_ms = (time.process_time() - began) / 20 * 1000
    assert each_ms < 15 * max(1.0, processes / 200)


async def test_stacks_of_a_real_daemon(engine: ScratchEngine) -> None:
    """dockerd, found by its socket, writes its stacks, and the file is named and is what it says."""
    action = CollectStacks(find_daemon=lambda: find_daemon(daemon_socket=engine.socket), exec_root=engine.exec_root)
    outcome = await action.run({})
    assert outcome.ok, outcome.error
    named = [Path(word.rstrip(",")) for word in (outcome.detail or "").split() if "goroutine-stacks-" in word]
    assert len(named) == 1
    assert named[0].read_text().startswith("goroutine ")
    assert await engine.answers()


async def test_a_hung_start_is_freed(own_engine: ScratchEngine) -> None:
    """Incident I2: inspect of the container hangs; the runc that waits is found, killed, and Docker answers again."""
    async with faults.blocked_runc(own_engine) as caught:
        with pytest.raises(TimeoutError):
            await own_engine.docker("inspect", caught.container, within_s=1)
        assert find_blocked_runc(min_age_s=3600) is None
        await until(lambda: caught.runc in [each.pid for each in blocked_runcs(min_age_s=0.5)], what="the runc to be found")
        outcome = await KillRunc(guard=allow, min_age_s=0.5).run({"pid": caught.runc})
        assert outcome.ok, outcome.error
        assert caught.container in (outcome.detail or "")
        assert (await own_engine.docker("inspect", caught.container, within_s=10)).code == 0


async def test_a_start_under_way_is_left_alone(own_engine: ScratchEngine) -> None:
    """The init is stopped but lives: its runc is waiting for good reason."""
    async with faults.stopped_init(own_engine) as caught:
        assert caught.runc not in [each.pid for each in blocked_runcs(min_age_s=0)]
        outcome = await KillRunc(guard=allow, min_age_s=0).run({"pid": caught.runc})
        assert (outcome.ok, outcome.error_kind) == (False, "refused")
    assert await own_engine.answers()
