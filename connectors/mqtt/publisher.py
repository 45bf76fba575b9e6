"""Drains an outbox into a broker, for ever: connects, publishes, looks at each acknowledgement, connects again.

The outbox is the only queue: with each new connection it is read from its beginning, and a row goes when the broker acknowledged
it with a good reason code. So a message may arrive twice (its `seq` shows it), but none is lost, and of one topic none overtakes
another.
"""

import asyncio
import contextlib
import itertools
import random
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any, NoReturn

import structlog

from connectors.mqtt.client import connect as connect_for_real
from connectors.mqtt.drain import Drain
from connectors.mqtt.link import Connect, Link, Version
from connectors.mqtt.reason_codes import ClosedUnansweredError, RefusedError, VersionRefusedError
from connectors.mqtt.settings import BrokerSettings
from connectors.mqtt.timing import within
from connectors.mqtt.window import PoisonMessageDetector
from connectors.sources.backoff import backoff
from engine.errors import BrokerError
from engine.ports.broker import AlertRecords, CommandHandler, LinkState, Message, Outbox, RetainedReader, StatusSource
from engine.ports.clock import Clock

_log = structlog.get_logger(__name__)

_STABLE_S = 10.0
"""A connection that held so long was a good one."""
_AWAY_MAX_S = 10.0
"""Between attempts while nobody answers: once the broker is back, alerts come within seconds. One that answers and refuses us is
asked less and less often, up to `retry_max_s`."""
_QUIET_S = 0.25
"""Without a retained message for so long, all have come."""
_READ_S = 60.0
"""For reading what is retained, and for the outbox to be drained before."""
_UNREADABLE_S = 5.0
"""Without even our own status for so long, nothing retained can be read: the broker lets us write alone."""
_UNSETTLED_S = 15.0
"""Before what is retained is read again, while it is too early after a start to call an alert unknown."""
_CANCEL_AGAIN_S = 3.0
"""A connection that is ended in order takes two seconds at most."""
_COMPARE_EVERY_S: dict[Version, float] = {"5": 3600.0, "3.1.1": 600.0}
"""What is retained is read again so often: rows may have been dropped, and with 3.1.1 resolved alerts do not expire."""
_UNREAD_AGAIN_S = 60.0
"""After what is retained could not be read; doubled each time up to an hour."""
_UNREAD_MAX_S = 3600.0
_SOON_S = 5.0
"""A broker that closes the connection on a row does so at once; after this long it was something else."""
_CLOSES = "the broker closes the connection on it"
_SUSPICIOUS = 3
"""So many connections in a row that did not hold are no accident."""
_MAX_COMMAND = 64 * 1024
"""Bytes of a command's payload; no command of ours is near it."""
_COMMAND_S = 30.0
"""For the handling of one command; the next one waits so long."""


class MqttPublisher:
    """A `Publisher` (see `engine.ports.broker`) over MQTT."""

    def __init__(
        self,
        settings: BrokerSettings,
        *,
        host_topic: str,
        status: StatusSource,
        will: StatusSource,
        clock: Clock,
        alerts: AlertRecords | None = None,
        on_command: CommandHandler | None = None,
        connect: Connect = connect_for_real,
        state: LinkState | None = None,
        random: Callable[[], float] = random.random,
    ) -> None:
        """Does not connect yet.

        Args:
            settings: where to and how.
            host_topic: `dockwarden/HOST`, encoded; the client id is made from it, and commands are expected below it.
            status: makes the present status; published with each connection and when `announce` was called.
            will: makes the message that we are gone; given to the broker with each connection, and published when we stop.
            clock: for pauses and time-outs.
            alerts: what is known of alerts; held against what the broker keeps after each connection.
            on_command: gets commands, if the settings allow them.
            connect: opens connections; the fake broker has one of its own.
            state: is kept up to date; None makes one.
            random: for the jitter of the pauses.
        """
        self._servers = itertools.cycle(settings.servers)
        # Each host begins with another server of a cluster.
        for _ in range(1 + int(random() * len(settings.servers))):
            self._settings = next(self._servers)
        self._host_topic = host_topic
        self._client_id = settings.client_id or host_topic.replace("/", "-")
        self._status = status
        self._will = will
        self._clock = clock
        self._alerts = alerts
        self._on_command = on_command if settings.commands else None
        self._connect = connect
        self._random = random
        self._changed = asyncio.Event()
        self._republish = asyncio.Event()
        self._state = state or LinkState()
        self._undone: set[int] = set()
        self._closed_unanswered = 0
        self._short_lives = 0
        self._poison = PoisonMessageDetector()
        self._held: dict[str, float] = {}

    @property
    def state(self) -> LinkState:
        """What is known of the connection."""
        return self._state

    def announce(self) -> None:
        """The status changed: publish it soon. Many calls in a row may give one message."""
        self._changed.set()

    def republish(self) -> None:
        """Publish every alert that fires anew, now or once connected."""
        self._republish.set()

    async def run(self, outbox: Outbox) -> None:
        """Publish until cancelled; then publish that we are gone and disconnect, within 2 s."""
        if not self._settings.encrypted:
            _log.warning("mqtt_unencrypted", broker=self._settings.where, password=self._settings.has_password)
        refused = False
        pauses = self._pauses(refused=refused)
        while True:
            connections, was_refused = self._state.connections, refused
            try:
                await self._in_a_task(self._live(outbox))
            except BrokerError as error:
                connected = self._state.connections > connections
                refused = isinstance(error, RefusedError)
                self._settings = next(self._servers)
                self._note(str(error), lost=connected)
                # A connection is a good sign, however short; a few short ones in a row are two that fight for one session.
                if refused != was_refused or (connected and self._short_lives <= _SUSPICIOUS):
                    pauses = self._pauses(refused=refused)
            await self._clock.sleep(next(pauses))

    @staticmethod
    async def _in_a_task(work: Coroutine[Any, Any, NoReturn]) -> None:
        """Cancelled, this ends as cancelled, also when the work fails in the same moment.

        A `TaskGroup`, and `wait_for`, of CPython 3.11 raise the failure alone then: the publisher would connect again.
        """
        task = asyncio.create_task(work, name="mqtt-connection")
        try:
            await asyncio.wait({task})
        finally:
            while not task.done():
                task.cancel()
                await asyncio.wait({task}, timeout=_CANCEL_AGAIN_S)
        task.result()

    def _pauses(self, *, refused: bool) -> Iterator[float]:
        """Each from nothing to its full length: the clients of a broker that comes back do not come back all at once."""
        longest = self._settings.retry_max_s if refused else min(self._settings.retry_max_s, _AWAY_MAX_S)
        return backoff(self._settings.retry_first_s, longest, spread=1, draw=self._random)

    async def _live(self, outbox: Outbox) -> NoReturn:
        """One connection, until it is lost (BrokerError) or we are cancelled."""
        version: Version = "3.1.1" if self._settings.protocol == "3.1.1" or self._prefers_old() else "5"
        try:
            await self._live_with(version, outbox)
        except VersionRefusedError:
            if self._settings.protocol != "auto" or version != "5":
                self._closed_unanswered = 0  # it answers, and so it would to 5
                raise
            await self._live_with("3.1.1", outbox)
        except ClosedUnansweredError:
            self._closed_unanswered += 1
            raise

    def _prefers_old(self) -> bool:
        """Some old brokers close the connection instead of refusing MQTT 5: after two such, 3.1.1 is tried every second time."""
        return self._settings.protocol == "auto" and self._closed_unanswered >= 2 and self._closed_unanswered % 2 == 0  # noqa: PLR2004  answer above

    async def _live_with(self, version: Version, outbox: Outbox) -> NoReturn:
        will = self._will()
        async with self._connect(self._settings, client_id=self._client_id, version=version, will=will) as link:
            self._connected(link)
            try:
                await self._work(link, outbox)
            except asyncio.CancelledError:
                await link.close(self._will())
                raise
            finally:
                self._state.connected = False
                self._state.protocol = ""

    async def _work(self, link: Link, outbox: Outbox) -> NoReturn:
        now = self._clock.monotonic()
        self._held = {topic: until for topic, until in self._held.items() if until > now}
        drain = Drain(
            link,
            outbox,
            self._settings,
            self._state,
            self._undone,
            held=self._held,
            one_at_a_time=self._poison.one_at_a_time,
            clock=self._clock,
        )
        announced = asyncio.Event()
        lost: BrokerError | None = None
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(link.lost(), name="mqtt-watch")
                # Before the first row: whoever hears an alert knows already that we are there.
                group.create_task(self._publish_status(link, announced), name="mqtt-status")
                group.create_task(drain.run(), name="mqtt-drain")
                group.create_task(self._settle_down(), name="mqtt-steady")
                if self._alerts is not None:
                    group.create_task(self._reconcile(link, drain, announced, self._alerts), name="mqtt-reconcile")
                if self._on_command is not None:
                    group.create_task(self._listen(link, self._on_command), name="mqtt-commands")
        except* BrokerError as errors:
            lost = next(error for error in errors.exceptions if isinstance(error, BrokerError))
        self._set_poison_aside(drain)
        raise lost or BrokerError(f"{self._settings.where}: the connection was closed")

    def _set_poison_aside(self, drain: Drain) -> None:
        """If the broker closes the connection on a certain row, set its topic aside."""
        now = self._clock.monotonic()
        soon = drain.oldest is not None and now - drain.oldest < _SOON_S
        row = self._poison.lost(drain.unanswered, answered=drain.answered, soon=soon)
        if row is None:
            return
        self._state.denied += 1
        self._held[row.topic] = now + self._settings.denied_retry_s
        _log.warning(
            "mqtt_topic_set_aside",
            topic=row.topic,
            reason=_CLOSES,
            again_in_s=self._settings.denied_retry_s,
        )

    async def _settle_down(self) -> None:
        """A connection that holds puts an end to what was wrong before."""
        await self._clock.sleep(_STABLE_S)
        self._short_lives = 0
        self._state.last_error = None

    async def _publish_status(self, link: Link, announced: asyncio.Event) -> NoReturn:
        while True:
            self._changed.clear()
            message: Message = self._status()
            try:
                answer = await within(self._clock, self._settings.ack_timeout_s, link.send(message))
            except TimeoutError:
                raise BrokerError(f"{self._settings.where}: no acknowledgement of the status") from None
            announced.set()
            self._state.note_denied(message.topic, None if answer.verdict == "taken" else answer.reason)
            if answer.verdict == "taken":
                await self._changed.wait()
                continue
            _log.warning("mqtt_topic_denied", topic=message.topic, reason=answer.reason)
            with contextlib.suppress(TimeoutError):
                await within(self._clock, self._settings.denied_retry_s, self._changed.wait())

    async def _reconcile(self, link: Link, drain: Drain, announced: asyncio.Event, alerts: AlertRecords) -> NoReturn:
        """Have what the broker keeps of alerts put right: now, on demand, and now and then where nothing expires by itself."""
        await announced.wait()
        unread = backoff(_UNREAD_AGAIN_S, _UNREAD_MAX_S, draw=self._random)
        done = False
        while True:
            with contextlib.suppress(TimeoutError):  # a flood that goes on: then some are published twice
                await within(self._clock, _READ_S, drain.caught_up.wait())
            everything = self._republish.is_set()
            self._republish.clear()
            reader = await alerts.begin(everything=everything)
            complete = await self._read_retained(link, alerts.topics, reader)
            if complete or everything or not done:  # who may not read publishes what fires once a connection, not again and again
                settled = await alerts.finish(reader, complete=complete)
                _log.info("mqtt_retained_compared", complete=complete, settled=settled)
                done = True
            found_out = _COMPARE_EVERY_S[link.version] if settled else _UNSETTLED_S
            pause = found_out if complete else next(unread)
            with contextlib.suppress(TimeoutError):
                await within(self._clock, pause, self._republish.wait())

    async def _read_retained(self, link: Link, topics: Sequence[str], reader: RetainedReader) -> bool:
        """Hand on all that is retained under these topics; whether it can be read: our own status, asked for last, came too."""
        came: Counter[str] = Counter()

        def take(topic: str, payload: bytes) -> None:
            came["alerts"] += 1
            reader.add(topic, payload)

        began = self._clock.monotonic()
        try:
            for topic in topics:
                answer = await link.read(topic, take)
                if answer.verdict != "taken":
                    _log.warning("mqtt_subscription_denied", topic=topic, reason=answer.reason)
                    return False
            await link.read(f"{self._host_topic}/status", lambda _topic, _payload: came.update(["status"]))
            before = -1
            while came.total() != before or not came["status"]:
                before = came.total()
                waited = self._clock.monotonic() - began
                if waited > _READ_S or (waited > _UNREADABLE_S and not came):
                    return False
                await self._clock.sleep(_QUIET_S)
        finally:
            await link.stop_reading()
        return True

    async def _listen(self, link: Link, handle: CommandHandler) -> None:
        topic = f"{self._host_topic}/command/+"
        answer = await link.subscribe(topic)
        self._state.note_denied(topic, None if answer.verdict == "taken" else answer.reason)
        if answer.verdict != "taken":
            _log.warning("mqtt_subscription_denied", topic=topic, reason=answer.reason)
            return
        async for name, payload in link.messages():
            command = name.rpartition("/")[2]
            if len(payload) > _MAX_COMMAND:
                _log.warning("mqtt_command_too_large", command=command, size=len(payload))
                continue
            try:
                await within(self._clock, _COMMAND_S, handle(command, payload))
            except Exception:  # noqa: BLE001  whatever a command does wrong, alerts go on
                _log.exception("mqtt_command_failed", command=command)

    def _connected(self, link: Link) -> None:
        state = self._state
        state.connected = True
        state.protocol = link.version
        state.connections += 1
        if self._short_lives < _SUSPICIOUS:
            state.last_error = None
        self._short_lives += 1
        state.denied_topics.clear()
        for topic in self._held:
            state.note_denied(topic, _CLOSES)
        # After a connection with 3.1.1 the next one begins with 5 again: the broker may have been replaced.
        self._closed_unanswered = 0 if link.version == "5" else 1
        _log.info(
            "mqtt_connected",
            broker=self._settings.where,
            protocol=link.version,
            note=None
            if link.version == "5"
            else "3.1.1 reports no denied message; resolved alerts are cleared instead of expiring",
        )

    def _note(self, error: str, *, lost: bool) -> None:
        """Keep the error, and log it, once. `lost`: there was a connection."""
        if lost and self._short_lives > _SUSPICIOUS:
            # Mosquitto 2.0 ends a session that was taken over without a reason (reason code 0x8E is there for it).
            error += f"; again and again: does a second dockwarden run under the same name ({self._client_id})?"
        if self._state.last_error != error:
            _log.warning("mqtt_disconnected", error=error, connections=self._state.connections)
        self._state.last_error = error
