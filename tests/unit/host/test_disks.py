"""How full file systems are."""

import os
import threading
from pathlib import Path

import pytest

from connectors.host import disks
from connectors.host.disks import DiskUsage, Usage, host_root, usage
from connectors.sources.periodic import Facts
from engine.facts import Retraction
from engine.facts.host import Disk, Source
from tests.clocks import FixedClock
from tests.unit.mounts.fakes import AT
from tests.unit.proctree import ProcTree

GIB = 1 << 30


class Host:
    """File systems on paper: what `usage` gives for a path, or raises."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **systems: Usage) -> None:
        self.systems: dict[str, Usage | Exception] = {f"/{name}": found for name, found in systems.items()}
        self.clock = FixedClock.of(AT)
        monkeypatch.setattr(disks, "usage", self._usage)

    def _usage(self, path: Path, root: Path) -> Usage:
        assert root == Path("/host")
        found = self.systems.get(str(path), FileNotFoundError())
        if isinstance(found, Exception):
            raise found
        return found

    def source(self, *paths: str) -> DiskUsage:
        return DiskUsage(
            lambda: map(Path, paths),
            root=lambda: Path("/host"),
            trend_window_s=100,
            clock=self.clock,
        )


def system(device: int, point: str, *, used: int = 30, free: int = 70, inodes: int = 100, inodes_free: int = 90) -> Usage:
    """A file system, in GiB."""
    return Usage(device, point, used * GIB, free * GIB, inodes, inodes_free)


def emitted(facts: Facts) -> list[str]:
    """Disks as path and share, retractions as -path, the source as its error."""
    names = []
    for fact in facts:
        if isinstance(fact, Disk):
            names.append(f"{fact.path} {fact.used_ratio}")
        elif isinstance(fact, Retraction):
            names.append(f"-{fact.key}")
        elif isinstance(fact, Source):
            names.append(fact.error or fact.status)
    return names


async def test_one_fact_for_each_file_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two paths on one are emitted once, by its mount point; paths that do not exist are left out."""
    root, data = system(1, "/"), system(2, "/data", used=80, free=20)
    source = Host(monkeypatch, root=root, a=root, b=data).source("/root", "/a", "/b", "/missing")
    facts = await source.look()
    assert emitted(facts) == ["/ 0.3", "/data 0.8"]
    first = facts[0]
    assert isinstance(first, Disk)
    assert (first.inodes_ratio, first.free_bytes, first.full_in_s) == (0.1, 70 * GIB, None)


async def test_only_changes_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same again is silence, a byte more too; a percent more is emitted; what is unmounted is taken back."""
    host = Host(monkeypatch, a=system(1, "/a"), b=system(2, "/b"))
    source = host.source("/a", "/b")
    await source.look()
    assert await source.look() == []
    host.systems["/a"] = Usage(1, "/a", 30 * GIB + 1, 70 * GIB - 1, 100, 90)
    assert await source.look() == []
    host.systems["/a"] = system(1, "/a", used=31, free=69)
    assert emitted(await source.look()) == ["/a 0.31"]
    host.systems["/b"] = FileNotFoundError()
    assert emitted(await source.look()) == ["-/b"]


async def test_a_filling_disk_tells_when_it_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """One GiB in ten seconds with 60 left are 600 seconds."""
    host = Host(monkeypatch)
    source = host.source("/a")
    facts: Facts = []
    for step in range(11):
        host.clock.seconds = step * 10.0
        host.systems["/a"] = system(1, "/a", used=30 + step, free=70 - step)
        facts = await source.look()
    (fact,) = facts
    assert isinstance(fact, Disk)
    assert fact.full_in_s == 600


async def test_one_that_hangs_hangs_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dead network file system is named, the others are emitted, nothing is taken back, and no thread is added at each look."""
    gate = threading.Event()
    monkeypatch.setattr(disks, "_STATVFS_LIMIT_S", 0.05)
    host = Host(monkeypatch, a=system(1, "/a"), nfs=system(2, "/nfs"))
    source = host.source("/nfs", "/a")
    await source.look()
    real = disks.usage

    def hanging(path: Path, root: Path) -> Usage:
        if str(path) == "/nfs":
            gate.wait(60)
        return real(path, root)

    monkeypatch.setattr(disks, "usage", hanging)
    host.systems["/a"] = system(1, "/a", used=50, free=50)
    assert emitted(await source._look_and_report()) == ["/nfs does not answer", "/a 0.5"]
    for _ in range(5):
        assert await source._look_and_report() == []
    assert [thread.name for thread in threading.enumerate()].count("statvfs /nfs") == 1
    gate.set()


def test_a_real_file_system(tmp_path: Path) -> None:
    """As df would show it, and by the directory that it is mounted on."""
    found = usage(tmp_path)
    told_by_kernel = os.statvfs(tmp_path)
    assert found.device == tmp_path.stat().st_dev
    assert Path(found.point).is_mount()
    assert found.free == pytest.approx(told_by_kernel.f_bavail * told_by_kernel.f_frsize, rel=0.05)
    assert 0 <= found.used_ratio <= 1


def test_through_another_root(tmp_path: Path) -> None:
    """What a sidecar in a container sees below process 1's root has the host's names."""
    (tmp_path / "var/lib").mkdir(parents=True)
    assert usage(Path("/var/lib"), tmp_path).point == "/"
    assert usage(Path("/"), tmp_path).point == "/"


@pytest.mark.parametrize(("first", "own", "through"), [(1, 1, False), (None, 1, False), (1, 2, True)])
def test_where_the_hosts_files_are(tmp_path: Path, first: int | None, own: int, through: bool) -> None:
    """Our own root, unless process 1 can be seen to have another."""
    tree = ProcTree(tmp_path / "proc")
    tree.add(1, mnt=first)
    tree.add(os.getpid(), mnt=own)
    assert host_root(tree.root) == (tree.root / "1/root" if through else Path("/"))


def test_file_systems_without_a_number() -> None:
    """No inodes (btrfs) is null, no space at all (proc) is not full."""
    assert system(1, "/", inodes=0, inodes_free=0).inodes_ratio is None
    assert system(1, "/", used=0, free=0).used_ratio == 0


async def test_a_path_that_is_not_absolute_is_named_and_the_others_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """It ended the process."""
    real = usage
    host = Host(monkeypatch, data=system(1, "/data"))
    monkeypatch.setattr(
        disks, "usage", lambda path, root: real(path, root) if not path.is_absolute() else host._usage(path, root)
    )
    facts = await host.source("var/lib/docker", "/data").look()
    assert [fact.path for fact in facts if isinstance(fact, Disk)] == ["/data"]
