"""connectors.logs.assembly: ids of facts, and what is held for a report."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from connectors.logs.assembly import REPORT_WAIT, Assembly
from engine.facts import Fact
from engine.facts.logs import KernelEvent
from tests.contract.logs.parts import Words

T0 = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def assembly_of(words: "Words | Twice") -> Assembly[int]:
    """An assembly whose marks are line numbers."""
    return Assembly(words, source="kernel", name_of=lambda number: f"n-{number}")


def _held(assembly: Assembly[int]) -> int | None:
    return assembly.held


class Twice:
    """Every line is two facts."""

    pending_since: datetime | None = None

    def pick(self, lines: Sequence[bytes]) -> Sequence[int]:
        """All of them."""
        return range(len(lines))

    def feed(self, line: str, received_at: datetime) -> list[Fact]:
        """Two facts."""
        return [KernelEvent.model_validate({"class": "file_max", "at": received_at, "text": line}) for _ in range(2)]

    def flush(self, now: datetime) -> list[Fact]:
        """Nothing is ever under way."""
        raise AssertionError(now)


def test_one_line_several_facts() -> None:
    """Further facts of a line get a suffix; the next line begins anew."""
    assembly = assembly_of(Twice())
    assert [fact.fact_id for number in (1, 2) for fact in assembly.feed("x", T0, number)] == ["n-1", "n-1-2", "n-2", "n-2-2"]
    assert assembly.flush(T0) == []


def test_stamps() -> None:
    """Host and source are set; the rest of the fact stays."""
    (fact,) = assembly_of(Words()).feed("BOOM", T0, 5)
    assert (fact.source, fact.fact_id, fact.at) == ("kernel", "n-5", T0)


def test_report_is_named_after_its_first_line() -> None:
    """Whether its end was read or waited for in vain: the id is that of the line it began with."""
    assembly = assembly_of(Words())
    assert assembly.feed("BEGIN", T0, 1) == []
    assert assembly.held == 1
    assert assembly.feed("nothing", T0, 2) == []
    (fact,) = assembly.feed("END", T0, 3)
    assert fact.fact_id == "n-1"
    assert _held(assembly) is None
    waited = assembly_of(Words())
    waited.feed("BEGIN", T0, 1)
    (fact,) = waited.flush(T0 + REPORT_WAIT)
    assert fact.fact_id == "n-1"
    assert _held(waited) is None


def test_flush_waits() -> None:
    """A report is not cut off before its wait is over."""
    assembly = assembly_of(Words())
    assembly.feed("BEGIN", T0, 1)
    assert assembly.flush(T0 + REPORT_WAIT - timedelta(milliseconds=1)) == []
    assert assembly.held == 1
    assert len(assembly.flush(T0 + REPORT_WAIT)) == 1


def test_flush_waits_for_silence() -> None:
    """A report that comes slowly is not cut off between two of its lines."""
    assembly = assembly_of(Words())
    assembly.feed("BEGIN", T0, 1)
    assembly.feed("slow console", T0 + REPORT_WAIT, 2)
    assert assembly.flush(T0 + REPORT_WAIT * 1.5) == []
    assert len(assembly.flush(T0 + REPORT_WAIT * 2)) == 1


def test_facts_within_a_report() -> None:
    """Facts emitted while a report is under way share its name, and each has its own suffix."""
    assembly = assembly_of(Words())
    ids = [
        fact.fact_id
        for number, line in enumerate(["BEGIN", "BOOM", "BOOM", "END", "BOOM"])
        for fact in assembly.feed(line, T0, number)
    ]
    assert ids == ["n-0", "n-0-2", "n-0-3", "n-4"]


def test_report_after_report() -> None:
    """A report that begins while another is under way becomes the one that is held."""
    assembly = assembly_of(Words())
    assembly.feed("BEGIN", T0, 1)
    assembly.feed("BEGIN", T0 + timedelta(seconds=1), 2)
    assert assembly.held == 2
