"""What a broker keeps of alerts is put right after each connection: its store was set back, rows or a journal were lost."""

import shutil
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from connectors.mqtt.fake import MemoryOutbox
from engine.facts.timestamps import SECOND
from engine.messages.cloudevents import alert_event
from engine.messages.retained import Comparison
from engine.ports.broker import AlertRecords, AlertVersion, KnownAlerts, Message, OutboxRow, RetainedReader
from tests.clocks import SYSTEM
from tests.contract.mqtt.brokers import Broker, RealMosquitto
from tests.contract.mqtt.conftest import Publishing, publishing
from tests.lab.waiting import until

START = 1_763_657_512 * SECOND
HOUR = 3600 * SECOND


def alert(key: str, seq: int, status: Any = "firing", *, updated_at: int = START) -> OutboxRow:
    """A message as Docker makes it."""
    return alert_event(
        host="h1", rule="r", key=key, status=status, severity="warning", summary=f"{key} {status}", starts_at=START,
        updated_at=updated_at, seq=seq,
    )  # fmt: skip


def as_message(row: OutboxRow) -> Message:
    """The same from another client."""
    return Message(row.topic, row.payload, retain=row.retain)


class Records(AlertRecords):
    """Alerts that fire, and an outbox for what is to be published."""

    def __init__(self) -> None:
        self.outbox = MemoryOutbox()
        self.firing: dict[str, OutboxRow] = {}
        self.seq = 0
        self.settled = True
        self.readings = 0

    @property
    def topics(self) -> Sequence[str]:
        return ["dockwarden/h1/alert/#"]

    async def fire(self, *keys: str) -> None:
        """Alerts begin to fire."""
        for key in keys:
            self.seq += 1
            row = alert(key, self.seq)
            self.firing[row.topic] = row
            await self.outbox.put(row)

    async def resolve(self, key: str) -> None:
        """One ends."""
        self.seq += 1
        row = alert(key, self.seq, "resolved", updated_at=SYSTEM.wall())
        self.firing.pop(row.topic, None)
        await self.outbox.put(row)

    async def begin(self, *, everything: bool) -> RetainedReader:
        firing = {topic: AlertVersion(row.seq, START) for topic, row in self.firing.items()}
        known = KnownAlerts(firing, last_seq=self.seq, now=SYSTEM.wall())
        return Comparison(known, expiry=HOUR, everything=everything)

    async def finish(self, reader: RetainedReader, *, complete: bool) -> bool:
        assert isinstance(reader, Comparison)
        found = reader.difference(complete=complete, settled=self.settled)
        for topic in found.republish:
            self.seq += 1
            row = self.firing[topic] = alert(topic.rpartition("/")[2], self.seq)
            await self.outbox.put(row)
        for data in found.resolve.values():
            await self.resolve(data.key)
        for topic in found.clear:
            self.seq += 1
            await self.outbox.put(OutboxRow(topic=topic, payload=b"", kind="resolved", retain=True, seq=self.seq))
        self.readings += 1
        return self.settled


@pytest.fixture
def mosquitto() -> Iterator[RealMosquitto]:
    """A real one alone."""
    made = RealMosquitto()
    yield made
    made.close()


@asynccontextmanager
async def reconciling(broker: Broker, records: Records) -> AsyncIterator[Publishing]:
    """A publisher that compares, after its first comparison."""
    before = records.readings
    async with publishing(broker, outbox=records.outbox, alerts=records) as at_work:
        await until(lambda: records.readings > before, what="the comparison")
        await until(lambda: not records.outbox.rows, what="an empty outbox")
        yield at_work


async def kept(broker: Broker) -> dict[str, str]:
    """How the broker shows alerts to who comes late: status by key; cleared ones are not there."""
    with broker.listen("dockwarden/h1/#") as late:
        await until(lambda: any(topic.endswith("/status") for topic, _, _ in late), what="the retained status")
        end = alert("end", 1_000_000)
        broker.publish(Message(end.topic, end.payload, retain=False))
        await until(lambda: any(topic == end.topic for topic, _, _ in late), what="the end of what is retained")
        found = {
            topic.rpartition("/")[2]: payload for topic, payload, retained in late if "/alert/" in topic and retained and payload
        }
    return {key: "resolved" if b'"status":"resolved"' in payload else "firing" for key, payload in found.items()}


async def test_what_the_broker_lacks_is_published_again_at_the_next_connection(broker: Broker) -> None:
    """Alerts that fire and were never published, or were dropped from the outbox, reach who comes late."""
    records = Records()
    await records.fire("one", "two", "three")
    records.outbox.rows.clear()
    async with reconciling(broker, records):
        assert await kept(broker) == {"one": "firing", "two": "firing", "three": "firing"}


async def test_what_only_the_broker_knows_is_resolved_once_it_is_sure(broker: Broker) -> None:
    """A journal that was lost: what still fires at the broker is resolved, when the sidecar has looked around; not before."""
    before = Records()
    await before.fire("gone", "stays")
    async with reconciling(broker, before):
        assert await kept(broker) == {"gone": "firing", "stays": "firing"}
    after = Records()
    after.seq, after.settled = 100, False
    await after.fire("stays")
    async with reconciling(broker, after) as at_work:
        assert await kept(broker) == {"gone": "firing", "stays": "firing"}
        after.settled = True
        at_work.publisher.republish()
        await until(lambda: after.readings == 2 and not after.outbox.rows, what="a second comparison")
        assert await kept(broker) == {"gone": "resolved", "stays": "firing"}


async def test_resolved_ones_are_cleared_after_an_hour_where_they_do_not_expire(broker: Broker) -> None:
    """A broker without message expiry would show them for ever."""
    records = Records()
    old = alert("old", 1, "resolved", updated_at=SYSTEM.wall() - HOUR - SECOND)
    new = alert("new", 2, "resolved", updated_at=SYSTEM.wall())
    for row in old, new:
        broker.publish(as_message(row))
    records.seq = 2
    async with reconciling(broker, records):
        assert await kept(broker) == {"new": "resolved"}


async def test_a_broker_whose_store_was_set_back_shows_what_is_so_again(mosquitto: RealMosquitto) -> None:
    """Twenty of thirty alerts, one of them resolved since: after the next connection all thirty stand as they are."""
    records = Records()
    store, copy = mosquitto.scratch.folder / "mosquitto.db", mosquitto.scratch.folder / "copy"
    await records.fire(*(f"a{number}" for number in range(20)))
    async with reconciling(mosquitto, records):
        pass
    mosquitto.scratch.stop()
    shutil.copy(store, copy)
    mosquitto.scratch.start()
    await records.fire(*(f"b{number}" for number in range(10)))
    await records.resolve("a0")
    async with reconciling(mosquitto, records):
        pass
    mosquitto.scratch.stop()
    shutil.copy(copy, store)
    mosquitto.scratch.start()
    async with reconciling(mosquitto, records):
        shown = await kept(mosquitto)
        assert shown.pop("a0", "resolved") == "resolved"
        assert shown == dict.fromkeys(
            (*(f"a{number}" for number in range(1, 20)), *(f"b{number}" for number in range(10))), "firing"
        )


async def test_who_may_only_write_publishes_what_fires_once_a_connection(mosquitto: RealMosquitto) -> None:
    """Access control that lets nobody read: all that fires is published, nothing is resolved, and nothing is asked for again."""
    mosquitto.scratch.write_acl("topic write dockwarden/h1/#\n")
    mosquitto.scratch.restart()
    records = Records()
    await records.fire("one")
    async with reconciling(mosquitto, records) as at_work:
        assert at_work.publisher.state.published == 2
        assert records.readings == 1
        assert at_work.publisher.state.connected
