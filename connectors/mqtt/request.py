"""One message and the answer to it: how a command reaches a sidecar. Opens a connection for that alone, and closes it."""

import asyncio
import uuid

import aiomqtt

from connectors.mqtt.client import PAHO_LOG, password, tls_context
from connectors.mqtt.settings import BrokerSettings
from engine.errors import BrokerError


async def request(settings: BrokerSettings, *, topic: str, payload: bytes, reply_topic: str, timeout_s: float) -> bytes:
    """Publish a message and wait for the first one on another topic.

    Args:
        settings: of the broker.
        topic: where the message goes, not retained, QoS 1.
        payload: of the message.
        reply_topic: subscribed before the message is sent.
        timeout_s: for all of it, in seconds.

    Raises:
        BrokerError: no connection, or no answer in time; the message says which.
    """
    versions = {"auto": ("5", "3.1.1"), "5": ("5",), "3.1.1": ("3.1.1",)}[settings.protocol]
    for number, version in enumerate(versions, 1):
        try:
            async with asyncio.timeout(timeout_s):
                return await _request(settings, version, topic, payload, reply_topic)
        except TimeoutError:
            raise BrokerError(
                f"no answer on {reply_topic} within {timeout_s:g} s: does the sidecar run, has it `mqtt.commands: true`,"
                " has it this key, and do both clocks agree?"
            ) from None
        except aiomqtt.MqttError as error:
            if number == len(versions):
                raise BrokerError(f"{settings.where}: {error}") from error
    raise AssertionError  # there is at least one version


async def _request(settings: BrokerSettings, version: str, topic: str, payload: bytes, reply_topic: str) -> bytes:
    client = aiomqtt.Client(
        settings.host,
        settings.port,
        username=settings.username,
        password=await asyncio.to_thread(password, settings),
        identifier=f"dockwarden-command-{uuid.uuid4().hex[:12]}",
        protocol=aiomqtt.ProtocolVersion.V5 if version == "5" else aiomqtt.ProtocolVersion.V311,
        timeout=settings.connect_timeout_s,
        tls_context=await asyncio.to_thread(tls_context, settings) if settings.tls else None,
        logger=PAHO_LOG,
    )
    async with client:
        await client.subscribe(reply_topic, qos=1)
        await client.publish(topic, payload, qos=1)
        async for message in client.messages:
            if not message.retain:
                return bytes(message.payload)
    raise BrokerError(f"{settings.where}: the connection was closed before an answer came")
