"""What containers use of their limits, and pressure, on recorded trees of both versions of control groups."""

from pathlib import Path

import pytest

from connectors.host.cgroup_files import parse_pressure
from connectors.host.usage import Running, UsageProbe
from engine.facts import Retraction
from engine.facts.host import ContainerUsage, Pressure
from tests.clocks import FixedClock
from tests.unit.mounts.fakes import AT
from tests.unit.proctree import ProcTree

ID = "0123456789abcdef" * 4
MIB = 1 << 20
CALM = "some avg10=0.00 avg60=0.00 avg300=0.00 total=1\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=1\n"
BUSY = "some avg10=42.50 avg60=30.00 avg300=3.00 total=9\nfull avg10=21.00 avg60=9.00 avg300=1.00 total=5\n"


class Host:
    """A recorded /proc and /sys/fs/cgroup with one container of one process."""

    def __init__(self, folder: Path, *, unified: bool) -> None:
        self.root = folder
        self.unified = unified
        self.tree = ProcTree(folder / "proc")
        self.tree.add(70)
        path = f"/system.slice/docker-{ID}.scope" if unified else f"/docker/{ID}"
        lines = (
            f"0::{path}\n" if unified else f"9:memory:{path}\n5:cpu,cpuacct:{path}\n4:pids:{path}\n1:name=systemd:{path}\n0::/\n"
        )
        self.write("proc/70/cgroup", lines)
        self.path = path.lstrip("/")
        self.running = [Running(ID, "web", 70)]
        for resource in ("cpu", "memory", "io"):
            self.write(f"proc/pressure/{resource}", CALM)

    def write(self, path: str, text: str) -> None:
        """A file of the tree."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def use(
        self, *, memory: int, limit: int | None, cache: int = 0, pids: int = 5, periods: tuple[int, int] | None = None
    ) -> None:
        """What the container uses now; memory in MiB."""
        base = f"sys/fs/cgroup/{self.path}" if self.unified else None
        memory_folder = base or f"sys/fs/cgroup/memory/{self.path}"
        names = ("memory.current", "memory.max") if self.unified else ("memory.usage_in_bytes", "memory.limit_in_bytes")
        none = "max" if self.unified else str((1 << 63) - 4096)
        self.write(f"{memory_folder}/{names[0]}", f"{memory * MIB}\n")
        self.write(f"{memory_folder}/{names[1]}", f"{none if limit is None else limit * MIB}\n")
        inactive = "inactive_file" if self.unified else "total_inactive_file"
        self.write(f"{memory_folder}/memory.stat", f"anon 7\n{inactive} {cache * MIB}\nodd line here\n")
        self.write(f"{base or f'sys/fs/cgroup/pids/{self.path}'}/pids.current", f"{pids}\n")
        self.write(f"{base or f'sys/fs/cgroup/pids/{self.path}'}/pids.max", "100\n")
        cpu = base or f"sys/fs/cgroup/cpu/{self.path}"
        quota = "150000" if periods else ("max" if self.unified else "-1")
        if self.unified:
            self.write(f"{cpu}/cpu.max", f"{quota} 100000\n")
        else:
            self.write(f"{cpu}/cpu.cfs_quota_us", f"{quota}\n")
            self.write(f"{cpu}/cpu.cfs_period_us", "100000\n")
        if periods:
            self.write(f"{cpu}/cpu.stat", f"usage_usec 9\nnr_periods {periods[0]}\nnr_throttled {periods[1]}\n")

    def probe(self) -> UsageProbe:
        """A probe of it."""
        return UsageProbe(lambda: self.running, clock=FixedClock.of(AT), root=lambda: self.root, proc=self.tree.root)


@pytest.fixture(params=[True, False], ids=["v2", "v1"])
def host(tmp_path: Path, request: pytest.FixtureRequest) -> Host:
    """Either version."""
    return Host(tmp_path, unified=request.param)


async def test_far_from_limits_is_no_fact(host: Host) -> None:
    """A container with room, or without limits, is not spoken of."""
    probe = host.probe()
    host.use(memory=30, limit=100)
    assert await probe.look() == []
    host.use(memory=90_000, limit=None)
    assert await probe.look() == []


async def test_near_its_memory_limit(host: Host) -> None:
    """Reported without file pages that can be dropped, again when it moved by a hundredth; retracted when it has room."""
    probe = host.probe()
    host.use(memory=97, limit=100, cache=7)
    (fact,) = await probe.look()
    assert isinstance(fact, ContainerUsage)
    assert (fact.container_name, fact.memory_bytes, fact.memory_limit_bytes, fact.memory_ratio) == (
        "web",
        90 * MIB,
        100 * MIB,
        0.9,
    )
    assert await probe.look() == []
    host.use(memory=98, limit=100, cache=7)
    assert [getattr(fact, "memory_ratio", None) for fact in await probe.look()] == [0.91]
    host.use(memory=45, limit=100)
    assert len(await probe.look()) == 1  # not yet: it would come and go
    host.use(memory=30, limit=100)
    (gone,) = await probe.look()
    assert isinstance(gone, Retraction)
    assert (gone.retract, gone.key) == ("container_usage", ID)


async def test_processes_and_throttling(host: Host) -> None:
    """Processes against their limit; and the share of periods since the last look in which it had to wait."""
    probe = host.probe()
    host.use(memory=1, limit=100, pids=95, periods=(1000, 900))
    (fact,) = await probe.look()
    assert isinstance(fact, ContainerUsage)
    assert (fact.pids, fact.pids_limit, fact.pids_ratio, fact.cpu_limit_cores, fact.cpu_throttled_ratio) == (
        95,
        100,
        0.95,
        1.5,
        0.0,
    )
    host.use(memory=1, limit=100, pids=2, periods=(1100, 975))
    (fact,) = await probe.look()
    assert isinstance(fact, ContainerUsage)
    assert fact.cpu_throttled_ratio == 0.75


async def test_a_container_that_ends(host: Host) -> None:
    """Its fact goes; what a list alone named is found by its processes; and no container at all is fine."""
    host.running = [Running(ID, "web", None)]
    probe = host.probe()
    host.use(memory=99, limit=100)
    assert len(await probe.look()) == 1
    host.running = []
    (gone,) = await probe.look()
    assert isinstance(gone, Retraction)
    assert await probe.look() == []


async def test_processes_of_nobody(tmp_path: Path) -> None:
    """A process that is gone, or in the root group, has no figures, and brings no error."""
    host = Host(tmp_path, unified=True)
    host.running = [Running(ID, "web", 4711), Running("f" * 64, "x", None)]
    assert await host.probe().look() == []
    host.write("proc/70/cgroup", "0::/\n")
    host.running = [Running(ID, "web", 70)]
    assert await host.probe().look() == []


async def test_pressure(tmp_path: Path) -> None:
    """The host's is reported while somebody waits a tenth of the time, with the containers that wait; and retracted when calm."""
    host = Host(tmp_path, unified=True)
    host.use(memory=1, limit=None)
    probe = host.probe()
    host.write(f"sys/fs/cgroup/{host.path}/memory.pressure", BUSY)
    assert await probe.look() == []  # the host is calm: containers are not asked
    host.write("proc/pressure/memory", BUSY)
    facts = await probe.look()
    assert all(isinstance(fact, Pressure) for fact in facts)
    found = {fact.identity: fact for fact in facts if isinstance(fact, Pressure)}
    assert set(found) == {("pressure", "host", "memory"), ("pressure", ID, "memory")}
    assert found["pressure", ID, "memory"].container_name == "web"
    assert found["pressure", "host", "memory"].full_avg10 == 21.0
    host.write("proc/pressure/memory", CALM)
    gone = await probe.look()
    assert {(fact.retract, fact.key) for fact in gone if isinstance(fact, Retraction)} == {
        ("pressure", "host|memory"),
        ("pressure", f"{ID}|memory"),
    }


@pytest.mark.parametrize("raw", [b"", b"some\n", b"some avg10=x\n", b"full avg10=1.0 avg60=1.0\n", b"\xff\xfe"])
def test_what_is_no_pressure_file(raw: bytes) -> None:
    """A kernel without PSI has no such file; other text is none."""
    assert parse_pressure(raw) is None
