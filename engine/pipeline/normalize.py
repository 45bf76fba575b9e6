"""What is set right in a fact before the core takes it: short container ids, and times ahead of the clock. Sans-I/O."""

import re
from collections import Counter, OrderedDict
from typing import Any

from engine.facts import Fact, Retraction
from engine.facts.logs import LogFact
from engine.facts.timestamps import SECOND, Micros, from_micros
from engine.inference.memory import WorkingMemory

MAX_CLOCK_SKEW: Micros = 5 * SECOND
"""A fact from further in the future than this has a wrong clock: it would make the core wait for nothing, and is set to now."""

_SHORT = re.compile(r"[0-9a-f]{12,63}\Z")
"""Docker shows twelve digits (pkg/stringid.TruncateID); some lines cut elsewhere. Fewer digits name nothing for sure."""

REMEMBERED = 1_000
"""Short ids whose meaning is remembered: looking one up goes through all containers."""

UNKNOWN_FOR: Micros = SECOND
"""A short id that named no container is not looked up again for so long: a storm of lines about it costs one look."""


class Normalizer:
    """Sets facts right, and counts those whose clock was wrong."""

    def __init__(self, counters: Counter[str]) -> None:
        self._counters = counters
        self._short_ids = ShortIds()

    def normalize(self, fact: Fact | Retraction, memory: WorkingMemory, now: Micros) -> Fact | Retraction:
        """The fact as the core is to take it."""
        update: dict[str, Any] = {}
        if fact.at_micros > now + MAX_CLOCK_SKEW:
            update["at"] = from_micros(now)
            self._counters["facts_from_the_future"] += 1
        if isinstance(fact, LogFact) and fact.container_id:
            full = self._short_ids.full(fact.container_id, memory, now)
            if full is not None:
                update["container_id"] = full
        if not update:
            return fact
        fact = fact.model_copy(update=update)
        fact.__dict__.pop("at_micros", None)  # cached of the time before
        return fact


class ShortIds:
    """Full container ids for the short ones that logs name: rules join on ids, and a short one equals no other."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, tuple[str | None, Micros]] = OrderedDict()

    def full(self, container: str, memory: WorkingMemory, now: Micros) -> str | None:
        """The full id; None when it is full already, is no id, or when no container or more than one begins with it."""
        if not _SHORT.match(container):
            return None
        found, looked_at = self._known.get(container, (None, None))
        if found is not None and memory.get(("container", found)) is not None:
            return found
        if found is None and looked_at is not None and 0 <= now - looked_at < UNKNOWN_FOR:
            return None
        fitting = [
            item.identity[1] for item in memory if item.identity[0] == "container" and item.identity[1].startswith(container)
        ]
        full = fitting[0] if len(fitting) == 1 else None
        self._known[container] = (full, now)
        self._known.move_to_end(container)
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return full
