"""Finds and frees a `runc` that waits for ever: its container's init process is gone before the two have met (incident I2).

`runc start` opens a pipe in the file system (exec.fifo) that the container's first process, `runc:[2:INIT]`, opens from the other
side; up to runc 1.0.0-rc6 it did not notice when that process had been killed meanwhile (runc pull request 1698). containerd then
holds the container's lock, and every list waits for it.
"""

import json
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from connectors.host import signals
from connectors.sources import proc as processes
from connectors.sources.proc import Stat
from connectors.sources.threads import Worker
from engine.errors import SourceError
from engine.ports.actions import ContainerGuard, Outcome, failed

NAMES = frozenset({"runc", "docker-runc", "docker-runc-cur"})
"""`docker-runc` up to Docker 18.06; Red Hat's `docker-runc-current`, cut to the kernel's 15 bytes."""

VERBS = frozenset({"create", "start", "run", "restore"})
"""What waits for an init process. (`exec`, `delete`, `events` wait for other things.)"""

DEFAULT_ROOT = "/run/runc"
MIN_AGE_S = 10.0
"""Starting a container takes 0.1 s; on a host that is starved, seconds."""

_INIT = "runc:["
"""Name of the process that is to become the container: `runc:[2:INIT]`, before that `runc:[1:CHILD]`, `runc:[0:PARENT]`."""

_STATE_LIMIT = 4 * 1024 * 1024
"""Bytes of a container's state.json: 20 KiB or so, more with many mounts and labels."""

_SCAN_LIMIT_S = 10.0
SPARES = 3
"""Looks that may be stuck (a state file on a dead file system) before no further one is begun."""


@dataclass(frozen=True, slots=True)
class BlockedRunc:
    """A runc whose container's init process is gone."""

    pid: int
    started: int
    age_s: float = field(compare=False)
    container: str
    """As it stands on its command line; empty when it does not."""


def blocked_runcs(proc: Path = processes.PROC, *, min_age_s: float = MIN_AGE_S) -> list[BlockedRunc]:
    """All of them, the oldest first. Blocks for some milliseconds: one small file for each process of the host."""
    everybody = {who.pid: who for who in processes.stats(proc)}
    found = (_blocked(who, everybody, proc, min_age_s) for who in everybody.values() if who.comm in NAMES)
    return sorted((each for each in found if each is not None), key=lambda each: -each.age_s)


def find_blocked_runc(proc: Path = processes.PROC, *, min_age_s: float = MIN_AGE_S) -> BlockedRunc | None:
    """The oldest of them, None when there is none."""
    found = blocked_runcs(proc, min_age_s=min_age_s)
    return found[0] if found else None


def _blocked(who: Stat, everybody: Mapping[int, Stat], proc: Path, min_age_s: float) -> BlockedRunc | None:
    age = processes.age_s(who, proc)
    # In the kernel (D) it waits for a disk, and no signal reaches it; traced (t), somebody is looking at it.
    if age is None or age < min_age_s or not who.alive or who.state in ("D", "t"):
        return None
    verb, container, root = read_command(processes.arguments(who.pid, proc))
    if verb not in VERBS or not _trusted(who.pid, proc):
        return None
    children = [child for child in everybody.values() if child.parent == who.pid]
    if any(child.alive and child.comm.startswith(_INIT) for child in children):
        return None
    if verb == "start" and not _init_gone(who.pid, root, container, everybody, proc):
        return None
    # `create` and `run` are parents of their init: without even the zombie of one, they wait for something else.
    if verb != "start" and not any(child.comm.startswith(_INIT) for child in children):
        return None
    return BlockedRunc(who.pid, who.started, age, container)


def _trusted(pid: int, proc: Path) -> bool:
    """Root's or our own, outside of all containers: nobody else has a say in what is read or killed."""
    return processes.owner(pid, proc) in (0, os.geteuid()) and processes.container_of_pid(pid, proc) is None


def read_command(arguments: list[str]) -> tuple[str, str, str]:
    """Verb, container and root folder of runc's command line: `runc [--root R] [--log L …] VERB [options] CONTAINER`."""
    root = DEFAULT_ROOT
    verb = ""
    for number, word in enumerate(arguments):
        if word.startswith("--root="):
            root = word.removeprefix("--root=")
        elif word == "--root" and number + 1 < len(arguments):
            root = arguments[number + 1]
        elif word in VERBS and not verb and number > 0:
            verb = word
    last = arguments[-1] if arguments else ""
    return verb, "" if last == verb or last.startswith("-") else last, root


def _init_gone(pid: int, root: str, container: str, everybody: Mapping[int, Stat], proc: Path) -> bool:
    """True when the state that runc keeps names an init process that has ended. `start` is not its parent: the shim is."""
    if not container or "/" in container or not root.startswith("/"):
        return False
    path = proc / str(pid) / "root" / root.lstrip("/") / container / "state.json"
    raw = processes.read_regular(path, _STATE_LIMIT)
    try:
        state = json.loads(raw or b"")
        init, started = int(state["init_process_pid"]), str(state["init_process_start"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return False
    who = everybody.get(init)
    return who is None or not who.alive or str(who.started) != started


class BlockedRuncs:
    """Looks for them without holding up the event loop."""

    def __init__(self, *, min_age_s: float = MIN_AGE_S, proc: Path = processes.PROC) -> None:
        """For those that have waited for `min_age_s` seconds at least."""
        self._min_age_s = min_age_s
        self._proc = proc
        self._worker = Worker("blocked-runcs", spares=SPARES)

    async def oldest_pid(self) -> int | None:
        """Process id of the one that has waited longest: what `daemon.hung_pid` names. None when none is seen in time."""
        try:
            found = await self._worker.run(
                lambda: find_blocked_runc(self._proc, min_age_s=self._min_age_s), timeout_s=_SCAN_LIMIT_S
            )
        except (TimeoutError, SourceError):
            return None
        return None if found is None else found.pid


class KillRunc:
    """The action `kill_runc`: SIGKILL to a blocked runc, so that containerd gets its answer and gives up its lock."""

    name = "kill_runc"

    def __init__(
        self,
        *,
        guard: ContainerGuard,
        min_age_s: float = MIN_AGE_S,
        proc: Path = processes.PROC,
        find: Callable[..., list[BlockedRunc]] = blocked_runcs,
    ) -> None:
        """The action.

        Args:
            guard: says why a container must not be touched, asked about the one that is being started.
            min_age_s: a younger runc is left alone.
            proc: where procfs of the host's process ids is.
            find: looks for blocked ones.
        """
        self._guard = guard
        self._min_age_s = min_age_s
        self._proc = proc
        self._find = find
        self._worker = Worker("kill-runc", spares=SPARES)

    async def run(self, params: Mapping[str, Any], *, touch_running: bool = False) -> Outcome:  # noqa: ARG002 - it is starting
        """Kill the runc with this `pid`, if it is blocked at this moment."""
        pid = params.get("pid")
        if not isinstance(pid, int) or isinstance(pid, bool) or pid <= 1:
            return failed("refused", "pid has to be the number of a process", permanent=True)
        try:
            blocked = await self._blocked(pid)
            if blocked is None:
                return self._not_blocked(pid)
            if not processes.is_container_id(blocked.container):
                return failed("refused", f"runc {pid} does not name its container, which may be protected", permanent=True)
            refusal = await self._guard(blocked.container)
            if refusal is not None:
                return refusal
            if await self._blocked(pid) != blocked:  # Docker was asked meanwhile
                return self._not_blocked(pid)
            signals.send(pid, signal.SIGKILL, is_target=lambda who: who.comm in NAMES, started=blocked.started, proc=self._proc)
        except TimeoutError:
            return failed("timeout", "looking through the processes takes too long")
        except SourceError as error:
            return failed("failed", str(error))
        except signals.NotSignalledError as error:
            return Outcome(ok=True, detail=f"runc {pid}: {error}")
        except PermissionError:
            return failed("denied", f"runc {pid} may not be killed: KILL is needed")
        container = f" of container {blocked.container}" if blocked.container else ""
        return Outcome(ok=True, detail=f"killed runc {pid}{container}, which had waited for {blocked.age_s:.0f} s")

    async def _blocked(self, pid: int) -> BlockedRunc | None:
        found = await self._worker.run(lambda: self._find(self._proc, min_age_s=self._min_age_s), timeout_s=_SCAN_LIMIT_S)
        return next((each for each in found if each.pid == pid), None)

    def _not_blocked(self, pid: int) -> Outcome:
        who = processes.stat(pid, self._proc)
        if who is None or not who.alive:
            return Outcome(ok=True, detail=f"runc {pid} has ended already")
        if who.comm not in NAMES:
            return failed("refused", f"process {pid} is {who.comm}, no runc", permanent=True)
        return failed(
            "refused", f"runc {pid} is not blocked: its init process lives, or it has not waited long enough", permanent=True
        )
