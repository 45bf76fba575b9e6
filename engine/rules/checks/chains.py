"""Can what a rule does lead back to the rule itself, again and again?

Rules are the nodes of a graph; an edge says that an effect of one rule makes a fact that a pattern of the other could match.
Literals that exclude each other cut an edge. A cycle is an error: refraction would end some of them, but not the ones that make
new values on each round, and none of them is what anybody means.

Followed are asserted facts, alerts, outcomes of actions (`action_result`), and retracted facts that a `missing` pattern waits
for. What an action changes in the world (a container that goes) is not: that is the loop that remedies are for.
"""

from collections import deque
from collections.abc import Iterator

from engine.rules import catalogue
from engine.rules.draft import DraftEffect, DraftPattern, DraftRule
from engine.rules.findings import Report
from engine.rules.kinds import Kinds
from engine.rules.produced_facts import could_match, produced_facts

Edges = dict[int, dict[int, DraftEffect]]


def check_chains(rules: list[DraftRule], kinds: Kinds, report: Report) -> None:
    """All rules of a folder."""
    edges = _peeled(_edges(rules, kinds))
    seen: set[int] = set()
    for start in sorted(edges):
        if start in seen:
            continue
        cycle = _shortest_cycle(start, edges)
        if cycle and not seen.intersection(cycle):
            seen.update(cycle)
            _report(rules, cycle, edges, report)


def _edges(rules: list[DraftRule], kinds: Kinds) -> Edges:
    waiting: dict[str, list[tuple[int, DraftPattern]]] = {}
    for number, rule in enumerate(rules):
        for pattern in rule.when:
            if pattern.kind is not None:
                waiting.setdefault(pattern.kind, []).append((number, pattern))
    edges: Edges = {number: {} for number in range(len(rules))}
    for number, rule in enumerate(rules):
        for effect, kind, values in produced_facts(rule, kinds):
            for target, pattern in waiting.get(kind, ()):
                if pattern.form != "missing" and could_match(values, pattern):
                    edges[number].setdefault(target, effect)
        for effect, kind in _retracted(rule):
            missing = [target for target, pattern in waiting.get(kind, ()) if pattern.form == "missing"]
            edges[number] |= {target: effect for target in missing if target not in edges[number]}
    return edges


def _peeled(edges: Edges) -> Edges:
    """Without the rules that lead nowhere, again and again: a folder without cycles is done in linear time."""
    sources: dict[int, list[int]] = {}
    for number, targets in edges.items():
        for target in targets:
            sources.setdefault(target, []).append(number)
    left = {number: len(targets) for number, targets in edges.items()}
    ends = [number for number, count in left.items() if not count]
    while ends:
        gone = ends.pop()
        del left[gone]
        for number in sources.get(gone, ()):
            left[number] -= 1
            if not left[number]:
                ends.append(number)
    return {number: {target: effect for target, effect in edges[number].items() if target in left} for number in left}


def _retracted(rule: DraftRule) -> Iterator[tuple[DraftEffect, str]]:
    for effect in rule.then:
        if effect.form == "retract":
            pattern = rule.pattern(effect.binding) if effect.binding is not None else None
            kind = pattern.kind if pattern is not None else effect.name
            if kind is not None:
                yield effect, kind


def _shortest_cycle(start: int, edges: Edges) -> list[int]:
    """The shortest way from a rule back to itself; empty when there is none."""
    came: dict[int, int] = {}
    queue = deque([start])
    while queue:
        here = queue.popleft()
        for target in edges.get(here, ()):
            if target == start:
                way = [here]
                while way[-1] != start:
                    way.append(came[way[-1]])
                return way[::-1]
            if target not in came:
                came[target] = here
                queue.append(target)
    return []


def _report(rules: list[DraftRule], cycle: list[int], edges: Edges, report: Report) -> None:
    steps = []
    for number, target in zip(cycle, [*cycle[1:], cycle[0]], strict=True):
        steps.append(f"{rules[number].id} ({_shown(rules[number], edges[number][target])})")
    way = " → ".join([*steps, rules[cycle[0]].id])
    effect = edges[cycle[0]][cycle[1] if len(cycle) > 1 else cycle[0]]
    report.add(
        catalogue.ENDLESS_CHAIN,
        effect.name_span or effect.span,
        f"this can make the same rule fire again: {way}",
        hint="test a field in one of the patterns, and give it another value in the effect that leads there",
    )


def _shown(rule: DraftRule, effect: DraftEffect) -> str:
    if effect.form == "do":
        return f"outcome of {effect.name}"
    if effect.form == "alert":
        return "its alert"
    pattern = rule.pattern(effect.binding) if effect.binding is not None else None
    kind = pattern.kind if pattern is not None else effect.name
    return f"{effect.form}s {kind}"
