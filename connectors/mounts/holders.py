"""Finds mounts of containers in mount namespaces that are not theirs. Blocking reads of /proc; runs in a worker thread.

What decides whose a mount is, is not how its path looks but the directory it is mounted on, by device and path within the
device's file system: that is the same in every namespace, whatever prefix (`/rootfs`) or symbolic link led there, and it is
what the kernel finds busy. Paths and options count too, but only for ids that this Docker's data root has: a Docker inside a
container has mounts that look just like ours.

Not looked at: namespaces of single threads (/proc/PID/task), and those that only an open file keeps alive.
"""

import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from connectors.mounts.layers import FOLDERS_OF_CONTAINERS, Layers, Mark, mark_of_file_system, mark_of_path
from connectors.mounts.mountinfo import Mount, holding, parse, place, subtree
from connectors.sources import proc as processes
from connectors.sources.proc import container_of_pid
from connectors.sources.text import shown
from engine.errors import SourceError

_MOUNTINFO_LIMIT = 32 * 1024 * 1024
"""Bytes read of one namespace's mountinfo: some 100,000 mounts, which is also the kernel's default bound (fs.mount-max)."""

_LOCK_WAIT_S = 30.0

_STARTING = "runc:["
"""A container being set up still has all of the host's mounts, for some milliseconds, until it changes its root."""


@dataclass(frozen=True, slots=True)
class Holder:
    """One mount namespace, by one of its processes."""

    pid: int
    started: int
    namespace: int
    container: str | None

    @property
    def id(self) -> str:
        """Container id, or `pid:N` for a process in no container."""
        return self.container or f"pid:{self.pid}"


@dataclass(frozen=True, slots=True)
class HeldMount:
    """A mount of `owner`, in the namespace of `holder`."""

    holder: Holder
    owner: str
    mount: Mount
    shared: bool
    """It, a mount below it, or the mount it hangs on, has peers: taking it away here would take it away there
    (mount_namespaces(7))."""

    @property
    def path(self) -> str:
        """Mount point as the holder sees it."""
        return shown(self.mount.point)


@dataclass(frozen=True, slots=True)
class Scan:
    """What a look through all namespaces found."""

    held: tuple[HeldMount, ...]
    namespaces: int
    """How many were looked at."""
    unreadable: int
    """Processes whose namespace may not be looked at (no CAP_SYS_PTRACE), or whose mountinfo was cut at the bound."""


class MountScanner:
    """Looks through the mount namespaces of all processes, each namespace once."""

    def __init__(
        self,
        data_root: Callable[[], Path | None],
        *,
        daemon_pid: Callable[[], int | None] = lambda: None,
        proc: Path = processes.PROC,
    ) -> None:
        """A scanner for one daemon.

        Args:
            data_root: Docker's data root, as Docker names it; None while it is not known.
            daemon_pid: process id of dockerd, whose namespace is never a holder; None while it is not known. Asked once a scan,
                in the thread of the scan: it may block for a moment.
            proc: where procfs of the host's process ids is.
        """
        self._data_root = data_root
        self._daemon_pid = daemon_pid
        self._proc = proc
        self._layers: Layers | None = None
        self._lock = threading.Lock()

    @property
    def ready(self) -> bool:
        """Whether the data root is known, without which nothing can be said to belong to a container."""
        return self._data_root() is not None

    def container_of(self, holder: Holder) -> str | None:
        """The container that the holder's process is in at this moment."""
        return container_of_pid(holder.pid, self._proc)

    def scan(self, container: str | None = None) -> Scan:
        """All mounts held that belong to `container`, or to any container.

        Raises:
            SourceError: the data root is not known yet, or another scan does not come to an end.
        """
        root = self._data_root()
        if root is None:
            raise SourceError("Docker's data root is not known yet")
        if not self._lock.acquire(timeout=_LOCK_WAIT_S):
            raise SourceError("another look through the mounts has not come to an end")
        try:
            return self._scan(root, container)
        finally:
            self._lock.release()

    def _hosts_own(self, daemon_pid: int | None) -> frozenset[int]:
        """Namespaces that are no holders: Docker's and the host's; also our own where the host's is not known."""
        first = processes.namespace(1, "mnt", self._proc)
        own = processes.namespace(os.getpid(), "mnt", self._proc)
        daemons = None if daemon_pid is None else processes.namespace(daemon_pid, "mnt", self._proc)
        # A sidecar that runs in a container with the data root mounted may be the very one that holds.
        found = {first, daemons} if first is not None else {own, daemons}
        return frozenset(number for number in found if number is not None)

    def mounts_of(self, holder: Holder) -> dict[int, Mount]:
        """All mounts of a holder's namespace; empty when its process is gone or is another one by now."""
        raw = processes.read(self._proc / str(holder.pid) / "mountinfo", _MOUNTINFO_LIMIT)
        who = processes.stat(holder.pid, self._proc)
        return {} if raw is None or who is None or who.started != holder.started else parse(raw)

    def holders(self) -> Iterator[Holder | None]:
        """One process for each mount namespace that is not the host's; None for each process that may not be looked at."""
        return self._holders(self._daemon_pid())

    def _holders(self, daemon_pid: int | None) -> Iterator[Holder | None]:
        seen = set(self._hosts_own(daemon_pid))
        for pid in processes.pids(self._proc):
            namespace = processes.namespace(pid, "mnt", self._proc)
            if namespace is None:
                who = processes.stat(pid, self._proc)
                if who is not None and who.alive and pid != 1:
                    yield None
                continue
            if namespace in seen:
                continue
            who = processes.stat(pid, self._proc)
            if who is None or not who.alive or who.comm.startswith(_STARTING):
                continue
            seen.add(namespace)
            yield Holder(pid, who.started, namespace, container_of_pid(pid, self._proc))

    def _scan(self, root: Path, container: str | None) -> Scan:
        daemon_pid = self._daemon_pid()
        layers = self._layers_of(root, daemon_pid)
        layers.refresh()
        home = self._home(root, daemon_pid)
        found: list[HeldMount] = []
        namespaces = unreadable = 0
        for holder in self._holders(daemon_pid):
            if holder is None:
                unreadable += 1
                continue
            namespaces += 1
            raw = processes.read(self._proc / str(holder.pid) / "mountinfo", _MOUNTINFO_LIMIT) or b""
            unreadable += len(raw) >= _MOUNTINFO_LIMIT
            found.extend(held for held in _held(holder, parse(raw), layers, home) if container in (None, held.owner))
        return Scan(tuple(found), namespaces, unreadable)

    def _layers_of(self, root: Path, daemon_pid: int | None) -> Layers:
        seen_at = root
        if not root.exists() and daemon_pid is not None:
            # In a container of our own without the data root: through Docker's eyes (proc_pid_root(5)).
            seen_at = self._proc / str(daemon_pid) / "root" / root.relative_to("/")
        if self._layers is None or self._layers.root != seen_at:
            self._layers = Layers(seen_at)
        return self._layers

    def _home(self, root: Path, daemon_pid: int | None) -> tuple[bytes, bytes] | None:
        """Where the data root lies, by Docker's mounts, else the host's, else our own."""
        for pid in (daemon_pid, 1, os.getpid()):
            raw = None if pid is None else processes.read(self._proc / str(pid) / "mountinfo", _MOUNTINFO_LIMIT)
            if raw:
                return holding(os.fsencode(root), parse(raw))
        return None


def _held(holder: Holder, mounts: dict[int, Mount], layers: Layers, home: tuple[bytes, bytes] | None) -> Iterator[HeldMount]:
    for mount in mounts.values():
        owner = _owner(mount, mounts, layers, home)
        if owner is None or owner == holder.container:
            continue
        touched = (mounts.get(mount.parent), *subtree(mount, mounts))
        shared = any(each.shared is not None for each in touched if each is not None)
        yield HeldMount(holder, owner, mount, shared)


def _owner(mount: Mount, mounts: dict[int, Mount], layers: Layers, home: tuple[bytes, bytes] | None) -> str | None:
    """The container a mount belongs to; None when it is none of this Docker's, or the root of the namespace itself."""
    if mount.point == b"/":
        return None
    marks: list[tuple[Mark | None, bool]] = [(mark_of_file_system(mount.source, mount.options), False)]
    places = (place(mount, mounts), (mount.device, mount.root))
    marks.extend((mark_of_path(where[1]), _at_home(where, home)) for where in places if where is not None)
    marks.append((mark_of_path(mount.point), False))
    for mark, at_home in marks:
        if mark is not None and (mark.layer or at_home or layers.knows(mark.id)):
            owner = layers.owner_of(mark)
            if owner is not None:
                return owner
    return None


def _at_home(where: tuple[bytes, bytes], home: tuple[bytes, bytes] | None) -> bool:
    """True directly in this data root's own folders; a Docker inside a container may have its data in one of our volumes."""
    if home is None or where[0] != home[0]:
        return False
    return where[1].startswith(tuple(home[1].rstrip(b"/") + folder for folder in FOLDERS_OF_CONTAINERS))
