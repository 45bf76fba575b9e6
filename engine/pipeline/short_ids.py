"""Full container ids for the short ones that logs name: rules join on ids, and a short one equals no other."""

import re
from collections import OrderedDict

from engine.facts.timestamps import SECOND, Micros
from engine.inference.memory import WorkingMemory

_SHORT = re.compile(r"[0-9a-f]{12,63}\Z")
"""Docker shows twelve digits (pkg/stringid.TruncateID); some lines cut elsewhere. Fewer digits name nothing for sure."""

REMEMBERED = 1_000
"""Short ids whose meaning is remembered: looking one up goes through all containers."""

UNKNOWN_FOR: Micros = SECOND
"""A short id that named no container is not looked up again for so long: a storm of lines about it costs one look."""


class ShortIds:
    """What short ids stand for, as far as working memory tells."""

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
