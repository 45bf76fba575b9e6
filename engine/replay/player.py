"""Recorded facts through the core, by their own clock; no real time enters, so it is deterministic. Prints nothing."""

from collections.abc import Iterable, Iterator
from contextlib import suppress

from engine.errors import BadFactError
from engine.facts import Fact, Retraction
from engine.facts.timestamps import Micros
from engine.inference.core import Core
from engine.inference.decision import Decision
from engine.replay.recording import Faults, read_facts
from engine.rules.model import RuleSet


def step(core: Core, fact: Fact | Retraction, faults: Faults) -> list[Decision]:
    """What the rules decide on one fact. A fact of a kind that these rules do not know decides nothing and is a fault."""
    try:
        decisions = core.step(fact)
    except BadFactError as error:
        faults.add_here(error)
        decisions = []
    if core.faults:
        faults.move_from(core.faults)
    return decisions


def play(ruleset: RuleSet, lines: Iterable[bytes], faults: Faults) -> Iterator[Decision]:
    """What the rules decide, in order; lines that cannot be read are faults."""
    core = Core(ruleset, keep_changes=False)
    for fact in read_facts(lines, core.kinds, faults):
        yield from step(core, fact, faults)


def core_at(ruleset: RuleSet, lines: Iterable[bytes], moment: Micros | None) -> Core:
    """The core after the facts up to a moment; None: after all of them. Lines that cannot be read are passed over."""
    core = Core(ruleset, keep_changes=False)
    for fact in read_facts(lines, core.kinds, Faults()):
        if moment is not None and fact.at_micros > moment:
            break
        with suppress(BadFactError):  # as the lines that cannot be read: `replay` reports them
            core.step(fact)
    if moment is not None:
        core.advance(moment)
    return core
