"""`when` and `unless`: YAML nodes into drafts of patterns. Knows the shape of patterns, not which kinds and fields there are."""

from typing import cast, get_args

from engine.rules import catalogue, decode
from engine.rules.draft import DraftCondition, DraftPattern
from engine.rules.findings import Report, Span, nearest, one_of
from engine.rules.model import FieldPath, Op, Ref, Scalar
from engine.rules.text import BINDING, split_path
from engine.rules.yamltree import ListNode, MapNode, Node, ScalarNode

MODIFIERS = tuple(name for name in get_args(Op) if name != "eq")
"""What may stand behind `|`; nothing means equal."""

MAX_PATTERNS = 16
"""Patterns of a rule: joins of more are not measured, and nobody could read them."""
MAX_VALUES = 1_000
"""Values of one test."""
MAX_COUNT = 1_000_000
"""The largest `at_least`: as many facts would have to be remembered."""

_FORMS = ("fact", "count", "missing")


def read_when(node: Node, report: Report) -> tuple[DraftPattern, ...]:
    """The patterns of a rule by name, in order."""
    mapping = decode.as_map(node, "`when`", report)
    if mapping is None:
        return ()
    if not mapping.entries:
        report.add(catalogue.EMPTY, node.span, "`when` has no pattern", expected="name: {fact: kind, …}")
    named = any(isinstance(value, MapNode) and "fact" in value.keys for _, value in mapping.entries)
    if set(mapping.keys) & set(_FORMS) and not named:
        report.add(catalogue.WRONG_SHAPE, node.span, "the pattern under `when` has no name", expected="name: {fact: kind, …}")
        return ()
    _bounded(len(mapping.entries), node, report)
    return tuple(_named(key, value, report) for key, value in mapping.entries[:MAX_PATTERNS])


def read_unless(node: Node, report: Report) -> tuple[DraftPattern, ...]:
    """The patterns that hold a rule back. They bind no name; findings call them by their number."""
    listing = decode.as_list(node, "`unless`", report)
    if listing is None:
        return ()
    _bounded(len(listing.items), node, report)
    patterns = []
    for number, item in enumerate(listing.items[:MAX_PATTERNS], start=1):
        pattern = _read_pattern(f"unless_{number}", item.span, item, report)
        if pattern.form == "missing":
            report.add(
                catalogue.WRONG_SHAPE,
                item.span,
                "`missing` does not stand under `unless`",
                expected="a fact or count pattern",
                hint="unless a fact is missing means when it is there: put {fact: …} under `when`",
            )
        patterns.append(pattern)
    return tuple(patterns)


def _bounded(number: int, node: Node, report: Report) -> None:
    if number > MAX_PATTERNS:
        report.add(catalogue.OUT_OF_RANGE, node.span, f"there are {number} patterns", expected=f"at most {MAX_PATTERNS}")


def _named(key: ScalarNode, value: Node, report: Report) -> DraftPattern:
    if not isinstance(key.value, str) or not BINDING.fullmatch(key.text):
        report.add(catalogue.BAD_NAME, key.span, f"invalid pattern name `{key.text}`", expected="letters, digits and underscores")
    return _read_pattern(key.text, key.span, value, report)


def _read_pattern(name: str, span: Span, node: Node, report: Report) -> DraftPattern:
    mapping = decode.as_map(node, f"the pattern `{name}`", report)
    if mapping is None:
        return DraftPattern("fact", name, span, None, node.span)
    form = next((form for form in _FORMS if form in mapping.keys), None)
    if form == "count":
        return _read_count(name, span, mapping, report)
    if form == "missing":
        return _read_missing(name, span, mapping, report)
    if form is None:
        report.add(
            catalogue.MISSING_KEY,
            mapping.entries[0][0].span if mapping.entries else node.span,
            f"the pattern `{name}` has no `fact`",
            nearest=next((form for key in mapping.keys for form in [nearest(key, _FORMS)] if form), ""),
            expected=one_of(_FORMS),
        )
    kind, kind_span, tests = _read_fact(mapping, f"the pattern `{name}`", report)
    return DraftPattern("fact", name, span, kind, kind_span, tests)


def _read_count(name: str, span: Span, mapping: MapNode, report: Report) -> DraftPattern:
    where = f"the count pattern `{name}`"
    decode.known_keys(mapping, ("count", "by", "within", "at_least"), where, report)
    decode.required_keys(mapping, ("within", "at_least"), where, span, report)
    kind, kind_span, tests = _read_inner(mapping, "count", report)
    within, least, by = mapping.get("within"), mapping.get("at_least"), mapping.get("by")
    return DraftPattern(
        "count",
        name,
        span,
        kind,
        kind_span,
        tests,
        by=_read_by(by, report) if by is not None else (),
        within=(decode.as_duration(within, "`within`", report) if within is not None else None) or 0,
        at_least=(decode.as_integer(least, "`at_least`", 1, MAX_COUNT, report) if least is not None else None) or 1,
    )


def _read_missing(name: str, span: Span, mapping: MapNode, report: Report) -> DraftPattern:
    where = f"the missing pattern `{name}`"
    decode.known_keys(mapping, ("missing", "for"), where, report)
    decode.required_keys(mapping, ("for",), where, span, report)
    kind, kind_span, tests = _read_inner(mapping, "missing", report)
    duration = mapping.get("for")
    micros = decode.as_duration(duration, "`for`", report) if duration is not None else None
    return DraftPattern("missing", name, span, kind, kind_span, tests, duration=micros or 0)


def _read_inner(mapping: MapNode, key: str, report: Report) -> tuple[str | None, Span, tuple[DraftCondition, ...]]:
    node = mapping.get(key)
    inner = decode.as_map(node, f"`{key}`", report) if node is not None else None
    if inner is None:
        return None, mapping.span, ()
    if "fact" not in inner.keys:
        report.add(catalogue.MISSING_KEY, inner.span, f"`{key}` has no `fact`", expected="{fact: kind, …}")
    return _read_fact(inner, f"`{key}`", report)


def _read_by(node: Node, report: Report) -> tuple[tuple[FieldPath, Span], ...]:
    listing = decode.as_list(node, "`by`", report)
    if listing is None:
        return ()
    if len(listing.items) > MAX_PATTERNS:
        message = f"`by` has {len(listing.items)} fields"
        report.add(catalogue.OUT_OF_RANGE, node.span, message, expected=f"at most {MAX_PATTERNS}")
    paths: dict[FieldPath, Span] = {}
    for item in listing.items[:MAX_PATTERNS]:
        text = decode.as_text(item, "a field in `by`", report)
        if text is None:
            continue
        if split_path(text) in paths:
            report.add(catalogue.DUPLICATE_KEY, item.span, f"`{text}` stands already in `by`")
        paths.setdefault(split_path(text), item.span)
    return tuple(paths.items())


def _read_fact(mapping: MapNode, where: str, report: Report) -> tuple[str | None, Span, tuple[DraftCondition, ...]]:
    kind: str | None = None
    kind_span = mapping.span
    tests = []
    for key, value in mapping.entries:
        if key.text == "fact":
            kind, kind_span = decode.as_name(value, f"the kind of {where}", report), value.span
            continue
        test = read_test(key, value, report)
        if test is not None:
            tests.append(test)
    return kind, kind_span, tuple(tests)


def read_test(key: ScalarNode, value: Node, report: Report) -> DraftCondition | None:
    """`field|modifier: value`, or None when it cannot be read."""
    name, bar, modifier = key.text.partition("|")
    if bar and modifier not in MODIFIERS:
        report.add(
            catalogue.UNKNOWN_MODIFIER,
            report.within(key.span, modifier) if modifier else key.span,
            "a field takes one modifier" if "|" in modifier else f"unknown modifier `{modifier}`",
            nearest="" if "|" in modifier else nearest(modifier, MODIFIERS),
            expected=one_of(MODIFIERS),
        )
        return None
    if not name:
        report.add(catalogue.BAD_NAME, key.span, "a test has no field", expected="field: value, or field|modifier: value")
        return None
    op = cast("Op", modifier or "eq")
    if isinstance(value, MapNode):
        report.add(
            catalogue.WRONG_SHAPE, value.span, f"the value of `{key.text}` is a mapping", expected="a value or a list of values",
            hint="write {field|modifier: value} with the modifier behind a bar, and a dot to reach into a map",
        )  # fmt: skip
        return None
    if op == "exists":
        known = decode.as_bool(value, f"`{key.text}`", report)
        return None if known is None else DraftCondition(split_path(name), op, (known,), key.span, (value.span,))
    read = _read_values(key, value, report)
    if not read:
        return None
    return DraftCondition(split_path(name), op, tuple(item for item, _ in read), key.span, tuple(span for _, span in read))


def _read_values(key: ScalarNode, node: Node, report: Report) -> list[tuple[Scalar | Ref, Span]]:
    items = node.items if isinstance(node, ListNode) else (node,)
    if not items:
        report.add(catalogue.EMPTY, node.span, f"`{key.text}` has no value", expected="one value or more")
    if len(items) > MAX_VALUES:
        report.add(catalogue.OUT_OF_RANGE, node.span, f"`{key.text}` has {len(items)} values", expected=f"at most {MAX_VALUES}")
        return []
    read = [(decode.as_value(item, f"the value of `{key.text}`", report), item.span) for item in items]
    if any(value is None for value, _ in read):
        return []
    return [(value, span) for value, span in read if value is not None]
