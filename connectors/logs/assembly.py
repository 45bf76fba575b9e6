"""Lines in, facts with ids out: what every log source does with a line, whatever it was read from.

The assembler that recognises lines is handed in; this module knows no wording. It adds what only the source knows:
its name, and ids that are the same when the same lines are read again, so that reading on from a little too early after a
restart emits nothing twice.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Generic, Protocol, TypeVar

from engine.facts import Fact

REPORT_WAIT = timedelta(milliseconds=500)
"""How long the log must have been silent before a report under way counts as complete. The kernel prints an OOM report within
milliseconds; half a second covers a slow serial console (115,200 baud writes 40 lines in about 0.3 s) and is soon enough."""

Mark = TypeVar("Mark")
"""Where a line stands in its log. Ids and cursors are made from it, by the source."""


class LineAssembler(Protocol):
    """What recognises lines; `engine.logparse.ReportAssembler` fulfils it."""

    @property
    def pending_since(self) -> datetime | None:
        """Time of the first line of the report under way, None when there is none."""

    def pick(self, lines: Sequence[bytes]) -> Iterable[int]:
        """Numbers of the lines to feed, each before the next one is asked for; the others would bring nothing."""

    def feed(self, line: str, received_at: datetime) -> list[Fact]:
        """The facts that this line completes."""

    def flush(self, now: datetime) -> list[Fact]:
        """The facts of a report that nothing follows."""


class Assembly(Generic[Mark]):
    """An assembler with ids.

    A fact that one line makes is named after that line; one of a report, after the report's first line. Further facts of the
    same line get `-2`, `-3`.
    """

    def __init__(self, assembler: LineAssembler, *, source: str, name_of: Callable[[Mark], str]) -> None:
        self._assembler = assembler
        self._source = source
        self._name_of = name_of
        self._held: Mark | None = None
        self._held_since: datetime | None = None
        self._last_at: datetime | None = None
        self._last_name = ""
        self._repeats = 0

    @property
    def held(self) -> Mark | None:
        """First line of the report under way: a cursor must not go beyond it, or a restart would lose the report."""
        return self._held

    def pick(self, lines: Sequence[bytes]) -> Iterable[int]:
        """Numbers of the lines to feed, in order, each before the next one is asked for."""
        return self._assembler.pick(lines)

    def feed(self, line: str, at: datetime, mark: Mark) -> list[Fact]:
        """The facts that this line completes. `at` is the line's own time where the log knows it, else when it was read."""
        found = self._assembler.feed(line, at)
        if not found and self._held is None and self._assembler.pending_since is None:
            return found  # nearly every line
        facts = self._stamp(found, mark)
        self._note_pending(mark)
        self._last_at = at
        return facts

    def flush(self, now: datetime) -> list[Fact]:
        """The facts of a report under way, once the log has been silent for `REPORT_WAIT`."""
        if self._held is None or (self._last_at is not None and now - self._last_at < REPORT_WAIT):
            return []
        facts = self._stamp(self._assembler.flush(now), self._held)
        self._note_pending(self._held)
        return facts

    def _note_pending(self, mark: Mark) -> None:
        since = self._assembler.pending_since
        if since is None:
            self._held = None
        elif self._held is None or since != self._held_since:
            self._held = mark
        self._held_since = since

    def _stamp(self, facts: list[Fact], mark: Mark) -> list[Fact]:
        if not facts:
            return facts
        name = self._name_of(mark if self._held is None else self._held)
        if name != self._last_name:
            self._last_name, self._repeats = name, 0
        stamped = []
        for fact in facts:
            self._repeats += 1
            fact_id = name if self._repeats == 1 else f"{name}-{self._repeats}"
            stamped.append(fact.model_copy(update={"fact_id": fact_id, "source": self._source}))
        return stamped
