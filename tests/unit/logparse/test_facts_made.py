"""Facts are made without validation; they are what validation would make of the same values."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.facts.logs import DaemonLog, KernelEvent, KubeletEvent, LogFact
from engine.logparse import LineParser, LogSource, ReportAssembler
from engine.logparse.reading import Fields, make_fact
from tests.unit.logparse.support import NOW
from tests.unit.logparse.test_dockerd import LINES as DOCKERD
from tests.unit.logparse.test_kernel import LINES as KERNEL
from tests.unit.logparse.test_kubelet import LINES as KUBELET
from tests.unit.logparse.test_reports import NEW, OLD

MODELS: dict[LogSource, type[LogFact]] = {"kernel": KernelEvent, "dockerd": DaemonLog, "kubelet": KubeletEvent}
REAL: dict[LogSource, list[str]] = {
    "kernel": [line for line, _, _ in KERNEL] + NEW + OLD,
    "dockerd": [line for line, _, _ in DOCKERD],
    "kubelet": [line for line, _, _ in KUBELET],
}


@pytest.mark.parametrize("source", MODELS)
def test_real_lines(source: LogSource) -> None:
    """The fact of every wording equals itself validated, field by field and type by type, and survives JSON."""
    parser, assembler = LineParser(source), ReportAssembler(source)
    facts = []
    for line in REAL[source]:
        fact = parser.feed(line, NOW)
        facts += [*([] if fact is None else [fact]), *assembler.feed(line, NOW)]
    assert len(facts) > 20
    for fact in facts:
        again = MODELS[source].model_validate(fact.model_dump(by_alias=True))
        assert again == fact
        assert again.to_json_dict() == fact.to_json_dict()
        assert {name: type(value) for name, value in again} == {name: type(value) for name, value in fact}
        assert fact.model_copy(update={"fact_id": "x"}).fact_id == "x"
        assert again.at_micros == fact.at_micros


fields = st.fixed_dictionaries(
    {},
    optional={
        "pid": st.integers(0, 2**31),
        "comm": st.text(max_size=16),
        "global": st.booleans(),
        "self": st.booleans(),
        "container_id": st.text(max_size=64),
        "usage_count": st.integers(-5, 5),
    },
)
zones = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
moments = st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=st.one_of(st.just(UTC), zones))  # noqa: DTZ001 -- bounds


@settings(max_examples=200, deadline=None)
@given(values=fields, text=st.text(max_size=9000), at=moments)
def test_any_values(values: Fields, text: str, at: datetime) -> None:
    """Whatever a reader finds, in whatever zone the line was written: the fact is the validated one."""
    made = make_fact("kernel", ("hung_task", values), text, at)
    whole = {**values, "class": "hung_task", "at": at, "source": "kernel", "text": text[:4096]}
    wanted = KernelEvent.model_validate(whole)
    assert made == wanted
    assert made.at.tzinfo is UTC
    assert made.model_fields_set == wanted.model_fields_set
    assert hash(made.at_micros) == hash(wanted.at_micros)
