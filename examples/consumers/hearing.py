"""Hears messages from the broker. Knows nothing of what they say, nor of HTTP.

Alerts are retained by the broker and the session is kept there, so that neither a restart of the consumer nor of the broker
loses the newest state of an alert: what is said meanwhile is queued, and at a new subscription the retained ones come again.
"""

import asyncio
import logging
import os
import random
import ssl
from collections.abc import Callable
from urllib.parse import unquote, urlsplit

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

_log = logging.getLogger(__name__)

SESSION_S = 7 * 86_400
"""So long the broker keeps for us what we have not heard."""

TOPICS = ("dockwarden/+/alert/#", "dockwarden/+/status")


def _client(broker: str, name: str) -> aiomqtt.Client:
    parts = urlsplit(broker)
    tls = ssl.create_default_context() if parts.scheme == "mqtts" else None
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho types this one by a comment
    properties.SessionExpiryInterval = SESSION_S
    return aiomqtt.Client(
        parts.hostname or "127.0.0.1",
        parts.port or (8883 if tls else 1883),
        username=unquote(parts.username) if parts.username else None,
        password=os.environ.get("MQTT_PASSWORD") or (unquote(parts.password) if parts.password else None),
        identifier=name,
        protocol=aiomqtt.ProtocolVersion.V5,
        clean_start=False,
        properties=properties,
        keepalive=10,
        tls_context=tls,
    )


async def hear(broker: str, name: str, take: Callable[[bytes], None], *, retained_again: bool) -> None:
    """Listen until cancelled, connecting anew whenever the broker goes.

    Args:
        broker: `mqtt://user@host:port` or `mqtts://…`; the password better stands in MQTT_PASSWORD.
        name: of the session; another one for each consumer.
        take: gets every payload.
        retained_again: whether the retained messages are wanted at each connection, or only with a new subscription.
    """
    # Retain handling (MQTT 5, 3.8.3.1): 0 sends the retained messages at each subscription, 1 only at a new one.
    options = SubscribeOptions(qos=1, retainHandling=0 if retained_again else 1)
    while True:
        # A new client for each connection: one that is used again publishes and forgets in surprising ways.
        try:
            async with _client(broker, name) as client:
                await client.subscribe([(topic, options) for topic in TOPICS])
                _log.info("listening to %s", urlsplit(broker).hostname)
                async for message in client.messages:
                    take(message.payload)
        except aiomqtt.MqttError as error:
            _log.warning("broker: %s", error)
            await asyncio.sleep(random.uniform(1.0, 3.0))  # noqa: S311  jitter, no secret
