"""Finds the row on which a broker closes the connection, and sets it aside, so that it does not stop all others. Pure.

Brokers that deny a message or find it too large may say so in the acknowledgement, or close the connection without a word (AWS
IoT Core does; Mosquitto does with `message_size_limit`). Such a row, sent again first on the next connection, would end that too,
and so on for ever.

A broker handles what it gets in order, so the poison row is the oldest one unanswered. But any loss leaves rows unanswered. So: a
row is suspect when connections were lost right after it was sent, with nothing answered, several times in a row; the last times
it was sent alone.
"""

from collections.abc import Sequence

from engine.ports.broker import OutboxRow

_TOGETHER = 2
"""Losses with rows under way together before they are sent one by one."""
_ALONE = 2
"""Losses with one row alone before it is set aside."""


class PoisonMessageDetector:
    """What is remembered of the last connections."""

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
