"""Rows from the outbox over one link, until it is lost. `connectors.mqtt.window` decides which row is next."""

import asyncio
from collections import deque
from collections.abc import Mapping
from functools import partial
from typing import NoReturn

import structlog

from connectors.mqtt.link import Link
from connectors.mqtt.reason_codes import Acknowledgement
from connectors.mqtt.settings import BrokerSettings
from connectors.mqtt.timing import Alarm
from connectors.mqtt.window import Window
from engine.errors import BrokerError, JournalError
from engine.ports.broker import LinkState, Outbox, OutboxRow
from engine.ports.clock import Clock

_log = structlog.get_logger(__name__)

_READ_AHEAD = 15
"""Rows read ahead, as a multiple of those under way: enough that the broker never waits for the disk."""
_LET_GO = 250
"""Rows that the outbox lets go of at a time, while others are under way."""
_JOURNAL_PAUSE_S = 2.0
"""Pause after the journal refused (a full disk)."""


class Drain:
    """The work of one connection."""

    def __init__(
        self,
        link: Link,
        outbox: Outbox,
        settings: BrokerSettings,
        state: LinkState,
        undone: set[int],
        *,
        held: Mapping[str, float],
        one_at_a_time: bool,
        clock: Clock,
    ) -> None:
        """Nothing is read yet.

        Args:
            link: a fresh connection.
            outbox: what is to be sent.
            settings: times and bounds.
            state: to count in.
            undone: numbers of rows that the broker has and the outbox still holds, the journal having refused; outlives the link.
            held: topics that were set aside, and until when (monotonic).
            one_at_a_time: have one row under way at a time.
            clock: for pauses and time-outs.
        """
        self._link = link
        self._outbox = outbox
        self._settings = settings
        self._state = state
        self._undone = undone
        self._in_flight = 1 if one_at_a_time else min(settings.in_flight, link.in_flight)
        self._size = self._in_flight * _READ_AHEAD
        self._window = Window(size=self._size, in_flight=self._in_flight, held=held)
        self.answered = 0
        """Rows that the broker answered on this link."""
        self._sent: dict[int, tuple[OutboxRow, float]] = {}
        self._wake = asyncio.Event()
        self._answers: deque[tuple[OutboxRow, Acknowledgement]] = deque()
        self._arrival: asyncio.Task[None] | None = None
        self._reading: asyncio.Task[None] | None = None
        self._letting_go: asyncio.Task[None] | None = None
        self._read_all = False
        self._journal_error = ""
        self._read_again = 0.0
        self._done_again = 0.0
        self._now = clock.monotonic
        self._alarm = Alarm(clock, self._wake.set)
        self.caught_up = asyncio.Event()
        """Set while nothing waits but what the broker denies."""

    @property
    def unanswered(self) -> tuple[OutboxRow, ...]:
        """Rows under way, oldest first."""
        return tuple(row for row, _ in self._sent.values())

    @property
    def oldest(self) -> float | None:
        """When the oldest row under way was sent."""
        return next((moment for _, moment in self._sent.values()), None)

    async def run(self) -> NoReturn:
        """Send until cancelled.

        Raises:
            BrokerError: an acknowledgement did not come in time.
        """
        try:
            while True:
                await self._settle()
                self._send()
                self._read()
                self._let_go()
                await self._rest()
        finally:
            self._alarm.stop()
            calls = [call for call in (self._arrival, self._reading, self._letting_go) if call is not None]
            for call in calls:
                call.cancel()
            if calls:
                await asyncio.wait(calls)

    def _send(self) -> None:
        while (row := self._window.next()) is not None:
            self._sent[row.seq] = (row, self._now())
            self._link.post(row, partial(self._answered, row))

    def _answered(self, row: OutboxRow, answer: Acknowledgement) -> None:
        """The broker answered; if the connection was lost instead, the link reports that by itself."""
        del self._sent[row.seq]
        self.answered += 1
        if answer.verdict != "taken":
            self._answers.append((row, answer))
            self._wake.set()
            return
        # At once and not in the task: the next row goes out with the next packet, and the task wakes for the journal alone.
        self._window.settled(row.seq)
        self._state.published += 1
        self._state.note_denied(row.topic, None)
        self._undone.add(row.seq)
        self._send()
        if self._wants_rows or self._undone_are_due:
            self._wake.set()

    async def _settle(self) -> None:
        """Deal with what the broker denied or can never take."""
        while self._answers:
            row, answer = self._answers.popleft()
            if answer.verdict == "denied":
                self._deny(row, answer.reason)
                continue
            self._window.settled(row.seq)
            self._state.refused += 1
            _log.error("mqtt_message_refused", topic=row.topic, reason=answer.reason)
            try:
                await self._outbox.refused(row.seq, answer.reason)
            except JournalError as error:
                self._undone.add(row.seq)
                self._done_again = self._again(error)

    # -- letting go ---------------------------------------------------------------------------------------------------

    @property
    def _undone_are_due(self) -> bool:
        """Many at a time while the broker is busy, the last ones at once: a crash in between repeats them, no more."""
        return len(self._undone) >= _LET_GO or not self._window.flying

    def _let_go(self) -> None:
        """Have the outbox let go of what the broker took, while the next rows are under way."""
        if self._undone and self._letting_go is None and self._undone_are_due and self._now() >= self._done_again:
            self._letting_go = asyncio.create_task(self._done(list(self._undone)), name="mqtt-outbox-done")

    async def _done(self, seqs: list[int]) -> None:
        try:
            await self._outbox.done(seqs)
        except JournalError as error:
            self._done_again = self._again(error)
        else:
            self._undone.difference_update(seqs)
        finally:
            self._letting_go = None
            self._wake.set()

    def _deny(self, row: OutboxRow, reason: str) -> None:
        """The row stays; its topic waits."""
        self._state.denied += 1
        if row.topic not in self._state.denied_topics:
            _log.warning(
                "mqtt_topic_denied",
                topic=row.topic,
                reason=reason,
                again_in_s=self._settings.denied_retry_s,
            )
        self._state.note_denied(row.topic, reason)
        self._window.denied(row.seq, self._now() + self._settings.denied_retry_s)

    # -- reading ------------------------------------------------------------------------------------------------------

    @property
    def _wants_rows(self) -> bool:
        """Room for a good part, something to read, and nobody reading."""
        return not self._read_all and self._reading is None and self._window.room * 2 >= self._size

    def _read(self) -> None:
        """Read ahead, while rows are under way."""
        if self._window.release(self._now()):
            self._read_all = False
        if self._arrival is not None and self._arrival.done():
            self._arrived(self._arrival)
            self._arrival = None
        if self._wants_rows and self._now() >= self._read_again:
            self._reading = asyncio.create_task(self._batch(self._window.room), name="mqtt-outbox-read")
        if self._read_all and self._arrival is None:
            self._arrival = asyncio.create_task(self._outbox.wait(after=self._window.after), name="mqtt-outbox-wait")
            self._arrival.add_done_callback(lambda _: self._wake.set())

    async def _batch(self, limit: int) -> None:
        after = self._window.after
        try:
            rows = await self._outbox.batch(limit, after=after)
        except JournalError as error:
            self._read_again = self._again(error)
        else:
            if self._window.after == after:  # else a topic was released meanwhile: it is read from the beginning
                self._window.add(rows, self._undone)
                self._read_all = len(rows) < limit
                if not self._window.empty:
                    self.caught_up.clear()
        finally:
            self._reading = None
            self._wake.set()

    def _arrived(self, arrival: asyncio.Task[None]) -> None:
        try:
            arrival.result()
        except JournalError as error:
            self._read_again = self._again(error)
        self._read_all = False

    def _again(self, error: JournalError) -> float:
        """When to ask the journal again. The error is logged once, not every other second while a disk is full."""
        if str(error) != self._journal_error:
            self._journal_error = str(error)
            _log.warning("mqtt_outbox_unavailable", error=str(error))
        return self._now() + _JOURNAL_PAUSE_S

    async def _rest(self) -> None:
        """Until the broker answers, a row comes, a topic is due, the journal is to be tried again, or an answer is overdue."""
        now = self._now()
        moments = [] if self._window.due is None else [self._window.due]
        if self.oldest is not None:
            overdue = self.oldest + self._settings.ack_timeout_s
            if overdue <= now:
                raise BrokerError(f"{self._settings.where}: no acknowledgement within {self._settings.ack_timeout_s:g} s")
            moments.append(overdue)
        moments += [moment for moment in (self._read_again, self._done_again) if moment > now]
        if moments:
            self._alarm.set(min(moments))
        if self._read_all and self._window.empty and not self._answers and not self._undone:
            self.caught_up.set()
        await self._wake.wait()
        self._wake.clear()
