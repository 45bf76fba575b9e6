"""The capabilities that the deployments grant are enough: the whole chain runs with them and with no others."""

import re
import shutil
from pathlib import Path

from tests.lab import faults
from tests.lab.broker import ScratchBroker
from tests.lab.engine import ScratchEngine
from tests.lab.sidecar import Sidecar
from tests.lab.subscriber import Subscriber
from tests.lab.waiting import until

UNIT = Path(__file__).parents[2] / "examples/deploy/dockwarden.service"


def _bounding(pid: str) -> int:
    """The bounding set of a process (proc(5), CapBnd)."""
    line = re.search(r"^CapBnd:\s*(\w+)", Path("/proc", pid, "status").read_text(), re.MULTILINE)
    assert line is not None
    return int(line[1], 16)


def _granted() -> str:
    """As setpriv(1) takes them: all dropped, those of the unit's first line added."""
    line = re.search(r"^CapabilityBoundingSet=(.*)", UNIT.read_text(), re.MULTILINE)
    assert line is not None
    return ",".join(["-all", *(f"+{name.removeprefix('CAP_').lower()}" for name in line[1].split())])


async def test_a_held_mount_is_let_go_with_the_capabilities_of_the_unit(own_engine: ScratchEngine) -> None:
    """Under the unit's bounding set a busy deletion leads to the holder, the unmount, and the deletion that succeeds."""
    setpriv = shutil.which("setpriv")
    assert setpriv is not None, "setpriv is part of Debian's util-linux"
    prefix = (setpriv, f"--bounding-set={_granted()}", "--inh-caps=-all", "--no-new-privs", "--")
    with ScratchBroker() as broker, Subscriber(broker.url) as subscriber:
        environment = {"DOCKWARDEN_KERNEL_LOG": "/dev/kmsg"}
        async with Sidecar(own_engine, broker, host="bounded", prefix=prefix, environment=environment) as sidecar:
            await sidecar.ready(subscriber)
            # A machine may lack some itself (containers and small virtual machines, SYS_RESOURCE); then fewer must do.
            assert 0 < _bounding(str(sidecar.pid)).bit_count() <= 7 < _bounding("self").bit_count()
            victim = await own_engine.run("sleep", "1000000", name="shop", options=("--ipc", "shareable"))
            async with faults.leaky_monitor(own_engine), faults.busy_directory(own_engine, victim):
                await own_engine.docker("rm", "--force", victim, check=False)
                await subscriber.alert("dead-container", "resolved", host="bounded", within_s=30)
                assert not await own_engine.has(victim)
            await until(lambda: "source_ok" in sidecar.output, what="the kernel's log to be read")
            assert not subscriber.all("dockwarden/bounded/alert/source-lost/#")
