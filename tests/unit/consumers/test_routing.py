"""Who is told, and when."""

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from connectors.consumers.routing import Addressed, Match, QuietHours, Route, addressees
from tests.unit.consumers.build import alert


def _at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def _quiet(**fields: Any) -> QuietHours:
    return QuietHours.model_validate({"start": "22:00", "end": "07:00"} | fields)


@pytest.mark.parametrize(
    ("match", "fits"),
    [
        ({}, True),
        ({"severity": "error"}, True),
        ({"severity": "critical"}, False),
        ({"hosts": ["db-*", "web-*"]}, True),
        ({"hosts": ["db-*"]}, False),
        ({"rules": ["restart-*"]}, True),
        ({"labels": {"team": "sh*"}}, True),
        ({"labels": {"team": "shop", "tier": "*"}}, False),
    ],
)
def test_a_route_matches_by_severity_host_rule_and_labels(match: dict[str, Any], fits: bool) -> None:
    """All that is given must hold; a label that the alert lacks holds for nothing."""
    assert Match.model_validate(match)(alert(labels={"team": "shop"})) is fits


def test_the_first_route_that_matches_decides() -> None:
    """Unless it says go_on; each receiver is told once."""
    routes = [
        Route(match=Match(severity="critical"), receivers=("phone",), go_on=True),
        Route(match=Match(hosts=("web-*",)), receivers=("web",)),
        Route(receivers=("all", "phone")),
    ]
    assert [one.receiver for one in addressees(alert(severity="critical"), routes, 0.0)] == ["phone", "web"]
    assert [one.receiver for one in addressees(alert(), routes, 0.0)] == ["web"]
    assert [one.receiver for one in addressees(alert(host="db-1"), routes, 0.0)] == ["all", "phone"]
    assert addressees(alert(), [], 0.0) == []


@pytest.mark.parametrize(
    ("now", "until"),
    [
        ("2026-11-24T21:59:59", None),
        ("2026-11-24T22:00:00", "2026-11-25T07:00:00"),
        ("2026-11-25T06:59:59", "2026-11-25T07:00:00"),
        ("2026-11-25T07:00:00", None),
    ],
)
def test_quiet_hours_go_over_midnight(now: str, until: str | None) -> None:
    """The beginning belongs to them, the end does not."""
    assert _quiet().until(_at(now)) == (None if until is None else _at(until))


def test_quiet_hours_are_of_the_day_they_begin_on() -> None:
    """Friday's end on Saturday morning; Saturday has none."""
    fridays = _quiet(days=["fri"])
    assert fridays.until(_at("2026-11-28T03:00:00")) == _at("2026-11-28T07:00:00")
    assert fridays.until(_at("2026-11-28T23:00:00")) is None


def test_quiet_hours_follow_the_wall_clock_through_a_change_of_summer_time() -> None:
    """In Berlin the night of 25 October 2026 has one hour more: its 07:00 is 06:00 UTC, its 22:00 was 20:00 UTC."""
    berlin = _quiet(timezone="Europe/Berlin")
    assert berlin.until(_at("2026-10-24T20:00:00")) == _at("2026-10-25T06:00:00")
    assert berlin.until(_at("2026-10-25T05:59:59")) == _at("2026-10-25T06:00:00")
    assert berlin.until(_at("2026-10-25T06:00:00")) is None


def test_yaml_reads_an_unquoted_time_as_a_number_and_it_counts_all_the_same() -> None:
    """22:00 without quotes is 1320 to YAML 1.1."""
    assert _quiet(start=1320) == _quiet()
    with pytest.raises(ValidationError):
        _quiet(start=90_000)


def test_a_time_zone_that_does_not_exist_is_refused() -> None:
    """With a word on where names come from."""
    with pytest.raises(ValidationError, match="unknown time zone `Mars`"):
        _quiet(timezone="Mars")
    with pytest.raises(ValidationError, match="the same"):
        _quiet(end="22:00")


def test_what_is_severe_enough_does_not_wait() -> None:
    """Quiet hours hold an error back until they end, a critical alert not at all."""
    route = Route(receivers=("x",), quiet=(_quiet(),))
    night = _at("2026-11-24T23:00:00")
    assert route.release_at(alert(), night) == _at("2026-11-25T07:00:00")
    assert route.release_at(alert(severity="critical"), night) is None


def test_a_test_alarm_goes_every_way_that_its_host_has() -> None:
    """Whatever severity, rule and labels the routes ask for, at any hour; a route for other hosts is none of its ways."""
    night = _at("2026-11-24T23:00:00")
    routes = [
        Route(match=Match(hosts=("db-*",)), receivers=("db",)),
        Route(match=Match(severity="critical", labels={"team": "x"}), receivers=("phone",), quiet=(_quiet(),)),
        Route(receivers=("chat", "phone"), digest_s=3600),
    ]
    test = alert(severity="info", labels={"test": "true"})
    assert addressees(test, routes, night) == [Addressed("phone", None), Addressed("chat", None)]


def test_a_digest_collects_what_is_less_severe() -> None:
    """Until the next multiple of its interval."""
    route = Route(receivers=("x",), digest_s=3600)
    assert route.release_at(alert(severity="warning"), 3600 * 7 + 5.0) == 3600.0 * 8
    assert route.release_at(alert(severity="error"), 3600 * 7 + 5.0) is None
    assert addressees(alert(severity="info"), [route], 1.0) == [Addressed("x", 3600.0)]
