"""What real containers use of their limits, as the control groups of this machine have it."""

import pytest

from connectors.host.usage import Running, UsageProbe
from engine.facts import Retraction
from engine.facts.host import ContainerUsage
from tests.clocks import SYSTEM
from tests.lab.engine import ScratchEngine
from tests.lab.waiting import until

pytestmark = pytest.mark.live


async def test_processes_of_a_container_against_its_limit(engine: ScratchEngine) -> None:
    """Found with and without its first process known; reported with the limit that Docker set, and retracted when it has ended."""
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
