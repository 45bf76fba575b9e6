"""Which containers to inspect next, and when. Pure.

Inspections show what lists and events do not: that a container is dead and why, that it could not start, its exit code where a
label could have forged it, its process id. Each costs a call, so they are bounded and the urgent ones come first.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from engine.facts.docker import Container

PER_ROUND = 16
"""Inspections in one round. With a round every 2 s and 1 ms each, that is under one percent of one of Docker's cores."""

REMOVING_S = 2.0
"""While a removal is under way nothing but inspecting shows when it has failed."""
DEAD_S = 30.0
"""Of a dead one only the error may change, with the next attempt."""
CREATED_S = (3.0, 15.0, 60.0, 300.0)
"""After a create without a start: `docker run` starts within a second, so one that is still created may have failed to start.
Asked four times and then left alone until an event reports it."""
ONCE_S = 5.0
"""Details that are only nice to have: once, when the container has had this time to settle."""


@dataclass(slots=True)
class _Watch:
    status: str
    began: float
    asked: int = 0
    last: float = float("-inf")


class Watchlist:
    """Remembers when each container was inspected. Times are seconds on any clock that does not go back."""

    def __init__(self) -> None:
        self._watches: dict[str, _Watch] = {}

    def due(self, containers: Iterable[Container], now: float, *, at_most: int = PER_ROUND) -> list[str]:
        """The ids to inspect now, the most urgent first; counts them as inspected. Forgets containers that are not there."""
        candidates: list[tuple[int, float, str]] = []
        kept: dict[str, _Watch] = {}
        for container in containers:
            watch = self._watches.get(container.id)
            if watch is None or watch.status != container.status:
                watch = _Watch(container.status, now)
            kept[container.id] = watch
            urgency = self._urgency(container, watch, now)
            if urgency is not None:
                candidates.append((urgency, watch.last, container.id))
        self._watches = kept
        chosen = [id_ for _, _, id_ in sorted(candidates)[:at_most]]
        for id_ in chosen:
            kept[id_].asked += 1
            kept[id_].last = now
        return chosen

    def _urgency(self, container: Container, watch: _Watch, now: float) -> int | None:
        """0 is the most urgent; None when there is nothing to ask for now."""
        since = now - watch.last
        age = now - watch.began
        match container.status:
            case "removing":
                return 0 if since >= REMOVING_S * 0.9 else None
            case "dead":
                return 1 if watch.asked == 0 or since >= DEAD_S else None
            case "created":
                due = watch.asked < len(CREATED_S) and age >= CREATED_S[watch.asked]
                return 2 if due else None
            case "exited":
                unknown = container.exit_code is None or container.image.startswith("sha256:")
                return 3 if unknown and watch.asked == 0 and age >= ONCE_S else None
            case _:
                unknown = container.pid is None or container.image.startswith("sha256:")
                return 4 if unknown and watch.asked == 0 and age >= ONCE_S else None
