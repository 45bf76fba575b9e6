"""Who holds mounts of whom, on a recorded /proc."""

import os
from pathlib import Path

import pytest

from connectors.mounts.holders import MountScanner
from engine.errors import SourceError
from tests.unit.proctree import ProcTree

VICTIM, MONITOR, OTHER = "a1" * 32, "b2" * 32, "c3" * 32
LAYER = "d4" * 32
HOST_NS, ENGINE_NS = 4026531832, 4026532000

HOST = b"""1 0 8:1 / / rw shared:1 - ext4 /dev/sda rw
2 1 8:1 /srv/docker /var/lib/docker rw shared:2 - ext4 /dev/sda rw
"""
SHM = b"11 10 0:41 / %s/containers/" + VICTIM.encode() + b"/mounts/shm rw - tmpfs shm rw\n"
MERGED = (
    b"12 10 0:42 / %s/overlay2/" + LAYER.encode() + b"/merged rw - overlay overlay rw,lowerdir=l/A,upperdir=/srv/docker/overlay2/"
    + LAYER.encode() + b"/diff,workdir=/srv/docker/overlay2/" + LAYER.encode() + b"/work\n"
)  # fmt: skip


@pytest.fixture
def proc(tmp_path: Path) -> ProcTree:
    """A host: process 1, ourselves in its namespace, dockerd in one of its own."""
    tree = ProcTree(tmp_path / "proc")
    tree.add(1, comm="systemd", mnt=HOST_NS, mountinfo=HOST)
    tree.add(os.getpid(), comm="dockwarden", mnt=HOST_NS, mountinfo=HOST)
    tree.add(20, comm="dockerd", mnt=ENGINE_NS, mountinfo=HOST + SHM.replace(b"11 10", b"11 2") % b"/var/lib/docker")
    return tree


@pytest.fixture
def scanner(tmp_path: Path, proc: ProcTree) -> MountScanner:
    """A scanner of that host; the victim's layer is known to the data root."""
    folder = tmp_path / "root/var/lib/docker/image/overlay2/layerdb/mounts" / VICTIM
    folder.mkdir(parents=True)
    (folder / "mount-id").write_text(LAYER)
    (proc.root / "20/root").symlink_to(tmp_path / "root")
    return MountScanner(lambda: Path("/var/lib/docker"), daemon_pid=lambda: 20, proc=proc.root)


def found(scanner: MountScanner, container: str | None = None) -> list[tuple[str, str, str]]:
    """Holder, owner, and how the path ends."""
    return [(held.holder.id, held.owner, held.path.rpartition("/")[2]) for held in scanner.scan(container).held]


def monitor(
    proc: ProcTree, *, pid: int = 30, cgroup: str = f"0::/system.slice/docker-{MONITOR}.scope\n", mounts: bytes, mnt: int = 5000
) -> None:
    """A container whose namespace has these mounts."""
    proc.add(pid, comm="cadvisor", mnt=mnt, cgroup=cgroup, mountinfo=mounts)


@pytest.mark.parametrize(
    ("above", "prefix"),
    [
        (b"10 9 8:1 /srv/docker /var/lib/docker ro - ext4 /dev/sda rw\n", b"/var/lib/docker"),
        (b"10 9 8:1 / /rootfs ro - ext4 /dev/sda rw\n", b"/rootfs/srv/docker"),
        (b"10 9 8:1 /srv/docker/containers/" + VICTIM.encode() + b" /odd/place ro - ext4 /dev/sda rw\n", b""),
    ],
)
def test_found_whatever_way_leads_there(scanner: MountScanner, proc: ProcTree, above: bytes, prefix: bytes) -> None:
    """Through the data root, through the host's root, and through a mount of the victim's folder alone, under another name."""
    shm = SHM % prefix if prefix else b"11 10 0:41 / /odd/place/mounts/shm rw - tmpfs shm rw\n"
    monitor(proc, mounts=b"9 1 0:50 / / rw - overlay overlay rw\n" + above + shm)
    assert (MONITOR, VICTIM, "shm") in found(scanner, VICTIM)


def test_layers_are_found_by_their_mount_id(scanner: MountScanner, proc: ProcTree) -> None:
    """The copy of a root file system names the victim by its mount id only."""
    above = b"10 9 8:1 / /rootfs ro - ext4 /dev/sda rw\n"
    monitor(proc, mounts=above + MERGED % b"/rootfs/srv/docker")
    assert found(scanner) == [(MONITOR, VICTIM, "merged")]
    assert found(scanner, OTHER) == []


def test_a_bound_copy_is_found_by_its_options(scanner: MountScanner, proc: ProcTree) -> None:
    """The same layer mounted anywhere, under a path that says nothing."""
    monitor(proc, mounts=(MERGED % b"X").replace(b"X/overlay2/" + LAYER.encode() + b"/merged", b"/data"))
    assert found(scanner) == [(MONITOR, VICTIM, "data")]


def test_the_victims_own_processes_hold_nothing(scanner: MountScanner, proc: ProcTree) -> None:
    """What a container has of itself is no leak, in namespaces that its processes made either."""
    own = f"4:memory:/docker/{VICTIM}\n0::/\n"
    monitor(proc, mounts=(MERGED % b"X").replace(b"X/overlay2/" + LAYER.encode() + b"/merged", b"/"), cgroup=own)
    monitor(proc, pid=31, mnt=5001, mounts=SHM % b"/var/lib/docker", cgroup=own)
    assert found(scanner) == []


def test_the_root_of_a_namespace_is_never_a_leak(scanner: MountScanner, proc: ProcTree) -> None:
    """Also where control groups do not say whose process it is."""
    monitor(proc, mounts=(MERGED % b"X").replace(b"X/overlay2/" + LAYER.encode() + b"/merged", b"/"), cgroup="0::/\n")
    assert found(scanner) == []


def test_host_and_engine_hold_nothing(scanner: MountScanner) -> None:
    """Docker's own mounts are where they belong."""
    scan = scanner.scan()
    assert (scan.held, scan.namespaces) == ((), 0)


def test_a_process_in_no_container_is_named_by_its_pid(scanner: MountScanner, proc: ProcTree) -> None:
    """A service of the host with private mounts can hold too."""
    monitor(proc, mounts=SHM % b"/var/lib/docker", cgroup="0::/system.slice/ntp.service\n")
    assert found(scanner) == [("pid:30", VICTIM, "shm")]


def test_each_namespace_once(scanner: MountScanner, proc: ProcTree) -> None:
    """Ten processes of one container are one holder."""
    for pid in range(30, 40):
        monitor(proc, pid=pid, mounts=SHM % b"/var/lib/docker")
    scan = scanner.scan()
    assert len(scan.held) == scan.namespaces == 1
    assert scan.held[0].holder.pid == 30


def test_another_docker_inside_a_container_is_left_alone(scanner: MountScanner, proc: ProcTree) -> None:
    """Its containers are not known to this engine, and their mounts lie in another folder: they are alive for all we know."""
    inner = SHM.replace(VICTIM.encode(), OTHER.encode()) % b"/var/lib/docker"
    above = b"10 9 8:1 /srv/docker/volumes/v/_data /var/lib/docker rw - ext4 /dev/sda rw\n"
    monitor(proc, mounts=above + inner)
    assert found(scanner) == []


def test_what_is_left_of_a_container_that_is_gone(scanner: MountScanner, proc: ProcTree) -> None:
    """In this engine's own folder the path is enough."""
    left = SHM.replace(VICTIM.encode(), OTHER.encode()) % b"/rootfs/srv/docker"
    monitor(proc, mounts=b"10 9 8:1 / /rootfs rw - ext4 /dev/sda rw\n" + left)
    assert found(scanner) == [(MONITOR, OTHER, "shm")]


def test_files_lent_on_purpose_are_no_leak(scanner: MountScanner, proc: ProcTree) -> None:
    """A container that shares the victim's network has its hosts and resolv.conf mounted, and needs them."""
    lent = b"".join(
        b"%d 9 8:1 /srv/docker/containers/%s/%s /etc/%s rw - ext4 /dev/sda rw\n" % (number, VICTIM.encode(), name, name)
        for number, name in ((20, b"hosts"), (21, b"hostname"), (22, b"resolv.conf"))
    )
    monitor(proc, mounts=b"9 1 0:50 / / rw - overlay overlay rw\n" + lent)
    assert found(scanner) == []


@pytest.mark.parametrize(
    "mounts",
    [
        b"10 9 8:1 /srv/docker /d rw - ext4 /dev/sda rw\n" + (SHM % b"/d").replace(b"rw - tmpfs", b"rw shared:9 - tmpfs"),
        b"10 9 8:1 /srv/docker /d rw shared:2 - ext4 /dev/sda rw\n" + SHM % b"/d",
    ],
)
def test_shared_mounts_are_known_as_such(scanner: MountScanner, proc: ProcTree, mounts: bytes) -> None:
    """Whether the mount is shared itself or the one it hangs on, along which unmounting spreads."""
    monitor(proc, mounts=mounts)
    assert [held.shared for held in scanner.scan().held] == [True]


def test_a_container_that_is_being_set_up_is_passed_over(scanner: MountScanner, proc: ProcTree) -> None:
    """Until runc's init has changed its root it has all of the host's mounts."""
    proc.add(30, comm="runc:[2:INIT]", mnt=5000, mountinfo=SHM % b"/var/lib/docker")
    assert found(scanner) == []


def test_processes_that_may_not_be_looked_at_are_counted(scanner: MountScanner, proc: ProcTree) -> None:
    """Without the right to look, nothing found means nothing."""
    proc.add(50, mnt=None)
    proc.add(51, mnt=None, state="Z")
    assert scanner.scan().unreadable == 1


def test_without_the_data_root_there_is_no_look(proc: ProcTree) -> None:
    """As long as Docker has not emitted where it is."""
    with pytest.raises(SourceError, match="data root"):
        MountScanner(lambda: None, proc=proc.root).scan()


def test_our_own_container_can_be_the_holder(scanner: MountScanner, proc: ProcTree) -> None:
    """A sidecar in a container with the data root mounted is looked at like any other."""
    monitor(proc, pid=os.getpid(), mounts=SHM % b"/var/lib/docker", mnt=6000)
    assert found(scanner) == [(MONITOR, VICTIM, "shm")]


def test_a_recycled_pid_has_no_mounts(scanner: MountScanner, proc: ProcTree) -> None:
    """Once the process has ended, another one under its id is not taken for it."""
    monitor(proc, mounts=SHM % b"/var/lib/docker")
    (held,) = scanner.scan().held
    assert held.mount.id in scanner.mounts_of(held.holder)
    proc.add(30, comm="other", mnt=5000, age_s=1, mountinfo=SHM % b"/var/lib/docker")
    assert scanner.mounts_of(held.holder) == {}
