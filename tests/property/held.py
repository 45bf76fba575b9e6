"""What the naive matcher holds: facts in working memory, and one way to match all patterns of a rule. No state, no time."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from engine.facts import Fact, StateFact
from engine.facts.timestamps import SECOND, Micros
from engine.rules.model import CountPattern, FactPattern, Rule
from tests.property.meaning import Bound, group_values, used_fields, value_of
from tests.property.said import Identity


@dataclass
class Held:
    """A fact in working memory, or one that was: `gone` is the moment it went. `entered` orders identities by first entry."""

    fact: Fact
    entered: int
    gone: Micros | None = None

    @property
    def expires(self) -> Micros | None:
        """The first moment at which it lives no more."""
        life = self.fact.lifetime_s
        return None if life is None else self.fact.at_micros + round(life * SECOND)

    def seen(self, now: Micros) -> Micros:
        """When it was last seen: an event by its own time, a state for as long as it lived."""
        if not isinstance(self.fact, StateFact):
            return self.fact.at_micros
        return now if self.gone is None else self.gone


@dataclass
class Found:
    """One way to match all patterns of a rule at this moment."""

    rule: Rule
    identity: Identity
    bound: dict[str, Bound]
    facts: tuple[tuple[str, ...], ...]
    order: tuple[int, ...]
    uses: tuple[object, ...]
    """The values of all fields that the rule tests or uses: when one of them changes, it is another set of facts."""


def facts_of(entries: Iterable[Held]) -> list[Fact]:
    """The facts alone."""
    return [held.fact for held in entries]


def found_with(
    rule: Rule,
    held_by: Mapping[str, Held],
    window: Mapping[str, list[Held]],
    bound: dict[str, Bound],
    numbers: Mapping[Identity, int],
) -> Found:
    """A match from the facts and windows that its patterns bound. `numbers`: places of the counts that hold, among the facts'."""
    identity: list[object] = [rule.id]
    facts: list[tuple[str, ...]] = []
    order: list[int] = []
    for pattern in rule.when:
        if isinstance(pattern, FactPattern):
            held = held_by[pattern.name]
            identity.append(held.fact.identity)
            facts.append((held.fact.fact_id,))
            order.append(held.entered)
        elif isinstance(pattern, CountPattern):
            entries = window[pattern.name]
            identity.append(group_values(pattern, entries[0].fact))
            facts.append(tuple(held.fact.fact_id for held in entries))
            order.append(numbers[rule.id, pattern.name, identity[-1]])
        else:
            facts.append(())
    uses = tuple(value_of(held_by[ref.binding].fact, ref.path) for ref in used_fields(rule) if ref.binding in held_by)
    return Found(rule, tuple(identity), bound, tuple(facts), tuple(order), uses)
