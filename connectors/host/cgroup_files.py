"""Files of control groups and of pressure, versions 1 and 2: what stands in them, and where those of a process are.

Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/memory.rst, scheduler/sched-bwc.rst and accounting/psi.rst of the kernel.
Knows no container and emits nothing.
"""

from pathlib import Path
from typing import NamedTuple

from connectors.sources.proc import PROC, read

_NO_LIMIT = 1 << 60
"""Version 1 writes a limit near 2**63, rounded to pages, where there is none."""


class Groups(NamedTuple):
    """Folders of the control groups of one process; None where there is none for that purpose."""

    memory: Path | None
    cpu: Path | None
    pids: Path | None
    unified: bool


class Reading(NamedTuple):
    """What one look at the control groups of a process found. None each where there is no limit, or no such file."""

    memory: int | None
    """Bytes; without inactive file pages when it stands near the limit."""
    memory_limit: int | None
    cpu_limit: float | None
    periods: int | None
    throttled: int | None
    pids: int | None
    pids_limit: int | None


class Stall(NamedTuple):
    """One pressure file, in percent."""

    some_avg10: float
    some_avg60: float
    full_avg10: float
    full_avg60: float


def groups_of(pid: int, root: Path, proc: Path = PROC) -> Groups | None:
    """Where the control groups of a process are, below the host's /sys/fs/cgroup; None when it is gone."""
    raw = read(proc / str(pid) / "cgroup")
    if raw is None:
        return None
    paths: dict[str, str] = {}
    for line in raw.decode(errors="replace").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        for name in controllers.split(","):
            paths[name] = path
    if "memory" not in paths and "pids" not in paths:
        folder = _below(root, paths.get("", ""))
        return Groups(folder, folder, folder, unified=True)
    memory, cpu, tasks = (_below(root / name, paths[name]) if name in paths else None for name in ("memory", "cpu", "pids"))
    return Groups(memory, cpu, tasks, unified=False)


def _below(root: Path, path: str) -> Path | None:
    """None for the root itself, whose figures are the whole host's, and for what lies outside of what can be seen."""
    parts = [part for part in path.split("/") if part]
    return None if not parts or ".." in parts else root.joinpath(*parts)


def read_groups(groups: Groups, *, near: float) -> Reading:
    """Read what little is needed.

    `memory.stat` and `cpu.stat` make the kernel add up what every processor counted: the one is read only where memory stands at
    `near` (a share) of its limit, the other only where there is a limit of time.
    """
    unified = groups.unified
    used = limit = cpu_limit = periods = throttled = None
    if groups.memory is not None:
        used = _number(groups.memory / ("memory.current" if unified else "memory.usage_in_bytes"))
        limit = _number(groups.memory / ("memory.max" if unified else "memory.limit_in_bytes"))
        if used is not None and limit is not None and used >= limit * near:
            stat = _pairs(groups.memory / "memory.stat")
            used = max(0, used - stat.get("inactive_file" if unified else "total_inactive_file", 0))
    if groups.cpu is not None:
        cpu_limit = _cores(groups.cpu, unified=unified)
        if cpu_limit is not None:
            stat = _pairs(groups.cpu / "cpu.stat")
            periods, throttled = stat.get("nr_periods"), stat.get("nr_throttled")
    pids = pids_limit = None
    if groups.pids is not None and (pids_limit := _number(groups.pids / "pids.max")) is not None:
        pids = _number(groups.pids / "pids.current")
    return Reading(used, limit, cpu_limit, periods, throttled, pids, pids_limit)


def parse_pressure(raw: bytes) -> Stall | None:
    """`some avg10=1.50 avg60=0.20 avg300=0.00 total=7`, and `full …`; None for what is no such file."""
    found: dict[str, dict[str, float]] = {}
    for line in raw.decode("ascii", "replace").splitlines():
        kind, *pairs = line.split()
        try:
            found[kind] = {name: float(value) for name, _, value in (pair.partition("=") for pair in pairs)}
        except ValueError:
            return None
    some, full = found.get("some"), found.get("full", {})
    if some is None or "avg10" not in some:
        return None
    return Stall(some["avg10"], some.get("avg60", 0.0), full.get("avg10", 0.0), full.get("avg60", 0.0))


def _cores(folder: Path, *, unified: bool) -> float | None:
    if unified:
        quota, _, period = (read(folder / "cpu.max") or b"").decode("ascii", "replace").partition(" ")
    else:
        quota = (read(folder / "cpu.cfs_quota_us") or b"").decode("ascii", "replace")
        period = (read(folder / "cpu.cfs_period_us") or b"").decode("ascii", "replace")
    quota, period = quota.strip(), period.strip()
    if not quota.isdecimal() or not period.isdecimal() or not int(period):
        return None
    return round(int(quota) / int(period), 3)


def _number(path: Path) -> int | None:
    """None for `max`, for a limit that is none, and for a file that is not there."""
    text = (read(path) or b"").strip()
    value = int(text) if text.isdigit() else None
    return None if value is None or value >= _NO_LIMIT else value


def _pairs(path: Path) -> dict[str, int]:
    pairs = (line.split() for line in (read(path, 16_384) or b"").decode("ascii", "replace").splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdecimal()}  # noqa: PLR2004 -- name, value
