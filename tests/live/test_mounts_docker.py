"""Incident I4 on a real engine: a monitoring container that holds a dead container's mounts is found and made to let go."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from connectors.host.daemon import find_daemon
from connectors.mounts.holders import MountScanner
from connectors.mounts.inspect import InspectMounts, MountSweep
from connectors.mounts.leaks import LeakBook
from connectors.mounts.unmount import Unmount
from engine.facts import Retraction
from engine.facts.docker import MountLeak
from tests.clocks import SYSTEM
from tests.guards import allow
from tests.lab import faults
from tests.lab.engine import ScratchEngine
from tests.lab.waiting import until

pytestmark = pytest.mark.live


class Mounts:
    """The three parts on one engine."""

    def __init__(self, engine: ScratchEngine) -> None:
        self.engine = engine
        self.scanner = MountScanner(lambda: engine.data_root, daemon_pid=lambda: engine.pid)
        self.book = LeakBook()
        self.said: str | None = None

    async def status_of(self, container: str) -> str:
        return self.said or await self.engine.status(container) or "gone"

    async def inspect(self, container: str) -> list[MountLeak]:
        action = InspectMounts(self.scanner, self.book, status_of=self.status_of, clock=SYSTEM)
        outcome = await action.run({"container": container})
        assert outcome.ok, outcome.error
        return [fact for fact in outcome.facts if isinstance(fact, MountLeak)]

    async def sweep(self) -> list[MountLeak | Retraction]:
        facts = await MountSweep(self.scanner, self.book, status_of=self.status_of, clock=SYSTEM).look()
        return [fact for fact in facts if isinstance(fact, MountLeak | Retraction)]

    async def unmount(self, leak: MountLeak) -> tuple[bool, str | None]:
        action = Unmount(self.scanner, self.book, status_of=self.status_of, guard=allow, clock=SYSTEM)
        params = {"holder": leak.holder_id, "path": leak.path, "container": leak.owner_id}
        outcome = await action.run(params)
        return outcome.ok, outcome.error_kind


@asynccontextmanager
async def dead_with_its_shm(engine: ScratchEngine, container: str) -> AsyncIterator[None]:
    """Make a container dead in such a way that its shm's directory stays: removing it would take the copies elsewhere away."""
    fault = faults.Immutable(engine.data_root / "containers" / container / "mounts")
    await fault.make()
    try:
        await engine.docker("rm", "--force", container, check=False)
        assert await engine.status(container) == "dead"
        yield
    finally:
        await fault.mend()


async def test_a_dead_container_is_freed_and_goes(engine: ScratchEngine) -> None:
    """Deletion fails as busy; the holder is named; unmounted there, the same deletion works: no restart of anything."""
    mounts = Mounts(engine)
    victim = await engine.run("sleep", "1000", name="victim", options=("--ipc", "shareable"))
    async with faults.leaky_monitor(engine) as monitor, faults.busy_directory(engine, victim) as fault:
        failed = await engine.docker("rm", "--force", victim, check=False)
        assert "device or resource busy" in failed.err
        leaks = await mounts.inspect(victim)
        assert {(leak.holder_id, leak.owner_id, leak.owner_status, leak.shared) for leak in leaks} == {
            (monitor, victim, "dead", False)
        }
        assert {Path(leak.path).name for leak in leaks} >= {"shm"}
        for leak in leaks:
            assert await mounts.unmount(leak) == (True, None)
        assert await mounts.inspect(victim) == []
        await until(lambda: not fault.busy, what="the directory to be free")
        await engine.docker("rm", victim)
        assert await engine.status(victim) is None
        assert await engine.status(monitor) == "running"


async def test_living_containers_keep_their_mounts(engine: ScratchEngine) -> None:
    """What the monitor holds of a running container is found when asked for, is no leak to the sweep, and is not unmounted."""
    mounts = Mounts(engine)
    living = await engine.run("sleep", "1000", options=("--ipc", "shareable"))
    async with faults.leaky_monitor(engine):
        leaks = await mounts.inspect(living)
        assert {Path(leak.path).name for leak in leaks} == {"shm", "merged"}
        assert {leak.owner_status for leak in leaks} == {"running"}
        for leak in leaks:
            assert await mounts.unmount(leak) == (False, "refused")
        assert len(await mounts.inspect(living)) == 2
        assert [fact for fact in await mounts.sweep() if isinstance(fact, MountLeak)] == []


async def test_the_sweep_finds_what_no_failed_deletion_told_of(engine: ScratchEngine) -> None:
    """A container dead for another reason, whose shm is held; once the monitor is gone, the leak is taken back."""
    mounts = Mounts(engine)
    victim = await engine.run("sleep", "1000", options=("--ipc", "shareable"))
    async with faults.leaky_monitor(engine) as monitor, dead_with_its_shm(engine, victim):
        emitted = await mounts.sweep()
        assert {(fact.holder_id, fact.owner_id) for fact in emitted if isinstance(fact, MountLeak)} == {(monitor, victim)}
        assert await mounts.sweep() == []
        await engine.docker("rm", "--force", monitor)
        assert [type(fact) for fact in await mounts.sweep()] == [Retraction] * len(emitted)


async def test_a_slave_mount_of_the_data_root_is_no_trouble(engine: ScratchEngine) -> None:
    """With rslave, as advised: Docker's unmounts reach the monitor, and nothing is left to find."""
    mounts = Mounts(engine)
    victim = await engine.run("sleep", "1000", options=("--ipc", "shareable"))
    await engine.run("sleep", "1000", options=("--volume", f"{engine.data_root}:/var/lib/docker:ro,rslave"))
    assert {Path(leak.path).name for leak in await mounts.inspect(victim)} == {"shm", "merged"}
    await engine.docker("kill", victim)
    await until(lambda: not mounts.scanner.scan(victim).held, what="the mounts to follow Docker's")


async def test_a_shared_mount_of_the_data_root_is_refused(engine: ScratchEngine) -> None:
    """With rshared the copies are peers of Docker's own mounts: unmounting them there would unmount them here."""
    mounts = Mounts(engine)
    await engine.run("sleep", "1000", options=("--volume", f"{engine.data_root}:/var/lib/docker:rshared"))
    living = await engine.run("sleep", "1000", options=("--ipc", "shareable"))
    await until(lambda: bool(mounts.scanner.scan(living).held), what="the copies to appear")
    leaks = await mounts.inspect(living)
    assert {leak.shared for leak in leaks} == {True}
    mounts.said = "dead"  # also if it were
    for leak in leaks:
        assert await mounts.unmount(leak) == (False, "refused")
    assert (engine.data_root / "containers" / living / "mounts/shm").is_mount()


async def test_a_docker_inside_a_container_keeps_its_mounts(engine: ScratchEngine) -> None:
    """Mounts that look just like this engine's, of a container that it does not know, in a volume of its own data root."""
    inner = "f1" * 32
    mounts = Mounts(engine)
    point = f"/var/lib/docker/containers/{inner}/mounts/shm"
    make = f"mkdir -p {point} && mount -t tmpfs shm {point}"
    options = ("--volume", "/var/lib/docker", "--cap-add", "SYS_ADMIN", "--security-opt", "seccomp=unconfined")
    container = await engine.run("sh", "-c", f"{make} && echo made && sleep 1000", name="dind", options=options)

    async def made() -> bool:
        return "made" in (await engine.docker("logs", "dind", check=False)).out

    await until(made, what="the inner mount")
    assert [fact for fact in await mounts.sweep() if isinstance(fact, MountLeak)] == []
    assert await mounts.inspect(inner) == []
    assert await engine.status(container) == "running"


async def test_where_the_helper_may_not_nobody_does(engine: ScratchEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not through `docker exec` either, in a holder that has the right and an `umount` of its own: nothing of it is run."""
    mounts = Mounts(engine)
    monkeypatch.setattr("connectors.mounts.release.sys.executable", without_sys_admin(engine))
    victim = await engine.run("sleep", "1000", options=("--ipc", "shareable"))
    link = engine.folder / "link"
    link.symlink_to(engine.data_root)
    options = ("--volume", f"{link}:/var/lib/docker:ro", "--cap-add", "SYS_ADMIN", "--security-opt", "seccomp=unconfined")
    try:
        await engine.run("sleep", "1000", options=(*options, "--security-opt", "apparmor=unconfined"))
        async with dead_with_its_shm(engine, victim):
            (leak,) = await mounts.inspect(victim)
            assert await mounts.unmount(leak) == (False, "denied")
            assert len(await mounts.inspect(victim)) == 1
    finally:
        link.unlink()


def without_sys_admin(engine: ScratchEngine) -> str:
    """An interpreter that may not enter namespaces."""
    path = engine.folder / "python-without-sys-admin"
    path.write_text(f'#!/bin/sh\nexec setpriv --bounding-set=-sys_admin {sys.executable} "$@"\n')
    path.chmod(0o755)
    return str(path)


async def test_the_daemon_is_found(engine: ScratchEngine) -> None:
    """By its socket and by its pid file, also when it is stopped."""
    async with faults.stopped(engine.pid):
        by_socket = find_daemon(daemon_socket=engine.socket)
        by_file = find_daemon(pid_file=engine.folder / "docker.pid")
    assert by_socket is not None
    assert by_file is not None
    assert by_socket.pid == by_file.pid == engine.pid
