"""The lab's listener and the lab's way to run a sidecar do what tests rely on."""

import asyncio
import json
import signal
import sys
import time

import pytest

from tests.lab.broker import ScratchBroker
from tests.lab.commands import run
from tests.lab.engine import ScratchEngine
from tests.lab.sidecar import Sidecar
from tests.lab.subscriber import Subscriber

pytestmark = pytest.mark.live

ALERT = json.dumps({"specversion": "1.0", "data": {"rule": "r", "key": "k", "status": "firing"}})


async def publish(broker: ScratchBroker, topic: str, text: str, *, retain: bool = False) -> None:
    """Publish once, from a process of its own."""
    program = (
        "import sys; from paho.mqtt.publish import single;"
        "single(sys.argv[1], sys.argv[2], qos=1, retain=sys.argv[3] == '1', hostname='127.0.0.1', port=int(sys.argv[4]))"
    )
    await run(sys.executable, "-c", program, topic, text, "1" if retain else "0", str(broker.port))


async def test_subscriber_receives_with_times_and_retained_flag() -> None:
    """What was retained before is told from what is said now, and arrival times are those of the arrival."""
    with ScratchBroker() as broker:
        await publish(broker, "dockwarden/a/alert/r/k", ALERT, retain=True)
        with Subscriber(broker.url) as subscriber:
            old = await subscriber.alert("r", "firing", key="k")
            assert old.retained
            began = time.monotonic()
            await publish(broker, "dockwarden/a/alert/r/k", ALERT, retain=True)
            new = await subscriber.alert("r", "firing", since=began)
            assert not new.retained
            assert began <= new.moment <= time.monotonic()
            with pytest.raises(TimeoutError, match=r"dockwarden/a/alert/r/k"):
                await subscriber.alert("r", "resolved", within_s=0.1)


async def test_subscriber_comes_back_after_a_restart_of_the_broker() -> None:
    """It subscribes again by itself."""
    with ScratchBroker() as broker, Subscriber(broker.url) as subscriber:
        broker.restart()
        for _ in range(50):
            await publish(broker, "x", "again")
            if subscriber.all("x"):
                break
            await asyncio.sleep(0.1)
        assert subscriber.all("x")


@pytest.mark.usefixtures("fake_program")
async def test_sidecar_is_started_stopped_killed_and_started_again(engine: ScratchEngine) -> None:
    """It gets engine, broker and mode; a stop is orderly, a kill is not, and the state outlives both."""
    with ScratchBroker() as broker, Subscriber(broker.url) as subscriber:
        async with Sidecar(engine, broker, host="h7", act=False) as sidecar:
            assert not (await sidecar.ready(subscriber)).data["seen"]
            assert f"['run'] {engine.url} observe" in sidecar.output
            await sidecar.kill()
            assert sidecar.exit_code == -signal.SIGKILL
            sidecar.start()
            assert not (await sidecar.ready(subscriber)).data["seen"]
            assert await sidecar.stop() == 0
            sidecar.start()
            assert (await sidecar.ready(subscriber)).data["seen"]
        assert not sidecar.running
        assert not sidecar.folder.exists()


@pytest.mark.usefixtures("fake_program")
async def test_sidecar_that_ends_at_once_tells_why(engine: ScratchEngine) -> None:
    """A sidecar that does not start is an error with its last words, not a time-out."""
    with ScratchBroker() as broker, Subscriber(broker.url, topics=("other",)) as subscriber:
        async with Sidecar(engine, broker, environment={"fail": "1"}) as sidecar:
            with pytest.raises(RuntimeError, match="settings are unreadable"):
                await sidecar.ready(subscriber)
