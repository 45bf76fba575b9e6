"""What the messages of many hosts add up to."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from engine.facts.outcomes import Severity
from engine.facts.timestamps import SECOND, Micros
from engine.fleet.view import MAX_PAYLOAD, STALE_AFTER, Change, FleetView
from engine.messages.cloudevents import StatusData, action_event, alert_event, last_will, status_event
from engine.messages.topics import alert_topic, status_topic

NOW: Micros = 1_800_000_000 * SECOND


def status(view: FleetView, host: str, now: Micros = NOW, **fields: Any) -> list[Change]:
    """A host's status arrives."""
    data = StatusData(**({"state": "online", "host": host, "version": "1"} | fields))
    message = status_event(data, at=now, event_id="1")
    return view.apply(message.topic, message.payload, now)


def alert(
    view: FleetView, host: str, rule: str = "dead", key: str = "c1", *, seq: int, now: Micros = NOW, **over: Any
) -> list[Change]:
    """An alert arrives."""
    fields: dict[str, Any] = {"status": "firing", "severity": "error", "summary": "s", "starts_at": NOW, "updated_at": NOW}
    row = alert_event(host=host, rule=rule, key=key, seq=seq, **(fields | over))
    return view.apply(row.topic, row.payload, now)


def test_a_host_is_online_then_stale_then_offline_by_its_last_will() -> None:
    """Silence is judged by our own clock, not by the times that the host tells."""
    view = FleetView()
    assert status(view, "h1") == [Change("host", "h1")]
    host = view.hosts["h1"]
    assert host.condition(NOW + STALE_AFTER) == "online"
    assert host.condition(NOW + STALE_AFTER + 1) == "stale"
    alert(view, "h1", seq=1, now=NOW + STALE_AFTER)
    assert view.hosts["h1"].condition(NOW + STALE_AFTER + 1) == "online"
    will = last_will(host="h1", version="1", at=NOW)
    view.apply(will.topic, will.payload, NOW)
    assert view.hosts["h1"].condition(NOW) == "offline"


def test_alerts_are_counted_by_severity_and_host_and_go_when_resolved() -> None:
    """The counts stand on what fires now."""
    view = FleetView()
    status(view, "h1")
    alert(view, "h1", seq=1, severity="critical")
    alert(view, "h1", key="c2", seq=2)
    assert view.counts() == {"critical": 1, "error": 1, "warning": 0, "info": 0}
    assert view.hosts["h1"].firing == 2
    changes = alert(view, "h1", seq=3, status="resolved", severity="critical")
    assert Change("host", "h1") in changes
    assert view.counts() == {"critical": 0, "error": 1, "warning": 0, "info": 0}
    assert view.hosts["h1"].firing == 1
    assert len(list(view.incidents())) == 1


def test_an_older_message_changes_nothing() -> None:
    """Retained messages come again at each connection, and two engines publish the same."""
    view = FleetView()
    alert(view, "h1", seq=5, severity="critical")
    assert alert(view, "h1", seq=5, severity="info") == []
    assert alert(view, "h1", seq=4, status="resolved") == []
    assert view.counts()["critical"] == 1
    alert(view, "h1", seq=6, status="resolved")
    assert alert(view, "h1", seq=5, severity="critical") == []
    assert not view.alerts


def test_a_retained_alert_that_is_taken_away_is_gone() -> None:
    """An empty retained message means that there is none."""
    view = FleetView()
    alert(view, "h1", seq=1)
    view.apply(alert_topic("h1", "dead", "c1"), b"", NOW)
    assert not view.alerts
    assert view.counts()["error"] == 0
    status(view, "h1")
    view.apply(status_topic("h1"), b"", NOW)
    assert not view.hosts


def test_alerts_of_one_incident_are_one_incident() -> None:
    """By the id that they carry, the worst first; an alert without one is an incident of its own."""
    view = FleetView()
    severities: tuple[Severity, ...] = ("warning", "critical")
    for number, severity in enumerate(severities):
        row = alert_event(
            host=f"h{number}",
            rule="storm",
            key="k",
            status="firing",
            severity=severity,
            summary="s",
            starts_at=NOW + number,
            updated_at=NOW,
            seq=1,
        )
        event = json.loads(row.payload)
        event["data"]["incident_id"] = "i1"
        view.apply(row.topic, json.dumps(event).encode(), NOW)
    alert(view, "h9", seq=1)
    incident = view.incident("i1")
    assert incident is not None
    assert incident.severity == "critical"
    assert incident.hosts == ("h1", "h0")
    assert incident.starts_at == NOW
    assert {one.id for one in view.incidents()} == {"i1", "h9/dead/c1"}
    assert incident.alerts[0].data().rule == "storm"


def test_a_newer_sidecar_may_say_more() -> None:
    """Fields that this engine does not know do not make it deaf."""
    view = FleetView()
    row = alert_event(
        host="h1", rule="r", key="k", status="firing", severity="info", summary="s", starts_at=NOW, updated_at=NOW, seq=1
    )
    event = json.loads(row.payload)
    event["data"]["something_new"] = [1]
    assert view.apply(row.topic, json.dumps(event).encode(), NOW)


def test_a_host_speaks_of_itself_alone() -> None:
    """The broker's access list is about topics; the payload must agree with its topic."""
    view = FleetView()
    row = alert_event(
        host="h2", rule="r", key="k", status="firing", severity="info", summary="s", starts_at=NOW, updated_at=NOW, seq=1
    )
    assert view.apply(row.topic.replace("h2", "h1"), row.payload, NOW) == []
    assert view.rejected == {"host_mismatch": 1}


def test_outcomes_of_actions_are_remembered() -> None:
    """The latest ones, for the page."""
    view = FleetView()
    row = action_event(host="h1", action="unmount", target="c1", ok=False, attempt=1, at=NOW, seq=7, error="busy")
    assert view.apply(row.topic, row.payload, NOW) == [Change("action", "h1/7")]
    assert view.actions[0].error == "busy"


@given(
    st.sampled_from(["status", "alert/r/k", "action/a/t", "reply/1", ""]),
    st.one_of(
        st.binary(max_size=60),
        st.sampled_from([b"{}", b'{"data": {}}', b'{"data": 1}', b"[" * 50_000, b"null", b" " * (MAX_PAYLOAD + 1)]),
    ),
)
def test_what_is_not_of_the_contract_is_counted_and_left_out(rest: str, payload: bytes) -> None:
    """No message raises, and none that is malformed changes anything."""
    view = FleetView()
    assert view.apply(f"dockwarden/h1/{rest}", payload, NOW) == []
    assert not view.hosts
    assert not view.alerts
