"""What is sent to receivers, and what chats read."""

import json

from connectors.consumers.notes import Note
from connectors.consumers.outcomes import Outcome
from connectors.consumers.receivers.chat_text import chat_text, chat_title, colour
from connectors.consumers.receivers.editing import Bot, answer_of, mattermost_request, slack_request, telegram_request
from connectors.consumers.receivers.pagerduty import events
from connectors.consumers.receivers.webhook import delivery_id, opsgenie_requests, plain_request
from tests.unit.consumers.build import alert

BOT = Bot("https://chat.example", "T", "c", "https://git.example")


def _note(kind: str = "first", **fields: object) -> Note:
    return Note(kind, "t", alert().data, severity="error", firing=1, **fields)  # type: ignore[arg-type]  # one of the kinds


def test_pagerduty_takes_the_worst_severity_and_texts_within_its_limits() -> None:
    """The incident's severity, not the last alert's; a summary has 1,024 characters at most."""
    long = Note("escalation", "t", alert(title="x" * 300, key="k" * 2000).data, severity="critical")
    (event,) = events(long, routing_key="k")
    assert event["payload"]["severity"] == "critical"
    assert len(event["payload"]["summary"]) <= 1024
    assert "links" not in event
    assert events(Note("digest", "d", {}), routing_key="k") == []


def test_a_test_alarm_leaves_nothing_open() -> None:
    """Created and closed, marked for people and for machines."""
    test = _note("test")
    assert [event["event_action"] for event in events(test, routing_key="k")] == ["trigger", "resolve"]
    create, close = opsgenie_requests(test, "https://ops.example/v2/alerts")
    assert (create.body["priority"], "TEST" in create.body["tags"]) == ("P5", True)
    assert close.url == "https://ops.example/v2/alerts/t/close?identifierType=alias"
    (plain,) = plain_request(test, "https://x.example")
    assert plain.body["test"] is True


def test_a_webhook_can_tell_a_note_that_comes_twice() -> None:
    """The same note has the same id at each attempt, another note another one."""
    assert delivery_id(_note()) == delivery_id(_note())
    assert delivery_id(_note()) != delivery_id(_note("end"))


def test_a_chat_reads_what_matters() -> None:
    """Line, text, counts, flapping, what was missed, and the runbook while it matters."""
    text = chat_text(_note(flaps=2, opened_at=0.0), "https://git.example")
    assert chat_title(_note()) == "[ERROR] A container dies and is started again and again | web-7 | web"
    assert "began anew 2 times since 1970-01-01 00:00:00 UTC" in text
    assert "Runbook: https://git.example/runbooks/restart-loop.md" in text
    end = Note("end", "t", alert(2, "resolved").data, severity="error", unannounced=True, opened_at=60.0)
    assert "It began 1970-01-01 00:01:00 UTC, while this chat could not be reached." in chat_text(end)
    assert "Runbook" not in chat_text(end, "https://git.example")
    assert "TEST" in chat_text(_note("test"))
    assert "3 alerts of this incident are firing" in chat_text(Note("update", "t", alert().data, firing=3))
    assert colour(_note()) != colour(end)


def test_markup_that_others_wrote_is_text() -> None:
    """Slack's entities and Mattermost's Markdown are escaped; Telegram is told of no markup."""
    evil = Note("first", "t", alert(summary="<!channel> *x* [a](http://evil)").data, severity="error")
    slack = json.dumps(slack_request(evil, BOT, None).body)
    assert "<" not in slack
    mattermost = mattermost_request(evil, BOT, None).body["props"]["attachments"][0]["text"]
    assert "\\*x\\* \\[a\\](http" in mattermost
    assert "\nRunbook: https://git.example/runbooks/restart-loop.md" in mattermost
    assert "parse_mode" not in telegram_request(evil, BOT, None).body


def test_what_the_services_answer() -> None:
    """Slack says 200 and no; Telegram asks for pauses in the body, and refuses an edit that changes nothing."""
    ok = Outcome("taken")
    assert answer_of("slack", ok, b'{"ok": true, "ts": "1.2"}').ref == "1.2"
    assert answer_of("slack", ok, b'{"ok": false, "error": "invalid_auth"}').verdict == "later"
    assert answer_of("slack", ok, b'{"ok": false, "error": "msg_too_long"}').verdict == "never"
    assert answer_of("slack", ok, b"<html>").verdict == "later"
    assert answer_of("mattermost", ok, b'{"id": "p"}').ref == "p"
    assert answer_of("telegram", ok, b'{"ok": true, "result": {"message_id": 5}}').ref == "5"
    later = Outcome("later", "HTTP 429")
    assert answer_of("telegram", later, b'{"parameters": {"retry_after": 9}}').after_s == 9.0
    same = answer_of("telegram", Outcome("never", "HTTP 400"), b'{"description": "Bad Request: message is not modified"}')
    assert same.verdict == "taken"
