"""Open files against their limit."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from connectors.host import files
from connectors.host.files import OpenFiles, count_open, parse_limits, sizes_tell
from connectors.sources.periodic import Facts
from engine.facts import Retraction
from engine.facts.host import ProcessFiles
from tests.clocks import SYSTEM, FixedClock
from tests.lab.waiting import until
from tests.unit.host.children import child
from tests.unit.mounts.fakes import AT
from tests.unit.proctree import LIMITS, ProcTree

ID = "a1" * 32
DOCKER = f"0::/docker/{ID}\n"


@pytest.fixture
def tree(tmp_path: Path) -> ProcTree:
    """A host of an old kernel, which counts by listing."""
    return ProcTree(tmp_path / "proc")


def source(tree: ProcTree, *watch: str, container: str = "") -> OpenFiles:
    """The probe on it."""
    return OpenFiles(
        watch=watch,
        watch_container=lambda id_: id_ == container,
        name_of=lambda _: "calico",
        proc=tree.root,
        clock=FixedClock.of(AT),
    )


def emitted(facts: Facts) -> list[str]:
    """Processes as pid and share, retractions as -pid."""
    return [f"-{fact.key}" if isinstance(fact, Retraction) else f"{fact.pid} {fact.ratio}" for fact in facts
            if isinstance(fact, Retraction | ProcessFiles)]  # fmt: skip


async def test_near_the_limit_is_told(tree: ProcTree) -> None:
    """From half of the soft limit on; the rest of the host is silence."""
    tree.add(20, comm="calico-node", limits=(20, 100), files=15, cgroup=DOCKER)
    tree.add(21, comm="quiet", limits=(20, 100), files=5)
    (fact,) = await source(tree).look()
    assert isinstance(fact, ProcessFiles)
    assert (fact.pid, fact.process, fact.container_id, fact.container_name) == (20, "calico-node", ID, "calico")
    assert (fact.open, fact.soft_limit, fact.hard_limit, fact.ratio) == (15, 20, 100, 0.75)


async def test_the_watched_are_told_from_the_first_file_on(tree: ProcTree) -> None:
    """By name pattern and by container."""
    tree.add(20, comm="calico-node", limits=(100, 100), files=1)
    tree.add(21, comm="other", limits=(100, 100), files=2, cgroup=DOCKER)
    tree.add(22, comm="other", limits=(100, 100), files=3)
    assert emitted(await source(tree, "calico-*", container=ID).look()) == ["20 0.01", "21 0.02"]


async def test_changes_are_told_and_ends_taken_back(tree: ProcTree) -> None:
    """The same again is silence; more files, another limit, the end of the process are emitted."""
    tree.add(20, limits=(20, 100), files=15)
    probe = source(tree)
    assert emitted(await probe.look()) == ["20 0.75"]
    assert probe.started(20) is not None
    assert await probe.look() == []
    tree.add(20, limits=(20, 100), files=18)
    assert emitted(await probe.look()) == ["20 0.9"]
    tree.add(20, limits=(30, 100), files=18)
    assert emitted(await probe.look()) == ["20 0.6"]
    tree.end(20)
    assert emitted(await probe.look()) == ["-20"]
    assert probe.started(20) is None


async def test_no_coming_and_going_at_the_floor(tree: ProcTree) -> None:
    """Emitted at 50 %, kept at 46 %, taken back at 40 %, not emitted anew at 46 %."""
    probe = source(tree)
    seen: list[list[str]] = []
    for number in (50, 46, 40, 46):
        tree.add(20, limits=(100, 100), files=number)
        seen.append(emitted(await probe.look()))
    assert seen == [["20 0.5"], ["20 0.46"], ["-20"], []]


async def test_one_that_becomes_another_program_is_noticed(tree: ProcTree) -> None:
    """A container's entrypoint that turns into the watched program (exec) under the same pid."""
    tree.add(20, comm="sh", limits=(100, 100), files=1)
    probe = source(tree, "calico-*")
    assert await probe.look() == []
    tree.add(20, comm="calico-node", limits=(100, 100), files=1)
    seen = [emitted(await probe.look()) for _ in range(3)]
    assert ["20 0.01"] in seen


async def test_old_kernels_list_only_where_it_can_matter(tree: ProcTree, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table of 64 entries cannot hold half of 1,024: nothing is listed."""
    tree.add(20, limits=(1024, 4096), files=10, fd_size=64)
    tree.add(21, limits=(1024, 4096), files=600, fd_size=1024)
    listed: list[str] = []
    real = os.scandir

    def scandir(path: Path) -> object:
        listed.append(path.parent.name)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert emitted(await source(tree).look()) == ["21 0.5859"]
    assert listed == ["21"]


async def test_nearest_to_the_limit_first(tree: ProcTree, monkeypatch: pytest.MonkeyPatch) -> None:
    """With more processes than are emitted at a time, those that run out first are emitted."""
    monkeypatch.setattr(files, "_MOST_FACTS", 2)
    for pid, number in ((20, 6), (21, 9), (22, 8)):
        tree.add(pid, limits=(10, 10), files=number)
    assert emitted(await source(tree).look()) == ["21 0.9", "22 0.8"]


@pytest.mark.parametrize(
    ("text", "limits"),
    [
        (LIMITS.format(soft=1024, hard=4096), (1024, 4096)),
        (LIMITS.format(soft=1024, hard="unlimited"), (1024, sys.maxsize)),
        ("", None),
        ("Max open files", None),
    ],
)
def test_limits(text: str, limits: tuple[int, int] | None) -> None:
    """The kernel's table; what is not there is None."""
    assert parse_limits(text.encode()) == limits


@contextmanager
def hog(number: int) -> Iterator[int]:
    """A real process with a soft limit of 100 and so many files open."""
    limit = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (100, 200))"
    program = f"{limit}; import time; f = [open('/dev/null') for _ in range({number} - 3)]; print(flush=True); time.sleep(1000)"
    with child(sys.executable, "-I", "-c", program, stdout=subprocess.PIPE) as (process, who):
        assert process.stdout is not None
        process.stdout.readline()
        yield who.pid
        process.stdout.close()


@pytest.mark.parametrize("by_size", [True, False])
def test_both_ways_count_the_same(by_size: bool) -> None:
    """What the size of the folder says, where it says something, is what a listing gives."""
    with hog(80) as pid:
        if by_size and not sizes_tell():
            by_size = False
        assert count_open(pid, by_size=by_size) == 80


async def test_a_real_process_that_runs_out() -> None:
    """It is emitted with its real numbers, and taken back when it has ended."""
    probe = OpenFiles(clock=SYSTEM)
    with hog(90) as pid:
        facts = {fact.pid: fact for fact in await probe.look() if isinstance(fact, ProcessFiles)}
        assert (facts[pid].open, facts[pid].soft_limit, facts[pid].hard_limit, facts[pid].ratio) == (90, 100, 200, 0.9)
    await until(lambda: not Path(f"/proc/{pid}").exists(), what="the process to be gone")
    assert f"-{pid}" in emitted(await probe.look())
