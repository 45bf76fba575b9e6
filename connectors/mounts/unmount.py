"""The action `unmount`: takes a mount of a dead container out of the namespace of another. Decides; the helper does."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from connectors.mounts.holders import HeldMount, MountScanner, Scan
from connectors.mounts.inspect import SCAN_LIMIT_S, no_access_reason, status_or_unknown
from connectors.mounts.leaks import RELEASABLE, LeakBook, StatusOf
from connectors.mounts.release import Answer, release
from connectors.sources.text import shown
from connectors.sources.threads import Worker
from engine.errors import DockerError, SourceError
from engine.facts.outcomes import ErrorKind
from engine.ports.actions import Outcome, failed
from engine.ports.clock import Clock, event_time

ExecIn = Callable[[str, Sequence[str]], Awaitable[tuple[int, str]]]
"""Runs a command in a container: exit code and output. May raise DockerError."""

_EXEC_LIMIT_S = 20.0
_OUTPUT_SHOWN = 300


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
        exec_in: ExecIn | None = None,
        clock: Clock,
    ) -> None:
        """The action.

        Args:
            scanner: finds the mount again.
            book: the leaks emitted so far.
            status_of: status of a container, asked at the moment of acting.
            exec_in: `docker exec`, for when this process may not enter the holder's namespace; None: it is not tried.
            clock: for event times.
        """
        self._scanner = scanner
        self._book = book
        self._status_of = status_of
        self._exec_in = exec_in
        self._clock = clock
        self._worker = Worker("unmount")
        self._one_at_a_time = asyncio.Lock()

    async def run(self, params: Mapping[str, Any]) -> Outcome:
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
        """Why it must stay; None when it may go. The owner is asked about last, so that the answer is as fresh as can be."""
        if any(each.shared for each in held):
            return _refused("the mount is shared with peers: unmounting it there would unmount it elsewhere too")
        status = await status_or_unknown(self._status_of, held[0].owner)
        if status == "unknown":
            return failed("unreachable", "Docker does not say whether the owner still needs it")
        if status not in RELEASABLE:
            return _refused(f"its owner is {status}, neither dead nor being removed nor gone")
        return None

    async def _release(self, held: list[HeldMount], path: str) -> Outcome:
        answers = await release(held)
        ways = {"lazily, it is still in use" if answer.lazy else "in its namespace" for answer in answers if answer.ok}
        for each, answer in zip(held, answers, strict=True):
            if answer.ok or answer.kind == "not_found":
                continue
            final = await self._by_exec(each, answer) if answer.kind == "denied" else answer
            if not final.ok:
                return failed(final.kind or "failed", final.error or "no reason given", permanent=final.kind == "refused")
            ways.add("by exec in the container")
        taken = self._book.retract((held[0].holder.id, path), at=event_time(self._clock))
        detail = f"unmounted {path} {' and '.join(sorted(ways))}" if ways else f"{path} was gone already"
        return Outcome(ok=True, detail=detail, facts=(taken,))

    async def _by_exec(self, held: HeldMount, denied: Answer) -> Answer:
        """With the `umount` of the holder's own image, which needs a privileged holder (or SYS_ADMIN)."""
        if self._exec_in is None or held.holder.container is None or shown(held.mount.point).encode() != held.mount.point:
            return denied
        try:
            async with asyncio.timeout(_EXEC_LIMIT_S):
                code, output = await self._exec_in(held.holder.container, ["umount", held.path])
        except TimeoutError:
            return Answer(ok=False, kind="timeout", error=f"{denied.error}; umount by exec does not come back")
        except DockerError as error:
            return Answer(ok=False, kind="denied", error=f"{denied.error}; by exec: {error}")
        # What counts is whether it is gone, not what some image's umount says.
        if held.mount.id not in await self._worker.run(lambda: self._scanner.mounts_of(held.holder), timeout_s=SCAN_LIMIT_S):
            return Answer(ok=True)
        said = output.strip()[:_OUTPUT_SHOWN] or f"exit code {code}"
        kind: ErrorKind = "busy" if "busy" in said.lower() else "denied"
        return Answer(ok=False, kind=kind, error=f"{denied.error}; by exec: {said}")

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
