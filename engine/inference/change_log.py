"""What the core wants the journal to hold so that it can go on after a restart: entries by section and key, as JSON text.

Sections: `clock` (now, first moment, numbering), `fact` (working memory), `window` (what is counted), `count` (counts that are
reached), `seen` (when something was last seen), `match` (since when it holds, what it fired and supports), `alert` (which fire,
how often). Entries are made only when they are drained: a fact that comes and goes between two drains costs nothing.
"""

import json
from collections.abc import Callable
from json.encoder import encode_basestring
from typing import Any

from engine.inference.decision import Changes

Address = tuple[str, str]
"""Section and key of an entry."""


class ChangeLog:
    """Collects changes between two drains. One that is not `enabled` collects nothing: replay and rule tests need none."""

    __slots__ = ("_deletes", "_puts", "enabled")

    def __init__(self, *, enabled: bool) -> None:
        self.enabled = enabled
        self._puts: dict[Address, Callable[[], Any]] = {}
        self._deletes: dict[Address, None] = {}

    def put(self, section: str, key: str, content: Callable[[], Any]) -> None:
        """Write this entry; `content` is asked for its JSON value when changes are drained."""
        if self.enabled:
            self._puts[section, key] = content
            self._deletes.pop((section, key), None)

    def delete(self, section: str, key: str) -> None:
        """Delete this entry."""
        if self.enabled:
            self._puts.pop((section, key), None)
            self._deletes[section, key] = None

    def drain(self) -> Changes:
        """What changed since the last call."""
        changes = Changes({address: text_of(content()) for address, content in self._puts.items()}, self._deletes)
        self._puts = {}
        self._deletes = {}
        return changes


class Encoded(str):
    """JSON text already, the same that `encode` would give: of what is written thousands of times in one form."""

    __slots__ = ()


def text_of(content: Any) -> str:
    """The content of an entry as it is written."""
    return content if type(content) is Encoded else encode(content)


_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True)
"""Made once: `json.dumps` with options makes one for each call, which is half of its time."""


def encode_text(text: str) -> str:
    """The same of a text alone, in a fifth of the time."""
    return encode_basestring(text)


def encode(value: Any) -> str:
    """Compact JSON, the same text for the same value."""
    return _ENCODER.encode(value)
