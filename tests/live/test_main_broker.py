"""What is said reaches an independent MQTT client: at once, later, after a restart of either side, and in order."""

import itertools
import json
import shutil
import time
from datetime import datetime
from functools import partial

import pytest

from tests.lab import faults
from tests.lab.broker import ScratchBroker
from tests.lab.engine import TAGS, ScratchEngine
from tests.lab.nats import NatsCluster
from tests.lab.rules import rules_folder
from tests.lab.sidecar import Sidecar
from tests.lab.subscriber import Subscriber
from tests.lab.waiting import until
from tests.lab.watched import Watched
from tests.live.conftest import Watch

pytestmark = pytest.mark.live

EACH = """
rules:
  - rule: made
    title: A container was made
    severity: info
    when:
      new: {fact: container, status: created}
    key: "{new.name}"
    then:
      - alert: "{new.name} was made"
"""
"""An alert for each container, resolved when it goes."""


async def test_an_alert_is_retained_and_received_by_who_comes_later(
    engine: ScratchEngine, broker: ScratchBroker, watch: Watch, host: str
) -> None:
    """A client that connects later receives it, whole; the resolved message replaces it and goes by itself in an hour."""
    with rules_folder(EACH) as rules:
        async with watch(engine, rules=rules) as seen:
            await engine.create("true", name="late")
            await seen.alert("made")
            with Subscriber(broker.url) as latecomer:
                received = await latecomer.received(f"dockwarden/{host}/alert/made/late")
                assert received.retained
                assert received.event["type"] == "dockwarden.alert.v1"
                assert received.event["specversion"] == "1.0"
                alert = received.data
                assert alert["status"] == "firing"
                assert alert["dedup_key"] == f"{host}/made/late"
                assert alert["evidence"][0]["name"] == "late"
                assert datetime.fromisoformat(alert["starts_at"]).tzinfo is not None
            await engine.docker("rm", "late")
            await seen.alert("made", "resolved")
            with Subscriber(broker.url) as latecomer:
                received = await latecomer.received(f"dockwarden/{host}/alert/made/late")
                assert (received.retained, received.data["status"]) == (True, "resolved")


async def test_the_will_says_offline_when_it_is_killed(engine: ScratchEngine, watch: Watch, host: str) -> None:
    """Killed, it cannot say so itself: the broker does, retained; started again it is online."""
    async with watch(engine) as seen:
        assert seen.status()["state"] == "online"
        await seen.sidecar.kill()
        await until(lambda: seen.status()["state"] == "offline", what="the will")
        seen.sidecar.start()
        await seen.sidecar.ready(seen.subscriber)
        assert seen.status()["state"] == "online"
        await seen.sidecar.stop()
        await until(lambda: seen.status()["state"] == "offline", what="its farewell")
        assert seen.sidecar.exit_code == 0
        assert seen.status()["host"] == host


async def test_while_the_broker_is_away_the_outbox_grows_and_is_drained_in_order(engine: ScratchEngine, host: str) -> None:
    """Twenty alerts are decided while nobody listens; after its return each is received, in the order of their numbers."""
    with ScratchBroker() as broker, Subscriber(broker.url) as subscriber, rules_folder(EACH) as rules:
        async with Sidecar(engine, broker, host=host, rules=rules) as sidecar:
            await sidecar.ready(subscriber)
            seen = Watched(sidecar, subscriber)
            broker.stop()
            made = await faults.storm(engine, 20, start=False)
            await until(lambda: _waiting(seen, 20), what="an outbox of 20")
            assert "NOT connected" in (await sidecar.ask("status"))[1]
            broker.start()
            await until(lambda: len(seen.alerts("made")) >= 20, what="all twenty", within_s=30)
            alerts = [alert for alert in seen.alerts("made") if alert["status"] == "firing"]
            numbers = [alert["seq"] for alert in alerts]
            assert numbers == sorted(numbers)
            evidence = {alert["evidence"][0]["id"] for alert in alerts}
            assert evidence == set(made.ids)
            await until(lambda: _drained(seen), what="an empty outbox")


async def _waiting(seen: Watched, number: int) -> bool:
    code, shown, _ = await seen.sidecar.ask("status", "--format", "json")
    return code == 0 and json.loads(shown)["outbox_depth"] == number


async def _drained(seen: Watched) -> bool:
    return await _waiting(seen, 0)


async def test_what_waits_for_the_broker_survives_a_kill(engine: ScratchEngine, host: str) -> None:
    """Decided while the broker was away, then killed: the next start publishes it, once the broker is back."""
    with ScratchBroker() as broker, Subscriber(broker.url) as subscriber, rules_folder(EACH) as rules:
        async with Sidecar(engine, broker, host=host, rules=rules) as sidecar:
            await sidecar.ready(subscriber)
            seen = Watched(sidecar, subscriber)
            broker.stop()
            await engine.create("true", name="unheard")
            await until(lambda: _waiting(seen, 1), what="the alert in the outbox")
            await sidecar.kill()
            broker.start()
            sidecar.start()
            assert (await seen.alert("made"))["key"] == "unheard"


async def test_a_broker_that_refuses_an_alert_keeps_it_waiting(engine: ScratchEngine, host: str) -> None:
    """Its access control denies the alerts: acknowledged with a bad code is not delivered; allowed again, it comes."""
    closed = f"user sidecar\ntopic write dockwarden/{host}/status\nuser subscriber\ntopic read #\n"
    opened = f"user sidecar\ntopic write dockwarden/{host}/#\nuser subscriber\ntopic read #\n"
    with ScratchBroker(users={"sidecar": "s1", "subscriber": "e1"}, acl=closed) as broker:
        at = f"127.0.0.1:{broker.port}"
        with Subscriber(f"mqtt://subscriber@{at}", password="e1") as subscriber, rules_folder(EACH) as rules:
            variables = {"DOCKWARDEN_MQTT_URL": f"mqtt://sidecar@{at}", "DOCKWARDEN_MQTT__PASSWORD": "s1"}
            async with Sidecar(engine, broker, host=host, rules=rules, environment=variables) as sidecar:
                await sidecar.ready(subscriber)
                seen = Watched(sidecar, subscriber)
                await engine.create("true", name="denied")
                await until(
                    lambda: any("denied" in trouble for trouble in seen.status()["troubles"]), what="the denial to be said"
                )
                assert not seen.alerts("made")
                broker.write_acl(opened)
                broker.restart()
                assert (await seen.alert("made", within_s=90))["key"] == "denied"


async def test_credentials_are_not_shown(engine: ScratchEngine, host: str) -> None:
    """The password stands in no output, no status and no process list."""
    with ScratchBroker(users={"u": "sesame-open"}) as broker:
        at = f"127.0.0.1:{broker.port}"
        with Subscriber(f"mqtt://u@{at}", password="sesame-open") as subscriber:
            variables = {"DOCKWARDEN_MQTT_URL": f"mqtt://u:sesame-open@{at}"}
            async with Sidecar(engine, broker, host=host, environment=variables) as sidecar:
                await sidecar.ready(subscriber)
                _, shown, _ = await sidecar.ask("status", "--format", "json")
                assert "sesame-open" not in shown + sidecar.output
                assert not [received for received in subscriber.all() if b"sesame-open" in received.payload]


async def test_engine_event_to_alert_takes_milliseconds(engine: ScratchEngine, watch: Watch) -> None:
    """From Docker's own time of an event to the alert in a subscriber's hand: half of them within 25 ms on a busy machine."""
    with rules_folder(EACH) as rules:
        async with watch(engine, rules=rules) as seen:
            took = []
            for number in range(30):
                container = await engine.create("true", name=f"timed-{number}")
                received = await seen.subscriber.alert("made", "firing", host=seen.host, key=f"timed-{number}")
                event = await seen.fact("container_event", action="create", id=container)
                took.append((received.at - datetime.fromisoformat(event["at"])).total_seconds() * 1000)
                await engine.docker("rm", container)
            took.sort()
            assert took[15] < 25, took


async def test_a_storms_alert_is_one_alert(engine: ScratchEngine, watch: Watch) -> None:
    """A thousand containers: received of at the twentieth, under one dedup key, and not with a message for each container."""
    async with watch(engine) as seen:
        await faults.storm(engine, 1000, image=TAGS[1], command=("/run.sh", "look-around"), start=False)
        alert = await seen.alert("container-storm")
        await until(lambda: len(seen.facts("container_event", action="create")) >= 1000, what="all creations", within_s=60)
        alerts = seen.alerts("container-storm")
        assert {one["dedup_key"] for one in alerts} == {alert["dedup_key"]}
        assert len(alerts) <= 3, [one["summary"] for one in alerts]
        assert "20 containers" in alert["summary"]
        assert not [pair for pair in itertools.pairwise(one["seq"] for one in alerts) if pair[0] >= pair[1]]


def _has(seen: Watched, key: str) -> bool:
    return any(alert["key"] == key for alert in seen.alerts("made"))


async def test_a_broker_whose_store_was_set_back_shows_what_fires_again(engine: ScratchEngine, host: str) -> None:
    """It comes back as it was before the last alerts: the running sidecar puts that right at its next connection."""
    with ScratchBroker() as broker, rules_folder(EACH) as rules:
        store, copy = broker.folder / "mosquitto.db", broker.folder / "copy"
        with Subscriber(broker.url) as subscriber:
            async with Sidecar(engine, broker, host=host, rules=rules) as sidecar:
                await sidecar.ready(subscriber)
                seen = Watched(sidecar, subscriber)
                await engine.create("true", name="early")
                await seen.alert("made")
                broker.stop()
                shutil.copy(store, copy)
                broker.start()
                await engine.create("true", name="late")
                await until(partial(_has, seen, "late"), what="the second", within_s=30)
                broker.stop()
                shutil.copy(copy, store)
                broker.start()
                again = time.monotonic()
                await subscriber.received(f"dockwarden/{host}/alert/made/late", since=again, within_s=60)
                with Subscriber(broker.url) as latecomer:
                    for key in ("early", "late"):
                        assert (await latecomer.received(f"dockwarden/{host}/alert/made/{key}")).data["status"] == "firing"


async def test_alerts_go_over_a_cluster_of_nats_when_a_server_is_killed(engine: ScratchEngine, host: str) -> None:
    """MQTT 3.1.1 by itself, the next server by itself; each alert is with the servers that are left; on demand all come anew."""
    with NatsCluster(3) as cluster, rules_folder(EACH) as rules, Subscriber(cluster.nodes[0].url, old=True) as subscriber:
        async with Sidecar(engine, cluster, host=host, rules=rules) as sidecar:
            await sidecar.ready(subscriber)
            seen = Watched(sidecar, subscriber)
            await engine.create("true", name="with-dot.and_line")
            await seen.alert("made")
            for node in cluster.nodes[1:]:
                node.kill()
                await engine.create("true", name=f"while-{node.name}-is-gone")
                await until(partial(_has, seen, f"while-{node.name}-is-gone"), what="the alert", within_s=60)
                node.start()
                cluster.ready([node])
            before = len(seen.alerts("made"))
            code, shown, _ = await sidecar.ask("status", "--republish")
            assert code == 0
            assert "MQTT 3.1.1" in shown
            await until(lambda: len(seen.alerts("made")) >= before + 3, what="all three anew", within_s=30)
