"""When the publisher connects again: in virtual time, against a broker in memory that is away, refuses, or ends connections."""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from connectors.mqtt.fake import FakeBroker, MemoryOutbox
from connectors.mqtt.link import Link
from connectors.mqtt.publisher import MqttPublisher
from connectors.mqtt.reason_codes import RefusedError
from connectors.mqtt.settings import BrokerSettings
from engine.errors import BrokerError
from engine.ports.broker import Message
from tests.clocks import VirtualClock, run_virtually


class Attempts:
    """Refuses connections in a way of the test's own, and notes when they were tried."""

    def __init__(self, clock: VirtualClock, *errors: BrokerError, last: int = 0) -> None:
        self.clock = clock
        self.errors = itertools.cycle(errors)
        self.left = last
        self.at: list[float] = []
        self.done = asyncio.Event()

    @asynccontextmanager
    async def connect(self, *_: Any, **__: Any) -> AsyncIterator[Link]:
        self.at.append(self.clock.monotonic())
        self.left -= 1
        if self.left < 0:
            self.done.set()
            await asyncio.Event().wait()
        raise next(self.errors)
        yield  # type: ignore[unreachable]  # makes it a generator


def publisher(clock: VirtualClock, connect: Any, **more: Any) -> MqttPublisher:
    """One with the usual pauses."""
    return MqttPublisher(
        BrokerSettings(host="h", port=1),
        host_topic="dockwarden/h",
        status=lambda: Message("dockwarden/h/status", b"online"),
        will=lambda: Message("dockwarden/h/status", b"offline"),
        clock=clock,
        connect=connect,
        **more,
    )


async def tried(*errors: BrokerError, times: int, **more: Any) -> list[float]:
    """Pauses between so many attempts that fail with these errors in turn."""
    clock = VirtualClock()
    attempts = Attempts(clock, *errors, last=times)
    task = asyncio.create_task(publisher(clock, attempts.connect, **more).run(MemoryOutbox()))
    await attempts.done.wait()
    task.cancel()
    await asyncio.wait({task})
    return [after - before for before, after in itertools.pairwise(attempts.at)]


def test_the_first_attempts_of_many_clients_spread_over_the_whole_pause() -> None:
    """Two hundred lose their broker at one moment: no tenth of the two seconds gets more than a fifth of them."""
    chance = random.Random(7)
    firsts = [run_virtually(tried(BrokerError("away"), times=1, random=chance.random))[0] for _ in range(200)]
    tenths = [sum(1 for pause in firsts if number <= pause * 5 < number + 1) for number in range(10)]
    assert sum(tenths) == 200
    assert max(tenths) <= 40
    assert min(tenths) >= 5


def test_pauses_stay_short_while_nobody_answers_and_grow_when_refused() -> None:
    """Back after an hour, the broker is found within ten seconds; one that says no is asked once a minute at most."""
    away = run_virtually(tried(BrokerError("nothing listens"), times=30, random=lambda: 0.999))
    assert max(away) < 10
    refused = run_virtually(tried(RefusedError("bad password"), times=30, random=lambda: 0.999))
    assert max(refused) > 55
    mixed = run_virtually(tried(RefusedError("no"), BrokerError("nothing listens"), times=30, random=lambda: 0.999))
    assert max(mixed) < 3  # each change begins anew


def test_a_short_connection_begins_the_pauses_anew_but_not_a_fight_for_one_session() -> None:
    """A broker that restarts a few times is reached at once each time; two that end each other's sessions slow down."""

    async def run() -> list[float]:
        clock = VirtualClock()
        broker = FakeBroker(clock=clock)
        at: list[float] = []

        @asynccontextmanager
        async def connect(*arguments: Any, **more: Any) -> AsyncIterator[Link]:
            at.append(clock.monotonic())
            async with broker.connect(*arguments, **more) as link:
                yield link

        made = publisher(clock, connect, random=lambda: 0.999)
        task = asyncio.create_task(made.run(MemoryOutbox()))
        while len(at) < 10:
            await clock.sleep(0.5)
            broker.cut()
        task.cancel()
        await asyncio.wait({task})
        return [after - before for before, after in itertools.pairwise(at)]

    pauses = run_virtually(run())
    assert max(pauses[:3]) <= 3
    assert max(pauses[3:]) > 5


@pytest.mark.parametrize("times", [1, 50])
def test_nothing_is_left_behind_by_attempts_that_fail(times: int) -> None:
    """Neither tasks nor timers pile up."""

    async def run() -> int:
        await tried(BrokerError("away"), times=times)
        return len(asyncio.all_tasks())

    assert run_virtually(run()) == 1
