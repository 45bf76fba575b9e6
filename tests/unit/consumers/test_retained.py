"""Alerts whose end nobody said, on a clock that the test moves."""

from connectors.consumers.alert import Alert, HostStatus
from connectors.consumers.presence import Presence
from connectors.consumers.retained import Retained
from connectors.consumers.threads import Policy, Threads
from tests.unit.consumers.build import alert

HERE = HostStatus("web-7", online=True)


def _ended(retained: Retained, now: float, *firing: Alert) -> list[str]:
    return [one.dedup_key for one in retained.ended(firing)] if retained.ready(now) else ["not yet"]


def test_what_fires_and_is_not_retained_any_more_is_over() -> None:
    """Judged a minute after a connection and once it is quiet, once for each connection."""
    retained, held, over = Retained(), alert(key="held"), alert(key="over")
    retained.connected(0.0)
    retained.received([held], [HERE], 55.0)
    assert _ended(retained, 59.0, held, over) == ["not yet"]
    assert _ended(retained, 64.0, held, over) == ["not yet"]
    assert _ended(retained, 65.0, held, over) == [over.dedup_key]
    assert _ended(retained, 999.0, held, over) == ["not yet"]


def test_nothing_is_judged_of_a_host_that_is_not_there_or_of_alerts_of_our_own() -> None:
    """A broker that lost its store has neither its alerts nor its status; that a sidecar is gone is said by nobody but us."""
    retained = Retained()
    retained.connected(0.0)
    assert _ended(retained, 100.0, alert()) == []
    retained.connected(0.0)
    retained.received([], [HERE, HostStatus("web-7", online=False)], 1.0)
    assert _ended(retained, 100.0, alert()) == []
    presence = Presence(grace_s=0.0)
    presence.received(HostStatus("web-7", online=False), 0.0)
    retained.connected(0.0)
    retained.received([], [HERE], 1.0)
    assert _ended(retained, 100.0, *presence.due(1.0)) == []


def test_every_alert_of_an_incident_is_judged_by_its_own_name() -> None:
    """Also those that do not tell most."""
    threads = Threads(Policy())
    for key in ("a", "b"):
        one = alert(key=key)
        grouped = Alert(one.dedup_key, "firing", "error", 1, "web-7", one.rule, key, {**one.data, "incident_id": "i"})
        threads.take(grouped, 0.0)
    assert sorted(one.dedup_key for one in threads.firing_alerts()) == ["web-7/restart-loop/a", "web-7/restart-loop/b"]
    assert {one.host for one in threads.firing_alerts()} == {"web-7"}
