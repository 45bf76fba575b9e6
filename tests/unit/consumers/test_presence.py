"""Who watches the watchers, on a clock that the test moves."""

from connectors.consumers.alert import HostStatus
from connectors.consumers.presence import Presence

WEEK = 7 * 86_400.0


def _status(*, online: bool) -> HostStatus:
    return HostStatus("h1", online=online)


def test_a_restart_within_the_time_of_grace_is_no_alert() -> None:
    """Gone and back before the time is over: nothing is said."""
    presence = Presence(grace_s=60.0)
    assert presence.received(_status(online=False), 0.0) == []
    assert presence.due(59.0) == []
    assert presence.received(_status(online=True), 59.5) == []
    assert presence.due(1000.0) == []


def test_a_sidecar_that_stays_away_is_an_alert_until_it_is_back() -> None:
    """Raised once, resolved once, under one dedup key; also when it was stored in between."""
    presence = Presence(grace_s=60.0)
    presence.received(_status(online=False), 0.0)
    (gone,) = presence.due(60.0)
    assert presence.due(61.0) == []
    again = Presence(grace_s=60.0)
    again.load([("h1", presence.stored("h1"))])
    assert again.due(62.0) == []
    (back,) = again.received(_status(online=True), 63.0)
    assert (gone.status, back.status) == ("firing", "resolved")
    assert gone.dedup_key == back.dedup_key
    assert back.seq > gone.seq


def test_a_test_alarm_that_does_not_come_is_an_alert() -> None:
    """Counted from the last one, else from when the host was first received of; the next one resolves it."""
    presence = Presence(grace_s=60.0, test_every_s=WEEK)
    presence.received(_status(online=True), 0.0)
    assert presence.tested("h1", 100.0) == []
    assert presence.due(WEEK + 99.0) == []
    (missing,) = presence.due(WEEK + 100.0)
    assert (missing.rule, missing.status, missing.host) == ("alarm-test-missing", "firing", "h1")
    assert presence.due(2 * WEEK) == []
    (came,) = presence.tested("h1", 2 * WEEK)
    assert came.status == "resolved"


def test_no_test_alarm_is_expected_of_a_host_that_is_gone_or_without_the_setting() -> None:
    """That it is gone is said already."""
    presence = Presence(grace_s=60.0, test_every_s=WEEK)
    presence.received(_status(online=False), 0.0)
    assert [one.rule for one in presence.due(2 * WEEK)] == ["sidecar-gone"]
    silent = Presence(grace_s=60.0)
    silent.received(_status(online=True), 0.0)
    assert silent.due(10 * WEEK) == []
