"""How full file systems are, and when they will be full. Knows nothing of what fills them."""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

from connectors.sources import proc as processes
from connectors.sources.periodic import Facts, PeriodicSource
from connectors.sources.text import shown
from connectors.sources.threads import Worker
from connectors.sources.trend import Trend
from engine.errors import SourceError
from engine.facts import Retraction
from engine.facts.host import Disk
from engine.ports.clock import Clock

STANDARD_PATHS = ("/", "/var/lib/docker", "/var/lib/kubelet")
"""Where hosts of containers fill up. Those that do not exist are left out; those on one file system are reported once."""

_STATVFS_LIMIT_S = 5.0
"""A local file system answers in microseconds. One on a network that has not answered by then is taken to be dead."""

_RATIO_DIGITS = 4
"""A change below a hundredth of a percent is not emitted."""


@dataclass(frozen=True, slots=True)
class Usage:
    """One file system, as statvfs(3) gives it."""

    device: int
    """st_dev: one for each file system, also where it is mounted several times."""
    point: str
    """The topmost directory above the path that is on the same file system: its mount point."""
    used: int
    """Bytes."""
    free: int
    """Bytes that an ordinary user may still write (f_bavail): the share kept for root is not free."""
    inodes: int
    """0 where the file system has no fixed number (btrfs)."""
    inodes_free: int

    @property
    def used_ratio(self) -> float:
        """As df shows it: of what ordinary users may use, not of the size."""
        usable = self.used + self.free
        return self.used / usable if usable else 0.0

    @property
    def inodes_ratio(self) -> float | None:
        """Used share of the inodes."""
        return (self.inodes - self.inodes_free) / self.inodes if self.inodes else None


def host_root(proc: Path = processes.PROC) -> Path:
    """Where the host's files are: `/`, or, in a mount namespace of our own (a container), the root of process 1.

    Through that link (proc_pid_root(5)) everything is seen as process 1 sees it, but for absolute symbolic links, which lead to
    our own files; Docker names its data root without any.
    """
    first, own = (processes.namespace(pid, "mnt", proc) for pid in (1, os.getpid()))
    return Path("/") if first is None or first == own else proc / "1" / "root"


def usage(path: Path, root: Path = Path("/")) -> Usage:
    """Read the file system of the host's `path`. Blocks for as long as it does not answer: only ever call it in a thread.

    Args:
        path: absolute, as the host names it.
        root: where the host's files are.

    Raises:
        OSError: there is no such path, or it cannot be read.
    """
    seen_at = point = root / path.relative_to("/")
    device = seen_at.stat().st_dev
    while point != root and point.parent.stat().st_dev == device:
        point = point.parent
    numbers = os.statvfs(seen_at)
    return Usage(
        device=device,
        point=shown(os.fsencode("/" / point.relative_to(root))),
        used=(numbers.f_blocks - numbers.f_bfree) * numbers.f_frsize,
        free=numbers.f_bavail * numbers.f_frsize,
        inodes=numbers.f_files,
        inodes_free=numbers.f_ffree,
    )


class DiskUsage(PeriodicSource):
    """Emits a `disk` fact for each file system, when it changed. One that hangs hangs nobody else."""

    def __init__(
        self,
        paths: Callable[[], Iterable[Path]] = lambda: map(Path, STANDARD_PATHS),
        *,
        clock: Clock,
        interval_s: float = 10.0,
        root: Callable[[], Path] = host_root,
        trend_window_s: float = 3600.0,
    ) -> None:
        """A probe of the file systems that these paths are on.

        Args:
            paths: asked at each look, so that Docker's data root can be among them once it is known.
            clock: for event times, pauses and the trend.
            interval_s: seconds between two looks.
            root: where the host's files are.
            trend_window_s: seconds of the past from which the time until full is computed.
        """
        super().__init__(name="disks", interval_s=interval_s, clock=clock)
        self._paths = paths
        self._root = root
        self._window_s = trend_window_s
        self._workers: dict[Path, Worker] = {}
        self._trends: dict[int, Trend] = {}
        self._last_emitted: dict[str, Disk] = {}

    async def look(self) -> Facts:
        """Ask each path's file system; of several paths on one file system the first counts."""
        usages: dict[int, Usage] = {}
        silent: list[str] = []
        root = self._root()
        for path in dict.fromkeys(self._paths()):
            worker = self._workers.setdefault(path, Worker(f"statvfs {path}"))
            try:
                found = await worker.run(partial(usage, path, root), timeout_s=_STATVFS_LIMIT_S)
            except FileNotFoundError:
                continue
            except ValueError:
                silent.append(f"{path} is no absolute path")
            except (TimeoutError, SourceError):
                silent.append(f"{path} does not answer")
            except OSError as error:
                silent.append(f"{path}: {error.strerror}")
            else:
                usages.setdefault(found.device, found)
        if silent:
            self._in_part("; ".join(silent))
        return self._facts(usages, complete=not silent)

    def _facts(self, usages: dict[int, Usage], *, complete: bool) -> Facts:
        at, seconds = self._now(), self._clock.monotonic()
        facts: Facts = []
        for found in usages.values():
            trend = self._trends.setdefault(found.device, Trend(window_s=self._window_s))
            trend.add(seconds, found.used)
            fact = self._fact(found, trend.seconds_until(found.used + found.free), at)
            if _shape(fact) != _shape(self._last_emitted.get(fact.path)):
                self._last_emitted[fact.path] = fact
                facts.append(fact)
        if complete:
            here = {found.point for found in usages.values()}
            for point in self._last_emitted.keys() - here:
                del self._last_emitted[point]
                facts.append(Retraction(retract=Disk.KIND, key=point, at=at, source="probe"))
            for device in self._trends.keys() - usages.keys():
                del self._trends[device]
        return facts

    def _fact(self, found: Usage, full_in_s: float | None, at: datetime) -> Disk:
        inodes = found.inodes_ratio
        return Disk(
            at=at,
            source="probe",
            path=found.point,
            used_ratio=round(found.used_ratio, _RATIO_DIGITS),
            inodes_ratio=None if inodes is None else round(inodes, _RATIO_DIGITS),
            free_bytes=found.free,
            full_in_s=None if full_in_s is None else float(f"{full_in_s:.2g}"),
        )


def _shape(fact: Disk | None) -> tuple[object, ...] | None:
    """What makes it worth emitting: not each byte."""
    return None if fact is None else (fact.used_ratio, fact.inodes_ratio, fact.full_in_s)
