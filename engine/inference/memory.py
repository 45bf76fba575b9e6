"""Working memory: the facts that are so. One item for each identity; facts leave when their time is over."""

from collections.abc import Iterator

from engine.errors import BadFactError
from engine.facts import Fact, FactKinds, Retraction
from engine.facts.timestamps import SECOND, Micros
from engine.inference.change_log import ChangeLog, encode
from engine.inference.items import FactItem, Identity


class WorkingMemory:
    """Items by identity."""

    def __init__(self, changes: ChangeLog) -> None:
        self._changes = changes
        self._items: dict[Identity, FactItem] = {}

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[FactItem]:
        return iter(self._items.values())

    def get(self, identity: Identity) -> FactItem | None:
        """The item of this identity, None when there is none."""
        return self._items.get(identity)

    def add(self, item: FactItem) -> None:
        """Hold an item from now on."""
        self._items[item.identity] = item

    def discard(self, item: FactItem) -> None:
        """Hold it no longer."""
        self._items.pop(item.identity, None)
        if self._changes.enabled:
            self._changes.delete("fact", encode(item.identity))

    def save(self, item: FactItem) -> None:
        """Have the journal write a fact."""
        if self._changes.enabled:
            self._changes.put("fact", encode(item.identity), item.to_json)


def expiry(fact: Fact) -> Micros | None:
    """When a fact's time is over, None for never."""
    lifetime = fact.lifetime_s
    return None if lifetime is None else fact.at_micros + round(lifetime * SECOND)


def retracted_identity(retraction: Retraction, kinds: FactKinds) -> Identity:
    """Identity of the state fact that a retraction takes back.

    Raises:
        BadFactError: the kind is no state, or the key has not as many parts as the kind's key.
    """
    model = kinds.model(retraction.retract)
    if model is None or model.KEY is None:
        raise BadFactError(f"retract: {retraction.retract!r} is no state fact that a source tells")
    parts = retraction.key.split("|", len(model.KEY) - 1) if model.KEY else []
    if len(parts) != len(model.KEY):
        raise BadFactError(f"retract {model.KIND}: the key is {' | '.join(model.KEY)}")
    return (model.KIND, *parts)
