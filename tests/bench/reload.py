"""Memory over many reloads of one changed rule among the shipped ones: what is compiled for joins must be used again.

    python -m tests.bench.reload [RELOADS]

The changed rule joins two patterns, so each version of it needs a ruleset of durable-rules, which leaks when it is built anew.
Each version is read, checked and put in force as the sidecar does it; a fact goes through after each.
"""

import asyncio
import gc
import logging
import resource
import sys
import tempfile
import time
from pathlib import Path

import structlog

from engine.facts.docker import ContainerEvent
from engine.facts.timestamps import from_micros
from engine.guardrails import Policy
from engine.journal import Journal
from engine.pipeline.intake import RulesAccepted
from engine.pipeline.turn import Options
from engine.ports.clock import SystemClock
from engine.rules.findings import Report
from engine.rules.model import RuleSet
from engine.rules.reader import RuleTexts, read_texts
from engine.sidecar.freeze import Freeze
from engine.sidecar.sidecar import build_sidecar

SHIPPED = Path(__file__).parents[2] / "rules"
CHANGED = """
rules:
  - rule: changed
    title: Changes all the time
    severity: info
    when:
      oom: {{fact: container_event, action: oom}}
      died: {{fact: container_event, action: die, id: $oom.id, exit_code: {code}}}
    key: "{{oom.id}}"
    then:
      - alert: "{{died.id}} was killed"
"""


def version(texts: RuleTexts, number: int) -> RuleSet:
    """The shipped rules with one more, of which this is the version of that number."""
    more = ("changed.yaml", CHANGED.format(code=number).encode())
    checked = RuleTexts((*texts.rules, more)).check()
    if checked.ruleset is None:
        sys.exit(f"the rules are faulty: {checked.findings}")
    return checked.ruleset


def resident_kib() -> int:
    """Resident memory at this moment."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() // 1024


async def measure(reloads: int, folder: Path) -> None:
    """Print a line ten times on the way."""
    texts = read_texts(SHIPPED, (), Report())
    clock = SystemClock()
    journal = Journal.open(folder / "journal.db", now=clock.wall())
    options = Options(host="h1", policy=Policy())
    freeze = Freeze(folder / "freeze")
    sidecar = build_sidecar(version(texts, 0), journal, {}, clock, state=journal.load(), options=options, freeze=freeze)
    await sidecar.loop.turn(0.0)
    step = max(1, reloads // 10)
    before, started, in_force = resident_kib(), time.perf_counter(), 0.0
    for number in range(1, reloads + 1):
        ruleset = version(texts, number)
        began = time.perf_counter()
        await sidecar.intake.put(RulesAccepted(ruleset, str(number)))
        await sidecar.loop.turn(0.0)
        in_force += time.perf_counter() - began
        at = from_micros(clock.wall())
        event = ContainerEvent(at=at, action="oom", id=f"{number % 100:064x}", fact_id=f"e{number}", ttl=1)
        await sidecar.intake.sink("bench").put([event])
        await sidecar.loop.turn(0.0)
        if number % step == 0:
            gc.collect()
            grown = resident_kib() - before
            pace = (time.perf_counter() - started) / number
            print(
                f"{number} reloads: {resident_kib() / 1024:.1f} MiB, {grown / 1024:+.1f} MiB since the first, "
                f"{1000 * pace:.0f} ms each, {1000 * in_force / number:.1f} ms of it without the reading"
            )
    await sidecar.writer.close()


def main() -> None:
    """Ten thousand unless told otherwise."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000, Path(folder)))


if __name__ == "__main__":
    main()
