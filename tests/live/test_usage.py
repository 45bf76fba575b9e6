"""What real containers use of their limits, and images and volumes of a real Docker."""

import pytest

from connectors.docker.api.client import DockerClient
from connectors.docker.storage import StorageLists
from connectors.host.usage import Running, UsageProbe
from engine.facts import Retraction
from engine.facts.docker import DockerStorage, Image, Volume
from engine.facts.host import ContainerUsage
from tests.clocks import SYSTEM
from tests.lab.engine import ScratchEngine
from tests.lab.waiting import until

pytestmark = pytest.mark.live


async def test_processes_of_a_container_against_its_limit(engine: ScratchEngine) -> None:
    """Found by its processes; reported with the limits that Docker set, and retracted when it has ended."""
    script = "for n in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 1000 & done; wait"
    container = await engine.run("sh", "-c", script, name="forks", options=("--pids-limit", "16", "--memory", "64m"))
    running = [Running(container, "forks", None)]
    probe = UsageProbe(lambda: running, clock=SYSTEM)
    found: list[ContainerUsage] = []

    async def reported() -> bool:
        found.extend(fact for fact in await probe.look() if isinstance(fact, ContainerUsage))
        return bool(found) and found[-1].pids >= 13

    await until(reported, what="all its processes")
    assert (found[-1].container_id, found[-1].pids_limit, found[-1].memory_limit_bytes) == (container, 16, 64 << 20)
    assert found[-1].pids_ratio is not None
    assert found[-1].pids_ratio > 0.8
    running.clear()
    await engine.docker("rm", "--force", container)
    (gone,) = [fact for fact in await probe.look() if isinstance(fact, Retraction)]
    assert gone.key == container


async def test_images_and_unused_volumes(engine: ScratchEngine) -> None:
    """An image with its names and size; a volume that no container uses, until one does."""
    await engine.docker("volume", "create", "spare")
    client = DockerClient(engine.url)
    try:
        source = StorageLists(client, clock=SYSTEM)
        facts = await source.look()
        image = next(fact for fact in facts if isinstance(fact, Image) and "box:1" in fact.tags)
        assert image.size_bytes > 100_000
        assert image.created_at is not None
        assert "spare" in [fact.name for fact in facts if isinstance(fact, Volume)]
        await engine.run("sleep", "1000", name="user", options=("--volume", "spare:/data"))
        after = await source.look()
        assert ("volume", "spare") in [(fact.retract, fact.key) for fact in after if isinstance(fact, Retraction)]
        assert any(isinstance(fact, DockerStorage) for fact in after)
    finally:
        await client.close()
        await engine.docker("rm", "--force", "user", check=False)
        await engine.docker("volume", "rm", "spare", check=False)
