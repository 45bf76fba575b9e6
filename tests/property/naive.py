"""A deliberately simple matcher: what the rules mean, written down as plainly as possible, to judge the real core by.

It keeps every fact in a list and works out all matches of all rules from nothing at every moment at which something could
change. It knows nothing of `engine.inference`; it shares only fact types and the rule model with it. Slow, on purpose.
"""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from engine.facts import Fact, FactKinds, Retraction, StateFact
from engine.facts.outcomes import Alert
from engine.facts.registry import DeclaredFact
from engine.facts.timestamps import SECOND, Micros, from_micros
from engine.rules.model import (
    AlertEffect,
    AssertEffect,
    CountPattern,
    DoEffect,
    Effect,
    FactPattern,
    MissingPattern,
    RetractEffect,
    Rule,
    RuleSet,
)
from tests.property.held import Found, Held, facts_of, found_with
from tests.property.meaning import (
    Bound,
    field_of,
    group_of,
    group_values,
    kind_of,
    rendered,
    satisfies,
    value_of,
    without_references,
)
from tests.property.said import Identity, Said

Given = tuple[Literal["alert", "fact"], Identity]
"""Something a firing gave that lives only while a match supports it."""


@dataclass
class Match:
    """A match while it lives. `due`: it has not fired yet for the facts as they are now."""

    found: Found
    since: Micros
    due: bool = True
    gave: set[Given] = field(default_factory=set)


MOST_ROUNDS = 100
"""More rounds at one moment than any of the small rulesets of these tests can need."""


class Naive:
    """Facts in, decisions out; the same two calls as the core has."""

    def __init__(self, ruleset: RuleSet) -> None:
        self._rules = ruleset.rules
        self._kinds = FactKinds(declared={e.kind for rule in ruleset.rules for e in rule.then if isinstance(e, AssertEffect)})
        self._memory: list[Held] = []  # everything ever held; `gone` is None for what lives
        self._matches: dict[Identity, Match] = {}
        self._raised: dict[Identity, tuple[Rule, Micros]] = {}  # firing alerts: their rule, and when it last fired
        self._supported: dict[Identity, str] = {}  # facts that live with their support, and the rule that gave them last
        self._entries = itertools.count()
        self._counts: dict[Identity, int] = {}  # counts that hold, numbered like facts when they begin to
        self._began: Micros | None = None
        self._said: list[Said] = []
        self.now: Micros = 0

    def step(self, item: Fact | Retraction) -> list[Said]:
        """Everything due until then, then this fact."""
        self._run_until(item.at_micros)
        if isinstance(item, Retraction):
            self._take_back(item)
        else:
            self._enter(item)
        self._settle()
        return self._told()

    def advance(self, now: Micros) -> list[Said]:
        """Everything due until then."""
        self._run_until(now)
        return self._told()

    # --- time ---------------------------------------------------------------------------------------------------------------

    def _run_until(self, moment: Micros) -> None:
        if self._began is None:
            self._began = self.now = moment
            self._settle()
        while (due := min((at for at in self._moments() if self.now < at <= moment), default=None)) is not None:
            self.now = due
            self._settle()
        self.now = max(self.now, moment)

    def _moments(self) -> Iterator[Micros]:
        """Every moment at which something might change by itself; too many do no harm."""
        for held in self._living():
            if held.expires is not None:
                yield held.expires
        for rule in self._rules:
            for pattern in (*rule.when, *rule.unless):
                if isinstance(pattern, CountPattern):
                    yield from (held.fact.at_micros + pattern.within for held in self._memory)
                elif isinstance(pattern, MissingPattern):
                    yield from (held.seen(self.now) + pattern.duration for held in self._memory)
                    yield (self._began or 0) + pattern.duration
        for match in self._matches.values():
            yield match.since + match.found.rule.hold
        for rule, fired in self._raised.values():
            if rule.resolve_after is not None:
                yield fired + rule.resolve_after

    # --- working memory -----------------------------------------------------------------------------------------------------

    def _living(self) -> list[Held]:
        return [held for held in self._memory if held.gone is None]

    def _held(self, identity: Identity) -> Held | None:
        return next((held for held in self._living() if held.fact.identity == identity), None)

    def _enter(self, fact: Fact) -> None:
        old = self._held(fact.identity)
        if old is not None and (not isinstance(fact, StateFact) or fact.at_micros < old.fact.at_micros):
            return
        if old is not None:
            old.gone = self.now
        new = Held(fact, next(self._entries) if old is None else old.entered)
        if new.expires is None or new.expires > self.now:  # what comes too late never lives
            self._memory.append(new)

    def _expire(self) -> None:
        for held in self._living():
            if held.expires is not None and held.expires <= self.now:
                self._go(held)

    def _go(self, held: Held) -> None:
        """A fact is no longer so. Asserted anew it is another fact, which those that asserted this one do not support."""
        held.gone = self.now
        self._supported.pop(held.fact.identity, None)
        for match in self._matches.values():
            match.gave.discard(("fact", held.fact.identity))

    def _take_back(self, item: Retraction) -> None:
        for held in self._living():
            same = kind_of(held.fact) == item.retract and "|".join(held.fact.identity[1:]) == item.key
            if same and isinstance(held.fact, StateFact) and held.fact.at_micros <= item.at_micros:
                self._go(held)

    # --- from facts to decisions --------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Let go what has lost its support, fire what is first on the agenda, and again, until nothing is left to do."""
        self._expire()
        for _ in range(MOST_ROUNDS):
            self._rematch()
            if self._let_go_facts():
                continue
            agenda = [match for match in self._matches.values() if self._may_fire(match)]
            if not agenda and not self._let_go_alerts():
                return
            if agenda:
                self._fire(min(agenda, key=lambda match: (-match.found.rule.priority, match.found.rule.order, match.found.order)))
        raise AssertionError("the rules feed each other without end")

    def _may_fire(self, match: Match) -> bool:
        rule = match.found.rule
        return match.due and self.now >= match.since + rule.hold and not self._held_back(match.found)

    def _held_back(self, found: Found) -> bool:
        for pattern in found.rule.unless:
            if isinstance(pattern, CountPattern):
                if any(True for _ in self._groups(pattern, found.bound)):
                    return True
            elif any(satisfies(held.fact, pattern, found.bound) for held in self._living()):
                return True
        return False

    def _number_counts(self) -> None:
        """A count enters when it begins to hold, whatever else its rule asks for."""
        numbers: dict[Identity, int] = {}
        for rule in self._rules:
            for pattern in (one for one in rule.when if isinstance(one, CountPattern)):
                for entries in self._groups(without_references(pattern), {}):
                    name = (rule.id, pattern.name, group_values(pattern, entries[0].fact))
                    numbers[name] = self._counts[name] if name in self._counts else next(self._entries)
        self._counts = numbers

    def _rematch(self) -> None:
        self._number_counts()
        found = {one.identity: one for rule in self._rules for one in self._matches_of(rule)}
        self._matches = {identity: match for identity, match in self._matches.items() if identity in found}
        for identity, one in found.items():
            match = self._matches.setdefault(identity, Match(one, self.now))
            match.due = match.due or match.found.uses != one.uses
            match.found = one

    def _matches_of(self, rule: Rule) -> Iterator[Found]:
        """Every combination of facts, then of groups, that passes every test."""
        single = [pattern for pattern in rule.when if isinstance(pattern, FactPattern)]
        counts = [pattern for pattern in rule.when if isinstance(pattern, CountPattern)]
        missing = [pattern for pattern in rule.when if isinstance(pattern, MissingPattern)]
        candidates = [[held for held in self._living() if kind_of(held.fact) == pattern.kind] for pattern in single]
        for chosen in itertools.product(*candidates):
            if len({held.fact.identity for held in chosen}) < len(chosen):
                continue  # two patterns of a rule never bind the same fact
            held_by = {pattern.name: held for pattern, held in zip(single, chosen, strict=True)}
            bound: dict[str, Bound] = {name: held.fact for name, held in held_by.items()}
            for groups in itertools.product(*(list(self._groups(pattern, bound)) for pattern in counts)):
                window = {pattern.name: entries for pattern, entries in zip(counts, groups, strict=True)}
                all_bound = bound | {pattern.name: group_of(pattern, facts_of(window[pattern.name])) for pattern in counts}
                if all(satisfies(held_by[pattern.name].fact, pattern, all_bound) for pattern in single) and all(
                    self._is_missing(pattern, all_bound) for pattern in missing
                ):
                    yield found_with(rule, held_by, window, all_bound, self._counts)

    def _groups(self, pattern: CountPattern, bound: Mapping[str, Bound]) -> Iterator[list[Held]]:
        """The groups that are large enough now: their facts by event time."""
        by_values: dict[Identity, list[Held]] = {}
        for held in self._memory:
            if held.gone is not None and isinstance(held.fact, StateFact):
                continue  # an event has happened, whatever becomes of its fact; a state that is gone does not count
            inside = self.now - pattern.within < held.fact.at_micros <= self.now
            if inside and satisfies(held.fact, pattern, bound):
                by_values.setdefault(group_values(pattern, held.fact), []).append(held)
        for entries in by_values.values():
            if len(entries) >= pattern.at_least:
                yield sorted(entries, key=lambda held: (held.fact.at_micros, held.entered))

    def _is_missing(self, pattern: MissingPattern, bound: Mapping[str, Bound]) -> bool:
        seen = [held.seen(self.now) for held in self._memory if satisfies(held.fact, pattern, bound)]
        return self.now - max([self._began or 0, *seen]) >= pattern.duration

    # --- support ------------------------------------------------------------------------------------------------------------

    def _supports(self, kind: Literal["alert", "fact"], identity: Identity) -> bool:
        return any((kind, identity) in match.gave for match in self._matches.values())

    def _let_go_facts(self) -> bool:
        """Take back a fact that no living match supports any more. True if there was one."""
        lost = []
        for identity, rule_id in self._supported.items():
            held = self._held(identity)
            if held is not None and not self._supports("fact", identity):
                rule = next(rule for rule in self._rules if rule.id == rule_id)
                lost.append(((-rule.priority, rule.order, held.entered), held, rule_id))
        if not lost:
            return False
        _, first, by = min(lost, key=lambda one: one[0])
        self._go(first)
        self._say(Said(self.now, by, "", "retract", fact=first.fact.identity))
        return True

    def _let_go_alerts(self) -> bool:
        """At the end of a moment, resolve the alerts that no living match supports, or whose time is over. True if one was."""
        lost = []
        for identity, (rule, fired) in self._raised.items():
            over = rule.resolve_after is not None and self.now >= fired + rule.resolve_after
            if over or not self._supports("alert", identity):
                lost.append(((-rule.priority, rule.order, str(identity[2])), identity, rule))
        for _, identity, rule in sorted(lost, key=lambda one: one[0]):
            self._resolve(identity, rule)
        return bool(lost)

    def _resolve(self, identity: Identity, rule: Rule) -> None:
        del self._raised[identity]
        for match in self._matches.values():
            match.gave.discard(("alert", identity))
        _, _, key = identity
        self._enter(self._alert(rule, str(key), "resolved"))
        self._say(Said(self.now, rule.id, str(key), "alert", "resolved"))

    def _alert(self, rule: Rule, key: str, status: Literal["firing", "resolved"]) -> Alert:
        return Alert(at=from_micros(self.now), rule=rule.id, key=key, severity=rule.severity, status=status)

    # --- firing -------------------------------------------------------------------------------------------------------------

    def _fire(self, match: Match) -> None:
        match.due = False
        found = match.found
        gave = {given for effect in found.rule.then for given in self._do(effect, found)}
        match.gave = {(kind, identity) for kind, identity in gave if kind == "alert" or self._held(identity) is not None}

    def _do(self, effect: Effect, found: Found) -> list[Given]:
        rule, bound = found.rule, found.bound
        key = rendered(rule.key, bound)
        if isinstance(effect, AlertEffect):
            alert = self._alert(rule, key, "firing")
            self._enter(alert)
            self._raised[alert.identity] = (rule, self.now)
            text = rendered(effect.text, bound)
            self._say(Said(self.now, rule.id, key, "alert", "firing", found.facts, text=text))
            return [("alert", alert.identity)]
        if isinstance(effect, DoEffect):
            params = tuple((name, field_of(value, bound)) for name, value in effect.params)
            self._say(Said(self.now, rule.id, key, "action", None, found.facts, effect.action, params))
            return []
        if isinstance(effect, AssertEffect):
            return self._assert(effect, found, key)
        self._retract(effect, found, key)
        return []

    def _assert(self, effect: AssertEffect, found: Found, key: str) -> list[Given]:
        values = {name: field_of(value, found.bound) for name, value in effect.fields}
        ttl = None if effect.ttl is None else effect.ttl / SECOND
        body = {"fact": effect.kind, "at": from_micros(self.now), "ttl": ttl, **values}
        fact = self._kinds.read({name: value for name, value in body.items() if value is not None})
        assert isinstance(fact, DeclaredFact)
        self._enter(fact)
        self._say(Said(self.now, found.rule.id, key, "assert", None, found.facts, fact=fact.identity))
        if not effect.while_supported:
            return []
        self._supported[fact.identity] = found.rule.id
        return [("fact", fact.identity)]

    def _retract(self, effect: RetractEffect, found: Found, key: str) -> None:
        wanted = {name: field_of(value, found.bound) for name, value in effect.fields}
        for held in self._living():
            if effect.binding is not None:
                goes = held.fact is found.bound[effect.binding]
            else:
                same = all(value_of(held.fact, (name,)) == value for name, value in wanted.items())
                goes = kind_of(held.fact) == effect.kind and isinstance(held.fact, StateFact) and same
            if goes:
                self._go(held)
                self._say(Said(self.now, found.rule.id, key, "retract", None, found.facts, fact=held.fact.identity))

    # --- what is said -------------------------------------------------------------------------------------------------------

    def _say(self, said: Said) -> None:
        self._said.append(said)

    def _told(self) -> list[Said]:
        told, self._said = self._said, []
        return told
