"""One consumer: what comes in becomes threads and queues, in one transaction; each receiver has a task that empties its queue."""

import asyncio
import random
from collections.abc import Callable, Coroutine, Sequence
from importlib import import_module
from types import ModuleType
from typing import Any, cast

import aiohttp
import structlog

from connectors.consumers.alert import ALARM_TEST, Alert, HostStatus, read_alert, read_status
from connectors.consumers.config import (
    Alertmanager,
    AnyReceiver,
    Apprise,
    Config,
    PagerDuty,
    Program,
    Webhook,
    read_secret,
)
from connectors.consumers.delivery import DISK_PAUSE_S, Delivery, Repetition, StoreThread
from connectors.consumers.presence import Presence
from connectors.consumers.receivers.alertmanager import AlertmanagerSender
from connectors.consumers.receivers.editing import EditingSender
from connectors.consumers.receivers.http import Sender
from connectors.consumers.receivers.pagerduty import PagerDutySender
from connectors.consumers.receivers.webhook import WebhookSender
from connectors.consumers.records import Changes
from connectors.consumers.retained import Retained
from connectors.consumers.routing import addressees
from connectors.consumers.store import Store
from connectors.consumers.subscriber import Subscriber
from connectors.consumers.threads import Threads
from connectors.consumers.together import run_together
from engine.errors import JournalError, SettingsError
from engine.ports.clock import Clock

_log = structlog.get_logger(__name__)

_MICROS = 1_000_000
TICK_S = 0.5
"""Between two looks at the clock; ends, digests and updates come this much later at most."""


class Consumer:
    """What all parts of one program share. Only one task at a time changes threads and presence.

    Args:
        program: pager or chat.
        config: its file.
        store: its queues.
        clock: of the program.
        draw: gives numbers in [0, 1), for the jitter.
    """

    def __init__(
        self, program: Program, config: Config, store: Store, *, clock: Clock, draw: Callable[[], float] = random.random
    ) -> None:
        self._program = program
        self._config = config
        self._clock = clock
        self._draw = draw
        self._store = StoreThread(store)
        self._turn = asyncio.Lock()
        self._threads: dict[str, Threads] = {}
        self._presence = Presence(grace_s=config.gone_after_s, test_every_s=config.alarm_tests.expect_every_s)
        self._retained = Retained()
        self._deliveries: dict[str, Delivery] = {}
        self._load(store)

    async def run(self) -> None:
        """Work until cancelled."""
        settings = self._config.broker.settings(f"dockwarden-{self._program}")
        subscriber = Subscriber(
            settings,
            session_s=self._config.broker.session_s,
            handle=self.receive,
            connected=self.connected,
            store=self._store,
            clock=self._clock,
            draw=self._draw,
        )
        try:
            async with aiohttp.ClientSession() as session:
                work: dict[str, Coroutine[Any, Any, None]] = {"clock": self._tick(), "subscriber": subscriber.run()}
                for name, receiver in self._config.receivers.items():
                    work |= self._receiver(name, receiver, session, subscriber.publish_replies)
                await run_together(work)
        finally:
            self._store.close()

    async def receive(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """Take messages in: when this returns, what follows from them is on the disk.

        Raises:
            JournalError: it is not; nothing has changed, and the same messages may be handed in again.
        """
        async with self._turn:
            now = self._now()
            alerts: list[Alert] = []
            statuses: list[HostStatus] = []
            for _, payload in messages:
                alert = read_alert(payload)
                if alert is not None:
                    alerts.append(alert)
                elif (status := read_status(payload)) is not None:
                    statuses.append(status)
                    alerts += self._presence.received(status, now)
            self._retained.received(alerts, statuses, now)
            await self._take(alerts, now)

    def connected(self) -> None:
        """The broker is about to send what it has retained."""
        self._retained.connected(self._now())

    async def look(self) -> None:
        """Do what is due by the clock."""
        async with self._turn:
            now = self._now()
            changes = Changes()
            for name, threads in self._threads.items():
                changes.notes += [(name, note) for note in threads.due(now)]
            alerts = self._presence.due(now)
            if self._retained.ready(now):
                firing = {alert.dedup_key: alert for threads in self._threads.values() for alert in threads.firing_alerts()}
                over = self._retained.ended(firing.values())
                if over:
                    _log.warning("ended_unheard", alerts=len(over))
                await self._take(alerts, now, changes, unheard=over)
            else:
                await self._take(alerts, now, changes)

    async def _take(
        self, alerts: Sequence[Alert], now: float, changes: Changes | None = None, *, unheard: Sequence[Alert] = ()
    ) -> None:
        changes = changes or Changes()
        try:
            known = await self._known([*alerts, *unheard])
            for alert in alerts:
                self._take_one(changes, alert, known.get(alert.dedup_key), now)
            for alert in unheard:
                # One below: should its firing message come all the same, it is news.
                changes.alerts[alert.dedup_key] = (known.get(alert.dedup_key, (alert.seq,))[0] - 1, alert.status)
            self._tell(changes, unheard, now)
            for name, threads in self._threads.items():
                changes.threads |= {(name, thread): threads.stored(thread) for thread in threads.changed}
            changes.hosts = {host: self._presence.stored(host) for host in self._presence.changed}
            if not changes:
                return
            await self._store(Store.commit, changes, now)
        except BaseException:
            # What is in memory is ahead of the disk: go back to what is on it.
            await self._store(self._load)
            raise
        for threads in self._threads.values():
            threads.changed.clear()
        self._presence.changed.clear()
        for receiver in {receiver for receiver, _ in changes.notes}:
            if receiver in self._deliveries:
                self._deliveries[receiver].wake()

    async def _known(self, alerts: Sequence[Alert]) -> dict[str, tuple[int, str]]:
        return await self._store(Store.known, {alert.dedup_key for alert in alerts}) if alerts else {}

    def _take_one(self, changes: Changes, alert: Alert, known: tuple[int, str] | None, now: float) -> None:
        """Numbers of a host rise and are never used twice: what is not above the newest one was received, or is overtaken."""
        before = changes.alerts.get(alert.dedup_key) or known
        if before is not None and before[0] >= alert.seq:
            return
        changes.alerts[alert.dedup_key] = (alert.seq, alert.status)
        if alert.test or alert.rule == ALARM_TEST:
            self._tell(changes, self._presence.tested(alert.host, now), now)
        self._tell(changes, [alert], now)

    def _tell(self, changes: Changes, alerts: Sequence[Alert], now: float) -> None:
        for alert in alerts:
            told = {one.receiver: one.release_at for one in addressees(alert, self._config.routes, now)}
            for name, threads in self._threads.items():
                # Who was told that it fires is told that it is over, whatever the routes say of its severity now.
                if name in told or not alert.firing:
                    changes.notes += [(name, note) for note in threads.take(alert, now, told.get(name))]

    def _load(self, store: Store) -> None:
        self._threads = {name: Threads(receiver.policy) for name, receiver in self._config.receivers.items()}
        for name, threads in self._threads.items():
            threads.load(store.threads(name))
        self._presence.load(store.hosts())

    async def _tick(self) -> None:
        while True:
            await self._clock.sleep(TICK_S)
            try:
                await self.look()
            except JournalError as error:
                _log.error("queue_file_error", error=str(error))
                await self._clock.sleep(DISK_PAUSE_S)

    def _receiver(
        self, name: str, receiver: AnyReceiver, session: aiohttp.ClientSession, replied: Callable[[], None]
    ) -> dict[str, Coroutine[Any, Any, None]]:
        """The tasks of one receiver, by name."""
        sender = make_sender(receiver, session, clock=self._clock, runbooks_url=self._config.runbooks_url)
        delivery = Delivery(
            name,
            self._program,
            sender,
            receiver,
            store=self._store,
            clock=self._clock,
            replied=replied,
            draw=self._draw,
        )
        self._deliveries[name] = delivery
        work = {f"deliver {name}": delivery.run()}
        if isinstance(receiver, Alertmanager) and isinstance(sender, AlertmanagerSender):
            repetition = Repetition(
                name,
                receiver.repeat_s,
                firing=lambda: self._threads[name].firing_data(),  # noqa: PLW0108  they are loaded anew after an error
                repeat=sender.repeat,
                clock=self._clock,
            )
            work[f"repeat {name}"] = repetition.run()
        return work

    def _now(self) -> float:
        return self._clock.wall() / _MICROS


def make_sender(receiver: AnyReceiver, session: aiohttp.ClientSession, *, clock: Clock, runbooks_url: str) -> Sender:
    """Who reaches a receiver."""
    match receiver:
        case PagerDuty():
            return PagerDutySender(
                session,
                url=str(receiver.url),
                routing_key_file=receiver.routing_key_file,
                timeout_s=receiver.timeout_s,
                clock=clock,
                runbooks_url=runbooks_url,
            )
        case Alertmanager():
            return AlertmanagerSender(
                session, url=str(receiver.url), timeout_s=receiver.timeout_s, clock=clock, runbooks_url=runbooks_url
            )
        case Webhook():
            return WebhookSender(session, receiver, clock=clock, runbooks_url=runbooks_url)
        case Apprise():
            return _apprise(receiver, clock, runbooks_url)
        case _:
            return EditingSender(session, receiver, clock=clock, runbooks_url=runbooks_url)


def check_secrets(config: Config) -> list[str]:
    """What is wrong with the files that hold secrets, one sentence each; empty: nothing."""
    faults = []
    for name, receiver in config.receivers.items():
        for setting in type(receiver).model_fields:
            path = getattr(receiver, setting) if setting.endswith("_file") else None
            if path is None:
                continue
            try:
                secret = read_secret(path)
                if isinstance(receiver, Apprise):
                    _check_apprise(secret)
            except SettingsError as error:
                faults.append(f"receivers.{name}.{setting}: {error}")
    return faults


def _apprise(receiver: Apprise, clock: Clock, runbooks_url: str) -> Sender:
    make = _apprise_chat().AppriseSender
    return cast("Sender", make(receiver.url_file, timeout_s=receiver.timeout_s, clock=clock, runbooks_url=runbooks_url))


def _check_apprise(address: str) -> None:
    _apprise_chat().check_address(address)


def _apprise_chat() -> ModuleType:
    """Imported where it is used: the pager needs neither apprise nor what is done to requests.

    Raises:
        SettingsError: apprise is not installed.
    """
    try:
        return import_module("connectors.consumers.receivers.apprise_chat")
    except ModuleNotFoundError as error:
        raise SettingsError(f"{error.name} is not installed: pip install 'dockwarden[consumers]'") from error
