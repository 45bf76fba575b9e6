"""Mounts in real mount namespaces, found and taken away for real. No Docker: a folder that looks like its data root."""

import asyncio
import ctypes
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from connectors.mounts import helper
from connectors.mounts.holders import HeldMount, MountScanner
from connectors.mounts.leaks import LeakBook
from connectors.mounts.mountinfo import parse
from connectors.mounts.release import Answer, release
from connectors.mounts.unmount import Unmount
from tests.clocks import SYSTEM
from tests.guards import allow
from tests.lab import faults
from tests.lab.commands import launch, run
from tests.lab.waiting import until

pytestmark = pytest.mark.live

VICTIM, LAYER = "a1" * 32, "b2" * 32


class Root:
    """A data root with one container, whose mounts are made and leaked as a test likes."""

    def __init__(self, folder: Path) -> None:
        self.path = folder
        self.shm = folder / "containers" / VICTIM / "mounts" / "shm"
        self.merged = folder / "overlay2" / LAYER / "merged"
        self.shm.mkdir(parents=True)
        for part in ("merged", "diff", "work", "lower"):
            (folder / "overlay2" / LAYER / part).mkdir(parents=True)
        ids = folder / "image/overlay2/layerdb/mounts" / VICTIM
        ids.mkdir(parents=True)
        (ids / "mount-id").write_text(LAYER)
        self.scanner = MountScanner(lambda: folder)
        self.processes: list[subprocess.Popen[bytes]] = []
        self.status = "dead"

    async def mount_shm(self, point: Path | None = None) -> None:
        """What Docker mounts for a container's /dev/shm."""
        await run("mount", "-t", "tmpfs", "shm", str(point or self.shm))

    async def mount_layer(self) -> None:
        """What the storage driver mounts."""
        base = self.merged.parent
        options = f"lowerdir={base}/lower,upperdir={base}/diff,workdir={base}/work"
        await run("mount", "-t", "overlay", "overlay", "-o", options, str(self.merged))

    async def hold(self, *, propagation: str = "private") -> int:
        """Start a process in a namespace of its own, with copies of all mounts; its pid."""
        holder = launch("unshare", "--mount", f"--propagation={propagation}", "sleep", "infinity", at_our_end="KILL")
        self.processes.append(holder)
        own = Path("/proc/self/ns/mnt").readlink()
        comm = Path(f"/proc/{holder.pid}/comm")
        await until(
            lambda: Path(f"/proc/{holder.pid}/ns/mnt").readlink() != own and comm.read_text().strip() == "sleep",
            what="the holder's namespace",
        )
        return holder.pid

    async def use(self, holder: int, folder: Path | None = None) -> subprocess.Popen[bytes]:
        """Start a process in the holder's namespace whose directory is in the mount, which keeps it busy."""
        place = str(folder or self.shm)
        enter = ("nsenter", f"--target={holder}", "--mount", "--root", "sh", "-c", 'cd "$1" && exec sleep infinity', "sh", place)
        user = launch(*enter, at_our_end="KILL")
        self.processes.append(user)
        comm = Path(f"/proc/{user.pid}/comm")
        await until(lambda: comm.read_text().strip() == "sleep", what="the process to be in the mount")
        return user

    async def let_go_here(self) -> None:
        """Unmount everything in our own namespace, as Docker does when a container ends."""
        mounts = parse(Path("/proc/self/mountinfo").read_bytes()).values()
        for mount in reversed(list(mounts)):
            if mount.point.startswith(os.fsencode(self.path) + b"/"):
                await run("umount", os.fsdecode(mount.point))

    def held(self) -> list[HeldMount]:
        """What is found held."""
        return list(self.scanner.scan(VICTIM).held)

    async def unmount(self, held: HeldMount) -> tuple[bool, str | None]:
        """What the action makes of it."""

        async def status_of(_: str) -> str:
            return self.status

        action = Unmount(self.scanner, LeakBook(), status_of=status_of, guard=allow, clock=SYSTEM)
        outcome = await action.run({"holder": held.holder.id, "path": held.path, "container": VICTIM})
        return outcome.ok, outcome.error_kind if not outcome.ok else outcome.detail

    async def clear(self) -> None:
        """Leave nothing behind."""
        for process in self.processes:
            process.kill()
            await asyncio.to_thread(process.wait, 10)
        await self.let_go_here()


@pytest_asyncio.fixture
async def root(tmp_path: Path) -> AsyncIterator[Root]:
    """A data root without mounts; holders and mounts are gone afterwards."""
    made = Root(tmp_path / "docker")
    yield made
    await made.clear()


async def test_a_private_copy_is_found_and_freed(root: Root) -> None:
    """Both kinds of mounts, left in another namespace, are found there, unmounted there, and only there."""
    await root.mount_shm()
    await root.mount_layer()
    holder = await root.hold()
    found = root.held()
    assert sorted(each.path for each in found) == sorted([str(root.shm), str(root.merged)])
    assert {each.holder.id for each in found} == {f"pid:{holder}"}
    for each in found:
        assert await root.unmount(each) == (True, f"unmounted {each.path} in its namespace")
    assert root.held() == []
    assert root.shm.is_mount()
    assert root.merged.is_mount()


async def test_the_leak_keeps_the_file_system_until_it_is_freed(root: Root) -> None:
    """With the owner's mount gone the copy alone keeps the overlay alive; freed, it can be mounted anew without complaint."""
    await root.mount_layer()
    await root.hold()
    await root.let_go_here()
    (leak,) = root.held()
    assert Path(f"/proc/{leak.holder.pid}/root{root.merged}").is_mount()
    assert (await root.unmount(leak))[0]
    assert not Path(f"/proc/{leak.holder.pid}/root{root.merged}").is_mount()


@pytest.mark.parametrize("status", ["running", "exited"])
async def test_what_its_owner_may_need_stays(root: Root, status: str) -> None:
    """Not only said to be refused: the mount is still there."""
    await root.mount_shm()
    await root.hold()
    root.status = status
    (leak,) = root.held()
    assert await root.unmount(leak) == (False, "refused")
    assert len(root.held()) == 1


async def test_shared_mounts_are_refused_by_action_and_helper(root: Root) -> None:
    """A copy that is a peer of ours: unmounted there it would be unmounted here. The helper makes sure of it by itself."""
    await run("mount", "--bind", str(root.path), str(root.path))
    await run("mount", "--make-shared", str(root.path))
    try:
        await root.mount_shm()
        await root.hold(propagation="unchanged")
        (leak,) = root.held()
        assert leak.shared
        assert await root.unmount(leak) == (False, "refused")
        (answer,) = await release([replace(leak, shared=False)])
        assert (answer.ok, answer.kind) == (False, "refused")
        assert root.shm.is_mount()
    finally:
        await root.clear()
        await run("umount", "--lazy", str(root.path))


async def test_a_shared_mount_below_is_refused_by_action_and_helper(root: Root) -> None:
    """What hangs on the mount goes with it, so it must not be shared either: its peer is the host's."""
    await root.mount_shm()
    below = root.shm / "below"
    below.mkdir()
    await root.mount_shm(below)
    await run("mount", "--make-shared", str(below))
    await root.hold(propagation="unchanged")
    leak = next(each for each in root.held() if each.path == str(root.shm))
    assert leak.shared
    assert await root.unmount(leak) == (False, "refused")
    (answer,) = await release([replace(leak, shared=False)])
    assert (answer.ok, answer.kind) == (False, "refused")
    assert below.is_mount()
    assert root.shm.is_mount()


async def test_a_busy_device_below_is_never_hidden(root: Root) -> None:
    """Lazily goes by each mount: one below with a device of its own stays in sight as long as it is busy, and all above it."""
    async with faults.small_disk(16) as disk:
        await root.mount_shm()
        below = root.shm / "below"
        below.mkdir()
        await run("mount", "--bind", str(disk.path), str(below))
        holder = await root.hold()
        user = await root.use(holder, below)
        leak = next(each for each in root.held() if each.path == str(root.shm))
        assert await root.unmount(leak) == (False, "busy")
        assert Path(f"/proc/{holder}/root{below}").is_mount()
        user.kill()
        await asyncio.to_thread(user.wait, 10)
        assert (await root.unmount(leak))[0]
        await root.clear()


async def test_busy_without_a_device_goes_lazily(root: Root) -> None:
    """A process with its directory in the mount keeps it busy: it leaves the namespace at once, and the detail says so."""
    await root.mount_shm()
    user = await root.use(await root.hold())
    (leak,) = root.held()
    assert await root.unmount(leak) == (True, f"unmounted {leak.path} lazily, it is still in use")
    assert root.held() == []
    assert user.poll() is None


async def test_busy_with_a_device_is_told(root: Root) -> None:
    """A file system on a device of its own stays busy however it is unmounted, so it stays, in sight, until its user ends."""
    async with faults.small_disk(16) as disk:
        await run("mount", "--bind", str(disk.path), str(root.shm))
        user = await root.use(await root.hold())
        (leak,) = root.held()
        assert await root.unmount(leak) == (False, "busy")
        assert len(root.held()) == 1
        user.kill()
        await asyncio.to_thread(user.wait, 10)
        assert (await root.unmount(leak))[0]
        assert root.held() == []
        await root.clear()


async def test_mounts_on_one_point_and_below_go_together(root: Root) -> None:
    """Stacked twice, with another below: the later ones go first, and all go."""
    await root.mount_shm()
    await root.mount_shm()
    (root.shm / "below").mkdir()
    await root.mount_shm(root.shm / "below")
    await root.hold()
    assert len(root.held()) == 3
    leak = next(each for each in root.held() if each.path == str(root.shm))
    assert (await root.unmount(leak))[0]
    assert root.held() == []


@pytest.mark.parametrize("name", [b"a b", b"a\tb\nc", b"back\\slash", b"\\040", b"#", b"\xff\xfe", "\u00e9".encode(), b"x" * 255])
async def test_any_name_can_be_unmounted(root: Root, name: bytes) -> None:
    """Whatever a directory is called, it is shown, found again, and unmounted."""
    point = os.fsencode(root.shm.parent) + b"/" + name
    Path(os.fsdecode(point)).mkdir()
    assert ctypes.CDLL(None, use_errno=True).mount(b"t", point, b"tmpfs", 0, None) == 0
    await root.hold()
    (leak,) = root.held()
    leak.path.encode()
    assert (await root.unmount(leak))[0]
    assert root.held() == []


async def test_a_recycled_pid_is_never_entered(root: Root) -> None:
    """Another start time, another namespace, another mount id or device: each is taken for gone, and nothing is touched."""
    await root.mount_shm()
    await root.hold()
    (leak,) = root.held()
    wrong = [
        replace(leak, holder=replace(leak.holder, started=leak.holder.started + 1)),
        replace(leak, holder=replace(leak.holder, namespace=leak.holder.namespace + 1)),
        replace(leak, holder=replace(leak.holder, pid=2**22 - 1)),
        replace(leak, mount=replace(leak.mount, id=leak.mount.id + 100_000)),
        replace(leak, mount=replace(leak.mount, device=b"9:9")),
    ]
    answers = await release(wrong)
    assert [(answer.ok, answer.kind) for answer in answers] == [(False, "not_found")] * 5
    assert len(root.held()) == 1


async def test_the_hosts_namespace_is_never_entered(root: Root) -> None:
    """The helper refuses it, whatever it is asked. Here it is the one that the tests run in."""
    await root.mount_shm()
    await root.hold()
    (leak,) = root.held()
    here = next(
        mount for mount in parse(Path("/proc/self/mountinfo").read_bytes()).values() if mount.point == os.fsencode(root.shm)
    )
    own = replace(
        leak.holder,
        pid=os.getpid(),
        started=int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]),
        namespace=Path("/proc/self/ns/mnt").stat().st_ino,
    )
    (answer,) = await release([replace(leak, holder=own, mount=here)])
    assert (answer.ok, answer.kind) == (False, "refused")
    assert root.shm.is_mount()


async def test_many_mounts_take_one_helper_and_little_time(root: Root) -> None:
    """Sixty leaks in one go."""
    for number in range(60):
        point = root.shm.parent / f"m{number}"
        point.mkdir()
        await root.mount_shm(point)
    await root.hold()
    leaks = root.held()
    began = time.monotonic()
    assert await release(leaks) == [Answer(ok=True)] * 60
    assert time.monotonic() - began < 10
    assert root.held() == []


async def test_without_the_right_to_enter_it_is_denied(root: Root) -> None:
    """The helper without SYS_ADMIN says denied."""
    await root.mount_shm()
    await root.hold()
    (leak,) = root.held()
    request = {
        "pid": leak.holder.pid, "started": leak.holder.started, "namespace": leak.holder.namespace,
        "mount": leak.mount.id, "device": leak.mount.device.decode(), "lazy": True,
    }  # fmt: skip
    answer = await asked(json.dumps(request).encode(), prefix=("setpriv", "--bounding-set=-sys_admin"))
    assert answer == [{"ok": False, "kind": "denied", "error": "setns: Operation not permitted"}]


async def asked(lines: bytes, *, prefix: tuple[str, ...] = ()) -> list[object]:
    """What the helper answers to these lines."""
    command = (*prefix, sys.executable, "-I", "-S", str(Path(helper.__file__)))
    return [json.loads(line) for line in (await run(*command, stdin=lines + b"\n")).splitlines()]


async def test_the_helper_answers_nonsense(tmp_path: Path) -> None:
    """Each line that is no request gets an answer that says so, and the next one is read."""
    nonsense = [
        b"",
        b"{",
        b"[]",
        b"{}",
        b"null",
        b'{"pid": "x"}',
        b"\xff",
        b"[" * 60_000,
        b"9" * 200_000,
        os.urandom(50).replace(b"\n", b""),
    ]
    answers = await asked(b"\n".join(nonsense))
    assert len(answers) >= len(nonsense)
    for answer in answers:
        assert isinstance(answer, dict)
        assert (answer["ok"], answer["kind"]) == (False, "failed")
    assert list(tmp_path.iterdir()) == []


async def test_cancelling_leaves_no_helper_behind(root: Root) -> None:
    """A caller that gives up takes the helper with it."""
    await root.mount_shm()
    await root.hold()
    mine = Path(f"/proc/self/task/{os.getpid()}/children")
    before = set(mine.read_text().split())  # holders, and Docker and broker that other tests share
    task = asyncio.create_task(release(root.held() * 50))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: set(mine.read_text().split()) <= before, what="the helper to end")
