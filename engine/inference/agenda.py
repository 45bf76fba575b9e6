"""Which match fires next: higher priority first, then file and place in the file, then the order in which its facts entered."""

import heapq
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.inference.matches import Match, RuleNode

_Place = tuple[int, tuple[int, int], tuple[int, ...], int]


class Agenda:
    """Matches that may fire. A match is on it at most once."""

    def __init__(self) -> None:
        self._heap: list[tuple[_Place, Match]] = []
        self._pushed = 0

    def __bool__(self) -> bool:
        return bool(self._heap)

    def push(self, match: "Match") -> None:
        """The match may fire; whether it does is looked at when its turn comes."""
        if match.queued:
            return
        match.queued = True
        self._pushed += 1
        rule = match.node.rule
        heapq.heappush(self._heap, ((-rule.priority, rule.order, match.order, self._pushed), match))

    def pop(self) -> "Match | None":
        """The next one, None when there is none."""
        if not self._heap:
            return None
        _, match = heapq.heappop(self._heap)
        match.queued = False
        return match

    def unblock(self, node: "RuleNode") -> None:
        """What held this rule's matches back may be over."""
        for match in node.blocked:
            self.push(match)
        node.blocked.clear()
