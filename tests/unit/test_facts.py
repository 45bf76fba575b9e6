"""Facts as JSON: the dictionary and the text say the same."""

import json
from datetime import UTC, datetime

import pytest

from engine.facts import DeclaredFact, Fact
from engine.facts.docker import Container, ContainerEvent
from engine.facts.logs import KernelEvent
from engine.facts.timestamps import rfc3339, to_micros

AT = datetime(2026, 11, 20, 16, 51, 52, tzinfo=UTC)


@pytest.mark.parametrize(
    "fact",
    [
        Container(at=AT, id="c1", labels={"a": 'quote " and é', "b": "\x00"}, created_at=AT),
        ContainerEvent(
            at=AT.replace(microsecond=525487), fact_id="e1", host="h1", source="docker", action="die", id="c1", exit_code=7
        ),
        KernelEvent.model_validate({"at": AT, "class": "rcu_stall", "self": True, "text": "line"}),
        DeclaredFact.model_validate({"fact": "container_storm", "at": AT, "image": "a:1", "ttl": 60}),
    ],
)
def test_the_text_is_the_dictionary(fact: Fact) -> None:
    """`to_json` gives what `to_json_dict` gives, for built-in and declared kinds, fields under their JSON names."""
    assert json.loads(fact.to_json()) == fact.to_json_dict()


def test_times_always_have_six_digits() -> None:
    """A whole second is written with its microseconds, as the contract has it."""
    assert rfc3339(to_micros(AT)) == "2026-11-20T16:51:52.000000Z"
    assert Container(at=AT, id="c1").to_json_dict()["at"] == "2026-11-20T16:51:52.000000Z"
