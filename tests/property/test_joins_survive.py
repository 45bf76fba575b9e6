"""The library behind the joins is written in C, and a fault there ends the process: it is shaken in a process of its own."""

import subprocess
import sys

_CHURN = """
import random
from engine.inference.items import CountItem
from engine.inference.joins import new_combination
from engine.inference.joins.candidates import Structure

rng = random.Random(1)
others = []  # memory of all sizes that comes and goes, so that the heap has holes and edges where it hurts
for _ in range(3000):
    patterns, joined = rng.choice((2, 3)), rng.random() < 0.5
    structure = Structure(patterns, (((1, 0), (0, 0)),) if joined else ())
    join = new_combination(structure, lambda pattern, item: ("x",) if joined and pattern < 2 else (), "durable-rules")
    held = []
    for number in range(40):
        if held and rng.random() < 0.45:
            pattern, item = held.pop(rng.randrange(len(held)))
            join.remove(pattern, item, ("x",) if joined and pattern < 2 else ())
        else:
            held.append((rng.randrange(patterns), CountItem(("c",), number, "", None)))
            join.insert(*held[-1], ("x",) if joined and held[-1][0] < 2 else ())
        others.append(bytes(rng.randrange(1, 3000)))
        if len(others) > 200:
            del others[rng.randrange(200)]
"""


def test_facts_of_matches_may_go_in_any_order() -> None:
    """Asserting and retracting joined facts in random order, over many rulesets, leaves the process alive."""
    done = subprocess.run([sys.executable, "-c", _CHURN], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, f"{done.stderr[-2000:]} (is durable-rules the build of scripts/durable-rules?)"
