"""The chat between a real Mosquitto and a real HTTP server: by apprise, and by the interfaces of services that edit messages."""

from pathlib import Path
from typing import Any

import pytest

from connectors.consumers.receivers.apprise_chat import check_address, verdict
from engine.errors import SettingsError
from tests.contract.consumers.running import config, consuming, opened, publish, secret
from tests.lab.broker import ScratchBroker
from tests.lab.http_receiver import Answer, HttpReceiver, http_receiver
from tests.lab.waiting import until

MENTION = "<!channel> @everyone"


def _apprise(folder: Path, receiver: HttpReceiver, **more: Any) -> dict[str, Any]:
    address = f"mmost://127.0.0.1:{receiver.port}/abcdefghijklmnopqrstuvwxyz"
    return {"type": "apprise", "url_file": secret(folder, "chat", address), **more}


async def test_a_restart_loop_is_a_message_and_its_end(broker: ScratchBroker, receiver: HttpReceiver, tmp_path: Path) -> None:
    """An alert that fires and resolves nine times within seconds is two messages, the second once it stays over."""
    chosen = config(tmp_path, broker, {"ops": _apprise(tmp_path, receiver, settle_s=4.0, settle_max_s=4.0)}, "chat")
    async with consuming(chosen, "chat"):
        for number in range(18):
            await publish(broker, number, "firing" if number % 2 == 0 else "resolved")
        await until(lambda: len(receiver.posts) == 2, what="beginning and end", within_s=20)
    first, end = (post["text"] for post in receiver.bodies)
    assert "[ERROR] A container dies and is started again and again | web-7 | web" in first
    assert "Runbook: https://git.example/rules/runbooks/restart-loop.md" in first
    assert "[RESOLVED]" in end
    assert "began anew" in end


async def test_a_chat_is_told_beginning_worsening_and_end(broker: ScratchBroker, receiver: HttpReceiver, tmp_path: Path) -> None:
    """Counts that rise and lesser severities say nothing; what others name mentions nobody."""
    chosen = config(
        tmp_path,
        broker,
        {"ops": _apprise(tmp_path, receiver)},
        "chat",
        routes=[{"match": {"severity": "warning"}, "receivers": ["ops"]}],
    )
    async with consuming(chosen, "chat"):
        for number, (status, severity) in enumerate([("firing", "error"), ("firing", "critical"), ("resolved", "critical")], 1):
            await publish(broker, 10 * number, status, severity=severity, summary=f"container {MENTION} died")
            await until(lambda: len(receiver.posts) >= number, what=f"message {number}")  # noqa: B023  awaited at once
            await publish(broker, 10 * number, key="c9", severity="info")
            await publish(broker, 10 * number + 1, status, severity=severity)
        await publish(broker, 99, key="c3", severity="warning")
        await until(lambda: len(receiver.posts) >= 4, what="the other alert")
    texts = [post["text"] for post in receiver.bodies]
    assert [text.split("]")[0].rsplit("[", 1)[1] for text in texts] == ["ERROR", "CRITICAL", "RESOLVED", "WARNING"]
    assert not any(bad in text for text in texts for bad in ("<!channel", "@everyone"))


async def test_apprise_honours_what_the_service_answers(broker: ScratchBroker, receiver: HttpReceiver, tmp_path: Path) -> None:
    """429 with Retry-After is waited for, 400 is a dead letter, no answer comes again; no secret is in what is kept of it."""
    receiver.answers = [Answer(429, {"Retry-After": "1"}), Answer(200), Answer(400), Answer(200)]
    chosen = config(tmp_path, broker, {"ops": _apprise(tmp_path, receiver)}, "chat")
    async with consuming(chosen, "chat"):
        with opened(chosen) as store:
            await publish(broker, 1)
            await until(lambda: store.receiver_states(["ops"])[0].error, what="the refusal")
            state = store.receiver_states(["ops"])[0]
            assert state.error == "HTTP 429"
            assert state.paused_until > 0
            await until(lambda: store.receiver_states(["ops"])[0].taken == 1, what="the delivery")
            await publish(broker, 2, key="c2")
            (dead,) = await until(store.dead_letters, what="the dead letter")
            assert dead.error == "HTTP 400"
            await receiver.stop()
            await publish(broker, 3, key="c3")
            await until(lambda: "cannot be reached" in store.receiver_states(["ops"])[0].error, what="the failure")
            await receiver.start()
            await until(lambda: len(receiver.posts) == 4, what="the message after all")


async def test_a_service_that_hangs_delays_no_other(broker: ScratchBroker, receiver: HttpReceiver, tmp_path: Path) -> None:
    """Apprise blocks, in a thread of the receiver's own."""
    async with http_receiver() as hanging:
        hanging.always = Answer(hang_s=1.5)
        (tmp_path / "a").mkdir()
        hangs = _apprise(tmp_path / "a", hanging, timeout_s=30)
        chosen = config(tmp_path, broker, {"hangs": hangs, "works": _apprise(tmp_path, receiver)}, "chat")
        async with consuming(chosen, "chat"):
            for number in range(3):
                await publish(broker, number, key=f"c{number}")
            await until(lambda: len(receiver.posts) == 3, what="all where nothing is wrong", within_s=1.4)


EDITABLE = {
    "slack": (
        {"channel": "C1"},
        {"ok": True, "ts": "17.1"},
        [("POST", "/api/chat.postMessage"), ("POST", "/api/chat.update"), ("POST", "/api/chat.update")],
    ),
    "mattermost": (
        {"channel": "c1"},
        {"id": "p1"},
        [("POST", "/api/v4/posts"), ("PUT", "/api/v4/posts/p1/patch"), ("PUT", "/api/v4/posts/p1/patch")],
    ),
    "telegram": (
        {"channel": "-100"},
        {"ok": True, "result": {"message_id": 7}},
        [("POST", "/botT0KEN/sendMessage"), ("POST", "/botT0KEN/editMessageText"), ("POST", "/botT0KEN/editMessageText")],
    ),
}


@pytest.mark.parametrize("kind", EDITABLE)
async def test_one_message_is_kept_up_to_date_where_the_service_can_edit(
    kind: str, broker: ScratchBroker, receiver: HttpReceiver, tmp_path: Path
) -> None:
    """Posted once, edited when it worsens and when it is over; also when the program was restarted in between."""
    settings, answer, expected = EDITABLE[kind]
    receiver.always = Answer(200, body=answer)
    bot = {"type": kind, "url": receiver.url, "token_file": secret(tmp_path, "token", "T0KEN"), "edit_s": 0, **settings}
    chosen = config(tmp_path, broker, {"ops": bot}, "chat")
    async with consuming(chosen, "chat"):
        await publish(broker, 1)
        with opened(chosen) as store:
            await until(lambda: store.receiver_states(["ops"])[0].taken == 1, what="the first message")
    async with consuming(chosen, "chat"):
        await publish(broker, 2, severity="critical")
        await until(lambda: len(receiver.posts) == 2, what="the edit")
        await publish(broker, 3, "resolved", severity="critical")
        await until(lambda: len(receiver.posts) == 3, what="the last edit")
    assert [(post.method, post.path) for post in receiver.posts] == expected
    assert "[RESOLVED]" in str(receiver.bodies[2])
    if kind == "slack":
        assert [body.get("ts") for body in receiver.bodies] == [None, "17.1", "17.1"]
        assert receiver.posts[0].headers["Authorization"] == "Bearer T0KEN"


async def test_a_message_that_somebody_deleted_is_posted_anew(
    broker: ScratchBroker, receiver: HttpReceiver, tmp_path: Path
) -> None:
    """An edit that finds nothing becomes a message."""
    receiver.answers = [Answer(200, body={"ok": True, "ts": "1"}), Answer(200, body={"ok": False, "error": "message_not_found"})]
    receiver.always = Answer(200, body={"ok": True, "ts": "2"})
    bot = {"type": "slack", "url": receiver.url, "token_file": secret(tmp_path, "token", "x"), "channel": "C1"}
    async with consuming(config(tmp_path, broker, {"ops": bot}, "chat"), "chat"):
        await publish(broker, 1)
        await until(lambda: len(receiver.posts) == 1, what="the message")
        await publish(broker, 2, severity="critical")
        await until(lambda: len(receiver.posts) == 3, what="a message in its place")
    assert [post.path.rsplit(".", 1)[1] for post in receiver.posts] == ["postMessage", "update", "postMessage"]


async def test_a_digest_and_a_test_alarm_in_a_chat(broker: ScratchBroker, receiver: HttpReceiver, tmp_path: Path) -> None:
    """What is less severe comes together after its interval; a test alarm does not wait for it and says what it is."""
    chosen = config(
        tmp_path, broker, {"ops": _apprise(tmp_path, receiver)}, "chat", routes=[{"receivers": ["ops"], "digest_s": 2.0}]
    )
    async with consuming(chosen, "chat"):
        await publish(broker, 1, key="a", severity="warning")
        await publish(broker, 2, key="b", severity="warning")
        await publish(broker, 3, rule="alarm-test", key="t", title="Test alarm", labels={"test": "true"}, severity="info")
        await until(lambda: any("TEST" in body["text"] for body in receiver.bodies), what="the test alarm", within_s=5)
        await until(lambda: any("held back" in body["text"] for body in receiver.bodies), what="the digest", within_s=10)
    digest = next(body["text"] for body in receiver.bodies if "held back" in body["text"])
    assert digest.count("[WARNING]") == 2
    assert len(receiver.posts) == 2


def test_an_address_that_apprise_does_not_know_is_refused_without_repeating_it() -> None:
    """It holds the service's secret; what it begins with is named."""
    with pytest.raises(SettingsError, match="begins with `slak://`") as raised:
        check_address("slak://T0P-S3CRET")
    assert "S3CRET" not in str(raised.value)
    for good in (
        "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ",
        "mmost://chat.example/abcdefghijklmnopqrstuvwxyz",
        "tgram://123456789:abcdefg_hijklmnop/12315544/",
        "matrixs://user:pass@matrix.example/#ops",
        "dingtalk://abcdefghijklmnop/",
        "wecombot://abcdefghijklmnop/",
        "feishu://abcdefghijklmnop/",
        "ntfys://ntfy.example/ops",
        "mailtos://user:pass@mail.example?to=ops@example.com",
        "workflows://prod-1.westus.logic.azure.com:443/643e69f83c8944/438b0ed23a8d4a/",
    ):
        check_address(good)


def test_the_last_answer_tells_what_a_no_of_apprise_means() -> None:
    """Without any answer the service could not be reached; HTTP 200 with a no in the body is tried again."""
    assert verdict(sent=True, answers=[], now=0.0).verdict == "taken"
    assert verdict(sent=False, answers=[], now=0.0).verdict == "later"
    assert verdict(sent=False, answers=[(200, {}), (400, {})], now=0.0).verdict == "never"
    assert verdict(sent=False, answers=[(429, {"retry-after": "9"})], now=0.0).after_s == 9.0
    assert verdict(sent=False, answers=[(200, {})], now=0.0).verdict == "later"
