"""Which row is sent next: the part of the outbox that is read, what is under way, and what the broker denied. Pure, no I/O.

- In order: at any moment the oldest row that may be sent is the next one.
- One row of a topic is under way at a time. Were there two, and the first one denied, the second would overtake it; tried again
  later, the first would then overwrite the newer state of a retained alert.
- A topic that was denied is put aside with all its rows. They are not kept in memory, but read again when its time has come; rows
  of other topics go on.
"""

import heapq
import itertools
from collections import deque
from collections.abc import Container, Mapping, Sequence

from engine.ports.broker import OutboxRow

_TOGETHER = 2
"""Losses with rows under way together before they are sent one by one."""
_ALONE = 2
"""Losses with one row alone before it is set aside."""


class Window:
    """Rows between the outbox and the broker. Moments are seconds of one monotonic clock."""

    def __init__(self, *, size: int, in_flight: int, held: Mapping[str, float] | None = None) -> None:
        """An empty one, of at most `size` rows, of which `in_flight` are under way; `held` are topics put aside already."""
        self.after = 0
        """Number of the last row read: go on reading after it."""
        self._size = size
        self._limit = in_flight
        self._waiting: dict[str, deque[OutboxRow]] = {}
        self._ready: list[tuple[int, str]] = []
        self._flying: dict[int, OutboxRow] = {}
        self._held = dict(sorted((held or {}).items(), key=lambda item: item[1]))
        self._known: set[int] = set()

    @property
    def room(self) -> int:
        """How many rows more may be read."""
        return self._size - len(self._known)

    @property
    def flying(self) -> int:
        """How many are under way."""
        return len(self._flying)

    @property
    def empty(self) -> bool:
        """Whether nothing waits and nothing is under way."""
        return not self._known

    @property
    def due(self) -> float | None:
        """When the first topic put aside is to be tried again; None when there is none."""
        return next(iter(self._held.values()), None)

    def add(self, rows: Sequence[OutboxRow], sent: Container[int] = ()) -> None:
        """Take rows that were read after `after`, in order; but those `sent` already, and those of topics put aside."""
        for row in rows:
            self.after = max(self.after, row.seq)
            if row.seq in self._known or row.seq in sent or row.topic in self._held:
                continue
            self._known.add(row.seq)
            queue = self._waiting.setdefault(row.topic, deque())
            queue.append(row)
            if len(queue) == 1:
                heapq.heappush(self._ready, (row.seq, row.topic))

    def next(self) -> OutboxRow | None:
        """The row to send now, which is then under way; None when there is none or enough are."""
        if not self._ready or len(self._flying) >= self._limit:
            return None
        seq, topic = heapq.heappop(self._ready)
        row = self._waiting[topic][0]
        self._flying[seq] = row
        return row

    def settled(self, seq: int) -> None:
        """The row is done with: the broker has it, or never will."""
        row = self._flying.pop(seq)
        self._known.discard(seq)
        queue = self._waiting[row.topic]
        queue.popleft()
        if queue:
            heapq.heappush(self._ready, (queue[0].seq, row.topic))
        else:
            del self._waiting[row.topic]

    def denied(self, seq: int, until: float) -> None:
        """The broker denies the row for now: its topic is put aside until that moment, which is never before an earlier one's."""
        topic = self._flying.pop(seq).topic
        self._known.difference_update(row.seq for row in self._waiting.pop(topic))
        self._held[topic] = until

    def release(self, now: float) -> tuple[str, ...]:
        """Try topics again whose time has come: the outbox is read from its beginning once more. Gives their names."""
        topics = tuple(topic for topic, _ in itertools.takewhile(lambda held: held[1] <= now, self._held.items()))
        for topic in topics:
            del self._held[topic]
        if topics:
            self.after = 0
        return topics


class PoisonMessageDetector:
    """Finds the row on which a broker closes the connection, so that it is set aside and does not stop all others.

    Brokers that deny a message or find it too large may answer so, or close the connection without a word (AWS IoT Core does;
    Mosquitto does with `message_size_limit`). Such a row, sent again first on the next connection, would end that too, and so on
    for ever.

    A broker handles what it gets in order, so the poison row is the oldest one unanswered. But any loss leaves rows unanswered.
    So a row is suspect when connections were lost right after it was sent, with nothing answered, several times in a row; the
    last times it was sent alone.
    """

    def __init__(self) -> None:
        self._losses = 0
        self._alone = 0
        self._last = 0

    @property
    def one_at_a_time(self) -> bool:
        """Whether rows are to be sent one by one."""
        return self._losses >= _TOGETHER

    def lost(self, unanswered: Sequence[OutboxRow], *, answered: int, soon: bool) -> OutboxRow | None:
        """A connection was lost.

        Args:
            unanswered: rows under way at that moment, oldest first.
            answered: rows of that connection that the broker had answered.
            soon: it was lost within moments after the oldest of `unanswered` was sent.

        Returns:
            The row that is to be set aside.
        """
        if answered or not unanswered or not soon:
            self._losses = self._alone = 0
            return None
        poison = unanswered[0]
        if not self.one_at_a_time or poison.seq != self._last:
            self._alone = 0
        if self.one_at_a_time and len(unanswered) == 1:
            self._alone += 1
        self._losses += 1
        self._last = poison.seq
        if self._alone < _ALONE:
            return None
        self._losses = self._alone = 0
        return poison
