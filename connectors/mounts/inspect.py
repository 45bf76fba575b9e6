"""Looks for held mounts: of one container when asked (an action), of all at a slow pace (a source)."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from connectors.mounts.holders import HeldMount, MountScanner, Scan
from connectors.mounts.leaks import RELEASABLE, LeakBook, NameOf, StatusOf, leak_fact, no_name
from connectors.sources.periodic import Facts, PeriodicSource
from connectors.sources.threads import Worker
from engine.errors import DockerError, SourceError
from engine.ports.actions import Outcome, failed
from engine.ports.clock import Clock, event_time
from engine.ports.sources import Sink

SCAN_LIMIT_S = 30.0
"""A look through 200 namespaces takes about a tenth of a second."""

_STATUS_LIMIT_S = 10.0
_AT_ONCE = 8
"""Owners asked about at a time."""


async def status_or_unknown(status_of: StatusOf, container: str) -> str:
    """Status of a container; `unknown` when Docker does not answer in time. Unknown is never reason enough to act."""
    try:
        async with asyncio.timeout(_STATUS_LIMIT_S):
            return await status_of(container)
    except (TimeoutError, DockerError):
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

    name = "inspect_mounts"

    def __init__(
        self,
        scanner: MountScanner,
        book: LeakBook,
        *,
        status_of: StatusOf,
        name_of: NameOf = no_name,
        clock: Clock,
    ) -> None:
        self._scanner = scanner
        self._book = book
        self._status_of = status_of
        self._name_of = name_of
        self._clock = clock
        self._worker = Worker("inspect-mounts")

    async def run(self, params: Mapping[str, Any], *, touch_running: bool = False) -> Outcome:  # noqa: ARG002 - it only looks
        """Look through all namespaces for mounts of `container`. Found or not, having looked is success."""
        owner = str(params.get("container", ""))
        try:
            scan = await self._worker.run(lambda: self._scanner.scan(owner), timeout_s=SCAN_LIMIT_S)
        except TimeoutError:
            return failed("timeout", "reading the mount tables took too long")
        except SourceError as error:
            return failed("failed", str(error))
        status = await status_or_unknown(self._status_of, owner)
        at = event_time(self._clock)
        leaks = [leak_fact(held, status=status, name_of=self._name_of, at=at) for held in scan.held]
        facts = self._book.settle(leaks, at=at, owner=owner, repeat=True)
        if not leaks and scan.unreadable and not scan.namespaces:
            return failed("denied", no_access_reason(scan), facts=facts)
        return Outcome(ok=True, detail=_summary(scan), facts=tuple(facts))


_ROOT_KNOWN_S = 1.0
"""Pace at which it is looked whether the data root is known."""


class MountSweep(PeriodicSource):
    """Emits, at a slow pace, held mounts whose owner is dead, being removed or gone.

    For the leaks that no failed deletion draws attention to: on newer kernels they keep disk space, not the deletion.
    """

    def __init__(
        self,
        scanner: MountScanner,
        book: LeakBook,
        *,
        status_of: StatusOf,
        name_of: NameOf = no_name,
        clock: Clock,
        interval_s: float = 300.0,
    ) -> None:
        super().__init__(name="mounts", interval_s=interval_s, clock=clock)
        self._scanner = scanner
        self._book = book
        self._status_of = status_of
        self._name_of = name_of
        self._worker = Worker("sweep-mounts")

    async def run(self, sink: Sink, cursor: str | None) -> None:
        """Look until cancelled, from when the data root is known: until then there is nothing to look for."""
        while not self._scanner.ready:
            await self._clock.sleep(_ROOT_KNOWN_S)
        await super().run(sink, cursor)

    async def look(self) -> Facts:
        """Read every namespace once, ask once about every owner, and emit what changed since the last look."""
        scan = await self._worker.run(self._scanner.scan, timeout_s=SCAN_LIMIT_S)
        if scan.unreadable and not scan.namespaces:
            raise SourceError(no_access_reason(scan))
        status = await statuses(self._status_of, (held.owner for held in scan.held))
        at = self._now()
        leaks = [
            leak_fact(held, status=status[held.owner], name_of=self._name_of, at=at)
            for held in scan.held
            if status[held.owner] in RELEASABLE
        ]
        return self._book.settle(leaks, at=at)


def no_access_reason(scan: Scan) -> str:
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
