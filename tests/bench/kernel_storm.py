"""A storm in the kernel log through the whole pipeline: 10,000 lines a second, 75 OOM kills a second, for a while.

.venv/bin/python -m tests.bench.kernel_storm [SECONDS]

A writer process appends to a log file at that pace; the sidecar's own log source reads it, and the loop with the shipped rules
and a real journal takes the facts. Prints what share of a core this process used, how its memory grew, and what was counted:
each kill has a number of its own, so that what is missing is known exactly.
"""

import asyncio
import multiprocessing
import resource
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import uvloop

from connectors.logs.factory import make_log_source
from engine.facts import Fact, Retraction
from engine.guardrails import Policy
from engine.journal.records import Bounds
from engine.journal.store import Journal
from engine.logparse import WantedLines
from engine.pipeline.turn import Options
from engine.ports.clock import SystemClock
from engine.rules.reader import usable_rules
from engine.rules.shipped import shipped_rules
from engine.sidecar.freeze import Freeze
from engine.sidecar.rule_reload import wanted_by
from engine.sidecar.sidecar import build_sidecar

LINES_A_SECOND = 10_000
KILLS_A_SECOND = 75
CONTAINERS = 40
TICKS = 50
"""A second: the writer writes so often."""


ORDINARY = "eth0: ordinary line {} of many, of usual length, with nothing in it"


def kill(number: int, uptime: float) -> str:
    """The lines of one kill in a cgroup, as kernels since 5.3 write them; `number` is the process."""
    container = f"{number % CONTAINERS:064x}"
    stamp = f"[{uptime:12.6f}]"
    groups = f"oom_memcg=/docker/{container},task_memcg=/docker/{container}"
    sizes = "total-vm:9kB, anon-rss:8kB, file-rss:7kB, shmem-rss:6kB, UID:1000 pgtables:44kB oom_score_adj:0"
    lines = (
        "java invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0",
        "memory: usage 20480kB, limit 20480kB, failcnt 157",
        "[  pid  ]   uid  tgid total_vm      rss rss_anon rss_file rss_shmem pgtables_bytes swapents oom_score_adj name",
        f"[{number:7}]  1000 {number}    55342     6715     5056     1659         0   102400        0             0 java",
        f"oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,{groups},task=java,pid={number},uid=1000",
        f"Memory cgroup out of memory: Killed process {number} (java) {sizes}",
    )
    return "".join(f"{stamp} {line}\n" for line in lines)


def write(path: str, seconds: int) -> None:
    """The writer: a process of its own."""
    number = 0
    ordinary = LINES_A_SECOND // TICKS
    began = time.monotonic()
    with Path(path).open("a", encoding="utf-8") as log:
        for tick in range(seconds * TICKS):
            uptime = 1000 + tick / TICKS
            due = KILLS_A_SECOND * (tick + 1) // TICKS
            text = ""
            while number < due:
                number += 1
                text += kill(number, uptime)
            missing = ordinary - text.count("\n")
            text += "".join(f"[{uptime:12.6f}] {ORDINARY.format(place)}\n" for place in range(missing))
            log.write(text)
            log.flush()
            time.sleep(max(0.0, began + (tick + 1) / TICKS - time.monotonic()))


class Counting:
    """The sidecar's sink, and a count of what goes through."""

    def __init__(self, sink: object) -> None:
        self._sink = sink
        self.kills: Counter[int] = Counter()
        self.lost = 0

    async def put(self, facts: list[Fact | Retraction], *, cursor: str | None = None) -> None:
        """Count and hand on."""
        for fact in facts:
            if getattr(fact, "class_", "") == "memcg_oom_kill":
                self.kills[getattr(fact, "pid", 0)] += 1
            self.lost += getattr(fact, "lost", 0) or 0
        await self._sink.put(facts, cursor=cursor)  # type: ignore[attr-defined]


async def main(seconds: int = 20) -> None:
    """One storm."""
    clock = SystemClock()
    rules, _ = usable_rules(shipped_rules())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        log = folder / "kern.log"
        log.touch()
        with Journal.open(folder / "journal.db", bounds=Bounds(), now=clock.wall()) as journal:
            options = Options(host="bench", policy=Policy())
            freeze = Freeze(folder / "freeze")
            sidecar = build_sidecar(rules, journal, {}, clock, state=journal.load(), options=options, freeze=freeze)
            source = make_log_source("kernel", str(log), clock=clock, wanted=WantedLines(wanted_by(rules)))
            assert source is not None
            sink = Counting(sidecar.intake.sink("kernel"))
            loop_task = asyncio.create_task(sidecar.loop.run(), name="loop")
            source_task = asyncio.create_task(source.run(sink, None), name="source")
            await asyncio.sleep(1.0)  # the source stands at the end of the log
            writer = multiprocessing.get_context("spawn").Process(target=write, args=(str(log), seconds))
            before = resource.getrusage(resource.RUSAGE_SELF)
            began = time.monotonic()
            writer.start()
            memory = []
            while writer.is_alive():
                await asyncio.sleep(1.0)
                memory.append(int(Path("/proc/self/statm").read_text().split()[1]) * 4 // 1024)
            took = time.monotonic() - began
            await asyncio.sleep(2.0)
            after = resource.getrusage(resource.RUSAGE_SELF)
            used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            wanted = KILLS_A_SECOND * seconds
            print(f"{took:.0f} s, {seconds * LINES_A_SECOND:,} lines, {wanted:,} kills")
            share = 100 * used / took
            print(f"CPU {share:.1f} % of a core; memory MiB each second: {memory[:3]} … {memory[-3:]}")
            twice = sum(count - 1 for count in sink.kills.values())
            found, lost = len(sink.kills), sink.lost
            print(f"kills as facts {found:,}, missing {wanted - found:,}, twice {twice:,}, losses reported {lost}")
            print(f"intake depth at the end {sidecar.intake.depth}")
            for task in (source_task, loop_task):
                task.cancel()
            await asyncio.wait([source_task, loop_task])
            await sidecar.writer.close()


if __name__ == "__main__":
    uvloop.run(main(*(int(argument) for argument in sys.argv[1:])))
