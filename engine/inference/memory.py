"""Working memory: the facts that are so. One item an identity; they leave when their time is over, or for want of room."""

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from heapq import nsmallest
from itertools import islice
from typing import Any

from engine.errors import BadFactError
from engine.facts import FactKinds, Retraction
from engine.facts.docker import ContainerEvent
from engine.facts.timestamps import SECOND, Micros
from engine.inference.change_log import ChangeLog
from engine.inference.clock import NEVER
from engine.inference.items import FactItem, Identity

_PAIR = 2
"""Most identities are a kind and one key."""

_STALE = 1_024
"""Entries of the wheel that may be of items that are gone, beside as many as there are items, before it is looked through."""


class ExpiryWheel:
    """Items by the second in which their time is over: eight bytes for each, where a timer takes two hundred.

    Entries are not cancelled: who takes them out looks whether they still matter, and makes another wheel when many do not.
    """

    __slots__ = ("_first", "_made", "_seconds", "_spokes", "due_from", "size")

    def __init__(self) -> None:
        self._spokes: dict[int, list[FactItem]] = {}
        self._seconds: list[int] = []
        """The same seconds, as a heap."""
        self._first: list[tuple[Micros, int, FactItem]] = []
        """What is over in the earliest second, as a heap: only there the microsecond matters."""
        self._made = 0
        self.due_from: Micros = NEVER
        """Nothing is over before this moment."""
        self.size = 0

    def add(self, due: Micros, item: FactItem) -> None:
        """The item's time is over at `due`."""
        self.size += 1
        second = due // SECOND
        spoke = self._spokes.get(second)
        if spoke is None:
            spoke = self._spokes[second] = []
            heapq.heappush(self._seconds, second)
        spoke.append(item)
        self.due_from = min(self.due_from, due)

    @property
    def next_due(self) -> Micros | None:
        """When the next item's time is over, None for never."""
        self._open()
        return self._first[0][0] if self._first else None

    def pop_due(self, now: Micros) -> Iterator[FactItem]:
        """What is over by now, in the order of time."""
        while self.due_from <= now:
            self._open()
            if not self._first or self._first[0][0] > now:
                break
            self.size -= 1
            yield heapq.heappop(self._first)[2]
        self._open()

    def _open(self) -> None:
        """Make `_first` hold all of the earliest second, exactly."""
        while self._seconds and (not self._first or self._seconds[0] * SECOND <= self._first[0][0]):
            second = heapq.heappop(self._seconds)
            for item in self._spokes.pop(second):
                due = item.expires
                if due is None or due // SECOND != second:  # it has another fact by now, and another entry
                    self.size -= 1
                    continue
                self._made += 1
                heapq.heappush(self._first, (due, self._made, item))
        self.due_from = self._first[0][0] if self._first else NEVER


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many events working memory holds at most; beyond that the oldest go, and are counted. States are not bounded."""

    per_kind: int = 20_000
    """One noisy source (a kernel log in a storm) leaves room for all others: half of the whole."""
    per_container: int = 2_000
    """One container that is killed again and again leaves room for all others: more than a day of one kill a minute."""
    total: int = 40_000
    """With what matches and alerts take beside a fact (2 to 4 kB), within the 256 MiB that the unit allows."""


class WorkingMemory:
    """Items by kind and key, events within bounds."""

    def __init__(self, changes: ChangeLog, bounds: Bounds | None = None) -> None:
        self._changes = changes
        self._bounds = bounds or Bounds()
        self._kinds: dict[str, dict[Any, FactItem]] = {}
        self._size = 0
        self._events: dict[str, int] = {}
        """Events by kind."""
        self._containers: dict[str, int] = {}
        """Events by container."""
        self._wheel = ExpiryWheel()
        self.dropped: dict[tuple[str, str], int] = {}
        """Events that went for want of room since the start, by kind and by the bound that was hit."""

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[FactItem]:
        for items in self._kinds.values():
            yield from items.values()

    def of_kind(self, kind: str) -> Iterable[FactItem]:
        """All items of one kind, in the order in which they entered."""
        return self._kinds.get(kind, {}).values()

    def get(self, identity: Identity) -> FactItem | None:
        """The item of this identity, None when there is none."""
        items = self._kinds.get(identity[0])
        return None if items is None else items.get(identity[1] if len(identity) == _PAIR else identity[1:])

    def add(self, item: FactItem) -> None:
        """Hold an item from now on."""
        identity = item.identity
        kind = identity[0]
        items = self._kinds.get(kind)
        if items is None:
            items = self._kinds[kind] = {}
        items[identity[1] if len(identity) == _PAIR else identity[1:]] = item
        self._size += 1
        if item.is_event:
            self._events[kind] = self._events.get(kind, 0) + 1
            container = _container_of(item)
            if container:
                self._containers[container] = self._containers.get(container, 0) + 1
        due = item.expires
        if due is not None:
            self.expire_at(due, item)

    def discard(self, item: FactItem) -> None:
        """Hold it no longer."""
        identity = item.identity
        kind = identity[0]
        if self._kinds[kind].pop(identity[1] if len(identity) == _PAIR else identity[1:], None) is None:
            return
        self._size -= 1
        if item.is_event:
            self._events[kind] -= 1
            container = _container_of(item)
            if container:
                left = self._containers[container] - 1
                if left:
                    self._containers[container] = left
                else:
                    del self._containers[container]
        if self._changes.enabled:
            self._changes.delete("fact", item.row)

    def save(self, item: FactItem) -> None:
        """Have the journal write a fact."""
        if self._changes.enabled:
            self._changes.put("fact", item.row, item.to_json)

    # -- expiry ---------------------------------------------------------------------------------------------------------

    @property
    def due_from(self) -> Micros:
        """No fact's time is over before this moment."""
        return self._wheel.due_from

    @property
    def waiting(self) -> int:
        """Entries that wait for their moment, of items that are gone too."""
        return self._wheel.size

    @property
    def next_expiry(self) -> Micros | None:
        """When the time of a fact is over next, None for never."""
        return self._wheel.next_due

    def expire_at(self, due: Micros, newest: FactItem) -> None:
        """The item's time is over at `due`, unless it has another fact by then."""
        self._wheel.add(due, newest)
        if self._wheel.size > 2 * self._size + _STALE:
            self._wheel = ExpiryWheel()
            for item in self:
                over = item.expires
                if over is not None:
                    self._wheel.add(over, item)

    def expired(self, now: Micros) -> Iterator[FactItem]:
        """Items whose time is over by now, in the order of time. They are still held: whoever asks removes them."""
        for item in self._wheel.pop_due(now):
            due = item.expires
            if due is not None and due <= now and self.get(item.identity) is item:
                yield item

    # -- bounds ---------------------------------------------------------------------------------------------------------

    def overfull(self, newest: FactItem) -> list[FactItem]:
        """After an event entered: the oldest ones that have to go, counted; nearly always none.

        A share of a bound goes at once, so that looking for the oldest costs little for each of them.
        """
        bounds, kind, container = self._bounds, newest.fact.KIND, _container_of(newest)
        if self._events[kind] > bounds.per_kind:
            gone = list(islice(self.of_kind(kind), _share(bounds.per_kind)))
            bound = "per_kind"
        elif container and self._containers[container] > bounds.per_container:
            its = (
                item for kind in self._events for item in self.of_kind(kind) if item.is_event and _container_of(item) == container
            )
            gone = nsmallest(_share(bounds.per_container), its, key=_seq)
            bound = "per_container"
        elif sum(self._events.values()) > bounds.total:
            events = (item for kind in self._events for item in islice(self.of_kind(kind), _share(bounds.total)))
            gone = nsmallest(_share(bounds.total), events, key=_seq)
            bound = "total"
        else:
            return []
        for item in gone:
            address = (item.fact.KIND, bound)
            self.dropped[address] = self.dropped.get(address, 0) + 1
        return gone


def _share(bound: int) -> int:
    return max(1, bound // 16)


def _seq(item: FactItem) -> int:
    return item.seq


def _container_of(item: FactItem) -> str:
    values = item.fact.__dict__
    container = values.get("container_id")
    if container is None and item.fact.KIND == ContainerEvent.KIND:
        container = values.get("id")
    return container or ""


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
