"""From one receiver's queue to the receiver: one task each, so that one that is down delays no other. Knows no MQTT."""

import asyncio
import json
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Concatenate, ParamSpec, TypeVar

import structlog

from connectors.consumers.config import Receiver
from connectors.consumers.outcomes import Outcome
from connectors.consumers.receivers.http import Sender
from connectors.consumers.records import Row
from connectors.consumers.store import Store
from engine.errors import JournalError
from engine.messages.topics import reply_topic
from engine.ports.clock import Clock

_log = structlog.get_logger(__name__)

_P = ParamSpec("_P")
_T = TypeVar("_T")
_MICROS = 1_000_000
DISK_PAUSE_S = 5.0
"""After an error of the queue file, a full disk most often."""
_LOOK_S = 30.0
"""The queue is looked at so often even when nobody says that there is something: `retry` puts rows there from another process."""


class StoreThread:
    """The store on a thread of its own: a disk that syncs slowly stops nothing else."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="store")

    async def __call__(self, call: Callable[Concatenate[Store, _P], _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Call a method of the store; it is carried out also when who waits for it is cancelled."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, lambda: call(self._store, *args, **kwargs))

    def close(self) -> None:
        """Wait for what is under way, and close the file."""
        self._pool.shutdown(wait=True)
        self._store.close()


class Delivery:
    """Hands on what waits for one receiver, in order, until it is taken, refused for good, or too old.

    Args:
        name: of the receiver.
        program: who answers to a test alarm.
        sender: how it is reached.
        config: pauses and patience.
        store: the queues.
        clock: of the program.
        replied: called when there is a reply to publish.
        draw: gives numbers in [0, 1).
    """

    def __init__(
        self,
        name: str,
        program: str,
        sender: Sender,
        config: Receiver,
        *,
        store: StoreThread,
        clock: Clock,
        replied: Callable[[], None],
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._name = name
        self._program = program
        self._sender = sender
        self._config = config
        self._store = store
        self._clock = clock
        self._replied = replied
        self._draw = draw
        self._some = asyncio.Event()
        self._failures = 0

    def wake(self) -> None:
        """There is something in the queue."""
        self._some.set()

    async def run(self) -> None:
        """Deliver until cancelled."""
        while True:
            try:
                await self._next()
            except JournalError as error:
                _log.error("queue_file_error", receiver=self._name, error=str(error))
                await self._clock.sleep(DISK_PAUSE_S)

    async def _next(self) -> None:
        # Cleared first: what comes between the look and the wait wakes us.
        self._some.clear()
        wait = await self._store(Store.paused_until, self._name) - self._now()
        if wait > 0:
            await self._clock.sleep(min(wait, _LOOK_S))
            return
        row = await self._store(Store.head, self._name)
        if row is None:
            try:
                async with asyncio.timeout(_LOOK_S):
                    await self._some.wait()
            except TimeoutError:
                pass
            return
        ref = await self._store(Store.ref, self._name, row.thread)
        await self._settle(row, ref, await self._sender.send(row.note, ref))

    async def _settle(self, row: Row, ref: str | None, done: Outcome) -> None:
        now = self._now()
        where = {"receiver": self._name, "thread": row.thread, "kind": row.kind, "attempt": row.attempts + 1}
        if done.verdict == "taken":
            self._failures = 0
            reply = self._reply(row, now)
            await self._store(Store.taken, row, now, ref=done.ref or ref, reply=reply)
            _log.info("delivered", **where)
            if reply is not None:
                self._replied()
        elif done.verdict == "never" or now - row.queued_at >= self._config.give_up_s:
            _log.error("dead_letter", reason=done.reason, **where)
            await self._store(Store.refused, row, done.reason, now)
        else:
            pause = self.pause(done.after_s)
            _log.warning("not_delivered", reason=done.reason, again_in_s=round(pause, 1), **where)
            await self._store(Store.failed, row, done.reason, paused_until=now + pause)

    def pause(self, asked_s: float | None) -> float:
        """Seconds until the next attempt: what the receiver asked for, else min(first * 2**n, max) less up to a half of it."""
        config = self._config
        pause = min(config.retry_first_s * 2.0 ** min(self._failures, 30), config.retry_max_s)
        self._failures += 1
        return asked_s if asked_s is not None else pause * (0.5 + 0.5 * self._draw())

    def _reply(self, row: Row, now: float) -> tuple[str, bytes] | None:
        """What is published once a test alarm was taken: topic and payload."""
        alert = row.note.alert
        if row.kind != "test" or alert is None:
            return None
        body = {
            "ok": True,
            "test": alert.test_id,
            "consumer": self._program,
            "receiver": self._name,
            "taken_at": now,
            "attempts": row.attempts + 1,
        }
        return reply_topic(alert.host, alert.test_id), json.dumps(body, separators=(",", ":")).encode()

    def _now(self) -> float:
        return self._clock.wall() / _MICROS


class Repetition:
    """Says again and again what fires, to a receiver that forgets (Alertmanager). Missing one loses nothing.

    Args:
        name: of the receiver.
        every_s: seconds.
        firing: `data` of the alerts that fire now.
        repeat: sends them.
        clock: of the program.
    """

    def __init__(
        self,
        name: str,
        every_s: float,
        *,
        firing: Callable[[], Iterable[Mapping[str, Any]]],
        repeat: Callable[[Iterable[Mapping[str, Any]]], Awaitable[Outcome]],
        clock: Clock,
    ) -> None:
        self._name = name
        self._every_s = every_s
        self._firing = firing
        self._repeat = repeat
        self._clock = clock

    async def run(self) -> None:
        """Repeat until cancelled; what could not be said is logged once, and so is that it can again."""
        well = True
        while True:
            await self._clock.sleep(self._every_s)
            done = await self._repeat(list(self._firing()))
            if (done.verdict == "taken") != well:
                well = done.verdict == "taken"
                (_log.info if well else _log.warning)("repetition", receiver=self._name, well=well, reason=done.reason)
