"""The core decides the same in every process: neither the hash seed nor anything else of a process shows in what is decided."""

import ast
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from engine.rules.model import AssertEffect, FactPattern, RuleSet, Template
from tests.property.build import container, fact, gone, rule, ruleset
from tests.property.strategies import Item, rulesets, timelines

Program = tuple[RuleSet, list[Item]]

INFERENCE = Path(__file__).parents[2] / "engine" / "inference"

_RUN = """
import pickle, sys
from hashlib import sha256
from engine.inference.core import Core
from engine.inference.persistence import restore

for rules, items in pickle.load(sys.stdin.buffer):
    core, entries, decided = Core(rules), {}, []
    for number, item in enumerate(items):
        if number == len(items) // 2:
            core = restore(rules, entries)
        decided += core.step(item)
        changes = core.drain_changes()
        decided.append(list(changes.deletes))
        entries = {key: text for key, text in entries.items() if key not in changes.deletes} | changes.puts
    decided += core.advance(core.now + 60_000_000)
    print(sha256(repr(decided).encode("utf-8", "surrogatepass")).hexdigest())
"""


def many_supported() -> Program:
    """One match that supports eight facts, and eight alerts that resolve at one moment: nothing but their place orders them."""
    kept = tuple(AssertEffect(f"d{n}", (("image", Template((f"i{n}",))),), while_supported=True) for n in range(8))
    first = rule("gives", fact("c", "container"), then=kept)
    raised = [rule(f"z{9 - n}", FactPattern("c", "container"), priority=n % 3, key="c.id") for n in range(8)]
    declared = frozenset(f"d{n}" for n in range(8))
    items: list[Item] = [container(n, name, str(n)) for n, name in enumerate("abc")]
    return ruleset(first, *raised, declared=declared), [*items, *(gone(5, name) for name in "bca")]


def programs(number: int) -> list[Program]:
    """Random rules and timelines, the same in every run."""
    found: list[Program] = []

    @settings(max_examples=number, deadline=None, database=None, derandomize=True, phases=[Phase.generate])
    @given(st.tuples(rulesets(), timelines()))
    def collect(program: Program) -> None:
        found.append(program)

    collect()
    return found


def test_it_decides_the_same_under_every_hash_seed() -> None:
    """Decisions, their order, and what the journal deletes, in processes that order their sets differently."""
    sent = pickle.dumps([many_supported(), *programs(150)])
    answers = {
        seed: subprocess.run(
            [sys.executable, "-c", _RUN],
            input=sent,
            capture_output=True,
            timeout=100,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": str(seed)},
        ).stdout.split()
        for seed in (0, 1, 2)
    }
    assert len(answers[0]) > 100
    assert answers[0] == answers[1] == answers[2]


@pytest.mark.parametrize("path", sorted(INFERENCE.rglob("*.py")), ids=lambda path: str(path.relative_to(INFERENCE)))
def test_the_core_has_no_sets(path: Path) -> None:
    """A set has no order of its own: what is iterated in the core stands in dicts and lists, so there is none at all."""
    sets = [
        node.lineno
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Set | ast.SetComp) or (isinstance(node, ast.Name) and node.id in ("set", "frozenset"))
    ]
    assert sets == [], f"{path.name}: a set in lines {sets}"
