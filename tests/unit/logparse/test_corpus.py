"""The parser against lines that people posted or captured."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from engine.logparse import LineParser
from tests.unit.logparse.support import NOW

CORPUS = Path(__file__).parents[2] / "data" / "corpus" / "lines.jsonl"
Entry = dict[str, Any]


@dataclass
class Score:
    """How the parser fares."""

    entries: int = 0
    classes_right: int = 0
    fields: int = 0
    fields_right: int = 0
    false_alarms: list[str] = field(default_factory=list)


def measure(entries: list[Entry], parser_for: Callable[[Entry], LineParser]) -> Score:
    """Feed all entries; of a report that is several lines, the last answer counts."""
    score = Score()
    for entry in entries:
        parser = parser_for(entry)
        facts = [fact for line in entry.get("lines") or [entry["line"]] if (fact := parser.feed(line, NOW)) is not None]
        got = facts[-1].to_json_dict() if facts else {}
        if entry["class"] == "none":
            if got:
                score.false_alarms.append(f"{got['class']}: {got['text']}")
            continue
        score.entries += 1
        score.classes_right += got.get("class") == entry["class"]
        score.fields += len(entry["fields"])
        score.fields_right += sum(got.get(name) == value for name, value in entry["fields"].items())
    return score


@pytest.fixture(scope="module", name="corpus")
def corpus_fixture() -> list[Entry]:
    """All entries."""
    return [json.loads(line) for line in CORPUS.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("alone", [True, False], ids=["each-entry-alone", "all-as-one-stream"])
def test_corpus_thresholds(corpus: list[Entry], *, alone: bool) -> None:
    """No `none` line is recognised; 97 % of the others have their class, 95 % of the fields their value; also as one stream."""
    shared = {source: LineParser(source) for source in ("kernel", "dockerd", "kubelet")}
    score = measure(corpus, lambda entry: LineParser(entry["source"]) if alone else shared[entry["source"]])
    assert score.false_alarms == []
    assert score.entries > 100
    assert score.classes_right / score.entries >= 0.97
    assert score.fields_right / score.fields >= 0.95


def test_other_logs_do_not_alarm(corpus: list[Entry]) -> None:
    """A kernel message in the kubelet's log is no evidence of anything, nor is a daemon's in the kernel's."""
    for entry in corpus:
        if entry["source"] != "kernel" and "line" in entry:
            assert LineParser("kernel").feed(entry["line"], NOW) is None
        if entry["source"] == "kernel" and "line" in entry:
            assert LineParser("kubelet").feed(entry["line"], NOW) is None
