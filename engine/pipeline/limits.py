"""Rates, caps and breakers. Sans-I/O: the time is handed in, in seconds of any clock that does not go back."""

from collections import deque
from collections.abc import Iterable

HOUR_S = 3600.0

_TOLD_TOGETHER_S = 60.0


class Pace:
    """At most so many in so long, evenly: each caller is told when its turn is. No burst beyond one."""

    def __init__(self, count: float, per_s: float) -> None:
        self.count = count
        self.per_s = per_s
        self._gap = per_s / count
        self._next = float("-inf")

    def turn(self, now: float) -> float:
        """When the next one may go; its place is taken."""
        turn = max(now, self._next)
        self._next = turn + self._gap
        return turn

    def left_s(self, now: float) -> float:
        """Seconds until the next turn, for the journal: at most one gap, as turns only promised are given anew."""
        return min(max(0.0, self._next - now), self._gap)

    def restore(self, left_s: float, now: float) -> None:
        """Go on from there."""
        self._next = now + min(max(0.0, left_s), self._gap)


class HourlyCap:
    """At most so many in any hour."""

    def __init__(self, cap: int) -> None:
        self._cap = cap
        self._taken: deque[float] = deque()

    def free_at(self, now: float) -> float:
        """When another one may go: now, or when the oldest of the last hour is an hour old."""
        while self._taken and self._taken[0] <= now - HOUR_S:
            self._taken.popleft()
        return now if len(self._taken) < self._cap else self._taken[0] + HOUR_S

    def take(self, now: float) -> None:
        """One goes."""
        self._taken.append(now)

    def ages(self, now: float) -> list[tuple[float, int]]:
        """For the journal: how many seconds ago, and how many; those of a minute are told together, as the newest of them."""
        told: list[tuple[float, int]] = []
        first = 0.0
        for at in self._taken:
            age = now - at
            if told and first - age < _TOLD_TOGETHER_S:
                told[-1] = (age, told[-1][1] + 1)
            elif age < HOUR_S:
                told.append((age, 1))
                first = age
        return told

    def restore(self, ages: Iterable[tuple[float, int]], now: float) -> None:
        """Go on from there. A time that is not known any more counts as now."""
        left = self._cap
        for age, count in sorted(ages, reverse=True):
            if age < HOUR_S:
                self._taken.extend([now - max(0.0, age)] * min(count, left))
                left -= min(count, left)


class Away:
    """Holds an action back while Docker does not answer: the pause doubles with each attempt that finds it so, up to a bound."""

    def __init__(self, first_s: float = 2.0, most_s: float = 30.0) -> None:
        self._first_s = first_s
        self._most_s = most_s
        self._found = 0
        self._until = float("-inf")

    def free_at(self, now: float) -> float:
        """When an attempt may go."""
        return max(now, self._until)

    def found(self, now: float, jitter: float) -> None:
        """An attempt found Docker away; `jitter` in [0, 1]: up to a fifth longer. One pause for all that end in it."""
        if now >= self._until:
            self._until = now + min(self._first_s * 2.0 ** min(self._found, 16), self._most_s) * (1 + jitter / 5)
            self._found += 1

    def answered(self) -> None:
        """Docker is back."""
        self._found = 0
        self._until = float("-inf")


class Breaker:
    """Stops an action that keeps failing across targets; after a pause lets one attempt through, and closes when that succeeds.

    One target that cannot be repaired is not the action's fault: failures count by target, once each, and a success clears them.
    """

    def __init__(self, failures: int, pause_s: float) -> None:
        self._failures = failures
        self._pause_s = pause_s
        self._failed: dict[str, None] = {}
        self._closed_again_at: float | None = None
        self._probing = False

    @property
    def is_open(self) -> bool:
        """Whether the action is stopped."""
        return self._closed_again_at is not None

    def free_at(self, now: float) -> float:
        """When an attempt may go."""
        if self._closed_again_at is None:
            return now
        if self._probing:
            return now + self._pause_s
        return max(now, self._closed_again_at)

    def start(self) -> None:
        """An attempt goes; while the breaker is open it is the one that probes."""
        self._probing = self._closed_again_at is not None

    def finish(self, target: str, *, ok: bool, now: float) -> bool:
        """An attempt has ended. True when that opened or closed the breaker."""
        was_open = self.is_open
        self._probing = False
        if ok:
            self._failed.clear()
            self._closed_again_at = None
            return was_open
        if not was_open:
            self._failed[target] = None
        if len(self._failed) >= self._failures or was_open:
            self._closed_again_at = now + self._pause_s
        return self.is_open is not was_open

    def state(self, now: float) -> tuple[list[str], float | None]:
        """For the journal: the targets that failed, and seconds until one is let through; None while it is closed."""
        return list(self._failed), None if self._closed_again_at is None else max(0.0, self._closed_again_at - now)

    def restore(self, failed: Iterable[str], left_s: float | None, now: float) -> None:
        """Go on from there."""
        self._failed = dict.fromkeys(list(failed)[: self._failures])
        self._closed_again_at = None if left_s is None else now + min(max(0.0, left_s), self._pause_s)

    def abstain(self) -> None:
        """An attempt has ended that says nothing about the action; if it was the one that probes, another one may."""
        self._probing = False
