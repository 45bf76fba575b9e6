"""The way from the broker: TLS and credentials, MQTT 3.1.1, a broker that restarts."""

import asyncio
from pathlib import Path
from typing import Any

from paho.mqtt.publish import single

from tests.contract.consumers.running import config, consuming, opened, publish, secret
from tests.lab.broker import ScratchBroker
from tests.lab.http_receiver import HttpReceiver
from tests.lab.waiting import until
from tests.unit.consumers.build import payload

TOPIC = "dockwarden/web-7/alert/restart-loop/web"


def _hook(receiver: HttpReceiver) -> dict[str, Any]:
    return {"hook": {"type": "webhook", "url": receiver.url}}


async def test_it_listens_by_tls_with_a_password_from_a_file(receiver: HttpReceiver, tmp_path: Path) -> None:
    """The certificate is judged by the CA of the settings; a wrong password is said in the status and tried again."""
    with ScratchBroker(users={"pager": "s3cret"}, tls=True) as broker:
        file = Path(secret(tmp_path, "password", "wrong"))
        url = broker.url.replace("mqtts://", "mqtts://pager@")
        settings = {"url": url, "password_file": str(file), "ca_file": str(broker.ca_file)}
        chosen = config(tmp_path, broker, _hook(receiver), connection=settings)
        async with consuming(chosen):
            with opened(chosen) as store:
                await until(lambda: "not authorised" in (store.link_state() or ("", "", ""))[2], what="the refusal")
                file.write_text("s3cret\n")
                await until(lambda: (store.link_state() or (False,))[0], what="the connection")
            await asyncio.to_thread(
                single,
                TOPIC,
                payload(),
                qos=1,
                hostname="localhost",
                port=broker.port,
                auth={"username": "pager", "password": "s3cret"},
                tls={"ca_certs": str(broker.ca_file)},
            )
            await until(lambda: receiver.posts, what="the alert")


async def test_it_listens_by_mqtt_3_1_1(broker: ScratchBroker, receiver: HttpReceiver, tmp_path: Path) -> None:
    """The broker keeps the session there, too: what comes while nobody listens comes later."""
    chosen = config(tmp_path, broker, _hook(receiver), connection={"protocol": "3.1.1"})
    async with consuming(chosen):
        with opened(chosen) as store:
            await until(lambda: (store.link_state() or (False,))[0], what="a connection")
    await asyncio.to_thread(single, TOPIC, payload(), qos=1, hostname=broker.host, port=broker.port)
    async with consuming(chosen):
        await until(lambda: receiver.posts, what="the alert that was not retained")


async def test_a_broker_that_is_killed_is_connected_again(broker: ScratchBroker, receiver: HttpReceiver, tmp_path: Path) -> None:
    """And listened to, from the same session on."""
    chosen = config(tmp_path, broker, _hook(receiver))
    async with consuming(chosen):
        await publish(broker, 1, key="c1")
        await until(lambda: len(receiver.posts) == 1, what="the first alert")
        await asyncio.to_thread(broker.kill)
        await asyncio.to_thread(broker.start)
        with opened(chosen) as store:
            await until(lambda: (store.link_state() or (False,))[0], what="the connection", within_s=20)
        await publish(broker, 2, key="c2")
        await until(lambda: len(receiver.posts) == 2, what="the second alert", within_s=20)
