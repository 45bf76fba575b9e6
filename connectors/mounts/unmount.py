"""The action `unmount`: takes a mount of a dead container out of the namespace of another. Decides; the helper does."""

import asyncio
from collections.abc import Mapping
from typing import Any

from connectors.mounts.holders import HeldMount, MountScanner, Scan
from connectors.mounts.inspect import SCAN_LIMIT_S, no_access_reason, status_or_unknown
from connectors.mounts.leaks import RELEASABLE, LeakBook, StatusOf
from connectors.mounts.release import release
from connectors.sources.text import shown
from connectors.sources.threads import Worker
from engine.errors import SourceError
from engine.ports.actions import ContainerGuard, Outcome, failed
from engine.ports.clock import Clock, event_time


class Unmount:
    """Unmounts inside the holder's mount namespace, and only what is certain to be in nobody's way.

    Everything is looked at afresh when it runs; what a fact said some seconds ago decides nothing.
    """

    name = "unmount"

    def __init__(
        self,
        scanner: MountScanner,
        book: LeakBook,
        *,
        status_of: StatusOf,
        guard: ContainerGuard,
        clock: Clock,
    ) -> None:
        """The action.

        Args:
            scanner: finds the mount again.
            book: the leaks emitted so far.
            status_of: status of a container, asked at the moment of acting.
            guard: says why a container must not be touched, asked about holder and owner at the moment of acting.
            clock: for event times.
        """
        self._scanner = scanner
        self._book = book
        self._status_of = status_of
        self._guard = guard
        self._clock = clock
        self._worker = Worker("unmount")
        self._one_at_a_time = asyncio.Lock()

    async def run(self, params: Mapping[str, Any], *, touch_running: bool = False) -> Outcome:  # noqa: ARG002 - the holder goes on running
        """Unmount what `holder` has of `container` at `path`. That it is gone already is success."""
        holder, path, owner = (str(params.get(name, "")) for name in ("holder", "path", "container"))
        async with self._one_at_a_time:
            try:
                scan = await self._worker.run(lambda: self._scanner.scan(owner), timeout_s=SCAN_LIMIT_S)
                held = [each for each in scan.held if each.holder.id == holder and each.path == path]
                if not held:
                    return await self._not_held(holder, path, scan)
                return await self._safety_refusal(held) or await self._release(held, path)
            except TimeoutError:
                return failed("timeout", "reading the mount tables took too long")
            except SourceError as error:
                return failed("failed", str(error))

    async def _safety_refusal(self, held: list[HeldMount]) -> Outcome | None:
        """Why it must stay; None when it may go. What is asked is asked last, so that the answers are as fresh as can be."""
        if any(each.shared for each in held):
            return _refused("the mount, or one below it, is shared with peers: unmounting it would unmount it elsewhere too")
        holders = sorted({each.holder.container for each in held if each.holder.container is not None})
        status, refusals = await asyncio.gather(
            status_or_unknown(self._status_of, held[0].owner),
            asyncio.gather(*(self._guard(each) for each in (held[0].owner, *holders))),
        )
        refusal = next((each for each in refusals if each is not None), None)
        if refusal is not None:
            return refusal
        if any(self._scanner.container_of(each.holder) != each.holder.container for each in held):
            return failed("not_found", "the process that holds the mount has ended or is in another container now")
        if status == "unknown":
            return failed("unreachable", "Docker does not say whether the owner still needs it")
        if status not in RELEASABLE:
            return _refused(f"its owner is {status}, neither dead nor being removed nor gone")
        return None

    async def _release(self, held: list[HeldMount], path: str) -> Outcome:
        answers = await release(held)
        ways = {"lazily, it is still in use" if answer.lazy else "in its namespace" for answer in answers if answer.ok}
        for answer in answers:
            if not answer.ok and answer.kind != "not_found":
                return failed(answer.kind or "failed", answer.error or "no reason given", permanent=answer.kind == "refused")
        taken = self._book.retract((held[0].holder.id, path), at=event_time(self._clock))
        detail = f"unmounted {path} {' and '.join(sorted(ways))}" if ways else f"{path} was gone already"
        return Outcome(ok=True, detail=detail, facts=(taken,))

    async def _not_held(self, holder: str, path: str, scan: Scan) -> Outcome:
        """Gone, or never this container's: the second is refused."""
        if scan.unreadable and not scan.namespaces:
            return failed("denied", no_access_reason(scan))
        if await self._worker.run(lambda: self._mount_exists(holder, path), timeout_s=SCAN_LIMIT_S):
            return _refused("there is such a mount, but it does not belong to the container named")
        taken = self._book.retract((holder, path), at=event_time(self._clock))
        return Outcome(ok=True, detail=f"{path} is not mounted there any more", facts=(taken,))

    def _mount_exists(self, holder: str, path: str) -> bool:
        return any(
            shown(mount.point) == path
            for each in self._scanner.holders()
            if each is not None and each.id == holder
            for mount in self._scanner.mounts_of(each).values()
        )


def _refused(error: str) -> Outcome:
    return failed("refused", error, permanent=True)
