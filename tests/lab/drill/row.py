"""One row of the drill: a fault, and how its times are taken. Knows no incident and no table."""

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import ClassVar

from tests.lab.drill.scene import Scene
from tests.lab.subscriber import Predicate, Received
from tests.lab.waiting import until


@dataclass(frozen=True, slots=True)
class Moment:
    """Now, on both clocks: the monotonic one for what we see, the other for what the sidecar writes into its alerts."""

    monotonic: float = field(default_factory=time.monotonic)
    wall: datetime = field(default_factory=lambda: datetime.now(UTC))


@dataclass(frozen=True, slots=True)
class Trouble:
    """A fault that is there."""

    began: Moment
    """When it took effect."""
    names: str
    """What an alert about it must mention: a container id, a path, a host name."""
    repaired: Callable[[], Awaitable[bool]] | None = None
    """Looks, past the sidecar, whether the damage is mended; None: there is nothing that may be repaired."""
    end: Callable[[], Awaitable[object]] | None = None
    """Ends the fault where the sidecar may not; called when the alert was received."""
    cron: str = "never noticed"
    """What the 30-minute cron job (incident I1) would have done about it."""


@dataclass(slots=True)
class Times:
    """Seconds after the fault took effect; None: it did not happen, or not in time."""

    noticed: float | None = None
    received: float | None = None
    repaired: float | None = None
    resolved: float | None = None
    cron: str = ""
    missing: str = ""
    """What was waited for in vain; empty when all happened."""


class Row(ABC):
    """One fault and what is expected of the sidecar. A row is used once."""

    incident: ClassVar[str]
    fault: ClassVar[str]
    rule: ClassVar[str]
    """Id of the rule whose alert is listened for."""
    repairs: ClassVar[bool] = True
    """False: the catalogue foresees no remedy."""
    within_s: ClassVar[float] = 60.0
    """For each step. A step that takes longer is missing: the drill as a whole has minutes."""

    @abstractmethod
    def make(self, scene: Scene) -> AbstractAsyncContextManager[Trouble]:
        """Make the fault; undone on leaving."""

    async def run(self, scene: Scene) -> Times:
        """Make the fault and take the times. A step that fails is told, not raised; the fault is undone in any case."""
        times = Times()
        try:
            before = time.monotonic()
            async with self.make(scene) as trouble:
                times.cron = trouble.cron
                await self._take(scene, trouble, times, before)
        except Exception as error:  # noqa: BLE001 - whatever goes wrong in one row is that row's result; the others go on
            times.missing = f"{type(error).__name__}: {error}"
        return times

    async def _take(self, scene: Scene, trouble: Trouble, times: Times, before: float) -> None:
        began = trouble.began.monotonic
        mended = asyncio.create_task(self._await_repair(trouble), name=f"repair of {self.fault}")
        try:
            firing = await scene.subscriber.alert(
                self.rule, "firing", host=scene.host, where=mentions(trouble.names), since=before, within_s=self.within_s
            )
            times.received = after(firing.moment, began)
            times.noticed = _noticed(firing, trouble.began)
            if trouble.end is not None:
                await trouble.end()
            repaired = await mended
            times.repaired = None if repaired is None else after(repaired, began)
            resolved = await scene.subscriber.alert(
                self.rule, "resolved", host=scene.host, key=firing.data.get("key"), since=firing.moment, within_s=self.within_s
            )
            times.resolved = after(resolved.moment, began)
        finally:
            mended.cancel()
            await asyncio.gather(mended, return_exceptions=True)

    async def _await_repair(self, trouble: Trouble) -> float | None:
        if trouble.repaired is None:
            return None
        await until(trouble.repaired, what="the repair", within_s=self.within_s)
        return time.monotonic()


def after(moment: float, began: float) -> float:
    """Seconds since the fault; one that was seen while it was still being made counts as seen at once."""
    return max(0.0, moment - began)


def _noticed(firing: Received, began: Moment) -> float | None:
    """When the sidecar says that the trouble was first seen."""
    try:
        starts = datetime.fromisoformat(str(firing.data.get("starts_at")))
    except ValueError:
        return None
    return max(0.0, (starts - began.wall).total_seconds())


def mentions(text: str) -> Predicate:
    """Alerts that have this text anywhere: in key, summary or evidence."""
    needle = text.encode()
    return lambda received: needle in received.payload
