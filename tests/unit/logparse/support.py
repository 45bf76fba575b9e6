"""What the parser tests share."""

from datetime import UTC, datetime
from typing import Any

from engine.logparse import LineParser, LogSource, ReportAssembler

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
ID = "0123456789abcdef" * 4
OTHER_ID = "fedcba9876543210" * 4
UID = "0c4e2576-ef09-11e8-b17a-0a586444015a"


def answers(source: LogSource, *lines: str) -> list[dict[str, Any] | None]:
    """One JSON object or None for each line, by one parser."""
    parser = LineParser(source)
    facts = [parser.feed(line, NOW) for line in lines]
    return [None if fact is None else fact.to_json_dict() for fact in facts]


def answer(source: LogSource, line: str) -> dict[str, Any] | None:
    """What one line alone says."""
    return answers(source, line)[0]


def assembled(*lines: str) -> list[dict[str, Any]]:
    """What a live kernel log tells, flushed at its end."""
    assembler = ReportAssembler("kernel")
    facts = [fact for line in lines for fact in assembler.feed(line, NOW)]
    return [fact.to_json_dict() for fact in [*facts, *assembler.flush(NOW)]]


def says(fact: dict[str, Any] | None, name: str | None, fields: dict[str, Any]) -> None:
    """Assert the class, and that each of `fields` is there with its value; a value of None must not be there."""
    if name is None:
        assert fact is None
        return
    assert fact is not None
    found = {key: fact.get(key) for key in ("class", *fields)}
    assert found == {"class": name, **fields}
