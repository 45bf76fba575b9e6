"""Lines of the event stream become facts, and labels forge nothing."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.docker.api.event import UnreadableEventError, fact_id, fact_of, read_event

ID = "0123456789abcdef" * 4
NANO = 1_763_657_512_525_487_123


def line(action: str, *, nano: object = NANO, **attributes: str) -> bytes:
    """An event as Docker writes it."""
    data: dict[str, Any] = {"Type": "container", "Action": action, "timeNano": nano, "time": NANO // 10**9}
    return json.dumps(data | {"Actor": {"ID": ID, "Attributes": {"name": "web", "image": "box:1"} | attributes}}).encode()


def test_a_die_with_known_labels_has_its_exit_code() -> None:
    """The labels are known and hold no such key, so the value is the event's own."""
    event = read_event(line("die", exitCode="137", execDuration="3"))
    fact = fact_of(event, command="sleep 1", labels={"a": "b"})
    assert (fact.exit_code, fact.command, fact.labels, fact.name, fact.image) == (137, "sleep 1", {"a": "b"}, "web", "box:1")
    assert fact.at.isoformat() == "2025-11-20T16:51:52.525487+00:00"


@pytest.mark.parametrize("labels", [None, {"exitCode": "0"}])
def test_a_die_whose_exit_code_may_be_a_label_has_none(labels: dict[str, str] | None) -> None:
    """Neither when the label is there, nor when nobody knows; what inspect confirmed is taken."""
    event = read_event(line("die", exitCode="0"))
    assert fact_of(event, command=None, labels=labels).exit_code is None
    assert fact_of(event, command=None, labels=labels, exit_code=7).exit_code == 7


def test_a_kill_s_signal_is_believed_only_when_no_label_bears_its_name() -> None:
    """The same holds for `signal`."""
    event = read_event(line("kill", signal="9"))
    assert fact_of(event, command=None, labels={}).signal == 9
    assert fact_of(event, command=None, labels={"signal": "9"}).signal is None
    assert fact_of(event, command=None, labels=None).signal is None


@pytest.mark.parametrize("value", ["", "x", "1e9", "٣", "99999999999999999999", "-"])
def test_a_number_that_is_none_is_none(value: str) -> None:
    """Only plain decimal digits count."""
    assert fact_of(read_event(line("die", exitCode=value)), command=None, labels={}).exit_code is None


def test_labels_are_what_is_left_of_the_attributes() -> None:
    """Without name, image and what the event brings itself; a create brings nothing itself."""
    assert read_event(line("die", exitCode="0", a="b")).labels() == {"a": "b"}
    assert read_event(line("create", exitCode="0", a="b")).labels() == {"a": "b", "exitCode": "0"}


def test_suffixed_actions_are_split() -> None:
    """The action is what rules compare, the rest is its detail."""
    execution = read_event(line("exec_create: sh -c 'a: b'", execID="feedbeefcafe99"))
    assert (execution.action, execution.detail) == ("exec_create", "sh -c 'a: b'")
    assert fact_id(execution) == f"docker-{NANO}-exec_create-0123456789ab-feedbeefcafe"
    assert read_event(line("health_status: unhealthy")).detail == "unhealthy"
    assert read_event(line("start")).detail is None


def test_old_engines_have_seconds_only() -> None:
    """`time` stands in where `timeNano` is missing."""
    assert read_event(line("start", nano=None)).nano == NANO // 10**9 * 10**9


@given(st.binary(max_size=100) | st.text(max_size=50).map(str.encode))
def test_any_line_is_an_event_or_unreadable(data: bytes) -> None:
    """No other exception comes of any bytes."""
    with suppress(UnreadableEventError):
        assert read_event(data).nano > 0


@given(st.dictionaries(st.text(max_size=8), st.text(max_size=8) | st.integers() | st.none(), max_size=5), st.text(max_size=20))
def test_any_attributes_and_action_make_a_fact(attributes: dict[str, Any], action: str) -> None:
    """Whatever a container's owner wrote, a valid fact comes of it."""
    actor = {"ID": ID, "Attributes": attributes}
    event = read_event(json.dumps({"Type": "container", "Action": action, "Actor": actor, "timeNano": NANO}).encode())
    fact = fact_of(event, command=None, labels=None)
    fact.model_dump_json()
