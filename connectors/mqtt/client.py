"""A link over aiomqtt: one connection to a real broker.

aiomqtt does the work. Three things that it does not hand on are taken from the callbacks that it gives to paho:

- the reason code of an acknowledgement (its `publish` returns normally when the broker denies a message);
- the limits that the broker sets in its CONNACK;
- a connection closed before the CONNACK.

Knows no outbox.
"""

import asyncio
import contextlib
import errno
import logging
import socket
import ssl
import struct
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, NoReturn

import aiomqtt
import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from connectors.mqtt.link import Answered, Link, Sent, Version
from connectors.mqtt.reason_codes import Acknowledgement, ClosedUnansweredError, acknowledgement, connect_error
from connectors.mqtt.settings import BrokerSettings
from engine.errors import BrokerError
from engine.ports.broker import Message, OutboxRow

_FAREWELL_S = 2.0
"""To publish a farewell and close in order; then the connection is cut."""
_COMMANDS_WAITING = 100
"""Commands that wait to be handled; beyond them aiomqtt drops with a warning."""
_HEADERS = 64
"""Bytes that a PUBLISH has beside topic and payload, at most: fixed header 5, lengths and id 4, expiry 5, with room to spare."""
_NODELAY = (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
"""Without it a second small message waits until the first is acknowledged by TCP, for up to 40 ms (Nagle's algorithm)."""


PAHO_LOG = logging.getLogger(f"{__name__}.paho")
"""What paho and aiomqtt log comes to us as errors, too: logged once, in our own words."""
PAHO_LOG.setLevel(logging.CRITICAL)


class ReportingClient(aiomqtt.Client):
    """aiomqtt's client, with what it does not hand on.

    It reaches into what aiomqtt 2.5 and paho 2 keep to themselves: the lock file pins both, the contract suite notices a change.
    """

    def __init__(
        self, *args: Any, connect_timeout: float, trusted_peer: Callable[[int], bool] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._client.connect_timeout = connect_timeout
        if trusted_peer is not None:
            self._trusted_peer = trusted_peer
            self._client._create_unix_socket_connection = self._unix_socket  # type: ignore[method-assign]  # noqa: SLF001  it checks no peer
        # One line for each packet, made and thrown away: a tenth of the time.
        self._client.disable_logger()
        self._sent: dict[int, Answered] = {}
        self._kept_back: deque[tuple[OutboxRow | Message, Properties | None, Answered]] = deque()
        self.awaited: set[Sent] = set()
        """Futures of messages under way that somebody awaits."""
        self._abandoned = False
        self._ended: asyncio.Future[None] | None = None
        self.readers: dict[str, Callable[[str, bytes], None]] = {}
        """Who takes what is retained, by topic filter."""
        self.limits = Properties(PacketTypes.CONNACK)  # type: ignore[no-untyped-call]  # paho

    def _unix_socket(self) -> socket.socket:
        """Connect, and look at who listens (SO_PEERCRED, unix(7): who called listen) before a byte is sent."""
        with contextlib.ExitStack() as failed:
            made = failed.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            made.settimeout(self._client.connect_timeout)
            made.connect(self._hostname)
            peer, _, _ = struct.unpack("3i", made.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
            if not self._trusted_peer(peer):
                raise PermissionError(errno.EPERM, f"process {peer} listens there, which is not our broker")
            failed.pop_all()
        return made

    @property
    def receive_maximum(self) -> int:
        """Messages that the broker lets be under way; 65,535 where it names none (MQTT 5.0, 3.2.2.3.3)."""
        return int(getattr(self.limits, "ReceiveMaximum", 65_535))

    def post(self, message: OutboxRow | Message, properties: Properties | None, answered: Answered) -> None:
        """Publish a message, after others if too many are under way; `answered` gets the acknowledgement with its reason code."""
        if len(self._sent) < self.receive_maximum:
            self._publish(message, properties, answered)
        else:
            # The drain keeps to the limit; the status comes on top. A broker closes the connection on one message too many.
            self._kept_back.append((message, properties, answered))

    def _publish(self, message: OutboxRow | Message, properties: Properties | None, answered: Answered) -> None:
        try:
            info = self._client.publish(message.topic, message.payload, 1, message.retain, properties)
        except ValueError as error:  # a wildcard or too many bytes in the topic, a payload beyond 256 MiB
            answered(Acknowledgement("permanent", str(error)))
            return
        if info.rc == paho.MQTT_ERR_SUCCESS:  # else the connection is gone, and nobody will answer
            self._sent[info.mid] = answered

    def acknowledge_by_hand(self) -> None:
        """From now on incoming messages are acknowledged by `acknowledge` alone. aiomqtt does it before anybody has seen them."""
        self._client.manual_ack_set(on=True)

    def acknowledge(self, message: aiomqtt.Message) -> None:
        """Tell the broker that a message is in safe hands. A connection that was lost meanwhile is no error: it comes again."""
        self._client.ack(message.mid, message.qos)

    async def disconnected(self) -> BaseException | None:
        """Wait for the end of the connection; why it ended."""
        ended = self._ended or self._disconnected
        await asyncio.wait({ended})
        return ended.exception()

    def cut(self) -> None:
        """Close the socket, whatever the state: aiomqtt leaves it open when reading raised. Fails what is under way."""
        self._abandoned = True
        with contextlib.suppress(OSError, ValueError):
            self._client._sock_close()  # noqa: SLF001  paho has no public way to close without a DISCONNECT packet
        for sent in tuple(self.awaited):
            if not sent.done():
                sent.set_exception(BrokerError("the connection was lost before the broker acknowledged"))
                sent.exception()  # looked at: asyncio complains of errors that nobody fetched
        self._sent.clear()
        self._kept_back.clear()
        if self._disconnected.done() and not self._disconnected.cancelled():
            self._disconnected.exception()  # looked at, likewise

    def _client_connect(self) -> None:
        """In a thread. When nobody waits for it any more, the connection is closed as soon as it stands."""
        super()._client_connect()
        if self._abandoned:
            # RuntimeError: the loop is closed, and with it the process about to end.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self.cut)

    def _on_connect(
        self,
        client: paho.Client,
        userdata: Any,
        flags: paho.ConnectFlags,
        reason_code: ReasonCode,
        properties: Properties | None = None,
    ) -> None:
        if properties is not None:
            self.limits = properties
        super()._on_connect(client, userdata, flags, reason_code, properties)

    def _on_disconnect(
        self,
        client: paho.Client,
        userdata: Any,
        flags: paho.DisconnectFlags,
        reason_code: ReasonCode,
        properties: Properties | None = None,
    ) -> None:
        if not self._connected.done():
            self._connected.set_exception(aiomqtt.MqttError("closed"))
            return
        super()._on_disconnect(client, userdata, flags, reason_code, properties)
        # aiomqtt begins anew with another future when the connection is lost before `__aenter__` has seen that it stood.
        if self._disconnected.done():
            self._ended = self._disconnected

    def _on_message(self, client: paho.Client, userdata: Any, message: paho.MQTTMessage) -> None:
        # Not by aiomqtt's queue: that is bounded for commands, and thousands of alerts may come at once.
        for topic, take in self.readers.items():
            if paho.topic_matches_sub(topic, message.topic):
                if message.retain:
                    take(message.topic, bytes(message.payload))
                return
        super()._on_message(client, userdata, message)

    def _on_publish(
        self,
        client: paho.Client,  # noqa: ARG002  paho's signature
        userdata: Any,  # noqa: ARG002
        mid: int,
        reason_code: ReasonCode,
        properties: Properties,  # noqa: ARG002
    ) -> None:
        # aiomqtt's own is for its `publish`, which is not used.
        answered = self._sent.pop(mid, None)
        if answered is not None:
            answered(acknowledgement(reason_code))
        if self._kept_back:
            self._publish(*self._kept_back.popleft())


class _MqttLink:
    """A `Link` over aiomqtt."""

    def __init__(self, client: ReportingClient, settings: BrokerSettings, version: Version) -> None:
        self.version = version
        self.in_flight = client.receive_maximum
        self._largest = int(getattr(client.limits, "MaximumPacketSize", 268_435_455))  # absent: the protocol's own limit
        self._client = client
        self._settings = settings

    def post(self, message: OutboxRow | Message, answered: Answered) -> None:
        """See `Link`."""
        size = len(message.payload) + len(message.topic.encode("utf-8", "replace")) + _HEADERS
        if size > self._largest:
            # A broker closes the connection on a packet beyond its limit: the row would be sent again and again.
            answered(Acknowledgement("permanent", f"{size} bytes are more than the broker takes ({self._largest})"))
            return
        properties = None
        if self.version == "5" and isinstance(message, OutboxRow) and message.expiry_s is not None:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho
            properties.MessageExpiryInterval = message.expiry_s
        self._client.post(message, properties, answered)

    def send(self, message: OutboxRow | Message) -> Sent:
        """See `Link`."""
        sent: Sent = asyncio.get_running_loop().create_future()
        self._client.awaited.add(sent)
        sent.add_done_callback(self._client.awaited.discard)
        self.post(message, lambda answer: None if sent.done() else sent.set_result(answer))
        return sent

    async def lost(self) -> NoReturn:
        """See `Link`."""
        error = await self._client.disconnected()
        if error is None:
            raise BrokerError(f"{self._settings.where}: the connection was closed")
        raise connect_error(error, self._settings) from error

    async def read(self, topic: str, take: Callable[[str, bytes], None]) -> Acknowledgement:
        """See `Link`."""
        self._client.readers[topic] = take
        return await self._subscribe(topic, qos=0)

    async def stop_reading(self) -> None:
        """See `Link`."""
        topics = list(self._client.readers)
        with contextlib.suppress(aiomqtt.MqttError):
            if topics:
                await self._client.unsubscribe(topics)
        self._client.readers.clear()

    async def subscribe(self, topic: str) -> Acknowledgement:
        """See `Link`."""
        # The session ends with the connection, so QoS 1 gains nothing but costs NATS, which alone speaks 3.1.1 only, a replicated
        # consumer for each subscription: 80 KiB on each server.
        return await self._subscribe(topic, qos=1 if self.version == "5" else 0)

    async def _subscribe(self, topic: str, *, qos: int) -> Acknowledgement:
        try:
            (code,) = await self._client.subscribe(topic, qos=qos)
        except aiomqtt.MqttError as error:
            raise connect_error(error, self._settings) from error
        if isinstance(code, ReasonCode):
            return acknowledgement(code)
        return Acknowledgement("denied", f"0x{code:02X}") if code >= 0x80 else Acknowledgement("taken")  # noqa: PLR2004  MQTT 3.1.1, 3.9.3

    async def messages(self) -> AsyncIterator[tuple[str, bytes]]:
        """See `Link`."""
        try:
            async for message in self._client.messages:
                if not message.retain:
                    yield str(message.topic), bytes(message.payload)
        except aiomqtt.MqttError as error:
            raise connect_error(error, self._settings) from error

    async def close(self, farewell: Message | None = None) -> None:
        """See `Link`."""
        with contextlib.suppress(aiomqtt.MqttError, BrokerError, TimeoutError):
            # Not asyncio.timeout: before CPython 3.11.3 (Debian 12) its end is taken for a cancellation under way.
            await asyncio.wait_for(self._leave(farewell), _FAREWELL_S)

    async def _leave(self, farewell: Message | None) -> None:
        if farewell is not None:
            await self.send(farewell)
        await self._client.__aexit__(None, None, None)


def password(settings: BrokerSettings) -> str | None:
    """Of the file, read anew at each connection so that it can be changed, else of the settings.

    Raises:
        BrokerError: the file cannot be read.
    """
    if settings.password_file is None:
        return None if settings.password is None else settings.password.get_secret_value()
    try:
        return settings.password_file.read_text().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise BrokerError(f"cannot read the password from {settings.password_file} (password_file): {error}") from error


class _TlsSocket(ssl.SSLSocket):
    """Closes itself when the handshake fails: paho leaves that to the garbage collector."""

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except BaseException:
            self.close()
            raise


def tls_context(settings: BrokerSettings) -> ssl.SSLContext:
    """Whom to trust and who we are.

    Raises:
        BrokerError: a file cannot be read or is no certificate.
    """
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise BrokerError(f"TLS: cannot use {settings.ca_file} (ca_file): {error}") from error
    context.sslsocket_class = _TlsSocket
    context.check_hostname = settings.check_hostname
    if settings.cert_file is not None:
        try:
            context.load_cert_chain(settings.cert_file, settings.key_file)
        except (OSError, ssl.SSLError) as error:
            raise BrokerError(f"TLS: cannot use {settings.cert_file} (cert_file, key_file): {error}") from error
    return context


@asynccontextmanager
async def connect(
    settings: BrokerSettings,
    *,
    client_id: str,
    version: Version,
    will: Message | None,
    trusted_peer: Callable[[int], bool] | None = None,
) -> AsyncIterator[Link]:
    """Connect to a real broker; see `Connect`. `trusted_peer` is asked for the process that listens on a Unix socket."""
    five = version == "5"
    unix = settings.unix_socket
    client = ReportingClient(
        settings.host if unix is None else str(unix),
        settings.port,
        transport="tcp" if unix is None else "unix",
        trusted_peer=trusted_peer,
        username=settings.username,
        password=await asyncio.to_thread(password, settings),
        identifier=client_id,
        protocol=aiomqtt.ProtocolVersion.V5 if five else aiomqtt.ProtocolVersion.V311,
        will=None if will is None else aiomqtt.Will(will.topic, will.payload, qos=1, retain=will.retain),
        clean_session=None if five else True,
        timeout=settings.connect_timeout_s,
        max_inflight_messages=0,  # no second limit beside ours, behind which paho would queue unseen
        connect_timeout=settings.connect_timeout_s,
        keepalive=settings.keepalive_s,
        max_queued_incoming_messages=_COMMANDS_WAITING,
        tls_context=await asyncio.to_thread(tls_context, settings) if settings.tls else None,
        socket_options=[_NODELAY] if unix is None else None,
        logger=PAHO_LOG,
    )
    try:
        await enter(client, settings)
        if getattr(client.limits, "MaximumQoS", 1) < 1:
            raise BrokerError(
                f"{settings.where}: the broker knows no acknowledgements (Maximum QoS 0): nothing could be sent safely"
            )
        yield _MqttLink(client, settings, version)
    finally:
        client.cut()


async def enter(client: ReportingClient, settings: BrokerSettings) -> None:
    """Connect a client.

    Raises:
        VersionRefusedError: the broker does not speak this version.
        ClosedUnansweredError: it closed the connection without an answer.
        BrokerError: anything else.
    """
    try:
        await client.__aenter__()
    except aiomqtt.MqttError as error:
        if str(error) == "closed":
            raise ClosedUnansweredError(
                f"{settings.where}: the connection was closed without an answer; is this an MQTT broker, without TLS?"
                if not settings.tls
                else f"{settings.where}: the connection was closed without an answer; does the broker ask for a certificate?"
            ) from error
        raise connect_error(error, settings) from error
