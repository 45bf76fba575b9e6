import json
import re
from datetime import UTC, datetime
from typing import Any

import jsonschema
import pytest

from engine.facts.docker import Container
from engine.facts.timestamps import to_micros
from engine.messages.cloudevents import (
    MAX_PAYLOAD,
    ActionData,
    AlertAction,
    AlertData,
    StatusData,
    action_event,
    alert_event,
    fact_event,
    last_will,
    status_event,
)
from engine.ports.broker import OutboxRow

AT = to_micros(datetime(2026, 11, 20, 16, 51, 52, 525487, tzinfo=UTC))
HOSTILE = "\x00\n\x1b[2J\ud800 \u202e \U0001f433 '\"\\"


def container(**fields: Any) -> Container:
    """A dead container."""
    return Container(id="c" * 64, name="web", status="dead", at=datetime(2026, 11, 20, tzinfo=UTC), fact_id="f1", **fields)


def alert(**changes: Any) -> OutboxRow:
    """A firing alert, with changes."""
    given: dict[str, Any] = {
        "host": "h1",
        "rule": "dead-container",
        "key": "web/1",
        "status": "firing",
        "severity": "error",
        "summary": "Container web is dead since 16:51: its removal was tried 12 times; look at the holders of its mounts",
        "starts_at": AT - 60_000_000,
        "updated_at": AT,
        "seq": 7,
        "count": 2,
        "evidence": [container()],
        "actions": [AlertAction(action="remove_container", target="c" * 64, verdict="failed", reason="busy")],
        "labels": {"incident": "I1", "com.example/role": "db", "0day": "x", "empty": ""},
        "annotations": {"next": "umount it"},
        "runbook_url": "https://example.org/runbooks/dead",
        "rules_version": "abc",
    }
    return alert_event(**(given | changes))


def read(row: OutboxRow) -> dict[str, Any]:
    """The event in a row, after a look at what CloudEvents 1.0 demands of all of them."""
    event: dict[str, Any] = json.loads(row.payload)
    assert event["specversion"] == "1.0"
    assert event["datacontenttype"] == "application/json"
    assert all(re.fullmatch("[a-z0-9]{1,20}", name) for name in event)
    assert all(event[name] for name in ("id", "source", "type", "subject"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", event["time"])
    return event


def to_pagerduty(data: dict[str, Any]) -> dict[str, Any]:
    """What a pager consumer does, with nothing but the message."""
    return {
        "routing_key": "consumer's own",
        "event_action": {"firing": "trigger", "resolved": "resolve"}[data["status"]],
        "dedup_key": data["dedup_key"],
        "payload": {
            "summary": data["summary"],
            "source": data["host"],
            "severity": data["severity"],
            "timestamp": data["updated_at"],
            "class": data["rule"],
            "component": data["key"],
            "custom_details": {"labels": data["labels"], "evidence": data["evidence"]},
        },
        "links": [{"href": data["runbook_url"], "text": "runbook"}] if data["runbook_url"] else [],
    }


def to_alertmanager(data: dict[str, Any]) -> dict[str, Any]:
    """What an Alertmanager consumer does, with nothing but the message."""
    posted = {
        "labels": data["labels"],
        "annotations": data["annotations"],
        "startsAt": data["starts_at"],
        "generatorURL": data["runbook_url"] or "",
    }
    return posted | ({"endsAt": data["ends_at"]} if data["ends_at"] else {})


# From https://developer.pagerduty.com/docs/send-alert-event and Alertmanager's api/v2/openapi.yaml (postableAlerts), with the
# checks that its Alert.Validate makes: label names, and UTF-8 values.
PAGERDUTY = {
    "type": "object",
    "required": ["routing_key", "event_action", "dedup_key", "payload"],
    "properties": {
        "event_action": {"enum": ["trigger", "acknowledge", "resolve"]},
        "dedup_key": {"type": "string", "maxLength": 255, "minLength": 1},
        "payload": {
            "type": "object",
            "required": ["summary", "source", "severity"],
            "properties": {
                "summary": {"type": "string", "maxLength": 1024, "minLength": 1},
                "source": {"type": "string", "minLength": 1},
                "severity": {"enum": ["critical", "error", "warning", "info"]},
            },
        },
    },
}
_LABELS = {
    "type": "object",
    "propertyNames": {"pattern": "^[a-zA-Z_][a-zA-Z0-9_]*$"},
    "additionalProperties": {"type": "string", "minLength": 1},
}
ALERTMANAGER = {
    "type": "object",
    "required": ["labels"],
    "properties": {
        "labels": _LABELS | {"required": ["alertname"]},
        "annotations": _LABELS,
        "startsAt": {"type": "string"},
        "endsAt": {"type": "string"},
        "generatorURL": {"type": "string"},
    },
}


def test_an_alert_has_everything_the_contract_names() -> None:
    """Topic, retention, CloudEvents attributes and every field of the data."""
    row = alert()
    event = read(row)
    assert (row.topic, row.retain, row.expiry_s, row.kind, row.seq) == (
        "dockwarden/h1/alert/dead-container/web%2F1",
        True,
        None,
        "alert",
        7,
    )
    assert {name: value for name, value in event.items() if name != "data"} == {
        "specversion": "1.0",
        "id": "7",
        "source": "/dockwarden/h1",
        "type": "dockwarden.alert.v1",
        "subject": "dead-container/web%2F1",
        "time": "2026-11-20T16:51:52.525487Z",
        "datacontenttype": "application/json",
    }
    data = event["data"]
    assert data | {"evidence": []} == {
        "dedup_key": "h1/dead-container/web/1",
        "status": "firing",
        "severity": "error",
        "summary": "Container web is dead since 16:51: its removal was tried 12 times; look at the holders of its mounts",
        "host": "h1",
        "rule": "dead-container",
        "key": "web/1",
        "labels": {
            "alertname": "dead-container",
            "host": "h1",
            "severity": "error",
            "key": "web/1",
            "incident": "I1",
            "com_example_role": "db",
            "_0day": "x",
        },
        "annotations": {"summary": data["summary"], "next": "umount it"},
        "runbook_url": "https://example.org/runbooks/dead",
        "starts_at": "2026-11-20T16:50:52.525487Z",
        "ends_at": None,
        "updated_at": "2026-11-20T16:51:52.525487Z",
        "count": 2,
        "evidence": [],
        "evidence_omitted": 0,
        "actions": [{"action": "remove_container", "target": "c" * 64, "verdict": "failed", "at": None, "reason": "busy"}],
        "rules_version": "abc",
        "seq": 7,
        "schema": "dockwarden.alert.v1",
    }
    assert data["evidence"][0]["fact"] == "container"
    assert data["evidence"][0]["fact_id"] == "f1"


def test_the_same_alert_gives_the_same_bytes() -> None:
    """A message is a function of what is handed in: sent again after a crash it is the same message."""
    assert alert() == alert()


def test_a_resolved_alert_expires_after_an_hour_and_says_when_it_ended() -> None:
    """It has the topic and the dedup key of the firing one."""
    row = alert(status="resolved")
    data = read(row)["data"]
    assert (row.topic, row.kind, row.retain, row.expiry_s) == (alert().topic, "resolved", True, 3600)
    assert (data["dedup_key"], data["ends_at"]) == ("h1/dead-container/web/1", "2026-11-20T16:51:52.525487Z")


ALERTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "resolved": {"status": "resolved", "severity": "critical"},
    "no key, no runbook": {"key": "", "runbook_url": None, "labels": {}},
    "hostile": {
        "host": HOSTILE,
        "key": HOSTILE * 1000,
        "summary": HOSTILE * 1000,
        "labels": {HOSTILE: HOSTILE, "severity": "forged"},
        "annotations": {HOSTILE: HOSTILE * 1000, "summary": "forged"},
    },
    "nothing to say": {"summary": "\n\n"},
}


@pytest.mark.parametrize("changes", ALERTS.values(), ids=ALERTS)
def test_an_alert_feeds_pagerduty_and_alertmanager_with_no_look_up(changes: dict[str, Any]) -> None:
    """The message alone gives requests that both take, whatever the host, the key and the labels are."""
    data = read(alert(**changes))["data"]
    pager, manager = to_pagerduty(data), to_alertmanager(data)
    jsonschema.validate(pager, PAGERDUTY)
    jsonschema.validate(manager, ALERTMANAGER)
    assert len(data["dedup_key"].encode()) <= 255
    assert manager["labels"]["severity"] == data["severity"]
    assert manager["annotations"]["summary"] == data["summary"]
    assert ("endsAt" in manager) == (pager["event_action"] == "resolve")


def test_a_hostile_fact_makes_no_hostile_message() -> None:
    """A label of a megabyte, 10,000 labels, deep nesting and 1,000 facts: cut, counted, and within the bound."""
    labels = {"big": "x" * 1_000_000} | {f"label {n}": HOSTILE for n in range(10_000)}
    nested: dict[str, Any] = {}
    for _ in range(500):
        nested = {"deeper": [nested, float("nan"), float("inf"), b"bytes"]}
    facts = [container(labels=labels) for _ in range(50)] + [{"fact": "odd", "x": nested}] * 50
    row = alert(evidence=facts, actions=[AlertAction(action="a", verdict="failed", reason="e" * 100_000)] * 100)
    data = read(row)["data"]
    assert len(row.payload) <= MAX_PAYLOAD
    assert len(data["evidence"]) + data["evidence_omitted"] == 100
    assert data["evidence"]
    assert len(data["evidence"][0]["labels"]["big"]) == 1024
    assert len(data["actions"]) == 64


def test_an_action_event_tells_one_attempt() -> None:
    """Not retained; the target is one level of the topic."""
    row = action_event(
        host="h1",
        action="unmount",
        target="holder:/var/lib/docker",
        ok=False,
        attempt=3,
        at=AT,
        seq=8,
        error="device or resource busy",
        error_kind="busy",
        rule="unmount-leak",
        activation="act-1",
        duration_ms=12.5,
    )
    event = read(row)
    assert (row.topic, row.retain, row.kind) == ("dockwarden/h1/action/unmount/holder:%2Fvar%2Flib%2Fdocker", False, "action")
    assert event["type"] == "dockwarden.action.v1"
    assert ActionData.model_validate(event["data"]).error_kind == "busy"
    assert event["data"]["at"] == "2026-11-20T16:51:52.525487Z"


def test_a_fact_event_is_the_flat_fact() -> None:
    """As the contract has facts, with the number and the schema beside."""
    row = fact_event(host="h1", fact=container(), seq=9)
    event = read(row)
    assert (row.topic, row.retain) == ("dockwarden/h1/fact/container", False)
    assert event["type"] == "dockwarden.fact.v1"
    assert event["data"] == container().to_json_dict() | {"seq": 9, "schema": "dockwarden.fact.v1"}


def test_status_and_last_will_share_a_topic_and_are_retained() -> None:
    """Whoever comes late knows whether the sidecar is there."""
    told = status_event(
        StatusData(state="online", host="h1", version="0.1.0", mode="observe", outbox_depth=3, losses={"fact": 2}),
        at=AT,
        event_id="start-1",
    )
    will = last_will(host="h1", version="0.1.0", at=AT)
    assert told.topic == will.topic == "dockwarden/h1/status"
    assert told.retain
    assert will.retain
    assert json.loads(told.payload)["data"]["losses"] == {"fact": 2}
    assert json.loads(told.payload)["data"]["at"] == "2026-11-20T16:51:52.525487Z"
    assert json.loads(will.payload)["data"]["state"] == "offline"
    hostile = StatusData(state="online", host=HOSTILE, version="0.1.0", troubles=[HOSTILE * 1000], sources={HOSTILE: "lost"})
    assert len(json.loads(status_event(hostile, at=AT, event_id="x").payload)["data"]["troubles"][0]) == 1024
    assert json.loads(will.payload)["id"] != json.loads(told.payload)["id"]


def test_the_printed_schema_fits_what_is_sent() -> None:
    """`dockwarden schema alert` prints this; every alert validates against it, with the names that are sent."""
    schema = AlertData.model_json_schema(mode="serialization")
    assert "schema" in schema["properties"]
    for changes in ALERTS.values():
        jsonschema.validate(read(alert(**changes))["data"], schema)
