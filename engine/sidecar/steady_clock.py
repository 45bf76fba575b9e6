"""The clock that a sidecar runs on: the wall clock at its start plus monotonic time, so that setting the machine's moves nothing.

Small differences are followed slowly. A larger one is a step: it is noticed once, by who asks for it, and from then on the clock
goes by the machine's again. `watch_clock` asks, and has
everything that holds times moved by as much.
"""

import json
from collections.abc import Callable

from engine.facts.host import Source
from engine.facts.timestamps import SECOND, Micros, format_duration
from engine.pipeline.intake import Intake, JournalNote
from engine.ports.clock import Clock, event_time

MAX_SLEW: Micros = 2 * SECOND
"""A larger difference is a step. ntpd sets the clock from 0.128 s on, chrony at its start from 1 s on; no shipped rule counts in
less than two seconds."""

SLEW = 0.1
"""Of the time that passes: two seconds are followed in twenty, and the clock never stands still or goes back."""

MEMORY = "clock"
"""Under this name the journal remembers how the wall clock stood to the monotonic one."""


LOOK_S = 1.0
"""How often it is looked whether the clock was set."""

CALM_S = 60.0
"""After a step the source `clock` is called ok again once nothing has happened for so long."""


class SteadyClock:
    """A `Clock` over the machine's."""

    def __init__(self, machine: Clock) -> None:
        self._machine = machine
        self._base_s = machine.monotonic()
        self._base: Micros = machine.wall()

    def wall(self) -> Micros:
        """See the port."""
        return self._base + round((self._machine.monotonic() - self._base_s) * SECOND)

    def monotonic(self) -> float:
        """See the port."""
        return self._machine.monotonic()

    async def sleep(self, seconds: float) -> None:
        """See the port."""
        await self._machine.sleep(seconds)

    def take_step(self) -> Micros:
        """By how much the machine's clock was set since the last call, 0 for not at all; from now on this clock goes by it."""
        now_s, now = self._machine.monotonic(), self.wall()
        difference = self._machine.wall() - now
        most = round((now_s - self._base_s) * SLEW * SECOND)
        step = difference if abs(difference) > MAX_SLEW else 0
        self._base_s = now_s
        self._base = now + (step or max(-most, min(difference, most)))
        return step

    def to_json(self, boot: str) -> str:
        """For the journal: what a restart compares with. `boot` names this run of the machine."""
        return json.dumps({"boot": boot, "offset": self._base - round(self._base_s * SECOND)})

    def step_since(self, saved: str | None, boot: str, newest: Micros) -> Micros:
        """By how much the clock was set while no sidecar ran.

        Args:
            saved: by an earlier process, None for nothing.
            boot: names this run of the machine: only within it does the monotonic clock go on.
            newest: the latest event time that the earlier process saw, 0 for none.
        """
        try:
            before = json.loads(saved or "{}")
            if before.get("boot") == boot:
                step = self._base - round(self._base_s * SECOND) - int(before["offset"])
                return step if abs(step) > MAX_SLEW else 0
        except (ValueError, KeyError, TypeError, AttributeError):
            pass  # another version wrote it: what the facts say is enough
        behind = self.wall() - newest
        return behind if behind < -MAX_SLEW else 0


async def watch_clock(clock: SteadyClock, intake: Intake, stepped: Callable[[Micros], None], *, boot: str) -> None:
    """Have the loop and the sources follow each step of the machine's clock, and report it as a gap.

    Args:
        clock: that of the whole sidecar.
        intake: of the loop, which moves what it remembers.
        stepped: moves what the sources remember. Called before anybody can see the new time.
        boot: names this run of the machine.
    """
    sink = intake.sink("clock")
    await intake.put(JournalNote(memory={MEMORY: clock.to_json(boot)}))
    calm_at: float | None = clock.monotonic() + CALM_S  # a gap that an earlier process reported is over then
    while True:
        step = clock.take_step()
        if step:
            stepped(step)
            intake.clock_stepped(step)
            await intake.put(JournalNote(memory={MEMORY: clock.to_json(boot)}))
            await sink.put([gap(step, clock)])
            calm_at = clock.monotonic() + CALM_S
        elif calm_at is not None and clock.monotonic() >= calm_at:
            await sink.put([Source.report("clock", "ok", at=event_time(clock), emitted_by="dockwarden")])
            calm_at = None
        await clock.sleep(LOOK_S)


def gap(step: Micros, clock: Clock) -> Source:
    """The fact about a step."""
    error = f"the clock of this host was set {'forward' if step > 0 else 'back'} by {format_duration(abs(step))}"
    return Source.report("clock", "gap", at=event_time(clock), emitted_by="dockwarden", error=error)
