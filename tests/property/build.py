"""Short ways to write facts, patterns and rules in tests of the inference. Times are whole seconds after a fixed start."""

from dataclasses import replace
from typing import Any

from engine.facts import Retraction
from engine.facts.docker import Container, ContainerEvent
from engine.facts.timestamps import SECOND, Micros, from_micros
from engine.rules.model import (
    AlertEffect,
    Condition,
    FactPattern,
    FieldPath,
    Op,
    Pattern,
    Placeholder,
    Ref,
    Rule,
    RuleSet,
    Scalar,
    Template,
)

START: Micros = 1_800_000_000 * SECOND
"""Some moment (in 2027): the zero of every timeline in these tests."""


def at(seconds: float) -> Micros:
    """A moment of the timeline."""
    return START + round(seconds * SECOND)


def container(seconds: float, which: str, fact_id: str, **fields: Any) -> Container:
    """A container as it is from then on."""
    return Container(at=from_micros(at(seconds)), id=which, fact_id=fact_id, **fields)


def event(seconds: float, action: str, which: str, fact_id: str, **fields: Any) -> ContainerEvent:
    """Something that happened to a container."""
    return ContainerEvent(at=from_micros(at(seconds)), action=action, id=which, fact_id=fact_id, **fields)


def gone(seconds: float, name: str) -> Retraction:
    """A container that is no more."""
    return Retraction(retract="container", key=name, at=from_micros(at(seconds)))


def ref(text: str) -> Ref:
    """`binding.field`."""
    binding, _, name = text.partition(".")
    return Ref(binding, (name,))


def template(text: str) -> Template:
    """A text in which every word with a dot is a placeholder: `c.id of c.image`."""
    words = [Placeholder(ref(word)) if "." in word else word for word in text.split(" ")]
    spaced = [part for word in words for part in (" ", word)][1:]
    return Template(tuple(spaced)) if text else Template(())


def check(path: str | FieldPath, *values: Scalar | Ref, op: Op = "eq") -> Condition:
    """`field|op: value`."""
    return Condition((path,) if isinstance(path, str) else path, op, values)


def fact(name: str, kind: str, *tests: Condition) -> FactPattern:
    """A pattern of one fact."""
    return FactPattern(name, kind, tests)


def rule(name: str, *when: Pattern, **fields: Any) -> Rule:
    """A rule that raises an alert, unless `then` says otherwise; `key` as for `template`."""
    return Rule(
        id=name,
        title=name,
        severity="warning",
        when=when,
        then=fields.pop("then", (AlertEffect(Template(("!",))),)),
        key=template(fields.pop("key", "")),
        version=name,
        **fields,
    )


def ruleset(*rules: Rule, declared: frozenset[str] = frozenset()) -> RuleSet:
    """These rules, in this order, all in one file."""
    ordered = tuple(replace(one, order=(0, place)) for place, one in enumerate(rules))
    return RuleSet(ordered, declared, version="test")
