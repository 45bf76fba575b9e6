"""The one queue into the loop: facts, ends of attempts, commands, accepted rules, questions. Bounded: who puts waits.

All that comes from outside the loop's task comes through here, as plain data.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

from engine.facts import Fact, Retraction
from engine.facts.timestamps import Micros
from engine.journal.records import AuditRow
from engine.messages.retained import Difference
from engine.pipeline.jobs import Job
from engine.ports.actions import Outcome
from engine.rules.model import RuleSet

MAX_WAITING = 10_000
"""Facts that wait at most, some tens of MiB; those with large labels count as several. Whoever has more waits: lists and logs
are read later, and events that do not fit are made up for by a list."""

MAX_FACTS_PER_ENTRY = 500
"""A longer list of facts comes in several entries."""

_LABEL_CHARS = 4096
"""So much text in labels counts as a fact of its own: a container may have hundreds of KiB of them."""


@dataclass(frozen=True, slots=True)
class FromSource:
    """What a source saw."""

    source: str
    facts: list[Fact | Retraction]
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class AttemptEnded:
    """What came of one attempt of a job."""

    job: Job
    outcome: Outcome
    duration_ms: float
    ended_at: float
    """Seconds of the monotonic clock."""


@dataclass(frozen=True, slots=True)
class RulesAccepted:
    """Checked rules that are to be in force from now on."""

    ruleset: RuleSet
    version: str


@dataclass(frozen=True, slots=True)
class JournalNote:
    """Something for the journal that leads to nothing else: audit entries, and small things to remember by name."""

    audit: tuple[AuditRow, ...] = ()
    memory: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StaleFacts:
    """State facts of these kinds that were last seen before a moment: no source has reported them again, so they are gone."""

    kinds: frozenset[str]
    before: Micros


@dataclass(frozen=True, slots=True)
class RetainedDiffers:
    """What the broker keeps of alerts is not what is so."""

    difference: Difference


@dataclass(frozen=True, slots=True)
class ClockStepped:
    """The host's clock was set by so much; the sidecar's own has just followed. Comes before all that waits in the intake."""

    step: Micros


@dataclass(frozen=True, slots=True)
class OperatorCommand:
    """A valid command of an operator, or what came of one that was carried out, or refused, before it got here."""

    name: str
    id: str = ""
    """Names the reply; empty: there is none."""
    rule: str = ""
    key: str | None = None
    seconds: float = 0.0
    container: str = ""
    by: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)
    """The command as it was given, for the audit."""
    reply: Mapping[str, Any] | None = None
    """None: the loop carries it out."""
    memory: Mapping[str, str] = field(default_factory=dict)
    """What the journal is to remember with it, by name."""


@dataclass(frozen=True, slots=True)
class AlarmTest:
    """A test alarm is to be published."""

    id: str
    """Names the reply."""


@dataclass(frozen=True, slots=True)
class Question:
    """What somebody outside the loop wants to know. Who asks gives up after a while and cancels the answer."""

    about: Literal["summary", "status", "metrics", "why-not", "alerts"]
    answer: "asyncio.Future[Any]" = field(compare=False)
    rule: str = ""


Entry = (
    FromSource
    | AttemptEnded
    | RulesAccepted
    | JournalNote
    | StaleFacts
    | RetainedDiffers
    | ClockStepped
    | OperatorCommand
    | AlarmTest
    | Question
)


class Intake:
    """Takes entries in; gives them out in batches."""

    def __init__(self, host: str, most: int = MAX_WAITING) -> None:
        self._host = host
        self._most = most
        self._queue: asyncio.Queue[tuple[Entry, int]] = asyncio.Queue()  # bounded by what its entries weigh
        self._waiting = 0
        self._room = asyncio.Event()
        self._step: Micros = 0

    async def put(self, entry: Entry) -> None:
        """Hand an entry over; waits while the loop is behind."""
        weight = max(1, sum(map(_weight, entry.facts))) if isinstance(entry, FromSource) else 1
        while self._waiting and self._waiting + weight > self._most:
            self._room.clear()
            await self._room.wait()
        self._waiting += weight
        self._queue.put_nowait((entry, weight))

    def clock_stepped(self, step: Micros) -> None:
        """The clock was set. Never waits, and is taken first: no turn sees the new time with what holds the old one."""
        self._step += step

    def sink(self, source: str) -> "SourceSink":
        """Where one source puts what it sees."""
        return SourceSink(source, self._host, self)

    async def ask(
        self, about: Literal["summary", "status", "metrics", "why-not", "alerts"], *, timeout_s: float, rule: str = ""
    ) -> Any:
        """Ask the loop something.

        Raises:
            TimeoutError: it has not answered in time.
        """
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        async with asyncio.timeout(timeout_s):
            await self.put(Question(about, answer, rule))
            return await answer

    async def take(self, most: int, timeout_s: float | None, *, most_facts: int = MAX_WAITING) -> list[Entry]:
        """What is there, at most so many entries; waits for the first one, no longer than the time-out.

        Args:
            most: entries.
            timeout_s: None for as long as it takes.
            most_facts: after so many in them, no further entry is taken.
        """
        taken: list[tuple[Entry, int]] = []
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                taken.append(await self._queue.get())
        weight = sum(weight for _, weight in taken)
        while len(taken) < most and weight < most_facts and not self._queue.empty():
            taken.append(self._queue.get_nowait())
            weight += taken[-1][1]
        self._waiting -= weight
        self._room.set()
        return [*self._stepped(), *(entry for entry, _ in taken)]

    def _stepped(self) -> Iterator[Entry]:
        step, self._step = self._step, 0
        if step:
            yield ClockStepped(step)

    @property
    def depth(self) -> int:
        """Entries that wait."""
        return self._queue.qsize()


class SourceSink:
    """A source's way in (`engine.ports.sources.Sink`)."""

    def __init__(self, source: str, host: str, intake: Intake) -> None:
        self._source = source
        self._host = host
        self._intake = intake

    async def put(self, facts: list[Fact | Retraction], *, cursor: str | None = None) -> None:
        """Hand over facts in order; the cursor counts once all of them are in."""
        facts = with_host(facts, self._host)
        while len(facts) > MAX_FACTS_PER_ENTRY:
            await self._intake.put(FromSource(self._source, facts[:MAX_FACTS_PER_ENTRY]))
            facts = facts[MAX_FACTS_PER_ENTRY:]
        if facts or cursor is not None:
            await self._intake.put(FromSource(self._source, facts, cursor))


def _weight(fact: Fact | Retraction) -> int:
    labels = getattr(fact, "labels", None)
    return 1 if not labels else 1 + sum(map(len, labels.values())) // _LABEL_CHARS


def with_host(facts: Iterable[Fact | Retraction], host: str) -> list[Fact | Retraction]:
    """The facts, those that name no host being about this one."""
    return [fact if fact.host else fact.model_copy(update={"host": host}) for fact in facts]
