"""An independent MQTT client: what a pager would receive, and when. Uses paho alone, none of the project's own code."""

import json
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from paho.mqtt.client import Client, MQTTMessage, topic_matches_sub
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from tests.lab.waiting import until

KEPT = 100_000
"""Messages remembered; the oldest go first."""
CONNECT_S = 10.0


@dataclass(frozen=True)
class Received:
    """One message as it arrived."""

    topic: str
    payload: bytes
    retained: bool
    """True: it was there before we listened."""
    moment: float
    """time.monotonic() of its arrival."""
    at: datetime
    """The same by the clock, UTC."""

    @cached_property
    def event(self) -> dict[str, Any]:
        """The payload as a JSON object; empty when it is none (a cleared retained message, say)."""
        with suppress(ValueError):
            found = json.loads(self.payload)
            if isinstance(found, dict):
                return found
        return {}

    @property
    def data(self) -> dict[str, Any]:
        """The `data` of a CloudEvent; empty where there is none."""
        found = self.event.get("data")
        return found if isinstance(found, dict) else {}


Predicate = Callable[[Received], bool]


class Subscriber:
    """Listens to a broker and remembers. Context manager; its methods may be awaited from any event loop.

    Args:
        url: `mqtt://user@host:port`.
        topics: what to subscribe to, at QoS 1.
        password: of the user in the URL.
        old: by MQTT 3.1.1, for brokers that know no other.
    """

    def __init__(self, url: str, *, topics: tuple[str, ...] = ("#",), password: str | None = None, old: bool = False) -> None:
        parts = urlsplit(url)
        self._address = (parts.hostname or "127.0.0.1", parts.port or 1883)
        self._topics = topics
        self._received: deque[Received] = deque(maxlen=KEPT)
        self._listening = threading.Event()
        self._old = old
        version = MQTTProtocolVersion.MQTTv311 if old else MQTTProtocolVersion.MQTTv5
        self._client = Client(CallbackAPIVersion.VERSION2, protocol=version)
        self._client.reconnect_delay_set(min_delay=1, max_delay=1)
        if parts.username:
            self._client.username_pw_set(parts.username, password)
        self._client.on_connect = self._connected
        self._client.on_subscribe = self._subscribed
        self._client.on_message = self._arrived

    def __enter__(self) -> Self:
        """Listen; what is said from now on is received."""
        self._client.connect(*self._address, keepalive=10)
        self._client.loop_start()
        if not self._listening.wait(CONNECT_S):
            self.close()
            msg = f"no subscription to {self._address} within {CONNECT_S:g} s"
            raise TimeoutError(msg)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop listening; what was received stays."""
        self.close()

    def close(self) -> None:
        """Disconnect. May be called twice."""
        self._client.disconnect()
        self._client.loop_stop()

    def _connected(self, client: Client, _data: Any, _flags: Any, reason: ReasonCode, _properties: Properties | None) -> None:
        # Here and not once: paho comes back by itself after a broker's restart, its subscriptions do not.
        if reason.is_failure:
            return
        if self._old:
            client.subscribe([(topic, 1) for topic in self._topics])
        else:
            # Not retain-as-published: the flag then says "it was there before" and nothing else (MQTT 5, 3.8.3.1).
            options = SubscribeOptions(qos=1, retainAsPublished=False)
            client.subscribe([(topic, options) for topic in self._topics])

    def _subscribed(self, *_: object) -> None:
        self._listening.set()

    def _arrived(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        moment, at = time.monotonic(), datetime.now(UTC)
        self._received.append(Received(message.topic, bytes(message.payload), bool(message.retain), moment, at))

    def all(self, topics: str = "#", where: Predicate | None = None, *, since: float = 0.0) -> list[Received]:
        """Everything received so far on such topics (`+` and `#` as in a subscription), in order of arrival.

        Args:
            topics: topic filter.
            where: further condition.
            since: time.monotonic() from which on.
        """
        # A copy first: the network thread appends meanwhile.
        return [
            received
            for received in tuple(self._received)
            if received.moment >= since and topic_matches_sub(topics, received.topic) and (where is None or where(received))
        ]

    async def received(
        self, topics: str, where: Predicate | None = None, *, within_s: float = 30.0, since: float = 0.0, what: str | None = None
    ) -> Received:
        """Await the first message on such topics that fits; one that has arrived already counts.

        Raises:
            TimeoutError: none came in time; the message lists what came instead.
        """
        try:
            found = await until(
                lambda: self.all(topics, where, since=since), what=what or f"a message on {topics}", within_s=within_s
            )
        except TimeoutError as error:
            # Of the same host alone: others share the broker, and their storms would hide the one line that tells something.
            nearby = "/".join([*topics.split("/")[:2], "#"])
            instead = sorted({received.topic for received in self.all(nearby, since=since)})
            msg = f"{error}; received instead: {', '.join(instead[-20:]) or 'nothing'}"
            raise TimeoutError(msg) from error
        return found[0]

    async def alert(
        self,
        rule: str,
        status: str,
        *,
        key: str | None = None,
        host: str = "+",
        where: Predicate | None = None,
        within_s: float = 30.0,
        since: float = 0.0,
    ) -> Received:
        """Await an alert of this rule in this status (`firing`, `resolved`), of this key where one is given.

        Raises:
            TimeoutError: none came in time.
        """

        def fits(received: Received) -> bool:
            data = received.data
            return data.get("status") == status and (key is None or data.get("key") == key) and (where is None or where(received))

        what = f"alert {rule} {key or ''} {status}"
        return await self.received(f"dockwarden/{host}/alert/{rule}/#", fits, within_s=within_s, since=since, what=what)
