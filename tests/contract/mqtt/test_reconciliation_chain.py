"""Loop, journal, publisher and a real Mosquitto: what the broker keeps of alerts follows what the core knows."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from engine.sidecar.retained_alerts import MEMORY, SETTLED_AFTER_S, RetainedAlerts
from tests.clocks import FixedClock
from tests.contract.mqtt.brokers import RealMosquitto
from tests.contract.mqtt.conftest import Publishing, publishing
from tests.lab.subscriber import Subscriber
from tests.lab.waiting import until
from tests.unit.pipeline.loop import House, container, gone
from tests.unit.pipeline.support import cid


@pytest.fixture
def mosquitto() -> Iterator[RealMosquitto]:
    """A broker."""
    made = RealMosquitto()
    yield made
    made.close()


class Records(RetainedAlerts):
    """Counts comparisons."""

    count = 0

    async def finish(self, *arguments: Any, **more: Any) -> bool:
        settled = await super().finish(*arguments, **more)
        self.count += 1
        return settled


@asynccontextmanager
async def connected(broker: RealMosquitto, house: House, *, host: str = "h1", age_s: float = 1000) -> AsyncIterator[Publishing]:
    """The loop runs and the publisher is connected; after the first comparison. `age_s`: how long the process has been up."""
    clock = FixedClock()
    records = Records(house.intake, clock, host, house.journal.load().memory.get(MEMORY))
    clock.seconds += age_s
    loop = asyncio.create_task(house.loop.run(), name="loop")
    try:
        async with publishing(broker, outbox=house.writer, alerts=records) as at_work:
            await until(lambda: records.count, what="the comparison")
            await until(lambda: not house.intake.depth and not house.writer.depth, what="an empty outbox")
            yield at_work
    finally:
        loop.cancel()
        await asyncio.wait({loop})


async def shown(mosquitto: RealMosquitto, host: str = "h1") -> dict[str, str]:
    """Status by container of what who comes late gets."""
    with Subscriber(mosquitto.scratch.url, topics=(f"dockwarden/{host}/#",)) as late:
        await asyncio.sleep(0.3)  # there is no last retained message
        return {
            received.data["key"]: received.data["status"]
            for received in late.all(f"dockwarden/{host}/alert/#")
            if received.payload
        }


async def test_rows_that_were_dropped_and_a_store_set_back_are_put_right(mosquitto: RealMosquitto, tmp_path: Path) -> None:
    """A broker that comes back with an older store shows all that fires, nothing that is over, and the outcome in numbers."""
    store, copy = mosquitto.scratch.folder / "mosquitto.db", mosquitto.scratch.folder / "copy"
    house = House(tmp_path)
    await house.emit(container(1), container(2))
    async with connected(mosquitto, house):
        assert await shown(mosquitto) == {cid(1): "firing", cid(2): "firing"}
    mosquitto.scratch.stop()
    shutil.copy(store, copy)
    mosquitto.scratch.start()
    await house.emit(container(3), gone(1))
    async with connected(mosquitto, house):
        assert await shown(mosquitto) == {cid(1): "resolved", cid(2): "firing", cid(3): "firing"}
    mosquitto.scratch.stop()
    shutil.copy(copy, store)
    mosquitto.scratch.start()
    async with connected(mosquitto, house):
        assert await shown(mosquitto) == {cid(1): "resolved", cid(2): "firing", cid(3): "firing"}
    await house.stop()


async def test_a_lost_journal_leaves_nothing_firing_for_ever(mosquitto: RealMosquitto, tmp_path: Path) -> None:
    """What the fresh journal does not find again is resolved at the broker, not before it had time to; with an audit entry."""
    (tmp_path / "old").mkdir()
    (tmp_path / "new").mkdir()
    house = House(tmp_path / "old")
    await house.emit(container(1), container(2))
    async with connected(mosquitto, house):
        pass
    await house.stop()
    fresh = House(tmp_path / "new")
    await fresh.emit(container(2))
    async with connected(mosquitto, fresh, age_s=SETTLED_AFTER_S - 1):
        assert await shown(mosquitto) == {cid(1): "firing", cid(2): "firing"}
    async with connected(mosquitto, fresh):
        assert await shown(mosquitto) == {cid(1): "resolved", cid(2): "firing"}
    assert "resolved" in fresh.verdicts("alert")
    await fresh.stop()


async def test_a_renamed_host_ends_its_alerts_under_the_old_name(mosquitto: RealMosquitto, tmp_path: Path) -> None:
    """They fire under the new one; the journal remembers the old name until its alerts are ended."""
    house = House(tmp_path)
    await house.emit(container(1))
    async with connected(mosquitto, house, host="old-name"):
        pass
    assert house.journal.load().memory[MEMORY] == '["old-name"]'
    await house.stop()
    mosquitto.scratch.stop()
    mosquitto.scratch.start()
    # The loop of these tests is always h1's: its alert under the old name is made by hand.
    with Subscriber(mosquitto.scratch.url) as other:
        received = await other.received("dockwarden/h1/alert/#")
        payload = received.payload.replace(b'"host":"h1"', b'"host":"old-name"').replace(b'"h1/', b'"old-name/')
        other._client.publish(received.topic.replace("/h1/", "/old-name/"), payload, qos=1, retain=True).wait_for_publish(5)
    house = House(tmp_path)
    async with connected(mosquitto, house):
        assert await shown(mosquitto) == {cid(1): "firing"}
        assert await shown(mosquitto, "old-name") == {cid(1): "resolved"}
    assert house.journal.load().memory[MEMORY] == '["h1"]'
    await house.stop()


async def test_everything_that_fires_is_published_anew_on_demand(mosquitto: RealMosquitto, tmp_path: Path) -> None:
    """For whoever lost it: each once more, nothing else."""
    house = House(tmp_path)
    await house.emit(container(1), container(2))
    async with connected(mosquitto, house) as at_work:
        before = at_work.publisher.state.published
        with Subscriber(mosquitto.scratch.url) as listener:
            at_work.publisher.republish()
            await until(lambda: at_work.publisher.state.published == before + 2, what="both")
            again = [received for received in listener.all("dockwarden/h1/alert/#") if not received.retained]
            assert {received.data["key"] for received in again} == {cid(1), cid(2)}
    await house.stop()
