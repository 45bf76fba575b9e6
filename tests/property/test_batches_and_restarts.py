"""The same facts lead to the same decisions, however they are cut into batches and wherever the process was restarted."""

import json
from dataclasses import fields
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.inference.core import Core
from engine.inference.decision import AssertDecision, Changes, Decision, RetractDecision
from engine.inference.persistence import restore, snapshot
from engine.rules.model import RuleSet
from tests.property.build import at
from tests.property.strategies import Item, rulesets, timelines

END = 60
"""Seconds; by then every window, `for`, `missing` and `resolve_after` of a timeline has run out."""

Entries = dict[tuple[str, str], str]


def keep(entries: Entries, changes: Changes) -> None:
    """What a journal does with changes."""
    for address in changes.deletes:
        entries.pop(address, None)
    entries.update(changes.puts)


def telling(entries: Entries) -> dict[tuple[str, str], Any]:
    """Contents, without matches of which there is nothing to tell yet: neither since when they hold nor that they fired."""
    contents = {address: json.loads(text) for address, text in entries.items()}
    return {
        address: content for address, content in contents.items() if address[0] != "match" or any(part for part in content[1:])
    }


def line(decision: Decision) -> dict[str, Any]:
    """Everything that a decision says."""
    said = {field.name: getattr(decision, field.name) for field in fields(decision)}
    if isinstance(decision, AssertDecision | RetractDecision):
        said["fact"] = decision.fact.to_json_dict()
    return {**said, "does": decision.does}


def straight(rules: RuleSet, items: list[Item]) -> list[list[Decision]]:
    """Step by step in one process; the last entry is what time alone brings afterwards."""
    core = Core(rules)
    return [*(core.step(item) for item in items), core.advance(at(END))]


@settings(deadline=None)
@given(rulesets(), timelines(), st.data())
def test_restarted_anywhere_it_decides_the_same(rules: RuleSet, items: list[Item], data: st.DataObject) -> None:
    """A core restored from what the journal kept goes on as if nothing had happened, down to the activation ids."""
    expected = straight(rules, items)
    restarts = data.draw(st.sets(st.integers(0, len(items)), max_size=4), label="restarts before step")
    entries: Entries = {}
    core = Core(rules)
    for number, item in enumerate((*items, None)):
        if number in restarts:
            core = restore(rules, dict(entries))
        decided = core.advance(at(END)) if item is None else core.step(item)
        keep(entries, core.drain_changes())
        assert [line(one) for one in decided] == [line(one) for one in expected[number]]


@settings(deadline=None)
@given(rulesets(), timelines(), st.data())
def test_cut_into_batches_anywhere_it_keeps_the_same(rules: RuleSet, items: list[Item], data: st.DataObject) -> None:
    """Changes drained after every fact, or after random batches, add up to the same journal, which is the core's own snapshot."""
    cuts = data.draw(st.sets(st.integers(0, len(items))), label="batches end after step")
    one_by_one, batched = Core(rules), Core(rules)
    each: Entries = {}
    some: Entries = {}
    for number, item in enumerate(items):
        assert [line(one) for one in one_by_one.step(item)] == [line(one) for one in batched.step(item)]
        keep(each, one_by_one.drain_changes())
        if number in cuts:
            keep(some, batched.drain_changes())
    keep(some, batched.drain_changes())
    assert some == each


@settings(deadline=None)
@given(rulesets(), timelines(), st.data())
def test_clock_moved_in_any_steps_decides_the_same(rules: RuleSet, items: list[Item], data: st.DataObject) -> None:
    """Moving the clock on in between, as a running sidecar does every moment, changes no decision."""
    expected = [decision for decided in straight(rules, items) for decision in decided]
    core = Core(rules)
    decided: list[Decision] = []
    for item in items:
        if core.now and data.draw(st.booleans(), label="clock moved on"):
            decided += core.advance((core.now + max(core.now, item.at_micros)) // 2)
        decided += core.step(item)
    decided += core.advance(at(END))
    assert [line(one) for one in decided] == [line(one) for one in expected]


@settings(deadline=None)
@given(rulesets(), timelines())
def test_restoring_leaves_the_journal_as_it_is(rules: RuleSet, items: list[Item]) -> None:
    """A restart by itself changes nothing that is kept: the restored core holds what the journal held."""
    entries: Entries = {}
    core = Core(rules)
    for item in items:
        core.step(item)
        keep(entries, core.drain_changes())
    assert telling(snapshot(restore(rules, entries))) == telling(entries)
