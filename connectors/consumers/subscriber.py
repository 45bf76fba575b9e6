"""Hears dockwarden's topics, and acknowledges a message only once it is stored. Knows nothing of what messages say.

The session is kept by the broker and messages come at QoS 1, so that what is published while the program is away comes later;
what is retained comes again at each connection, and whoever stores it finds out that it is known. The broker sends
no more than `RECEIVE_MAXIMUM` messages that are not acknowledged: that bounds what waits here.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence

import aiomqtt
import paho.mqtt.client as paho
import structlog
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from connectors.consumers.delivery import DISK_PAUSE_S, StoreThread
from connectors.consumers.store import Store
from connectors.consumers.together import run_together
from connectors.mqtt.client import PAHO_LOG, ReportingClient, enter, password, tls_context
from connectors.mqtt.link import Version
from connectors.mqtt.reason_codes import ClosedUnansweredError, VersionRefusedError, connect_error
from connectors.mqtt.settings import BrokerSettings
from engine.errors import BrokerError, JournalError
from engine.ports.clock import Clock

_log = structlog.get_logger(__name__)

TOPICS = ("dockwarden/+/alert/#", "dockwarden/+/status")
RECEIVE_MAXIMUM = 200
"""Messages under way at a time; as many are stored with one sync of the disk at most."""
_MICROS = 1_000_000
_RECONNECT_S = (1.0, 30.0)
"""Seconds before the second attempt to connect, doubled up to the other."""
_FAILURE = 0x80
"""Reason codes from here on say no (MQTT 5.0, 2.4)."""

Handler = Callable[[Sequence[tuple[str, bytes]]], Awaitable[None]]
"""Gets topics and payloads; when it returns they are stored. A JournalError: they are handed in again."""


class Subscriber:
    """Listens until cancelled.

    Args:
        settings: of the broker.
        session_s: seconds that the broker keeps the session.
        handle: stores messages.
        connected: called when a connection stands, before anything that is retained comes.
        store: where replies stand that are to be published.
        clock: of the program.
        draw: gives numbers in [0, 1), for the jitter.
    """

    def __init__(
        self,
        settings: BrokerSettings,
        *,
        session_s: int,
        handle: Handler,
        connected: Callable[[], None],
        store: StoreThread,
        clock: Clock,
        draw: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._session_s = session_s
        self._handle = handle
        self._connected = connected
        self._store = store
        self._clock = clock
        self._draw = draw
        self._replies = asyncio.Event()
        self._version: Version = "3.1.1" if settings.protocol == "3.1.1" else "5"

    def publish_replies(self) -> None:
        """There are some in the store."""
        self._replies.set()

    async def run(self) -> None:
        """Listen, connecting anew whenever the broker goes."""
        pause = _RECONNECT_S[0]
        while True:
            began = self._clock.monotonic()
            try:
                await self._connection()
            except VersionRefusedError:
                if self._settings.protocol == "auto" and self._version == "5":
                    self._version = "3.1.1"
                    continue
                await self._lost("the broker refuses this version of MQTT (protocol)")
            except ClosedUnansweredError as error:
                # Old brokers close on a version that they do not know; so does a port that is no broker's. Each version in turn.
                if self._settings.protocol == "auto":
                    self._version = "3.1.1" if self._version == "5" else "5"
                await self._lost(str(error))
            except BrokerError as error:
                await self._lost(str(error))
            if self._clock.monotonic() - began > _RECONNECT_S[1]:
                pause = _RECONNECT_S[0]
            await self._clock.sleep(pause * (0.5 + 0.5 * self._draw()))
            pause = min(2 * pause, _RECONNECT_S[1])

    async def _connection(self) -> None:
        client = await self._client()
        try:
            await enter(client, self._settings)
            self._connected()
            codes: Sequence[ReasonCode | int] = await client.subscribe([(topic, 1) for topic in TOPICS])
            for topic, code in zip(TOPICS, codes, strict=False):
                if (code.value if isinstance(code, ReasonCode) else code) >= _FAILURE:
                    raise BrokerError(f"{self._settings.where}: may not listen to {topic}: see the broker's access control list")
            _log.info("listening", broker=self._settings.where, protocol=self._version)
            await self._note(connected=True)
            await run_together({"replies": self._reply(client), "listen": self._listen(client)})
        except aiomqtt.MqttError as error:
            raise connect_error(error, self._settings) from error
        finally:
            client.cut()

    async def _client(self) -> ReportingClient:
        settings, five = self._settings, self._version == "5"
        properties = None
        if five:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho
            properties.SessionExpiryInterval = self._session_s
            properties.ReceiveMaximum = RECEIVE_MAXIMUM
        client = ReportingClient(
            settings.host,
            settings.port,
            username=settings.username,
            password=await asyncio.to_thread(password, settings),
            identifier=settings.client_id,
            protocol=aiomqtt.ProtocolVersion.V5 if five else aiomqtt.ProtocolVersion.V311,
            clean_session=None if five else False,
            clean_start=False if five else paho.MQTT_CLEAN_START_FIRST_ONLY,
            properties=properties,
            timeout=settings.connect_timeout_s,
            connect_timeout=settings.connect_timeout_s,
            keepalive=settings.keepalive_s,
            tls_context=await asyncio.to_thread(tls_context, settings) if settings.tls else None,
            logger=PAHO_LOG,
        )
        client.acknowledge_by_hand()
        return client

    async def _listen(self, client: ReportingClient) -> None:
        """Hand on all that has come, as one, and acknowledge it in the order in which it came (MQTT 5.0, 4.6)."""
        messages = aiter(client.messages)
        while True:
            batch = [await anext(messages)]
            while len(client.messages) and len(batch) < RECEIVE_MAXIMUM:
                batch.append(await anext(messages))
            while True:
                try:
                    await self._handle([(str(message.topic), _bytes(message.payload)) for message in batch])
                    break
                except JournalError as error:
                    _log.error("not_stored", error=str(error), messages=len(batch))
                    await self._clock.sleep(DISK_PAUSE_S)
            for message in batch:
                client.acknowledge(message)

    async def _reply(self, client: ReportingClient) -> None:
        while True:
            self._replies.clear()
            for number, topic, payload in await self._store(Store.replies):
                await client.publish(topic, payload, qos=1)
                await self._store(Store.published, number)
            await self._replies.wait()

    async def _lost(self, why: str) -> None:
        _log.warning("broker_lost", error=why)
        await self._note(connected=False, error=why)

    async def _note(self, *, connected: bool, error: str = "") -> None:
        # A disk that refuses this is no reason not to listen.
        with contextlib.suppress(JournalError):
            await self._store(Store.link, connected=connected, now=self._clock.wall() / _MICROS, error=error)


def _bytes(payload: object) -> bytes:
    return payload if isinstance(payload, bytes) else b""
