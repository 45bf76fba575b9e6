"""A runc that waits for an init that is gone: on a recorded /proc, and a real process that waits on a real fifo."""

import json
import os
import signal
from pathlib import Path

import pytest

from connectors.host.runc import BlockedRunc, BlockedRuncs, KillRunc, blocked_runcs, find_blocked_runc, read_command
from connectors.sources import proc
from tests.guards import allow, protecting
from tests.lab.waiting import until
from tests.unit.host.children import child, comm
from tests.unit.proctree import ProcTree

ID = "a1" * 32
ROOT = "/run/docker/runtime-runc/moby"
START = ("docker-runc", "--root", ROOT, "--log", "/x/log.json", "start", ID)
CREATE = ("runc", "--root", ROOT, "create", "--bundle", "/b", "--pid-file", "/b/init.pid", ID)


@pytest.fixture
def tree(tmp_path: Path) -> ProcTree:
    """A host with a shim."""
    made = ProcTree(tmp_path / "proc")
    made.add(1, comm="systemd")
    made.add(10, comm="containerd-shim")
    return made


def state(tree: ProcTree, runc: int, *, init: int, started: object) -> None:
    """What runc keeps of the container."""
    folder = tree.root / str(runc) / "root" / ROOT.lstrip("/") / ID
    folder.mkdir(parents=True)
    (folder / "state.json").write_text(json.dumps({"id": ID, "init_process_pid": init, "init_process_start": started}))


def found(tree: ProcTree) -> list[tuple[int, str]]:
    """Pids and containers."""
    return [(each.pid, each.container) for each in blocked_runcs(tree.root)]


@pytest.mark.parametrize(
    ("arguments", "read"),
    [
        (START, ("start", ID, ROOT)),
        (CREATE, ("create", ID, ROOT)),
        (("runc", "--root=/r", "run", "-d", "x"), ("run", "x", "/r")),
        (("runc", "start", "start"), ("start", "", "/run/runc")),
        (("/bin/sh", "/x/runc", "--root", "/r", "start", "x"), ("start", "x", "/r")),
        (("runc", "events", "x"), ("", "x", "/run/runc")),
        (("runc",), ("", "runc", "/run/runc")),
        ((), ("", "", "/run/runc")),
    ],
)
def test_command_lines(arguments: tuple[str, ...], read: tuple[str, str, str]) -> None:
    """Verb, container and root."""
    assert read_command(list(arguments)) == read


@pytest.mark.parametrize("started", [77, "77"])
@pytest.mark.parametrize("gone", ["never", "zombie", "recycled"])
def test_start_whose_init_is_gone(tree: ProcTree, gone: str, started: object) -> None:
    """By runc's own state: the init's pid has nobody, a zombie, or somebody who began later."""
    tree.add(20, comm="docker-runc", parent=10, argv=START)
    state(tree, 20, init=30, started=started)
    if gone == "zombie":
        tree.add(30, comm="runc:[2:INIT]", state="Z", parent=10)
    if gone == "recycled":
        tree.add(30, comm="bash")
    assert found(tree) == [(20, ID)]


def test_start_whose_init_lives(tree: ProcTree) -> None:
    """It will come to an end by itself."""
    tree.add(20, comm="runc", parent=10, argv=START)
    tree.add(30, comm="runc:[2:INIT]", parent=10, age_s=50)
    state(tree, 20, init=30, started=950 * proc.CLOCK_TICKS_PER_S)
    assert found(tree) == []


@pytest.mark.parametrize("text", ["", "{", "[]", '{"init_process_pid": "x"}', "null"])
def test_start_without_a_readable_state(tree: ProcTree, text: str) -> None:
    """What is not known to be gone is not taken to be."""
    tree.add(20, comm="runc", parent=10, argv=START)
    assert found(tree) == []
    state(tree, 20, init=30, started=1)
    (tree.root / "20/root" / ROOT.lstrip("/") / ID / "state.json").write_text(text)
    assert found(tree) == []


@pytest.mark.parametrize("where", ["S", "T"])
def test_create_with_a_dead_child(tree: ProcTree, where: str) -> None:
    """`create` is the parent of its init, and has not noticed that it died; also when it is stopped."""
    tree.add(20, comm="runc", parent=10, argv=CREATE, state=where)
    tree.add(30, comm="runc:[2:INIT]", state="Z", parent=20)
    assert found(tree) == [(20, ID)]


def test_create_with_a_living_child_or_none(tree: ProcTree) -> None:
    """The child lives, or there is none yet: it waits for something else."""
    tree.add(20, comm="runc", parent=10, argv=CREATE)
    assert found(tree) == []
    tree.add(30, comm="runc:[2:INIT]", parent=20)
    assert found(tree) == []


@pytest.mark.parametrize(
    "change",
    [
        {"age_s": 5},
        {"comm": "bash"},
        {"argv": ("runc", "events", ID)},
        {"state": "Z"},
        {"state": "D"},
        {"state": "t"},
        {"argv": ()},
    ],
)
def test_what_is_not_blocked(tree: ProcTree, change: dict[str, object]) -> None:
    """Too young, no runc, another verb, ended itself, in the kernel, traced, without a command line."""
    given = {"comm": "runc", "parent": 10, "argv": CREATE} | change
    tree.add(20, **given)  # type: ignore[arg-type]  # one field of many types
    tree.add(30, comm="runc:[2:INIT]", state="Z", parent=20)
    assert found(tree) == []


def test_the_oldest_first(tree: ProcTree) -> None:
    """Of several the one that has held things up longest is named."""
    for pid, age in ((20, 30), (21, 300), (22, 40)):
        tree.add(pid, comm="runc", argv=CREATE, age_s=age)
        tree.add(pid + 20, comm="runc:[2:INIT]", state="Z", parent=pid)
    oldest = find_blocked_runc(tree.root)
    assert oldest is not None
    assert (oldest.pid, oldest.age_s) == (21, 300)


async def test_the_oldest_is_told_to_the_health_probe(tree: ProcTree) -> None:
    """By its pid, None when there is none."""
    assert await BlockedRuncs(proc=tree.root).oldest_pid() is None
    tree.add(20, comm="runc", argv=CREATE)
    tree.add(30, comm="runc:[2:INIT]", state="Z", parent=20)
    assert await BlockedRuncs(proc=tree.root).oldest_pid() == 20
    assert await BlockedRuncs(proc=tree.root, min_age_s=3600).oldest_pid() is None


async def test_a_real_one_is_found_and_killed(tmp_path: Path) -> None:
    """A process named runc that opens a fifo nobody will ever open, as the runc of the incident does."""
    root = tmp_path / "runtime"
    (root / ID).mkdir(parents=True)
    os.mkfifo(root / ID / "exec.fifo")
    (root / ID / "state.json").write_text(json.dumps({"init_process_pid": 2**22 - 1, "init_process_start": "1"}))
    script = tmp_path / "runc"
    script.write_text(f"#!/bin/sh\nread line < {root}/{ID}/exec.fifo\n")
    script.chmod(0o755)
    with child(str(script), "--root", str(root), "start", ID) as (process, who):
        await until(lambda: comm(process.pid) == "runc", what="the script to be runc")
        await until(lambda: process.pid in [each.pid for each in blocked_runcs(min_age_s=0)], what="it to be found")
        young = await KillRunc(guard=allow).run({"pid": process.pid})
        assert (young.ok, young.error_kind, young.permanent) == (False, "refused", True)
        done = await KillRunc(guard=allow, min_age_s=0).run({"pid": process.pid})
        assert done.ok
        assert f"killed runc {process.pid} of container {ID}" in (done.detail or "")
        assert process.wait(10) == -signal.SIGKILL
        assert who.pid == process.pid
        again = await KillRunc(guard=allow, min_age_s=0).run({"pid": process.pid})
        assert (again.ok, again.detail) == (True, f"runc {process.pid} has ended already")


async def test_other_processes_are_refused() -> None:
    """What is no runc is not killed, whoever asks."""
    with child() as (process, _):
        outcome = await KillRunc(guard=allow, min_age_s=0).run({"pid": process.pid})
        assert (outcome.ok, outcome.error_kind) == (False, "refused")
        assert process.poll() is None


@pytest.mark.parametrize("pid", [None, "7", True, 0, 1, -1])
async def test_nonsense_is_refused(pid: object) -> None:
    """Process 1, process groups and what is no number."""
    assert (await KillRunc(guard=allow).run({"pid": pid})).error_kind == "refused"


async def test_a_pid_that_changed_hands_is_spared() -> None:
    """Between the look and the signal another process took over the pid: nothing is sent."""
    with child() as (process, who):
        stale = BlockedRunc(process.pid, who.started - 1, 60, ID)
        outcome = await KillRunc(guard=allow, find=lambda *_, **__: [stale]).run({"pid": process.pid})
        assert outcome.ok
        assert process.poll() is None


@pytest.mark.parametrize("container", [ID, "x", ""])
async def test_a_protected_or_unknown_container_s_runc_is_spared(container: str) -> None:
    """Who is asked about is the container on its command line; one that is not named cannot be asked about."""
    with child() as (process, who):
        blocked = BlockedRunc(process.pid, who.started, 60, container)
        asked: list[str] = []
        action = KillRunc(guard=protecting(ID, asked=asked), find=lambda *_, **__: [blocked])
        outcome = await action.run({"pid": process.pid})
        assert (outcome.ok, outcome.error_kind) == (False, "refused")
        assert asked == ([ID] if container == ID else [])
        assert process.poll() is None


async def test_what_goes_on_while_docker_is_asked_is_spared() -> None:
    """The look that counts is the one after the answer."""
    with child() as (process, who):
        looks = [[BlockedRunc(process.pid, who.started, 60, ID)], []]
        outcome = await KillRunc(guard=allow, find=lambda *_, **__: looks.pop(0)).run({"pid": process.pid})
        assert (outcome.ok, outcome.error_kind) == (False, "refused")
        assert process.poll() is None


def test_only_root_s_own_and_no_process_of_a_container(tree: ProcTree, monkeypatch: pytest.MonkeyPatch) -> None:
    """Anybody may name a program `runc`, also within a container; its files are not even opened."""
    tree.add(20, comm="runc", parent=10, argv=START, cgroup=f"0::/system.slice/docker-{ID}.scope\n")
    state(tree, 20, init=30, started=77)
    assert found(tree) == []
    tree.add(20, comm="runc", parent=10, argv=START)
    assert found(tree) == [(20, ID)]
    os.chown(tree.root / "20", 1234, -1)
    assert found(tree) == []
    monkeypatch.setattr("os.geteuid", lambda: 1234)
    assert found(tree) == [(20, ID)]


@pytest.mark.parametrize("made", ["fifo", "link", "folder"])
def test_a_state_that_is_no_file_blocks_nobody(tree: ProcTree, made: str) -> None:
    """A pipe that nobody writes to ended the detection for good."""
    tree.add(20, comm="runc", parent=10, argv=START)
    state(tree, 20, init=30, started=77)
    path = tree.root / "20/root" / ROOT.lstrip("/") / ID / "state.json"
    path.rename(path.with_name("other"))
    if made == "fifo":
        os.mkfifo(path)
    elif made == "link":
        path.symlink_to("other")
    else:
        path.mkdir()
    assert found(tree) == []
