"""Random small rulesets, and random timelines of facts that have a good chance to match them.

Values come from tiny sets and times are whole seconds, so that joins meet, windows fill and moments coincide. Rules are layered:
a rule matches only what rules before it assert or raise, so that no ruleset feeds itself without end (the rule check refuses
such rulesets). Where a rule stands in the files, and its priority, are independent of its layer.
"""

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from engine.facts import Fact, Retraction
from engine.facts.timestamps import SECOND
from engine.rules.model import (
    AlertEffect,
    AssertEffect,
    Condition,
    CountPattern,
    DoEffect,
    Effect,
    FactPattern,
    FieldPath,
    MissingPattern,
    Op,
    Pattern,
    Placeholder,
    Ref,
    RetractEffect,
    Rule,
    RuleSet,
    Scalar,
    Template,
)
from tests.property.build import check, container, event, gone, rule, ruleset

Item = Fact | Retraction

_WORDS = ("a", "ab", "b")
"""Ids, images and label values share one small set, so that joins between different fields meet too."""
_NUMBERS = (0, 1, 2)
_LABEL = "com.example.role"
_ROLE: FieldPath = ("labels", _LABEL)

Bindings = dict[str, tuple[str, tuple[FieldPath, ...]]]
"""What the patterns so far bind: name, kind (empty for a group), and the fields with text that are never absent."""

_TEXT: dict[str, dict[FieldPath, tuple[str, ...]]] = {
    "container": {("id",): _WORDS, ("image",): _WORDS, ("status",): ("dead", "exited"), _ROLE: _WORDS},
    "container_event": {("id",): _WORDS, ("image",): _WORDS, ("action",): ("die", "create"), _ROLE: _WORDS},
}
"""Fields with text, by kind, and the values they take."""
_ALWAYS: dict[str, tuple[FieldPath, ...]] = {
    "container": (("id",), ("image",), ("status",)),
    "container_event": (("id",), ("image",), ("action",)),
}
"""Those of them that are never absent."""


def _text_fields(kind: str) -> dict[FieldPath, tuple[str, ...]]:
    if kind == "alert":
        return {("rule",): ("r0", "r1", "r2"), ("status",): ("firing", "resolved"), ("key",): _WORDS}
    return _TEXT.get(kind, {("image",): _WORDS})


def _always(kind: str) -> tuple[FieldPath, ...]:
    return _ALWAYS.get(kind, tuple(_text_fields(kind)))


def _has_number(kind: str) -> bool:
    return kind in _TEXT


_text_ops: SearchStrategy[Op] = st.sampled_from(("eq", "eq", "eq", "ne", "contains", "startswith", "endswith"))
_number_ops: SearchStrategy[Op] = st.sampled_from(("eq", "ne", "gt", "gte", "lt", "lte"))


@st.composite
def literal_tests(draw: DrawFn, kind: str) -> Condition:
    """A test against literals."""
    choice = draw(st.integers(0, 9))
    if choice == 9 and _has_number(kind):
        return Condition(("exit_code",), draw(_number_ops), (draw(st.sampled_from(_NUMBERS)),))
    if choice == 8 and _has_number(kind):
        return Condition(draw(st.sampled_from((_ROLE, ("exit_code",)))), "exists", (draw(st.booleans()),))
    fields = _text_fields(kind)
    path = draw(st.sampled_from(sorted(fields)))
    if choice == 7:
        return Condition(path, "re", (draw(st.sampled_from(("^a", "b$", "^[ad]", "e"))),))
    values: list[Scalar] = list(draw(st.lists(st.sampled_from(fields[path]), min_size=1, max_size=2, unique=True)))
    return Condition(path, draw(_text_ops), tuple(values))


@st.composite
def reference_tests(draw: DrawFn, kind: str, others: Bindings) -> Condition:
    """A test against a field of another pattern: a join."""
    binding = draw(st.sampled_from(sorted(others)))
    other_kind, fields = others[binding]
    if draw(st.integers(0, 5)) == 5 and _has_number(kind) and _has_number(other_kind):
        return Condition(("exit_code",), draw(_number_ops), (Ref(binding, ("exit_code",)),))
    path = draw(st.sampled_from(sorted(_text_fields(kind))))
    return Condition(path, draw(_text_ops), (Ref(binding, draw(st.sampled_from(fields))),))


def _tests(draw: DrawFn, kind: str, others: Bindings, most: int = 2) -> tuple[Condition, ...]:
    tests = [draw(literal_tests(kind)) for _ in range(min(most, draw(st.sampled_from((0, 0, 1, 1, 2)))))]
    joined: bool = draw(st.booleans())
    if others and joined:
        tests.append(draw(reference_tests(kind, others)))
    return tuple(tests)


def _missing_tests(draw: DrawFn, kind: str, others: Bindings) -> tuple[Condition, ...]:
    """Against literals, or equal to a field of another pattern; either field may be absent."""
    tests = _tests(draw, kind, {}, 1)
    joined: bool = draw(st.booleans())
    if others and joined:
        binding = draw(st.sampled_from(sorted(others)))
        other_kind, fields = others[binding]
        if draw(st.booleans()) and _has_number(kind) and _has_number(other_kind):
            return (*tests, Condition(("exit_code",), "eq", (Ref(binding, ("exit_code",)),)))
        path = draw(st.sampled_from(sorted(_text_fields(kind))))
        tests = (*tests, Condition(path, "eq", (Ref(binding, draw(st.sampled_from(fields))),)))
    return tests


def _earlier(draw: DrawFn, kind: str, layer: int) -> tuple[Condition, ...]:
    """Alerts are matched of rules of earlier layers only."""
    return (check("rule", f"r{draw(st.integers(0, layer - 1))}"),) if kind == "alert" else ()


@st.composite
def rules(draw: DrawFn, layer: int, declared: dict[str, bool]) -> Rule:
    """A rule of a layer. `declared`: the kinds that rules assert, and whether they live with their support."""
    kinds = ["container", "container", "container_event", "container_event", *(["alert"] if layer else ())]
    kinds += [kind for kind in declared if int(kind[1:]) < layer] * 2
    when: list[Pattern] = []
    bound: Bindings = {}
    for place in range(draw(st.sampled_from((1, 1, 2, 2, 2, 3)))):
        name = f"p{place}"
        kind = draw(st.sampled_from(kinds))
        choice = draw(st.integers(0, 9))
        if choice >= 8:
            by = tuple(draw(st.lists(st.sampled_from(_always(kind)), max_size=2, unique=True)))
            within, at_least = draw(st.integers(1, 6)) * SECOND, draw(st.integers(1, 3))
            when.append(CountPattern(name, kind, _earlier(draw, kind, layer) + _tests(draw, kind, {}, 1), by, within, at_least))
            if by:
                bound[name] = ("", by)
        elif choice == 7:
            when.append(
                MissingPattern(
                    name, kind, _earlier(draw, kind, layer) + _missing_tests(draw, kind, bound), draw(st.integers(1, 6)) * SECOND
                )
            )
        else:
            when.append(FactPattern(name, kind, _earlier(draw, kind, layer) + _tests(draw, kind, bound)))
            bound[name] = (kind, _always(kind))
    made = Rule(
        id=f"r{layer}",
        title="",
        severity="warning",
        when=tuple(when),
        then=_effects(draw, layer, declared, bound),
        unless=_unless(draw, list(declared), bound),
        hold=draw(st.sampled_from((0, 0, 0, 1, 3))) * SECOND,
        key=draw(_texts(bound)),
        priority=draw(st.sampled_from((0, 0, 0, 1, -1))),
        version=f"r{layer}",
    )
    return replace(made, resolve_after=draw(st.sampled_from((None, None, None, 2 * SECOND, 5 * SECOND))))


def _unless(draw: DrawFn, declared: list[str], bound: Bindings) -> tuple[FactPattern | CountPattern, ...]:
    patterns: list[FactPattern | CountPattern] = []
    for place in range(draw(st.sampled_from((0, 0, 0, 1, 1, 2)))):
        kind = draw(st.sampled_from(["container", "container_event", "alert", *declared]))
        name = f"u{place}"
        if draw(st.integers(0, 4)) == 4:
            by = tuple(draw(st.lists(st.sampled_from(_always(kind)), max_size=1)))
            within, at_least = draw(st.integers(1, 6)) * SECOND, draw(st.integers(1, 3))
            patterns.append(CountPattern(name, kind, _tests(draw, kind, {}, 1), by, within, at_least))
        else:
            patterns.append(FactPattern(name, kind, _tests(draw, kind, bound)))
    return tuple(patterns)


@st.composite
def _texts(draw: DrawFn, bound: Bindings) -> Template:
    """Nothing, or fields of what is bound, with a dash between them."""
    if not bound or draw(st.booleans()):
        return Template(())
    names = draw(st.lists(st.sampled_from(sorted(bound)), min_size=1, max_size=2))
    fields = [Placeholder(Ref(name, draw(st.sampled_from(bound[name][1])))) for name in names]
    return Template(tuple(part for one in fields for part in ("-", one))[1:])


def _effects(draw: DrawFn, layer: int, declared: dict[str, bool], bound: Bindings) -> tuple[Effect, ...]:
    effects: list[Effect] = []
    for _ in range(draw(st.sampled_from((1, 1, 2)))):
        choice = draw(st.integers(0, 9))
        own = f"d{layer}"
        if choice >= 7 and own in declared:
            ttl = draw(st.sampled_from((None, 1, 4)))
            image = draw(_texts(bound)) if draw(st.booleans()) else draw(st.sampled_from(_WORDS))
            fields = (("image", image),)
            effects.append(AssertEffect(own, fields, None if ttl is None else ttl * SECOND, while_supported=declared[own]))
        elif choice == 6:
            value = Ref(*_field(draw, bound)) if bound else "a"
            effects.append(DoEffect("remove_container", (("container", value),)))
        elif choice == 5:
            names = sorted(name for name, (kind, _) in bound.items() if kind not in ("", "alert"))
            by_name: bool = draw(st.booleans())
            if names and by_name:
                effects.append(RetractEffect(binding=draw(st.sampled_from(names))))
            else:
                effects.append(RetractEffect(kind="container", fields=(("image", draw(st.sampled_from(_WORDS))),)))
        else:
            effects.append(AlertEffect(draw(_texts(bound))))
    return tuple(effects)


def _field(draw: DrawFn, bound: Bindings) -> tuple[str, FieldPath]:
    name = draw(st.sampled_from(sorted(bound)))
    return name, draw(st.sampled_from(bound[name][1]))


@st.composite
def rulesets(draw: DrawFn, most: int = 4) -> RuleSet:
    """One to four rules, in any order of files."""
    number = draw(st.sampled_from(range(1, most + 1)))
    declared = {f"d{layer}": draw(st.booleans()) for layer in range(number - 1)}
    made = [draw(rules(layer, declared)) for layer in range(number)]
    places = draw(st.permutations(range(number)))
    placed = [replace(one, order=(place // 2, place % 2)) for one, place in zip(made, places, strict=True)]
    return RuleSet(tuple(sorted(placed, key=lambda one: one.order)), frozenset(declared), version="v")


@st.composite
def joining_rulesets(draw: DrawFn) -> RuleSet:
    """One to three rules of nothing but joins and `unless`, whose alerts name every field of every fact."""
    made = []
    for layer in range(draw(st.integers(1, 3))):
        bound: Bindings = {}
        when = []
        for place in range(draw(st.integers(1, 3))):
            kind = draw(st.sampled_from(("container", "container_event")))
            when.append(FactPattern(f"p{place}", kind, _tests(draw, kind, bound)))
            bound[f"p{place}"] = (kind, _always(kind))
        unless = []
        for place in range(draw(st.sampled_from((0, 0, 1, 2)))):
            kind = draw(st.sampled_from(("container", "container_event")))
            unless.append(FactPattern(f"u{place}", kind, _tests(draw, kind, bound)))
        paths = [Ref(name, path) for name, (kind, _) in bound.items() for path in (*_text_fields(kind), ("exit_code",))]
        text = Template(tuple(Placeholder(ref) for ref in paths))
        made.append(rule(f"r{layer}", *when, unless=tuple(unless), then=(AlertEffect(text),)))
    return ruleset(*made)


@st.composite
def plain_timelines(draw: DrawFn) -> list[Item]:
    """A timeline in order of time, without events that are told twice."""
    items = {item.fact_id or str(place): item for place, item in enumerate(draw(timelines()))}
    return sorted(items.values(), key=lambda item: item.at_micros)


@st.composite
def timelines(draw: DrawFn, most: int = 14) -> list[Item]:
    """Facts in the order in which they come: ties in time, some late by up to three seconds, some told twice."""
    now = 0
    items: list[Item] = []
    gaps = draw(st.lists(st.sampled_from((0, 0, 1, 1, 2, 4)), min_size=1, max_size=most))
    for number, gap in enumerate(gaps):
        now += gap
        seconds = max(0, now - draw(st.sampled_from((0, 0, 0, 0, 1, 3))))
        choice = draw(st.integers(0, 9))
        if choice == 9:
            items.append(gone(seconds, draw(st.sampled_from(_WORDS))))
        elif choice == 8 and items:
            items.append(draw(st.sampled_from(items)))
        else:
            items.append(draw(_facts(seconds, f"f{number}", is_event=choice <= 3)))
    return items


@st.composite
def _facts(draw: DrawFn, seconds: int, fact_id: str, *, is_event: bool) -> Fact:
    fields: dict[str, Any] = {
        "image": draw(st.sampled_from(_WORDS)),
        "exit_code": draw(st.sampled_from((None, *_NUMBERS))),
        "ttl": draw(st.sampled_from((None, None, 1, 2, 5))),
    }
    role = draw(st.sampled_from((None, None, *_WORDS)))
    if role is not None:
        fields["labels"] = {_LABEL: role}
    word = draw(st.sampled_from(_WORDS))
    if is_event:
        return event(seconds, draw(st.sampled_from(("die", "create"))), word, fact_id, **fields)
    return container(seconds, word, fact_id, status=draw(st.sampled_from(("dead", "exited"))), **fields)
