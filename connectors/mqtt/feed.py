"""Listens to many topics and publishes now and then, over one connection that is made anew whenever it is lost.

Messages are handed on as they are read from the socket, in the same task step: nothing waits here, and a listener that is slow
slows the broker's sending down. At QoS 0, since the session ends with the connection and what is retained comes again with the
next one. Knows nothing of what messages say.
"""

import asyncio
import random
import uuid
from collections.abc import Callable, Sequence
from typing import Any, Final

import aiomqtt
import paho.mqtt.client as paho
import structlog
from paho.mqtt.reasoncodes import ReasonCode

from connectors.mqtt.client import PAHO_LOG, ReportingClient, enter, password, tls_context
from connectors.mqtt.link import Version
from connectors.mqtt.reason_codes import ClosedUnansweredError, VersionRefusedError, connect_error
from connectors.mqtt.settings import BrokerSettings
from connectors.sources.backoff import backoff
from engine.errors import BrokerError
from engine.ports.broker import Message
from engine.ports.clock import Clock

_log = structlog.get_logger(__name__)

_FAILURE: Final = 0x80
"""Reason codes from here on say no (MQTT 5.0, 2.4)."""

_AWAY_S: Final = (0.2, 5.0)
"""Longest first pause, and the longest of all."""

Take = Callable[[str, bytes, bool], None]
"""Gets topic, payload, and whether it was retained. Must not raise."""


class _Client(ReportingClient):
    """Hands messages on without aiomqtt's queue, which is bounded and drops."""

    def __init__(self, *args: Any, take: Take, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._take = take

    def _on_message(self, client: paho.Client, userdata: Any, message: paho.MQTTMessage) -> None:  # noqa: ARG002  paho's signature
        self._take(message.topic, bytes(message.payload), message.retain)


class Feed:
    """One listener."""

    def __init__(
        self,
        settings: BrokerSettings,
        topics: Sequence[str],
        *,
        clock: Clock,
        take: Take,
        connected: Callable[[], None],
        lost: Callable[[str], None],
        name: str,
    ) -> None:
        """Does not connect yet.

        Args:
            settings: of the broker.
            topics: filters.
            clock: for pauses.
            take: gets messages.
            connected: called when all topics are subscribed to; what is retained comes after it.
            lost: called with the reason when a connection is lost, or none can be had.
            name: the client id begins with it.
        """
        self._servers = list(settings.servers)
        self._topics = list(topics)
        self._clock = clock
        self._take = take
        self._connected = connected
        self._lost = lost
        self._client_id = f"{name}-{uuid.uuid4().hex[:8]}"
        self._version: Version = "3.1.1" if settings.protocol == "3.1.1" else "5"
        self._client: _Client | None = None

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> bool:
        """Send at QoS 1, without waiting; False while there is no connection."""
        if self._client is None:
            return False
        self._client.post(Message(topic, payload, retain), None, lambda _: None)
        return True

    async def read_again(self) -> None:
        """Have what is retained sent once more.

        Raises:
            BrokerError: there is no connection.
        """
        if self._client is None:
            raise BrokerError("there is no connection")
        await self._subscribe(self._client, self._servers[0])

    async def run(self) -> None:
        """Listen until cancelled."""
        pauses = backoff(*_AWAY_S, spread=1, draw=random.random)
        while True:
            settings = self._servers[0]
            began = self._clock.monotonic()
            try:
                await self._connection(settings)
            except VersionRefusedError as error:
                if settings.protocol == "auto" and self._version == "5":
                    self._version = "3.1.1"
                    continue
                self._lost(str(error))
            except ClosedUnansweredError as error:
                if settings.protocol == "auto":
                    self._version = "3.1.1" if self._version == "5" else "5"
                self._lost(str(error))
            except BrokerError as error:
                self._lost(str(error))
            if self._clock.monotonic() - began > _AWAY_S[1]:
                pauses = backoff(*_AWAY_S, spread=1, draw=random.random)
            self._servers = [*self._servers[1:], self._servers[0]]
            await self._clock.sleep(next(pauses))

    async def _connection(self, settings: BrokerSettings) -> None:
        five = self._version == "5"
        unix = settings.unix_socket
        client = _Client(
            settings.host if unix is None else str(unix),
            settings.port,
            transport="tcp" if unix is None else "unix",
            take=self._take,
            username=settings.username,
            password=await asyncio.to_thread(password, settings),
            identifier=self._client_id,
            protocol=aiomqtt.ProtocolVersion.V5 if five else aiomqtt.ProtocolVersion.V311,
            clean_session=None if five else True,
            timeout=settings.connect_timeout_s,
            connect_timeout=settings.connect_timeout_s,
            keepalive=settings.keepalive_s,
            max_inflight_messages=0,
            tls_context=await asyncio.to_thread(tls_context, settings) if settings.tls else None,
            logger=PAHO_LOG,
        )
        try:
            await enter(client, settings)
            self._client = client
            self._connected()
            await self._subscribe(client, settings)
            _log.info("feed_listening", broker=settings.where, protocol=self._version, topics=self._topics)
            error = await client.disconnected()
            if error is None:
                raise BrokerError(f"{settings.where}: the connection was closed")
            raise connect_error(error, settings) from error
        finally:
            self._client = None
            client.cut()

    async def _subscribe(self, client: _Client, settings: BrokerSettings) -> None:
        try:
            codes: Sequence[ReasonCode | int] = await client.subscribe([(topic, 0) for topic in self._topics])
        except aiomqtt.MqttError as error:
            raise connect_error(error, settings) from error
        for topic, code in zip(self._topics, codes, strict=False):
            if (code.value if isinstance(code, ReasonCode) else code) >= _FAILURE:
                raise BrokerError(f"{settings.where}: may not listen to {topic}: see the broker's access control list")
