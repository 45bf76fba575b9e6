"""I6: the figures of `docker info` that an operator published, from Docker's answer to the alert."""

import asyncio
from collections.abc import Sequence
from typing import Any

from connectors.docker.api import readings
from connectors.docker.fake import FakeDocker
from connectors.docker.health.source import DockerHealth, HealthSettings
from engine.facts import Fact, Retraction
from engine.facts.docker import Daemon
from tests.clocks import SYSTEM
from tests.unit.rules_shipped.support import Rules

PUBLISHED: dict[str, Any] = {
    "Containers": 939,
    "ContainersRunning": 8,
    "ContainersStopped": 931,
    "ServerVersion": "1.10.3",
    "KernelVersion": "3.10.0-327.13.1.el7.x86_64",
    "Driver": "devicemapper",
    "DriverStatus": [
        ["Data Space Used", "16.2 GB"],
        ["Data Space Total", "33.97 GB"],
        ["Metadata Space Used", "40.19 MB"],
        ["Metadata Space Total", "75.5 MB"],
        ["Deferred Removal Enabled", "false"],
        ["Deferred Deletion Enabled", "false"],
    ],
    "Warnings": ["WARNING: bridge-nf-call-iptables is disabled"],
}


class _Told:
    """Keeps what the probe tells, and says when it has told of Docker's set-up."""

    def __init__(self) -> None:
        self.daemon: asyncio.Future[Daemon] = asyncio.get_running_loop().create_future()

    async def put(self, facts: Sequence[Fact | Retraction], *, cursor: str | None = None) -> None:
        """See `Sink`."""
        del cursor
        for fact in facts:
            if isinstance(fact, Daemon) and fact.storage_driver is not None and not self.daemon.done():
                self.daemon.set_result(fact)


async def _daemon(info: dict[str, Any]) -> Daemon:
    """The fact that the probe tells of a Docker daemon which answers so."""
    engine = FakeDocker()
    engine.info_given = readings.info(info)
    told = _Told()
    health = DockerHealth(engine, clock=SYSTEM, settings=HealthSettings(interval=0.05, hung_after=5.0, info_interval=0.05))
    task = asyncio.create_task(health.run(told, None), name="health-of-the-published-engine")
    try:
        return await asyncio.wait_for(told.daemon, timeout=10)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await engine.close()


async def test_the_published_pool_is_said_before_it_is_full() -> None:
    """Half of the metadata is gone: a warning; deletion is not deferred: an advice; nothing is done."""
    daemon = await _daemon(PUBLISHED)
    assert (round(daemon.data_ratio or 0, 3), round(daemon.metadata_ratio or 0, 3)) == (0.477, 0.532)
    rules = Rules()
    rules.tell(daemon)
    ((key, text),) = rules.alerts("pool-filling")
    assert key == "metadata"
    assert text.startswith("the devicemapper pool has used 53% of its metadata space")
    assert len(rules.alerts("pool-deletion-not-deferred")) == 1
    assert rules.alerts("pool-nearly-full") == []
    assert rules.actions() == []


async def test_an_engine_on_overlay2_has_no_pool() -> None:
    """The driver of today tells no spaces, and nothing is said of them."""
    rules = Rules()
    rules.tell(
        await _daemon({"ServerVersion": "27.3.1", "Driver": "overlay2", "DriverStatus": [["Backing Filesystem", "extfs"]]})
    )
    assert rules.decisions == []
