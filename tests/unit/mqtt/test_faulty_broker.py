"""Publisher against a broker in memory with faults drawn by a seed, in virtual time: what must hold once they end."""

import asyncio
import random
from itertools import pairwise

import pytest

from connectors.mqtt.fake import FakeBroker, Fault, MemoryOutbox, Point
from connectors.mqtt.publisher import MqttPublisher
from connectors.mqtt.settings import BrokerSettings
from engine.ports.broker import Message, OutboxRow
from tests.clocks import VirtualClock, run_virtually
from tests.contract.mqtt.test_reconciliation import Records

FAULTY_S = 600.0
ROWS = 300
TOPICS = 7


async def simulated(seed: int) -> None:
    """Ten minutes of faults while alerts come, then a minute of peace."""
    chance = random.Random(seed)
    clock = VirtualClock()
    rate = chance.choice([0.01, 0.1, 0.4])
    faults: tuple[Fault, ...] = ("refuse", "hang", "cut")

    def fault(_point: Point, _what: str) -> Fault | None:
        if clock.monotonic() > FAULTY_S or chance.random() > rate:
            return None
        return chance.choice(faults)

    broker = FakeBroker(
        clock=clock, fault=fault, in_flight=chance.choice([1, 3, 20]), versions=chance.choice([("5",), ("3.1.1",)])
    )
    outbox = MemoryOutbox()
    publisher = MqttPublisher(
        BrokerSettings(host="h", port=1),
        host_topic="dockwarden/h",
        status=lambda: Message("dockwarden/h/status", b"online"),
        will=lambda: Message("dockwarden/h/status", b"offline"),
        clock=clock,
        connect=broker.connect,
        random=chance.random,
    )
    task = asyncio.create_task(publisher.run(outbox), name="publisher")
    for seq in range(1, ROWS + 1):
        await outbox.put(OutboxRow(f"dockwarden/h/alert/r/{seq % TOPICS}", b"%d" % seq, "alert", retain=True, seq=seq))
        await clock.sleep(chance.random() * 2 * FAULTY_S / ROWS)
        if chance.random() < 0.02:
            broker.kill()
            await clock.sleep(chance.random() * 20)
            broker.start()
    async with asyncio.timeout(FAULTY_S + 300):
        await outbox.wait_empty()
    await clock.sleep(120)
    assert publisher.state.connected
    assert not task.done()
    newest = {f"dockwarden/h/alert/r/{topic}": b"%d" % max(range(topic or TOPICS, ROWS + 1, TOPICS)) for topic in range(TOPICS)}
    assert broker.retained == {**newest, "dockwarden/h/status": b"online"}
    for topic in newest:
        numbers = [int(payload) for name, payload, _ in broker.taken if name == topic]
        assert set(numbers) == {seq for seq in range(1, ROWS + 1) if f"dockwarden/h/alert/r/{seq % TOPICS}" == topic}
        # One that was taken and not acknowledged comes again; nothing older does.
        assert all(after >= before for before, after in pairwise(numbers))
    task.cancel()
    await asyncio.wait({task})
    assert len(asyncio.all_tasks()) == 1


@pytest.mark.parametrize("first", range(0, 40, 10))
def test_whatever_goes_wrong_every_alert_arrives_in_order_and_the_newest_stays(first: int) -> None:
    """Ten seeds each: nothing lost, nothing overtaken, the status right, no task left over."""
    for seed in range(first, first + 10):
        run_virtually(simulated(seed))


async def reconciled(seed: int) -> None:
    """Alerts begin and end while the broker fails and its store is set back; then hours of peace."""
    chance = random.Random(seed)
    clock = VirtualClock()
    faults: tuple[Fault, ...] = ("refuse", "hang", "cut")
    rate = chance.choice([0.0, 0.05, 0.3])

    def fault(_point: Point, _what: str) -> Fault | None:
        return chance.choice(faults) if clock.monotonic() < FAULTY_S and chance.random() < rate else None

    broker = FakeBroker(clock=clock, fault=fault)
    records = Records()
    publisher = MqttPublisher(
        BrokerSettings(host="h", port=1),
        host_topic="dockwarden/h1",
        status=lambda: Message("dockwarden/h1/status", b"online"),
        will=lambda: Message("dockwarden/h1/status", b"offline"),
        clock=clock,
        connect=broker.connect,
        random=chance.random,
        alerts=records,
    )
    task = asyncio.create_task(publisher.run(records.outbox), name="publisher")
    store = broker.snapshot()
    while clock.monotonic() < FAULTY_S:
        key = str(chance.randrange(10))
        match chance.randrange(6):
            case 0 | 1:
                await records.fire(key)
            case 2:
                await records.resolve(key)
            case 3:
                store = broker.snapshot()
            case 4:  # what it acknowledged since is gone
                broker.kill()
                broker.set_back(store)
                broker.start()
            case 5 if records.outbox.rows:  # the bounds of the outbox
                records.outbox.rows.pop(next(iter(records.outbox.rows)))
        await clock.sleep(chance.random() * 20)
    await clock.sleep(3 * 3600)
    assert not records.outbox.rows
    shown = {topic: payload for topic, payload in broker.retained.items() if b'"status":"firing"' in payload}
    assert set(shown) == set(records.firing)
    assert not task.done()
    task.cancel()
    await asyncio.wait({task})


@pytest.mark.parametrize("first", range(0, 40, 10))
def test_whatever_goes_wrong_the_broker_shows_what_fires_in_the_end(first: int) -> None:
    """Ten seeds each: after lost rows and stores that were set back, exactly what fires is retained as firing."""
    for seed in range(first, first + 10):
        run_virtually(reconciled(seed))
