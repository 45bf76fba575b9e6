"""What the page asks of the fleet."""

from typing import Any

from connectors.web.queries import MAX_ROWS, Filter, hosts, incident, incidents, overview
from engine.facts.timestamps import SECOND
from engine.fleet.view import STALE_AFTER, FleetView
from engine.messages.cloudevents import AlertAction, action_event
from tests.unit.fleet.test_view import NOW, alert, status


def fleet() -> FleetView:
    """Three hosts, two incidents."""
    view = FleetView()
    status(view, "web-1")
    status(view, "web-2", now=NOW - STALE_AFTER - 1)
    status(view, "db-1", state="offline", frozen=True)
    alert(view, "web-1", key="c1", seq=1, severity="critical", summary="shop is dead")
    alert(view, "db-1", rule="disk", key="/var", seq=1, severity="warning", summary="the disk fills")
    return view


def test_the_overview_counts_everything_once() -> None:
    """Severities, conditions of hosts, frozen ones."""
    seen = overview(fleet(), NOW)
    assert seen["severities"] == {"critical": 1, "error": 0, "warning": 1, "info": 0}
    assert seen["hosts"] == {"online": 1, "stale": 1, "offline": 1}
    assert seen["frozen"] == 1


def test_incidents_come_worst_first_and_narrowed_by_what_the_url_says() -> None:
    """Text is looked for in host, rule, key and summary; what is no severity narrows nothing."""
    view = fleet()
    assert [row["rule"] for row in incidents(view, Filter())["rows"]] == ["dead", "disk"]
    assert [row["rule"] for row in incidents(view, Filter.of({"severity": "warning"}))["rows"]] == ["disk"]
    assert [row["rule"] for row in incidents(view, Filter.of({"q": "SHOP"}))["rows"]] == ["dead"]
    assert [row["rule"] for row in incidents(view, Filter.of({"host": "db-1"}))["rows"]] == ["disk"]
    assert incidents(view, Filter.of({"severity": "no such"}))["total"] == 2


def test_hosts_that_are_away_come_first() -> None:
    """They are what one looks for."""
    view = fleet()
    assert [row["host"] for row in hosts(view, Filter(), NOW)["rows"]] == ["db-1", "web-2", "web-1"]
    assert [row["host"] for row in hosts(view, Filter.of({"condition": "stale"}), NOW)["rows"]] == ["web-2"]


def test_a_long_list_is_cut_and_counted() -> None:
    """Nobody reads thousands of rows."""
    view = FleetView()
    for number in range(MAX_ROWS + 7):
        alert(view, f"h{number}", seq=1)
    found = incidents(view, Filter())
    assert len(found["rows"]) == MAX_ROWS
    assert found["total"] == MAX_ROWS + 7


def test_one_incident_tells_the_outcomes_of_what_was_done_about_it() -> None:
    """From the alert's own message, and from outcomes that were published since."""
    view = fleet()
    actions: list[Any] = [AlertAction(action="remove_container", target="c1", verdict="scheduled")]
    alert(view, "web-1", key="c1", seq=2, severity="critical", actions=actions)
    row = action_event(host="web-1", action="remove_container", target="c1", ok=True, attempt=1, at=NOW + SECOND, seq=3)
    view.apply(row.topic, row.payload, NOW)
    found = incident(view, "web-1/dead/c1")
    assert found is not None
    assert [entry["text"] for entry in found["entries"]][-1] == "remove_container c1: done"
    assert found["picture"].startswith("<svg")
    assert incident(view, "no such") is None
