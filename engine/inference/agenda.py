"""Which match fires next: higher priority first, then file and place in the file, then the order in which its facts entered."""

import heapq
from collections.abc import Iterable

from engine.inference.match import Match

_Key = tuple[int, tuple[int, int], tuple[int, ...], int]


class Agenda:
    """Matches that may fire. A match is on it at most once."""

    def __init__(self) -> None:
        self.waiting: list[tuple[_Key, Match]] = []
        self._pushed = 0

    def __bool__(self) -> bool:
        return bool(self.waiting)

    def push(self, match: Match) -> None:
        """The match may fire; whether it does is looked at when its turn comes."""
        if match.queued:
            return
        match.queued = True
        self._pushed += 1
        rule = match.rule
        heapq.heappush(self.waiting, ((-rule.priority, rule.order, match.order, self._pushed), match))

    def push_all(self, matches: Iterable[Match]) -> None:
        """Each of them may fire."""
        for match in matches:
            self.push(match)

    def pop(self) -> Match | None:
        """The next one, None when there is none."""
        if not self.waiting:
            return None
        _, match = heapq.heappop(self.waiting)
        match.queued = False
        return match
