"""The action `collect_stacks`: has dockerd write down what all of its goroutines are waiting for."""

import asyncio
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from connectors.host import signals
from connectors.host.daemon import is_daemon
from connectors.sources import proc as processes
from connectors.sources.proc import Stat
from connectors.sources.text import shown
from connectors.sources.threads import Worker
from engine.errors import SourceError
from engine.ports.actions import Outcome, failed

_PATTERNS = ("goroutine-stacks-*.log", "daemon-data-*.log")
"""moby: daemon/debugtrap_unix.go and pkg/stack; the second is written by 17.05 to 19.03."""

_WRITTEN_WITHIN_S = 10.0
_LOOK_EVERY_S = 0.1
_SETTLED_LOOKS = 3
"""A file that has not grown for so many looks is complete."""
_CALL_LIMIT_S = 5.0

_MOST_FILES = 40
"""They lie in /run, which is memory, and nobody removes them but a restart; a dump is 0.1 to some MB, two files each."""


class CollectStacks:
    """Sends SIGUSR1 to dockerd and names the files that it writes below its exec root."""

    name = "collect_stacks"

    def __init__(
        self,
        *,
        find_daemon: Callable[[], Stat | None],
        exec_root: Path = Path("/var/run/docker"),
        proc: Path = processes.PROC,
        within_s: float = _WRITTEN_WITHIN_S,
    ) -> None:
        """The action.

        Args:
            find_daemon: Docker's process; may block for a second.
            exec_root: dockerd's `--exec-root`, as dockerd sees it.
            proc: where procfs of the host's process ids is.
            within_s: seconds to wait for the files.
        """
        self._find_daemon = find_daemon
        self._exec_root = exec_root
        self._proc = proc
        self._within_s = within_s
        self._worker = Worker("collect-stacks")

    async def run(self, params: Mapping[str, Any], *, touch_running: bool = False) -> Outcome:  # noqa: ARG002 - it only looks
        """Signal dockerd once, and wait until the files have been written."""
        try:
            daemon = await self._worker.run(self._find_daemon, timeout_s=_CALL_LIMIT_S)
            if daemon is None:
                return failed("not_found", "dockerd's process was not found (pid file, Docker's socket)")
            # Through the daemon's own eyes, wherever we run (proc_pid_root(5)).
            folder = self._proc / str(daemon.pid) / "root" / self._exec_root.relative_to("/")
            before = await self._files(folder)
            if len(before) >= _MOST_FILES:
                return failed("refused", f"{len(before)} dumps lie in {self._exec_root} already: remove them", permanent=True)
            signals.send(
                daemon.pid,
                signal.SIGUSR1,
                is_target=lambda who: is_daemon(who, self._proc),
                started=daemon.started,
                proc=self._proc,
            )
            written = await self._written(folder, before)
        except signals.NotSignalledError as error:
            return failed("not_found", str(error))
        except PermissionError as error:
            return failed("denied", f"dockerd may not be signalled, or {self._exec_root} not read: {error.strerror}")
        except SourceError as error:
            return failed("failed", str(error))
        except TimeoutError:
            return failed("timeout", "looking for dockerd or its files takes too long")
        if not written:
            why = "dockerd is stopped and will write them when it goes on" if daemon.state in "Tt" else "the signal was sent"
            return failed("timeout", f"no dump was written in {self._exec_root} within {self._within_s:g} s; {why}")
        return Outcome(ok=True, detail="dockerd wrote " + ", ".join(f"{self._exec_root}/{name}" for name in written))

    async def _written(self, folder: Path, before: dict[str, int]) -> list[str]:
        """Names of the new files, once they have stopped growing."""
        deadline = asyncio.get_running_loop().time() + self._within_s
        last: dict[str, int] = {}
        settled = 0
        while asyncio.get_running_loop().time() < deadline and settled < _SETTLED_LOOKS:
            await asyncio.sleep(_LOOK_EVERY_S)
            new = {name: size for name, size in (await self._files(folder)).items() if name not in before}
            settled = settled + 1 if new and new == last and all(new.values()) else 0
            last = new
        return sorted(last)

    async def _files(self, folder: Path) -> dict[str, int]:
        """Dumps there, with their sizes."""
        return await self._worker.run(lambda: _sizes(folder), timeout_s=_CALL_LIMIT_S)


def _sizes(folder: Path) -> dict[str, int]:
    found: dict[str, int] = {}
    for pattern in _PATTERNS:
        for file in folder.glob(pattern):
            try:
                found[shown(bytes(file.name, "utf-8", "surrogateescape"))] = file.stat().st_size
            except FileNotFoundError:
                continue
    return found
