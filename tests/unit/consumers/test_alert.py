"""What a message says."""

import json

from connectors.consumers.alert import read_alert, read_status
from engine.messages.cloudevents import last_will, status_event
from engine.messages.models import StatusData
from tests.unit.consumers.build import START, alert, payload


def test_messages_that_are_none_are_passed_over() -> None:
    """Emptied retained messages, broken JSON, other types and unknown severities are no alerts."""
    unknown = payload().replace(b'"severity":"error"', b'"severity":"apocalyptic"')
    others = (b"", b"\xff{", b"[1]", b'{"type":"x"}', b"null", b"[" * 100_000, b" " * 2_000_000, unknown)
    no_data = b'{"type":"dockwarden.alert.v1","data":[]}'
    for one in (*others, no_data):
        assert read_alert(one) is None
        assert read_status(one) is None


def test_fields_of_a_newer_sidecar_are_no_problem() -> None:
    """A field that is not known is kept, and the alert is read."""
    event = json.loads(payload())
    event["data"]["a_new_field"] = {"x": 1}
    read = read_alert(json.dumps(event).encode())
    assert read is not None
    assert read.data["a_new_field"] == {"x": 1}


def test_an_incident_id_is_the_group_where_there_is_one() -> None:
    """Else each alert is an incident of its own."""
    event = json.loads(payload())
    assert alert().group == alert().dedup_key
    event["data"]["incident_id"] = "i-7"
    read = read_alert(json.dumps(event).encode())
    assert read is not None
    assert read.group == "incident/i-7"


def test_a_test_alarm_is_known_by_its_field_or_its_label() -> None:
    """Both mark it, and its id names the reply."""
    assert not alert().test
    labelled = alert(labels={"test": "true", "test_id": "t-1"})
    assert labelled.test
    assert labelled.test_id == "t-1"
    event = json.loads(payload(key="t-2"))
    event["data"]["test"] = True
    read = read_alert(json.dumps(event).encode())
    assert read is not None
    assert (read.test, read.test_id) == (True, "t-2")


def test_a_status_says_whether_the_sidecar_runs() -> None:
    """The last will is one, too."""
    gone = read_status(last_will(host="h1", version="1", at=START).payload)
    here = read_status(status_event(StatusData(state="online", host="h1", version="1"), at=START, event_id="1").payload)
    assert gone is not None
    assert here is not None
    assert (gone.host, gone.online, here.online) == ("h1", False, True)
