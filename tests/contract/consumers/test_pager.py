"""The pager between a real Mosquitto and a real HTTP server, fed with the messages that dockwarden makes."""

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.publish import single

from connectors.consumers.consumer import Consumer
from engine.messages.cloudevents import last_will, status_event
from engine.messages.models import StatusData
from tests.contract.consumers.running import config, consuming, opened, publish, secret
from tests.lab.broker import ScratchBroker
from tests.lab.http_receiver import Answer, HttpReceiver, http_receiver
from tests.lab.subscriber import Subscriber
from tests.lab.waiting import until
from tests.unit.consumers.build import ID, START, payload

KEY = "R" * 32


def _pagerduty(folder: Path, receiver: HttpReceiver, **more: Any) -> dict[str, Any]:
    return {
        "type": "pagerduty",
        "routing_key_file": secret(folder, "key", KEY),
        "url": f"{receiver.url}/v2/enqueue",
        **more,
    }


def _webhook(receiver: HttpReceiver, path: str = "hook", **more: Any) -> dict[str, Any]:
    return {"type": "webhook", "url": f"{receiver.url}/{path}", **more}


async def _posts(receiver: HttpReceiver, number: int) -> list[Any]:
    await until(lambda: len(receiver.posts) >= number, what=f"{number} posts")
    return receiver.bodies


async def test_a_page_is_triggered_and_resolved_with_one_dedup_key(
    broker: ScratchBroker, receiver: HttpReceiver, tmp_path: Path
) -> None:
    """PagerDuty gets trigger and resolve in the form of its Events API v2, the container by name, and a link to the runbook."""
    evidence = [{"fact": "container", "id": ID, "name": "web"}]
    async with consuming(config(tmp_path, broker, {"oncall": _pagerduty(tmp_path, receiver)})):
        await publish(broker, 1, key=ID, evidence=evidence)
        (trigger,) = await _posts(receiver, 1)
        await publish(broker, 2, "resolved", key=ID)
        _, resolve = await _posts(receiver, 2)
    assert receiver.posts[0].path == "/v2/enqueue"
    assert (trigger["routing_key"], trigger["event_action"]) == (KEY, "trigger")
    told = trigger["payload"]
    assert told["summary"] == "[ERROR] A container dies and is started again and again | web-7 | web"
    assert (told["source"], told["severity"], told["class"], told["component"]) == ("web-7", "error", "restart-loop", "web")
    assert trigger["links"] == [{"href": "https://git.example/rules/runbooks/restart-loop.md", "text": "runbook"}]
    assert resolve == {"routing_key": KEY, "event_action": "resolve", "dedup_key": trigger["dedup_key"]}


async def test_what_a_receiver_refuses_for_now_comes_again(broker: ScratchBroker, receiver: HttpReceiver, tmp_path: Path) -> None:
    """After 503, a time-out and 429 the same alert is posted until it is taken, under one Idempotency-Key."""
    receiver.answers = [Answer(503), Answer(hang_s=1.0), Answer(429), Answer(202)]
    async with consuming(config(tmp_path, broker, {"hook": _webhook(receiver, timeout_s=0.3)})):
        await publish(broker, 1)
        posts = await _posts(receiver, 4)
    assert posts[0] == posts[1] == posts[2] == posts[3]
    assert len({post.headers["Idempotency-Key"] for post in receiver.posts}) == 1


async def test_a_receiver_that_asks_for_a_pause_gets_it(broker: ScratchBroker, receiver: HttpReceiver, tmp_path: Path) -> None:
    """Retry-After counts more than the back-off, also across a restart."""
    receiver.answers = [Answer(429, {"Retry-After": "2"})]
    chosen = config(tmp_path, broker, {"hook": _webhook(receiver)})
    loop = asyncio.get_running_loop()
    async with consuming(chosen):
        await publish(broker, 1)
        await _posts(receiver, 1)
        asked = loop.time()
        with opened(chosen) as store:
            await until(lambda: store.receiver_states(["hook"])[0].error, what="the refusal in the queue")
    async with consuming(chosen):
        await _posts(receiver, 2)
    assert loop.time() - asked >= 1.9


async def test_what_a_receiver_will_never_take_is_a_dead_letter_and_holds_nothing_up(
    broker: ScratchBroker, receiver: HttpReceiver, tmp_path: Path
) -> None:
    """After 400 the next alert is posted; the first is shown with the reason, and comes again when somebody says so."""
    receiver.answers = [Answer(400, body={"message": "no such field"})]
    chosen = config(tmp_path, broker, {"hook": _webhook(receiver)})
    async with consuming(chosen):
        await publish(broker, 1, key="c1")
        await _posts(receiver, 1)
        await publish(broker, 2, key="c2")
        await _posts(receiver, 2)
        with opened(chosen) as store:
            (dead,) = store.dead_letters()
            assert "no such field" in dead.error
            assert store.retry([dead.id]) == 1
        await publish(broker, 3, key="c3")
        await until(
            lambda: {body["alert"]["key"] for body in receiver.bodies[2:]} == {"c1", "c3"}, what="the letter that was dead"
        )
    assert [body["alert"]["key"] for body in receiver.bodies[:2]] == ["c1", "c2"]


async def test_a_receiver_that_is_down_or_hangs_delays_no_other(
    broker: ScratchBroker, receiver: HttpReceiver, tmp_path: Path
) -> None:
    """Each has its own queue: the one that works has everything at once, those that do not get theirs later, nothing twice."""
    async with http_receiver() as hanging, http_receiver() as down:
        await down.stop()
        hanging.always = Answer(hang_s=1.5)
        chosen = config(
            tmp_path, broker, {"down": _webhook(down), "hangs": _webhook(hanging, timeout_s=30), "works": _webhook(receiver)}
        )
        async with consuming(chosen):
            for number in range(5):
                await publish(broker, number, key=f"c{number}")
            await until(lambda: len(receiver.posts) == 5, what="all five where nothing is wrong", within_s=1.4)
            assert len(hanging.posts) == 1
            await down.start()
            await until(lambda: len(down.posts) == 5, what="all five where it was down")
        assert len(receiver.posts) == 5
        assert [body["alert"]["key"] for body in down.bodies] == [f"c{number}" for number in range(5)]


async def test_a_restart_sends_nothing_again_and_forgets_nothing(
    broker: ScratchBroker, receiver: HttpReceiver, tmp_path: Path
) -> None:
    """What was delivered before is not delivered again though the broker has it retained; what came meanwhile is."""
    chosen = config(tmp_path, broker, {"hook": _webhook(receiver)})
    async with consuming(chosen):
        await publish(broker, 1, key="c1")
        await _posts(receiver, 1)
        with opened(chosen) as store:
            await until(lambda: store.receiver_states(["hook"])[0].taken == 1, what="the delivery in the queue")
    await publish(broker, 2, "resolved", key="c1")
    await publish(broker, 3, key="c2")
    for _ in range(2):
        async with consuming(chosen):
            await until(lambda: len(receiver.posts) >= 3, what="what came meanwhile")
            await publish(broker, 3, key="c2")  # delivered once more by the broker
            await publish(broker, 10, key="c1", severity="info", status="resolved")
            with opened(chosen) as store:
                await until(lambda: store.known(["web-7/restart-loop/c1"])["web-7/restart-loop/c1"][0] == 10, what="the last one")
    assert [(body["alert"]["key"], body["status"]) for body in receiver.bodies] == [
        ("c1", "firing"),
        ("c1", "resolved"),
        ("c2", "firing"),
    ]


async def test_a_message_that_was_not_stored_comes_again(broker: ScratchBroker, receiver: HttpReceiver, tmp_path: Path) -> None:
    """A message is acknowledged only once it is on the disk: a consumer that dies before gets it again."""
    chosen = config(tmp_path, broker, {"hook": _webhook(receiver)})
    reached = asyncio.Event()

    async def dies(_consumer: Consumer, messages: Any) -> None:
        if any("/alert/" in topic for topic, _ in messages):
            reached.set()
            await asyncio.sleep(3600)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Consumer, "receive", dies)
        async with consuming(chosen):
            with opened(chosen) as store:
                await until(lambda: (store.link_state() or (False,))[0], what="a connection")
            # Not retained: only the session that the broker keeps can bring it again.
            await asyncio.to_thread(
                single, "dockwarden/web-7/alert/r/k", payload(1), qos=1, hostname=broker.host, port=broker.port
            )
            await asyncio.wait_for(reached.wait(), 5)
    async with consuming(chosen):
        await _posts(receiver, 1)


async def test_a_sidecar_that_stays_away_is_an_alert(broker: ScratchBroker, receiver: HttpReceiver, tmp_path: Path) -> None:
    """The last will triggers a page after the time of grace, and the return resolves it."""

    async def say(message: Any) -> None:
        await asyncio.to_thread(
            single, message.topic, message.payload, qos=1, retain=True, hostname=broker.host, port=broker.port
        )

    chosen = config(tmp_path, broker, {"oncall": _pagerduty(tmp_path, receiver)}, gone_after_s=0.05)
    async with consuming(chosen):
        await say(last_will(host="web-7", version="1", at=START))
        (gone,) = await _posts(receiver, 1)
        await say(status_event(StatusData(state="online", host="web-7", version="1"), at=START, event_id="1"))
        _, back = await _posts(receiver, 2)
    assert gone["payload"]["custom_details"]["summary"].startswith("dockwarden on web-7 is gone")
    assert (back["event_action"], back["dedup_key"]) == ("resolve", gone["dedup_key"])


async def test_a_test_alarm_comes_back_acknowledged(broker: ScratchBroker, receiver: HttpReceiver, tmp_path: Path) -> None:
    """Marked TEST at the receiver, closed there at once, and answered on the reply topic once the receiver has it."""
    receiver.answers = [Answer(503)]
    chosen = config(tmp_path, broker, {"oncall": _pagerduty(tmp_path, receiver)})
    with Subscriber(broker.url, topics=("dockwarden/+/reply/#",)) as replies:
        async with consuming(chosen):
            await publish(broker, 1, rule="alarm-test", key="t-1", title="Test alarm", labels={"test": "true", "test_id": "t-1"})
            message = await replies.received("dockwarden/web-7/reply/t-1", what="the reply")
    reply = json.loads(message.payload)
    assert (reply["ok"], reply["test"], reply["consumer"], reply["receiver"]) == (True, "t-1", "pager", "oncall")
    assert [body["event_action"] for body in receiver.bodies] == ["trigger", "trigger", "resolve"]
    assert receiver.bodies[0]["payload"]["summary"].startswith("[TEST] Test alarm | web-7")
    assert receiver.bodies[0]["payload"]["severity"] == "info"


async def test_opsgenie_is_told_by_alias(broker: ScratchBroker, receiver: HttpReceiver, tmp_path: Path) -> None:
    """Created and closed by its alias, with the key in the header and no secret in the address."""
    authorization = secret(tmp_path, "genie", "GenieKey s3cret")
    chosen = config(tmp_path, broker, {"ops": _webhook(receiver, "v2/alerts", form="opsgenie", authorization_file=authorization)})
    async with consuming(chosen):
        await publish(broker, 1, severity="critical")
        await _posts(receiver, 1)
        await publish(broker, 2, "resolved", severity="critical")
        await _posts(receiver, 2)
    create, close = receiver.posts
    assert create.headers["Authorization"] == "GenieKey s3cret"
    assert (create.path, create.body["priority"], create.body["alias"]) == ("/v2/alerts", "P1", "web-7/restart-loop/web")
    assert close.path == "/v2/alerts/web-7/restart-loop/web/close"


async def test_no_secret_reaches_the_logs(
    broker: ScratchBroker, receiver: HttpReceiver, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Neither keys nor addresses that are secrets, whatever goes wrong."""
    receiver.answers = [Answer(500), Answer(400)]
    url = secret(tmp_path, "url", f"{receiver.url}/hook/T0P-S3CRET")
    refused = secret(tmp_path, "url2", "http://127.0.0.1:1/T0P-S3CRET")
    authorization = secret(tmp_path, "authorization", "Bearer T0P-S3CRET")
    hooks = {
        "a": {"type": "webhook", "url_file": url, "authorization_file": authorization},
        "b": {"type": "webhook", "url_file": refused},
    }
    chosen = config(tmp_path, broker, hooks)
    async with consuming(chosen):
        await publish(broker, 1)
        with opened(chosen) as store:
            await until(lambda: all(state.error for state in store.receiver_states(["a", "b"])), what="both failures")
            errors = [state.error for state in store.receiver_states(["a", "b"])]
    logged = "".join(capfd.readouterr())
    assert re.search("not_delivered", logged)
    assert "T0P-S3CRET" not in logged + str(errors)


async def test_an_alert_that_ended_while_nobody_listened_is_resolved(
    broker: ScratchBroker, receiver: HttpReceiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its end is neither queued nor retained any more: what the broker keeps of a host that is there is the truth."""
    monkeypatch.setattr("connectors.consumers.retained.WAIT_S", 0.5)
    monkeypatch.setattr("connectors.consumers.retained.QUIET_S", 0.2)
    chosen = config(tmp_path, broker, {"oncall": _pagerduty(tmp_path, receiver)})
    online = status_event(StatusData(state="online", host="web-7", version="1"), at=START, event_id="1")

    def put(topic: str, payload: bytes) -> None:
        single(topic, payload, qos=1, retain=True, hostname=broker.host, port=broker.port)

    await asyncio.to_thread(put, online.topic, online.payload)
    async with consuming(chosen):
        await publish(broker, 1, key="ended")
        await publish(broker, 2, key="fires")
        await _posts(receiver, 2)
        with opened(chosen) as store:
            await until(lambda: store.receiver_states(["oncall"])[0].taken == 2, what="both deliveries")
    await asyncio.to_thread(put, "dockwarden/web-7/alert/restart-loop/ended", b"")
    async with consuming(chosen):
        await _posts(receiver, 3)
    assert (receiver.bodies[2]["event_action"], receiver.bodies[2]["dedup_key"]) == ("resolve", "web-7/restart-loop/ended")
    assert len(receiver.posts) == 3
