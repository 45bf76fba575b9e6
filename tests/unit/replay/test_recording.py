"""Recordings: lines that are facts, lines that are none, lines without end."""

import io
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic_core import from_json

from engine.errors import BadFactError
from engine.facts import BUILT_IN, Fact, FactKinds, Retraction
from engine.replay.recording import LINE_BYTES, SHOWN_FAULTS, Faults, RecordingWriter, bounded_lines, read_facts
from engine.rules.shipped import shipped_recording
from tests.unit.pipeline.loop import container


@pytest.mark.parametrize("at", ["9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00"])
def test_a_time_that_utc_has_no_year_for_is_a_fault(at: str) -> None:
    """The conversion overflowed, which ended the replay with a traceback and lost every line after it."""
    faults = Faults()
    lines = [json.dumps({"fact": "container", "id": "c1", "at": moment}).encode() for moment in (at, "2026-11-20T16:00:00Z")]
    assert [fact.fact_id for fact in read_facts(lines, FactKinds(), faults)] == ["line-2"]
    assert faults.shown == ["line 1: container: at: Value error, in UTC it is outside the years 1 to 9999"]


def test_a_million_faults_are_counted_not_kept() -> None:
    """What cannot be read costs no memory beyond the first few."""
    faults = Faults()
    assert list(read_facts((b"x\n" for _ in range(1000)), FactKinds(), faults)) == []
    assert (faults.number, len(faults.shown)) == (1000, SHOWN_FAULTS)


def test_a_line_without_end_is_passed_over_in_pieces() -> None:
    """A line that is longer than any fact is never held whole, and the next one is read as the next."""
    lines = list(bounded_lines(io.BytesIO(b"x" * (2 * LINE_BYTES + 7) + b"\nnext\n")))
    assert [len(line) for line in lines] == [LINE_BYTES + 1, 5]


@pytest.mark.parametrize(
    "line", [b"[" * 100_000, b'{"fact": "disk", "x": ' + b"[" * 100_000, b'{"fact": "\\ud800"}', b"\x00", b'{"fact": NaN}']
)
def test_hostile_lines_are_faults(line: bytes) -> None:
    """Nesting without end, half a character, control characters: a fault each, never a crash."""
    faults = Faults()
    assert list(read_facts([line], FactKinds(), faults)) == []
    assert faults.number == 1


def test_a_recording_on_a_full_disk_ends_and_the_sidecar_goes_on() -> None:
    """/dev/full takes nothing: writing facts to it raises neither then nor at the end."""
    with RecordingWriter(Path("/dev/full")) as out:
        for number in range(1000):
            out.write(container(number))


def test_what_is_written_is_in_the_file_before_it_is_closed(tmp_path: Path) -> None:
    """A process that is killed loses nothing of it; at 0.1.0 `run --record` kept up to 8 KiB in memory."""
    with RecordingWriter(tmp_path / "f") as out:
        out.write(container(1))
        faults = Faults()
        read = list(read_facts((tmp_path / "f").read_bytes().splitlines(), FactKinds(), faults))
    assert (len(read), out.number, faults.number) == (1, 1, 0)


def _long_way(line: bytes, number: int) -> Fact | Retraction | str:
    """As `read_line` is meant: parsed, and then read."""
    try:
        data = from_json(line)
        if not isinstance(data, dict):
            return "BadFactError: a fact is a JSON object"
        if not data.get("fact_id"):
            data["fact_id"] = f"line-{number}"
        return KINDS.read(data)
    except (BadFactError, ValueError) as error:
        return f"{type(error).__name__}: {error}"


def _line(line: bytes, number: int) -> Fact | Retraction | str:
    try:
        return KINDS.read_line(line, number)
    except (BadFactError, ValueError) as error:
        return f"{type(error).__name__}: {error}"


KINDS = FactKinds().with_declared(["own"])
_NAMES = sorted({name for model in BUILT_IN for name in (info.alias or field for field, info in model.model_fields.items())})
_VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=8), st.just("2026-01-01T00:00:00Z"),
    st.sampled_from(["1", "true", "dead", "running", "ok", "0.5"]), st.lists(st.text(max_size=3), max_size=2),
    st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2),
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(
    kind=st.sampled_from([*(model.KIND for model in BUILT_IN), "own", "none", "Container"]),
    fields=st.lists(st.tuples(st.sampled_from([*_NAMES, "fact", "extra", "retract"]), _VALUES), max_size=8),
    tight=st.booleans(),
)
def test_a_line_is_read_as_its_json_is(kind: str, fields: list[tuple[str, object]], tight: bool) -> None:
    """The short way from a line to a fact gives the same fact, or the same fault, as the way by a dictionary; keys twice too."""
    separators = (",", ":") if tight else (", ", ": ")
    head = {"fact": kind, "at": "2026-01-01T00:00:00Z"}
    pairs = [f"{json.dumps(name)}{separators[1]}{json.dumps(value)}" for name, value in (*head.items(), *fields)]
    line = ("{" + separators[0].join(pairs) + "}").encode()
    one, other = _line(line, 7), _long_way(line, 7)
    assert (type(one), repr(one)) == (type(other), repr(other))  # not by value: NaN is unlike itself
    if not isinstance(one, str) and not isinstance(other, str):
        assert repr(one.to_json_dict()) == repr(other.to_json_dict())


def test_every_line_of_the_example_is_read_the_same() -> None:
    """As real facts are."""
    lines = shipped_recording().read_bytes().splitlines()
    assert [_line(line, 1) for line in lines] == [_long_way(line, 1) for line in lines]
