"""Rate of the inference core, beside CLIPS on the same facts and rules in the same run.

    python -m tests.bench.core [FACTS]

Facts of a host: mostly ones that no rule asks for, one in ten counted, one in a thousand joined or matched. Of every ten rules
eight test for equality, one joins two facts of a host, one counts. CLIPS has no windows: it is given the equality rules
and the joins alone, and retracts each fact at once, so the ratio flatters it.
"""

import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import clips

from engine.facts import Fact
from engine.facts.docker import ContainerEvent
from engine.facts.timestamps import SECOND
from engine.inference.core import Core
from engine.rules.model import AlertEffect, Condition, CountPattern, FactPattern, Ref, Rule, RuleSet, Template

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
EVERY = 1000
"""One fact in so many matches a rule."""


def facts(number: int) -> Iterator[Fact]:
    """A host's day in events, ten milliseconds apart."""
    for n in range(number):
        host = f"h{(n * 31 + n // 97) % 50}"
        action, exit_code, signal = "exec_create", 0, None
        place = n % EVERY
        if place == EVERY - 1:
            action, exit_code, signal = "die", 137, (n // EVERY) % 10
        elif place == EVERY // 2:
            action = "oom"
        elif place == EVERY // 2 + 1:
            action, host = "kill", f"h{((n - 1) * 31 + (n - 1) // 97) % 50}"
        elif place % 10 == 3:
            action = "restart"
        yield ContainerEvent(
            fact_id=f"e{n}",
            at=BEGIN + timedelta(milliseconds=10 * n),
            host=host,
            action=action,
            id=f"c{n % 500:06}",
            image="nginx:1.25",
            exit_code=exit_code,
            signal=signal,
        )


def _is(field: str, value: str | int | Ref) -> Condition:
    return Condition((field,), "eq", (value,))


def rules(number: int) -> RuleSet:
    """Eight tenths equality, a tenth joins, a tenth counts."""
    say = (AlertEffect(Template(("found",))),)
    made: list[Rule] = []
    for n in range(number * 8 // 10):
        pattern = FactPattern("died", "container_event", (_is("action", "die"), _is("exit_code", 137), _is("signal", n)))
        made.append(Rule(f"equal-{n}", "", "info", (pattern,), say, version="1", order=(0, n)))
    for n in range(number // 10):
        oom = FactPattern("oom", "container_event", (_is("action", "oom"),))
        kill = FactPattern("kill", "container_event", (_is("action", "kill"), _is("host", Ref("oom", ("host",)))))
        made.append(Rule(f"join-{n}", "", "info", (oom, kill), say, version="1", order=(1, n)))
        count = CountPattern(
            "restarts",
            "container_event",
            (_is("action", "restart"), _is("exit_code", 0)),
            (("host",),),
            (n + 1) * 60 * SECOND,
            100 + n,
        )
        made.append(Rule(f"count-{n}", "", "info", (count,), say, version="1", order=(2, n)))
    return RuleSet(tuple(made))


def core_rate(made: list[Fact], number: int) -> tuple[float, int]:
    """Facts a second through the whole core, journal entries included, and how many decisions that gave."""
    core = Core(rules(number))
    decisions = 0
    started = time.perf_counter()
    for n, fact in enumerate(made):
        decisions += len(core.step(fact))
        if n % 200 == 0:
            core.drain_changes()
    return len(made) / (time.perf_counter() - started), decisions


def clips_rate(made: list[Fact], number: int) -> float:
    """Facts a second through CLIPS, driven from Python as well."""
    environment = clips.Environment()
    environment.build("(deftemplate event (slot action) (slot host) (slot exit_code) (slot signal (default none)))")
    for n in range(number * 8 // 10):
        environment.build(f'(defrule equal-{n} (event (action "die") (exit_code 137) (signal {n})) => )')
    for n in range(number // 10):
        environment.build(f'(defrule join-{n} (event (action "oom") (host ?h)) (event (action "kill") (host ?h)) => )')
    template = environment.find_template("event")
    prepared = [
        {"action": f.action, "host": f.host, "exit_code": f.exit_code or 0, "signal": -1 if f.signal is None else f.signal}
        for f in made
        if isinstance(f, ContainerEvent)
    ]
    started = time.perf_counter()
    for slots in prepared:
        fact = template.assert_fact(**slots)
        environment.run()
        fact.retract()
    return len(prepared) / (time.perf_counter() - started)


def main() -> None:
    """Print the table."""
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 50_000
    made = list(facts(number))
    first = 0.0
    for size in (10, 100, 1000):
        rate, decisions = core_rate(made, size)
        beside = clips_rate(made, size)
        first = first or rate
        print(
            f"{size:5} rules: core {rate:9,.0f} facts/s ({decisions} decisions), CLIPS {beside:9,.0f}; "
            f"core/CLIPS {rate / beside:5.2f}, against 10 rules {rate / first:5.2f}"
        )


if __name__ == "__main__":
    main()
