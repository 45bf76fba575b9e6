"""Rate of the inference core, beside CLIPS on the same facts and rules in the same run.

    python -m tests.bench.core [FACTS]

Facts of a host: mostly ones that no rule asks for, one in ten counted, one in a thousand joined or matched. Of every ten rules
eight test for equality, one joins two facts of a host, one counts. CLIPS has no windows and no event time: a counter for each
host counts, what half-matches a join stays, and the rest is retracted at once. Ours counts by event time, expires,
keeps alerts with their support, and writes journal rows.
"""

import gc
import sys
import time
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import clips
import clips.facts
from clips._clips import lib as clips_library

from engine.facts import Fact, FactKinds
from engine.facts.docker import ContainerEvent
from engine.facts.timestamps import SECOND
from engine.inference.core import Core
from engine.inference.memory import Bounds
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
    gc.collect()
    gc.freeze()  # the facts were made before, all at once, as no host makes them: the collector shall not go through them again
    started = time.perf_counter()
    for n, fact in enumerate(made):
        decisions += len(core.step(fact))
        if n % 200 == 0:
            core.drain_changes()
    taken = time.perf_counter() - started
    gc.unfreeze()
    return len(made) / taken, decisions


def parsing_rate(made: list[Fact], number: int) -> float:
    """The same from dictionaries on: each is validated, then taken."""
    kinds, core = FactKinds(), Core(rules(number))
    given = [fact.to_json_dict() for fact in made]
    gc.collect()
    gc.freeze()
    started = time.perf_counter()
    for n, data in enumerate(given):
        core.step(kinds.read(data))
        if n % 200 == 0:
            core.drain_changes()
    taken = time.perf_counter() - started
    gc.unfreeze()
    return len(given) / taken


def half_matched(number: int) -> tuple[list[float], float]:
    """Joins of which one side never comes: facts a second in each quarter, and bytes that a held fact takes beside itself."""
    made: list[Fact] = [
        ContainerEvent(
            fact_id=f"e{n}", at=BEGIN + timedelta(milliseconds=n), host=f"h{n % 50}", action="kill", id=f"c{n % 500:06}"
        )
        for n in range(number)
    ]
    unbounded = Bounds(per_kind=2 * number, per_container=2 * number, total=2 * number)
    core = Core(rules(10), keep_changes=False, bounds=unbounded)
    gc.collect()
    gc.freeze()
    rates: list[float] = []
    for quarter in range(4):
        started = time.perf_counter()
        for fact in made[quarter * number // 4 : (quarter + 1) * number // 4]:
            core.step(fact)
        rates.append(number / 4 / (time.perf_counter() - started))
    core = Core(rules(10), keep_changes=False, bounds=unbounded)
    tracemalloc.start()
    for fact in made:
        core.step(fact)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    gc.unfreeze()
    return rates, held / len(core.memory)


# clipspy 1.0.6 frees no fact that Python has seen: its finalizer passes one argument too many and the error is swallowed.
clips.facts.Fact.__del__ = lambda self: clips_library.ReleaseFact(self._fact)


_TEMPLATES = (
    (
        "(deftemplate event (slot action (type SYMBOL)) (slot host (type STRING)) (slot seq (type INTEGER)) "
        "(slot id (type STRING)) (slot image (type STRING)) (slot exit_code (type INTEGER)) (slot signal (type INTEGER)))"
    ),
    "(deftemplate counter (slot rule (type INTEGER)) (slot host (type STRING)) (slot n (type INTEGER)))",
)


def _clips_rules(number: int) -> Iterator[str]:
    """The same rules. CLIPS has no windows: a counter for each host counts, and begins anew when it fires."""
    for n in range(number * 8 // 10):
        yield f'(defrule equal-{n} (event (action die) (exit_code 137) (signal {n}) (id ?id)) => (fire "equal-{n}" ?id))'
    for n in range(number // 10):
        yield (
            f"(defrule join-{n} ?oom <- (event (action oom) (host ?h)) (event (action kill) (host ?h)) => "
            f'(fire "join-{n}" ?h) (if (fact-existp ?oom) then (retract ?oom)))'
        )
        yield (
            f"(defrule first-{n} (declare (salience 10)) (event (action restart) (host ?h)) "
            f"(not (counter (rule {n}) (host ?h))) => (assert (counter (rule {n}) (host ?h) (n 0))))"
        )
        yield (
            f"(defrule count-{n} (event (action restart) (host ?h) (seq ?s)) ?c <- (counter (rule {n}) (host ?h) (n ?n)) "
            f"(not (seen {n} ?s)) => (bind ?m (+ ?n 1)) (assert (seen {n} ?s)) "
            f'(if (>= ?m {100 + n}) then (fire "count-{n}" ?h) (bind ?m 0)) (modify ?c (n ?m)))'
        )
        yield f"(defrule clean-{n} (declare (salience -10)) ?f <- (seen {n} ?s) (not (event (seq ?s))) => (retract ?f))"


def clips_rate(made: list[Fact], number: int) -> float:
    """Facts a second through CLIPS, driven from Python as well; what is in the working memory of ours stays in its too."""
    environment = clips.Environment()
    fired: list[tuple[str, str]] = []

    def fire(rule: str, about: Any) -> None:
        fired.append((rule, str(about)))

    environment.define_function(fire)
    for text in (*_TEMPLATES, *_clips_rules(number)):
        environment.build(text)
    template = environment.find_template("event")
    prepared = [
        {
            "action": clips.Symbol(f.action),
            "host": f.host,
            "seq": n,
            "id": f.id,
            "image": f.image,
            "exit_code": f.exit_code or 0,
            "signal": -1 if f.signal is None else int(f.signal),
        }
        for n, f in enumerate(made)
        if isinstance(f, ContainerEvent)
    ]
    started = time.perf_counter()
    for slots in prepared:
        fact = template.assert_fact(**slots)
        environment.run()
        if slots["action"] != "oom":
            fact.retract()
    return len(prepared) / (time.perf_counter() - started)


def main() -> None:
    """Print the table."""
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 50_000
    made = list(facts(number))
    first = 0.0
    for size in (10, 100, 1000):
        rate, decisions = core_rate(made, size)
        parsed = parsing_rate(made, size)
        beside = clips_rate(made, size)
        first = first or rate
        print(
            f"{size:5} rules: core {rate:,.0f} facts/s ({decisions} decisions), with parsing {parsed:,.0f}, CLIPS {beside:,.0f}; "
            f"core/CLIPS {rate / beside:5.2f}, with parsing {parsed / beside:5.2f}; against 10 rules {rate / first:5.2f}"
        )
    rates, size_of_one = half_matched(4 * number)
    shown = ", ".join(f"{rate:,.0f}" for rate in rates)
    print(f"half-matched joins: {shown} facts/s by quarter, {size_of_one:.0f} bytes beside each fact held")


if __name__ == "__main__":
    main()
