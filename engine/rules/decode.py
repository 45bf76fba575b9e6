"""Nodes of a YAML tree into texts, numbers, durations and references, with a finding for each that is none of it.

Each function gives None after a finding. Knows the language's scalars, not its rules.
"""

from collections.abc import Callable, Collection, Iterable
from typing import TypeVar

from engine.facts.timestamps import Micros
from engine.rules import catalogue
from engine.rules.catalogue import Check
from engine.rules.findings import Report, Span, nearest, one_of
from engine.rules.model import Rate, Ref, Scalar, Template
from engine.rules.text import BadTextError, parse_template, parse_value
from engine.rules.units import DURATION_SHAPE, RATE_SHAPE, parse_duration, parse_rate
from engine.rules.yamltree import ListNode, MapNode, Node, Plain, ScalarNode

T = TypeVar("T")

MAX_TEXT = 4_000
"""Characters of a text: an alert's summary is cut at 1,024, a description may be longer."""


def describe(node: Node) -> str:
    """What a node is, for people."""
    if isinstance(node, MapNode):
        return "a mapping"
    if isinstance(node, ListNode):
        return "a list"
    return describe_value(node.value)


def describe_value(value: Plain) -> str:
    """What a scalar is, for people."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return f"the truth value {str(value).lower()}"
    if isinstance(value, int | float):
        return f"the number {value}"
    shown = value if len(value) <= 60 else value[:59] + "…"  # noqa: PLR2004 -- enough of a text to know it by
    return f"the text `{shown}`"


def known_keys(node: MapNode, known: Iterable[str], where: str, report: Report) -> None:
    """A finding for each key that means nothing here."""
    names = list(known)
    for key, _ in node.entries:
        if key.text not in names:
            report.add(
                catalogue.UNKNOWN_KEY,
                key.span,
                f"unknown key `{key.text}` in {where}",
                nearest=nearest(key.text, names),
                expected=one_of(names),
            )


def required_keys(node: MapNode, wanted: Collection[str], where: str, span: Span, report: Report) -> None:
    """A finding for each key that is missing."""
    for name in wanted:
        if name not in node.keys:
            report.add(catalogue.MISSING_KEY, span, f"{where} has no `{name}`", expected=f"the key `{name}`")


def as_map(node: Node, what: str, report: Report) -> MapNode | None:
    """A mapping."""
    if isinstance(node, MapNode):
        return node
    report.add(catalogue.WRONG_SHAPE, node.span, f"{what} is {describe(node)}", expected="a mapping of keys to values")
    return None


def as_list(node: Node, what: str, report: Report) -> ListNode | None:
    """A list."""
    if isinstance(node, ListNode):
        return node
    report.add(catalogue.WRONG_SHAPE, node.span, f"{what} is {describe(node)}", expected="a list")
    return None


def as_text(node: Node, what: str, report: Report) -> str | None:
    """A text that is not empty."""
    if isinstance(node, ScalarNode) and isinstance(node.value, str):
        if len(node.value) > MAX_TEXT:
            message = f"{what} has {len(node.value)} characters"
            report.add(catalogue.OUT_OF_RANGE, node.span, message, expected=f"at most {MAX_TEXT}")
            return None
        if node.value.strip():
            return node.value
        report.add(catalogue.EMPTY, node.span, f"{what} is an empty text")
        return None
    hint = "put it into quotes" if isinstance(node, ScalarNode) and node.value is not None else ""
    report.add(catalogue.WRONG_SHAPE, node.span, f"{what} is {describe(node)}", expected="a text", hint=hint)
    return None


def as_bool(node: Node, what: str, report: Report) -> bool | None:
    """A truth value."""
    if isinstance(node, ScalarNode) and isinstance(node.value, bool):
        return node.value
    report.add(catalogue.WRONG_SHAPE, node.span, f"{what} is {describe(node)}", expected="true or false")
    return None


def as_number(node: Node, what: str, low: float, high: float, report: Report) -> float | None:
    """A number within bounds, both included."""
    if not isinstance(node, ScalarNode) or isinstance(node.value, bool) or not isinstance(node.value, int | float):
        report.add(catalogue.WRONG_SHAPE, node.span, f"{what} is {describe(node)}", expected="a number")
        return None
    if not low <= node.value <= high:
        report.add(catalogue.OUT_OF_RANGE, node.span, f"{what} is {node.text}", expected=f"from {low:.10g} to {high:.10g}")
        return None
    return node.value


def as_integer(node: Node, what: str, low: int, high: int, report: Report) -> int | None:
    """A whole number within bounds, both included."""
    if isinstance(node, ScalarNode) and isinstance(node.value, float):
        report.add(catalogue.WRONG_SHAPE, node.span, f"{what} is {describe(node)}", expected="a whole number")
        return None
    number = as_number(node, what, low, high, report)
    return None if number is None else int(number)


def as_name(node: Node, what: str, report: Report) -> str | None:
    """The name of a kind or an action."""
    return as_text(node, what, report)


def as_choice(node: Node, what: str, choices: Collection[str], report: Report) -> str | None:
    """One of a few texts."""
    text = as_text(node, what, report)
    if text is None or text in choices:
        return text
    report.add(
        catalogue.UNKNOWN_CHOICE,
        node.span,
        f"{what} cannot be `{text}`",
        nearest=nearest(text, choices),
        expected=one_of(choices),
    )
    return None


def _parsed(node: Node, what: str, parse: Callable[[str], T], report: Report, *, check: Check, shape: str) -> T | None:
    if isinstance(node, ScalarNode) and node.value is not None:
        try:
            return parse(node.text)
        except ValueError as error:
            report.add(check, node.span, f"{what}: `{node.text}` is {error}", expected=shape)
            return None
    report.add(check, node.span, f"{what} is {describe(node)}", expected=shape)
    return None


def as_duration(node: Node, what: str, report: Report, *, positive: bool = True) -> Micros | None:
    """A duration in microseconds."""
    found = _parsed(node, what, parse_duration, report, check=catalogue.BAD_DURATION, shape=DURATION_SHAPE)
    if found == 0 and positive:
        report.add(catalogue.OUT_OF_RANGE, node.span, f"{what} is zero", expected="more than 0s")
        return None
    return found


def as_rate(node: Node, what: str, report: Report) -> Rate | None:
    """A rate."""
    return _parsed(node, what, parse_rate, report, check=catalogue.BAD_RATE, shape=RATE_SHAPE)


def as_template(node: Node, what: str, report: Report) -> Template | None:
    """A text with placeholders."""
    text = as_text(node, what, report)
    if text is None:
        return None
    try:
        return parse_template(text)
    except BadTextError as error:
        for fault in error.faults:
            report.add(
                catalogue.BAD_TEMPLATE, report.within(node.span, fault.part), f"{what}: {fault.message}", expected="{name.field}"
            )
    return None


def as_value(node: Node, what: str, report: Report) -> Scalar | Ref | None:
    """A literal or a reference."""
    if not isinstance(node, ScalarNode) or node.value is None:
        hint = "whether a field is known at all is tested by `field|exists: false`" if isinstance(node, ScalarNode) else ""
        expected = "a text, number, truth value or $name.field"
        report.add(catalogue.WRONG_SHAPE, node.span, f"{what} is {describe(node)}", expected=expected, hint=hint)
        return None
    if not isinstance(node.value, str):
        return node.value
    try:
        return parse_value(node.value)
    except BadTextError as error:
        report.add(catalogue.BAD_REFERENCE, node.span, str(error), expected="$name.field")
        return None
