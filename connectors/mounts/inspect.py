"""Looks for held mounts: of one container when asked (an action), of all at a slow pace (a source)."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from connectors.mounts.holders import HeldMount, MountScanner, Scan
from connectors.mounts.leaks import RELEASABLE, LeakBook, NameOf, StatusOf, leak_fact, no_name
from connectors.sources.periodic import Facts, PeriodicSource, utc_now
from connectors.sources.threads import Worker
from engine.errors import EngineError, SourceError
from engine.ports.actions import Outcome
from engine.ports.sources import Sink

SCAN_LIMIT_S = 30.0
"""A look through 200 namespaces takes about a tenth of a second."""

_STATUS_LIMIT_S = 10.0
_AT_ONCE = 8
"""Owners asked about at a time."""


async def status_or_unknown(status_of: StatusOf, container: str) -> str:
    """Status of a container; `unknown` when the engine does not tell in time. Unknown is never reason enough to act."""
    try:
        async with asyncio.timeout(_STATUS_LIMIT_S):
            return await status_of(container)
    except (TimeoutError, EngineError):
        return "unknown"


async def statuses(status_of: StatusOf, containers: Iterable[str]) -> dict[str, str]:
    """Status of each of these, some at a time."""
    gate = asyncio.Semaphore(_AT_ONCE)

    async def ask(container: str) -> tuple[str, str]:
        async with gate:
            return container, await status_or_unknown(status_of, container)

    async with asyncio.TaskGroup() as group:
        asked = [group.create_task(ask(container), name=f"status-of-{container[:12]}") for container in sorted(set(containers))]
    return dict(task.result() for task in asked)


class InspectMounts:
    """The action `inspect_mounts`: who holds mounts of this container."""

    def __init__(
        self,
        scanner: MountScanner,
        book: LeakBook,
        *,
        status_of: StatusOf,
        name_of: NameOf = no_name,
        host: str,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._scanner = scanner
        self._book = book
        self._status_of = status_of
        self._name_of = name_of
        self._host = host
        self._now = now
        self._worker = Worker("inspect-mounts")

    @property
    def name(self) -> str:
        """Its name in the catalogue."""
        return "inspect_mounts"

    async def run(self, params: Mapping[str, Any]) -> Outcome:
        """Look through all namespaces for mounts of `container`. Found or not, having looked is success."""
        owner = str(params.get("container", ""))
        try:
            scan = await self._worker.run(lambda: self._scanner.scan(owner), timeout_s=SCAN_LIMIT_S)
        except TimeoutError:
            return Outcome(ok=False, error="reading the mount tables took too long", error_kind="timeout")
        except SourceError as error:
            return Outcome(ok=False, error=str(error), error_kind="failed")
        status = await status_or_unknown(self._status_of, owner)
        at = self._now()
        leaks = [leak_fact(held, status=status, name_of=self._name_of, at=at, host=self._host) for held in scan.held]
        facts = self._book.settle(leaks, at=at, host=self._host, owner=owner, repeat=True)
        if not leaks and scan.unreadable and not scan.namespaces:
            return Outcome(ok=False, error=blind(scan), error_kind="denied", facts=tuple(facts))
        return Outcome(ok=True, detail=_summary(scan), facts=tuple(facts))


_ROOT_KNOWN_S = 1.0
"""Pace at which it is looked whether the engine has told its data root."""


class MountSweep(PeriodicSource):
    """Tells, at a slow pace, of held mounts whose owner is dead, being removed or gone.

    For the leaks that no failed deletion draws attention to: on newer kernels they keep disk space, not the deletion.
    """

    def __init__(
        self,
        scanner: MountScanner,
        book: LeakBook,
        *,
        status_of: StatusOf,
        name_of: NameOf = no_name,
        host: str,
        interval_s: float = 300.0,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        super().__init__(name="mounts", host=host, interval_s=interval_s, now=now)
        self._scanner = scanner
        self._book = book
        self._status_of = status_of
        self._name_of = name_of
        self._worker = Worker("sweep-mounts")

    async def run(self, sink: Sink, cursor: str | None) -> None:
        """Look until cancelled, from when the engine has told its data root: until then there is nothing to look for."""
        while not self._scanner.ready:  # noqa: ASYNC110  once, for seconds: no signal from the engine's side is worth it
            await asyncio.sleep(_ROOT_KNOWN_S)
        await super().run(sink, cursor)

    async def look(self) -> Facts:
        """Read every namespace once, ask once about every owner, and tell what changed since the last look."""
        scan = await self._worker.run(self._scanner.scan, timeout_s=SCAN_LIMIT_S)
        if scan.unreadable and not scan.namespaces:
            raise SourceError(blind(scan))
        status = await statuses(self._status_of, (held.owner for held in scan.held))
        at = self._now()
        leaks = [
            leak_fact(held, status=status[held.owner], name_of=self._name_of, at=at, host=self._host)
            for held in scan.held
            if status[held.owner] in RELEASABLE
        ]
        return self._book.settle(leaks, at=at, host=self._host)


def blind(scan: Scan) -> str:
    """Why nothing was found, when nothing could be."""
    return (
        f"the mount namespaces of {scan.unreadable} processes may not be looked at:"
        " run with SYS_PTRACE and the host's process ids (--pid=host)"
    )


def _summary(scan: Scan) -> str:
    holders = sorted({_who(held) for held in scan.held})
    looked = f"{scan.namespaces} namespaces looked at"
    if scan.unreadable:
        looked += f", {scan.unreadable} processes not readable"
    return f"{len(scan.held)} mounts held by {', '.join(holders[:5])}; {looked}" if holders else f"no mount held; {looked}"


def _who(held: HeldMount) -> str:
    return held.holder.id[:12]
