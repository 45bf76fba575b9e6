"""The example consumers, between a real broker and an HTTP server, fed with the messages that dockwarden makes."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import pytest
from paho.mqtt.publish import single

from engine.facts.outcomes import Severity
from engine.messages.cloudevents import StatusData, alert_event, last_will, status_event
from examples.consumers.alerts import Newest, Presence, read_alert, read_status
from examples.consumers.chat import Chat
from examples.consumers.consumer import Consumer
from examples.consumers.delivery import Receiver
from examples.consumers.pager import Pager
from tests.examples.receivers import Taken, receiver
from tests.lab.broker import ScratchBroker
from tests.lab.waiting import until

START = 1_700_000_000_000_000
KEY = "R" * 32


@pytest.fixture
def broker() -> Iterator[ScratchBroker]:
    """A broker of the test's own."""
    with ScratchBroker() as running:
        yield running


def _alert(
    seq: int,
    status: Literal["firing", "resolved"] = "firing",
    *,
    key: str = "c1",
    severity: Severity = "error",
    runbook: str | None = "runbooks/dead-container.md",
) -> Any:
    return alert_event(
        host="web-7",
        rule="dead-container",
        key=key,
        status=status,
        severity=severity,
        summary="container <web> is dead",
        starts_at=START,
        updated_at=START + seq * 1_000_000,
        seq=seq,
        runbook_url=runbook,
    )


def _say(broker: ScratchBroker, message: Any) -> None:
    single(message.topic, message.payload, qos=1, retain=True, hostname=broker.host, port=broker.port)


@asynccontextmanager
async def _consuming(broker: ScratchBroker, told: Receiver, **options: Any) -> AsyncIterator[None]:
    retained_again = options.pop("retained_again", True)
    work = Consumer(told, **options).run(broker.url, "a-consumer", retained_again=retained_again, first_s=0.02)
    task = asyncio.create_task(work, name="consumer")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _posts(taken: Taken, number: int) -> list[Any]:
    await until(lambda: len(taken.posts) >= number, what=f"{number} posts")
    return [body for _, body in taken.posts]


async def test_a_page_is_triggered_and_resolved_with_one_dedup_key(broker: ScratchBroker) -> None:
    """PagerDuty gets trigger and resolve in the form of its Events API v2, with a link where the runbook has an address."""
    async with receiver() as taken:
        pager = Pager(routing_key=KEY, pagerduty=f"{taken.url}/v2/enqueue", runbooks="https://git.example/rules")
        async with _consuming(broker, pager):
            _say(broker, _alert(1))
            (trigger,) = await _posts(taken, 1)
            _say(broker, _alert(2, "resolved"))
            _, resolve = await _posts(taken, 2)
    assert taken.posts[0][0] == "/v2/enqueue"
    assert (trigger["routing_key"], trigger["event_action"]) == (KEY, "trigger")
    payload = trigger["payload"]
    assert (payload["summary"], payload["source"], payload["severity"]) == ("container <web> is dead", "web-7", "error")
    assert (payload["class"], payload["component"]) == ("dead-container", "c1")
    assert trigger["links"] == [{"href": "https://git.example/rules/runbooks/dead-container.md", "text": "runbook"}]
    assert resolve == {"routing_key": KEY, "event_action": "resolve", "dedup_key": trigger["dedup_key"]}


async def test_alertmanager_gets_labels_times_and_repetitions(broker: ScratchBroker) -> None:
    """Alertmanager gets a list of one alert, with `endsAt` once it is resolved, and is told again while it fires."""
    async with receiver() as taken, _consuming(broker, Pager(alertmanager=f"{taken.url}/"), again_s=0.05, grace_s=0.05):
        _say(broker, _alert(1, runbook="https://git.example/r.md"))
        first, again = (await _posts(taken, 2))[:2]
        _say(broker, _alert(2, "resolved"))
        await until(lambda: "endsAt" in taken.posts[-1][1][0], what="the resolution")
        told = len(taken.posts)
        # One that is resolved is not repeated: another alert passes first.
        _say(broker, _alert(3, key="c2"))
        await until(lambda: taken.posts[-1][1][0]["labels"]["key"] == "c2", what="the other alert")
    assert taken.posts[0][0] == "/api/v2/alerts"
    assert first == again
    (posted,) = first
    assert posted["labels"] == {"alertname": "dead-container", "host": "web-7", "severity": "error", "key": "c1"}
    assert posted["generatorURL"] == "https://git.example/r.md"
    assert posted["startsAt"].startswith("2023-11-14T22:13:20")
    assert "endsAt" not in posted
    assert all(body[0]["labels"]["key"] == "c2" for _, body in taken.posts[told:])


async def test_what_a_receiver_refuses_for_now_comes_again(broker: ScratchBroker) -> None:
    """After 503 and 429 the same alert is posted until it is taken."""
    async with receiver() as taken:
        taken.answers = [503, 429, 202]
        async with _consuming(broker, Chat(f"{taken.url}/hook")):
            _say(broker, _alert(1))
            posts = await _posts(taken, 3)
    assert posts[0] == posts[1] == posts[2]


async def test_what_a_receiver_will_never_take_holds_nothing_up(broker: ScratchBroker) -> None:
    """After 400 the next alert is posted; the first one is not repeated."""
    async with receiver() as taken:
        taken.answers = [400]
        async with _consuming(broker, Pager(routing_key=KEY, pagerduty=taken.url)):
            _say(broker, _alert(1))
            await _posts(taken, 1)
            _say(broker, _alert(2, key="c2"))
            posts = await _posts(taken, 2)
    assert [post["payload"]["component"] for post in posts] == ["c1", "c2"]


async def test_a_consumer_that_was_away_hears_what_it_missed(broker: ScratchBroker) -> None:
    """An alert that was resolved while the consumer was not running is resolved at the pager too."""
    async with receiver() as taken:
        pager = Pager(routing_key=KEY, pagerduty=taken.url)
        async with _consuming(broker, pager):
            _say(broker, _alert(1))
            await _posts(taken, 1)
        _say(broker, _alert(2, "resolved"))
        async with _consuming(broker, pager):
            posts = await _posts(taken, 2)
    assert posts[-1]["event_action"] == "resolve"


async def test_a_chat_is_told_beginning_worsening_and_end(broker: ScratchBroker) -> None:
    """Counts that rise and lesser severities say nothing; what others control cannot address the channel."""
    async with receiver() as taken, _consuming(broker, Chat(f"{taken.url}/hook"), retained_again=False):
        for number, message in enumerate(
            (_alert(1), _alert(3, severity="critical"), _alert(5, "resolved", severity="critical")), start=1
        ):
            _say(broker, message)
            await _posts(taken, number)
            _say(broker, _alert(2 * number, key="c9", severity="info"))
        _say(broker, _alert(9, key="c3", severity="warning"))
        await _posts(taken, 4)
    said = [post["attachments"][0] for _, post in taken.posts]
    assert [one["fields"][0]["value"] for one in said] == ["error", "critical", "resolved", "warning"]
    assert said[0]["text"] == "container &lt;web&gt; is dead"


async def test_a_sidecar_that_stays_away_is_an_alert(broker: ScratchBroker) -> None:
    """The last will triggers a page after the time of grace, and the return resolves it."""
    async with receiver() as taken, _consuming(broker, Pager(routing_key=KEY, pagerduty=taken.url), grace_s=0.05):
        _say(broker, last_will(host="web-7", version="1", at=START))
        (gone,) = await _posts(taken, 1)
        _say(broker, status_event(StatusData(state="online", host="web-7", version="1"), at=START, event_id="1"))
        _, back = await _posts(taken, 2)
    assert gone["payload"]["summary"].startswith("dockwarden on web-7 is gone")
    assert (back["event_action"], back["dedup_key"]) == ("resolve", gone["dedup_key"])


def test_a_restart_within_the_time_of_grace_is_no_alert() -> None:
    """Gone and back before the time is over: nothing is said."""
    presence = Presence(60.0)
    assert presence.told("h1", here=False, now=0.0) is None
    assert presence.due(59.0) == []
    assert presence.told("h1", here=True, now=59.5) is None
    assert presence.due(1000.0) == []


def test_messages_that_are_none_are_passed_over() -> None:
    """Emptied retained messages, broken JSON, other types and unknown severities are no alerts."""
    unknown = _alert(1).payload.replace(b'"severity":"error"', b'"severity":"apocalyptic"')
    for payload in (b"", b"\xff{", b"[1]", b'{"type":"x"}', b"null", b"[" * 100_000, unknown):
        assert read_alert(payload) is None
        assert read_status(payload) is None


def test_only_what_is_newer_is_news() -> None:
    """A retained message that comes after a queued newer one changes nothing."""
    newest = Newest()
    first, second = (read_alert(_alert(seq).payload) for seq in (1, 2))
    assert first is not None
    assert second is not None
    assert [newest.is_news(one) for one in (second, first, second)] == [True, False, False]
