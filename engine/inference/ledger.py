"""What the core wants kept so that it can go on after a restart: entries by section and key, as JSON text.

Sections: `clock` (now, first moment, numbering), `fact` (working memory), `window` (what is counted), `count` (counts that hold),
`seen` (when something was last seen), `match` (since when it holds, what it fired and supports), `alert` (which fire, how often).
Entries are made only when they are drained: a fact that comes and goes between two drains costs nothing.
"""

import json
from collections.abc import Callable
from typing import Any

from engine.inference.decision import Changes


class Ledger:
    """Collects changes between two drains. One that is not `kept` collects nothing: replay and rule tests need none."""

    __slots__ = ("_deletes", "_puts", "kept")

    def __init__(self, *, kept: bool) -> None:
        self.kept = kept
        self._puts: dict[tuple[str, str], Callable[[], Any]] = {}
        self._deletes: set[tuple[str, str]] = set()

    def put(self, section: str, key: str, content: Callable[[], Any]) -> None:
        """Keep this entry; `content` is asked for its JSON value when changes are drained."""
        if self.kept:
            self._puts[section, key] = content
            self._deletes.discard((section, key))

    def delete(self, section: str, key: str) -> None:
        """Forget this entry."""
        if self.kept:
            self._puts.pop((section, key), None)
            self._deletes.add((section, key))

    def drain(self) -> Changes:
        """What changed since the last call."""
        changes = Changes({address: encode(content()) for address, content in self._puts.items()}, self._deletes)
        self._puts = {}
        self._deletes = set()
        return changes


def encode(value: Any) -> str:
    """Compact JSON, the same text for the same value."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
