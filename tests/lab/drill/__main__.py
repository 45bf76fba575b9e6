"""`make drill`: run all scenes at the same time, the rows of each one after another, and print the table.

Exit code 0: every row is complete; 1: one is not; 2: the drill could not be set up.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence

from rich.console import Console

from tests.lab.broker import ScratchBroker
from tests.lab.drill.containers import ContainerStorm, HeldDeletion, ImmutableFile, KernelOomKill
from tests.lab.drill.hangs import ContainerdStopped, DockerdStopped, InitStopped, StartFails
from tests.lab.drill.host import DiskFills, DriverChanges, HostRenamed, OpenFiles
from tests.lab.drill.row import Row, Times
from tests.lab.drill.scene import Stage, looking_at_files, on_small_disk, ordinary, under_own_name
from tests.lab.drill.table import show
from tests.lab.subscriber import Subscriber

Scenes = dict[str, tuple[Stage, tuple[type[Row], ...]]]
"""By the sidecar's host name in topics: how the scene is set up, and the rows that take place there one after another."""

MAIN: Scenes = {
    # strace slows Docker of the first one, so the others have one of their own.
    "drill-held": (ordinary, (HeldDeletion,)),
    "drill-storm": (ordinary, (ContainerStorm, KernelOomKill)),
}
"""The main job: deletions, storms, kills by the kernel."""

FURTHER: Scenes = {
    "drill-deletion": (looking_at_files, (ImmutableFile, OpenFiles)),
    "drill-hangs": (ordinary, (DockerdStopped, ContainerdStopped, InitStopped, StartFails)),
    "drill-disk": (on_small_disk, (DiskFills, DriverChanges)),
    "drill-name": (under_own_name, (HostRenamed,)),
}
"""What can be made to happen of the other incidents."""

WIDTH = 130
"""Columns, where the output is no terminal and so has no width of its own."""


async def play(
    host: str, stage: Stage, rows: Sequence[Row], broker: ScratchBroker, subscriber: Subscriber
) -> list[tuple[Row, Times]]:
    """Set one scene up and play its rows. A scene that cannot be set up is what its rows are missing."""
    results = []
    try:
        async with stage(host, broker, subscriber) as scene:
            for row in rows:
                times = await row.run(scene)
                if times.missing:
                    times.missing += f"\nThe sidecar's last words:\n{scene.sidecar.output[-3000:]}"
                results.append((row, times))
    except Exception as error:  # noqa: BLE001 - one scene's failure is told in the table; the others go on
        results += [(row, Times(missing=f"{type(error).__name__}: {error}")) for row in rows[len(results) :]]
    return results


async def drill(scenes: Scenes, only: str, console: Console) -> int:
    """Play these scenes (or those whose row's incident contains `only`) and return the exit code."""
    began = time.monotonic()
    chosen = {host: (stage, [row() for row in rows if only in row.incident]) for host, (stage, rows) in scenes.items()}
    chosen = {host: (stage, rows) for host, (stage, rows) in chosen.items() if rows}
    if not chosen:
        console.print(f"no row's incident contains {only!r}")
        return 2
    faults = sum(len(rows) for _, rows in chosen.values())
    console.print(f"making {faults} faults on {len(chosen)} scratch engines …")
    with ScratchBroker() as broker, Subscriber(broker.url) as subscriber:
        async with asyncio.TaskGroup() as group:
            playing = [
                group.create_task(play(host, stage, rows, broker, subscriber), name=f"scene {host}")
                for host, (stage, rows) in chosen.items()
            ]
    results = [result for task in playing for result in task.result()]
    show(results, time.monotonic() - began, console)
    return 1 if any(times.missing for _, times in results) else 0


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="make drill", description=__doc__)
    parser.add_argument("--only", default="", help="only rows whose incident contains this, for example I5")
    parser.add_argument("--main", action="store_true", help="the main job alone: deletions, a storm, a kill by the kernel")
    arguments = parser.parse_args()
    console = Console() if sys.stdout.isatty() else Console(width=WIDTH)
    return asyncio.run(drill(MAIN if arguments.main else MAIN | FURTHER, arguments.only, console))


if __name__ == "__main__":
    sys.exit(main())
