"""Alertmanager: Debian's real one, and what it must be told again and again."""

from pathlib import Path
from typing import Any

from tests.contract.consumers.running import config, consuming, publish
from tests.lab.alertmanager import ScratchAlertmanager
from tests.lab.broker import ScratchBroker
from tests.lab.http_receiver import HttpReceiver
from tests.lab.waiting import until


async def test_a_real_alertmanager_holds_what_fires_and_lets_go_of_what_is_over(broker: ScratchBroker, tmp_path: Path) -> None:
    """Labels, times, summary line and runbook are as it takes them; a resolved alert is gone at once."""
    with ScratchAlertmanager() as alertmanager:
        chosen = config(tmp_path, broker, {"am": {"type": "alertmanager", "url": alertmanager.url}})
        async with consuming(chosen):
            await publish(broker, 1, runbook="https://git.example/r.md")
            await publish(broker, 2, key="other")
            await until(lambda: len(alertmanager.alerts()) == 2, what="both alerts")
            alerts = alertmanager.alerts()
            await publish(broker, 3, "resolved", key="other")
            await until(lambda: len(alertmanager.alerts()) == 1, what="the end of one")
    (held,) = [alert for alert in alerts if alert["labels"]["key"] == "web"]
    assert held["labels"] == {"alertname": "restart-loop", "host": "web-7", "severity": "error", "key": "web"}
    assert held["annotations"]["summary"] == "[ERROR] A container dies and is started again and again | web-7 | web"
    assert held["generatorURL"] == "https://git.example/r.md"
    assert held["startsAt"].startswith("2023-11-14T22:13:20")


async def test_what_fires_is_said_again_and_what_is_over_is_not(
    broker: ScratchBroker, receiver: HttpReceiver, tmp_path: Path
) -> None:
    """A list of one alert, with `endsAt` once it is resolved, and the same again while it fires."""
    chosen = config(tmp_path, broker, {"am": {"type": "alertmanager", "url": receiver.url, "repeat_s": 0.05}})

    async with consuming(chosen):
        await publish(broker, 1)
        await until(lambda: len(receiver.posts) >= 3, what="repetitions")
        await publish(broker, 2, "resolved")
        await until(lambda: "endsAt" in _last(receiver), what="the resolution")
        told = len(receiver.posts)
        await publish(broker, 3, key="c2")
        await until(lambda: _last(receiver)["labels"]["key"] == "c2", what="the other alert")
    assert receiver.posts[0].path == "/api/v2/alerts"
    first, again = receiver.bodies[:2]
    assert first[0]["labels"] == again[0]["labels"]
    assert first[0]["startsAt"] == again[0]["startsAt"]
    assert "endsAt" not in first[0]
    assert all(body[0]["labels"]["key"] == "c2" for body in receiver.bodies[told:])


def _last(receiver: HttpReceiver) -> Any:
    return receiver.bodies[-1][0]
