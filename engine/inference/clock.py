"""The clock of the core: event time, what becomes due later, and the numbering of what enters.

It stands at the latest event time seen; nobody reads a real clock here. Sans-I/O.
"""

import heapq
from collections.abc import Callable
from typing import Any

from engine.facts.timestamps import Micros

_Timer = tuple[Micros, int, Callable[[Any], None], Any]


NEVER: Micros = 1 << 62
"""Later than any moment of event time."""


class EventClock:
    """Shared by everything that needs to know the time or to be called later."""

    __slots__ = ("_heap", "_timers_made", "due_from", "now", "seq", "started")

    def __init__(self) -> None:
        self.now: Micros = 0
        self.started: Micros | None = None
        """The first moment of this core's clock, also across restarts: nothing was looked for before it."""
        self.seq = 0
        self._heap: list[_Timer] = []
        self._timers_made = 0
        self.due_from: Micros = NEVER
        """Nothing is due before this moment."""

    def next_seq(self) -> int:
        """Number of the next thing that enters working memory."""
        self.seq += 1
        return self.seq

    def move_to(self, at: Micros) -> None:
        """Set the clock; it never goes back."""
        if self.started is None:
            self.started = at
        self.now = max(self.now, at)

    def call_at(self, due: Micros, function: Callable[[Any], None], argument: Any) -> None:
        """Call `function(argument)` when the clock reaches `due`.

        There is no cancelling: who is called looks whether it still matters.
        """
        self._timers_made += 1
        heapq.heappush(self._heap, (due, self._timers_made, function, argument))
        self.due_from = min(self.due_from, due)

    @property
    def next_due(self) -> Micros | None:
        """When the next timer is due, None for never."""
        return self._heap[0][0] if self._heap else None

    @property
    def waiting(self) -> int:
        """Timers that wait for their moment."""
        return len(self._heap)

    def run_due(self) -> None:
        """Call everything that is due at this moment, in the order in which it was asked for."""
        heap = self._heap
        while heap and heap[0][0] <= self.now:
            _, _, function, argument = heapq.heappop(heap)
            function(argument)
        self.due_from = heap[0][0] if heap else NEVER
