"""Reading /proc."""

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.sources import proc
from connectors.sources.proc import Stat
from tests.unit.proctree import ProcTree

REST = b"S 1 " + b"0 " * 17 + b"4242 0 0\n"


@pytest.mark.parametrize(
    ("name", "comm"),
    [(b"sleep", "sleep"), (b"a) S 7 (b", "a) S 7 (b"), (b"runc:[2:INIT]", "runc:[2:INIT]"), (b"\xff\n ", "\\xff\n ")],
)
def test_any_name(name: bytes, comm: str) -> None:
    """A name may hold brackets, spaces, line ends and broken UTF-8: the last bracket ends it."""
    assert proc.parse_stat(b"12 (" + name + b") " + REST) == Stat(12, comm, "S", 1, 4242)


@given(st.binary(max_size=200))
def test_any_bytes(raw: bytes) -> None:
    """Whatever stands there: a Stat or None."""
    assert proc.parse_stat(raw) is None or isinstance(proc.parse_stat(raw), Stat)


def test_ourselves() -> None:
    """This process is found, alive, with its parent, arguments, age and namespaces."""
    me = proc.stat(os.getpid())
    assert me is not None
    assert (me.parent, me.alive) == (os.getppid(), True)
    assert me.pid in proc.pids()
    assert me in list(proc.stats())
    age = proc.age_s(me)
    assert age is not None
    assert 0 <= age < 86_400
    assert "pytest" in " ".join(proc.arguments(me.pid))
    assert proc.namespace(me.pid, "mnt") == Path("/proc/self/ns/mnt").stat().st_ino


def test_a_zombie_is_not_alive() -> None:
    """A process that has ended and was not asked for."""
    child = subprocess.Popen(["true"], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.read()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    found = proc.stat(child.pid)
    assert found is not None
    assert not found.alive
    assert proc.arguments(child.pid) == []
    child.stdout.close()
    child.wait()


def test_what_is_gone_is_none(tmp_path: Path) -> None:
    """No process, no procfs: None and nothing, no exception."""
    assert proc.stat(7, tmp_path) is None
    assert proc.pids(tmp_path / "no") == []
    assert proc.namespace(7, "mnt", tmp_path) is None
    assert proc.uptime_s(tmp_path) is None
    assert proc.arguments(7, tmp_path) == []


def test_reading_is_bounded(tmp_path: Path) -> None:
    """Of a file that does not end only so much is read."""
    (tmp_path / "long").write_bytes(b"x" * 1000)
    assert proc.read(tmp_path / "long", 10) == b"x" * 10
    assert proc.read(Path("/dev/zero"), 100_000) == bytes(100_000)


def test_recorded(tmp_path: Path) -> None:
    """The tree that other tests use is read as the real one is."""
    tree = ProcTree(tmp_path)
    tree.add(7, comm="runc", parent=3, age_s=60, mnt=99, argv=("runc", "start"))
    who = proc.stat(7, tmp_path)
    assert who is not None
    assert (who.comm, who.parent, proc.age_s(who, tmp_path)) == ("runc", 3, 60)
    assert (proc.namespace(7, "mnt", tmp_path), proc.arguments(7, tmp_path)) == (99, ["runc", "start"])
