"""Which lines are looked at: none is missed, and what rules ask for is a `log_line` fact."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.facts import Fact
from engine.facts.logs import LogLine
from engine.logparse import LogSource, ReportAssembler, Wanted, WantedLines, class_of
from engine.logparse.prefilter import LineFilter
from tests.unit.logparse.support import ID, NOW
from tests.unit.logparse.test_dockerd import LINES as DOCKERD
from tests.unit.logparse.test_kernel import LINES as KERNEL
from tests.unit.logparse.test_kubelet import LINES as KUBELET
from tests.unit.logparse.test_reports import NEW, OLD

REAL: dict[LogSource, list[str]] = {
    "kernel": [line for line, _, _ in KERNEL] + NEW + OLD,
    "dockerd": [line for line, _, _ in DOCKERD],
    "kubelet": [line for line, _, _ in KUBELET],
}
ORDINARY = ["eth0: link is up", 'level=info msg="API listen on /run/docker.sock"', "", "x" * 300, "müll", "a\r"]


def picked(assembler: ReportAssembler, lines: list[bytes]) -> list[Fact]:
    """Facts of the lines that are picked, and of the end."""
    facts = [fact for number in assembler.pick(lines) for fact in assembler.feed(lines[number].decode(errors="replace"), NOW)]
    return [*facts, *assembler.flush(NOW)]


def all_of(assembler: ReportAssembler, lines: list[bytes]) -> list[Fact]:
    """Facts of all lines."""
    facts = [fact for line in lines for fact in assembler.feed(line.decode(errors="replace"), NOW)]
    return [*facts, *assembler.flush(NOW)]


@settings(max_examples=300, deadline=None)
@given(data=st.data(), source=st.sampled_from(list(REAL)))
def test_picking_misses_nothing(data: st.DataObject, source: LogSource) -> None:
    """Lines fed because they were picked bring what all lines bring, reports over lines included, whatever rules ask for."""
    lines = data.draw(st.lists(st.sampled_from(REAL[source] + ORDINARY), max_size=12))
    broken = data.draw(st.booleans())
    raw = [line.encode() + (b"\xff" if broken and number % 3 == 0 else b"") for number, line in enumerate(lines)]
    wanted = WantedLines(data.draw(st.lists(st.sampled_from(ASKED), max_size=3)))
    assert picked(ReportAssembler(source, wanted), raw) == all_of(ReportAssembler(source, wanted), raw)


ASKED = [
    Wanted("", "link is up"),
    Wanted("kernel", "x{5,}", is_expression=True),
    Wanted("dockerd", "^level=info", is_expression=True),
    Wanted("", "socket\\W$", is_expression=True),
    Wanted("", "\\Alevel", is_expression=True),
    Wanted("kubelet", "(?i)SYNCLOOP", is_expression=True),
    Wanted("", "ü"),
]


@pytest.mark.parametrize("source", REAL)
def test_known_messages_are_picked(source: LogSource) -> None:
    """Every wording that makes a fact is worth reading, alone and among ordinary lines."""
    test = LineFilter(source)
    for line in REAL[source]:
        if class_of(source, line, NOW) is not None:
            assert test.is_worth_reading(line), line
            assert list(test.pick([b"ordinary", line.encode(), b"ordinary"])) == [1], line


def lines_of(facts: list[Fact]) -> list[LogLine]:
    """The `log_line` facts."""
    return [fact for fact in facts if isinstance(fact, LogLine)]


def test_a_line_that_a_rule_asks_for() -> None:
    """It becomes a fact with the log, the text, and the container and the level that stand beside it; other lines do not."""
    assembler = ReportAssembler("dockerd", WantedLines([Wanted("dockerd", "ignoring event")]))
    raw = f'time="2020-07-16T12:02:05.5Z" level=info msg="ignoring event" container={ID} module=libcontainerd'
    (fact,) = lines_of(picked(assembler, [b"nothing", raw.encode(), b"nothing"]))
    assert (fact.log, fact.text, fact.level, fact.container_id) == ("dockerd", raw, "info", ID)
    assert fact.at == datetime(2020, 7, 16, 12, 2, 5, 500_000, tzinfo=UTC)
    assert fact.to_json_dict()["fact"] == "log_line"


def test_a_kernel_line_is_its_message() -> None:
    """The text is what the kernel said, without the prefix; what somebody else wrote into its log is asked for in vain."""
    assembler = ReportAssembler("kernel", WantedLines([Wanted("", "^eth0: link", is_expression=True), Wanted("", "link is")]))
    facts = picked(assembler, [b"[   12.345678] eth0: link is up", b"Jun  8 03:03:28 node app[1]: nothing", b"<14>link is"])
    assert [fact.text for fact in lines_of(facts)] == ["eth0: link is up"]


def test_both_facts_of_one_line() -> None:
    """A known message that a rule asks for, too, is its class's fact and a line."""
    assembler = ReportAssembler("kernel", WantedLines([Wanted("kernel", "file-max")]))
    facts = picked(assembler, [b"VFS: file-max limit 9 reached"])
    assert [fact.fact_kind for fact in facts] == ["kernel_event", "log_line"]


def test_other_logs_are_not_asked() -> None:
    """What a rule wants of the kernel it does not get from the kubelet."""
    wanted = WantedLines([Wanted("kernel", "hello")])
    assert lines_of(picked(ReportAssembler("kubelet", wanted), [b"hello"])) == []
    assert len(lines_of(picked(ReportAssembler("kernel", wanted), [b"hello"]))) == 1


def test_rules_change() -> None:
    """Other rules ask for other lines, from the next line on."""
    wanted = WantedLines()
    assembler = ReportAssembler("dockerd", wanted)
    assert picked(assembler, [b"hello", b"bye"]) == []
    wanted.replace([Wanted("", "hello")])
    assert [fact.text for fact in lines_of(picked(assembler, [b"hello", b"bye"]))] == ["hello"]
    wanted.replace([Wanted("", "bye"), Wanted("", "(", is_expression=True), Wanted("", "")])
    assert [fact.text for fact in lines_of(picked(assembler, [b"hello", b"bye"]))] == ["bye"]
    assert wanted.wanted == (Wanted("", "bye"),)


def test_many_large_expressions() -> None:
    """Where all expressions together are too large, each line is looked at alone, and none is missed."""
    wanted = WantedLines(Wanted("", f"({number}[a-z]{{1,400}}){{1,2}}x", is_expression=True) for number in range(400))
    assembler = ReportAssembler("kernel", wanted)
    assert len(lines_of(picked(assembler, [b"17abcx", b"17abc"]))) == 1


@pytest.mark.parametrize(
    ("source", "text", "name"),
    [
        ("kernel", "VFS: file-max limit 9 reached", "file_max"),
        ("dockerd", "removal of container web is already in progress", "docker_rm_in_progress"),
        ("kubelet", "eviction manager: attempting to reclaim memory", "kubelet_pressure"),
        ("kernel", "hello", None),
    ],
)
def test_class_of_a_text(source: LogSource, text: str, name: str | None) -> None:
    """The check can ask which class a text would be."""
    assert class_of(source, text, NOW) == name
