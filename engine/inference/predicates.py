"""Tests of a pattern as functions over the values of a fact. Knows nothing of patterns, rules or memory."""

import operator
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import re2

from engine.facts.registry import BUILT_IN
from engine.rules.model import FieldPath, Op, Ref, Scalar, Test

Values = Mapping[str, Any]
Predicate = Callable[[Values], bool]
Getter = Callable[[Values], Any]

_ATTRIBUTES: dict[str, dict[str, str]] = {
    model.KIND: {info.alias: name for name, info in model.model_fields.items() if info.alias} for model in BUILT_IN
}
"""Fields whose name in rules and JSON is a Python keyword stand under another name in the model: class, global, self."""


@lru_cache(maxsize=8192)
def getter(kind: str, path: FieldPath) -> Getter:
    """Reads a field, or a key of a field that is a map; None where there is nothing."""
    name = _ATTRIBUTES.get(kind, {}).get(path[0], path[0])
    if len(path) == 1:
        return lambda values: values.get(name)
    key = path[1]

    def read(values: Values) -> Any:
        inner = values.get(name)
        return inner.get(key) if isinstance(inner, Mapping) else None

    return read


def attribute(kind: str, path: FieldPath) -> str | None:
    """Name of the plain attribute behind a path, None when the path reaches into a map."""
    return _ATTRIBUTES.get(kind, {}).get(path[0], path[0]) if len(path) == 1 else None


@lru_cache(maxsize=4096)
def _expression(pattern: str) -> Any:
    """An RE2 expression: linear time whatever the text."""
    options = re2.Options()
    options.log_errors = False
    return re2.compile(pattern, options)


def _equal(value: Any, other: Any) -> bool:
    # In Python True == 1; in a rule a flag is no number.
    return bool(value == other) and isinstance(value, bool) is isinstance(other, bool)


def _ordered(compare: Callable[[Any, Any], Any]) -> Callable[[Any, Any], bool]:
    def test(value: Any, other: Any) -> bool:
        if value is None or other is None or isinstance(value, bool) or isinstance(other, bool):
            return False
        try:
            return bool(compare(value, other))
        except TypeError:
            return False

    return test


def _contains(value: Any, part: Any) -> bool:
    if isinstance(value, str):
        return isinstance(part, str) and part in value
    return isinstance(value, list | tuple | Mapping) and part in value


def _matches(value: Any, pattern: Any) -> bool:
    """A text that matches, or a list one of whose elements does."""
    if not isinstance(pattern, str):
        return False
    parts = value if isinstance(value, list | tuple) else (value,)
    return any(isinstance(part, str) and _found(pattern, part) for part in parts)


def _found(pattern: str, text: str) -> bool:
    try:
        return _expression(pattern).search(text) is not None
    except UnicodeEncodeError:
        # RE2 reads UTF-8, which has no lone surrogates: what was no UTF-8 (a path, say) is read as what can be shown of it.
        return _expression(pattern).search(text.encode("utf-8", "replace").decode()) is not None


def _text(test: Callable[[str, str], bool]) -> Callable[[Any, Any], bool]:
    return lambda value, other: isinstance(value, str) and isinstance(other, str) and test(value, other)


OPERATORS: dict[Op, Callable[[Any, Any], bool]] = {
    "eq": _equal,
    "ne": lambda value, other: not _equal(value, other),
    "gt": _ordered(operator.gt),
    "gte": _ordered(operator.ge),
    "lt": _ordered(operator.lt),
    "lte": _ordered(operator.le),
    "contains": _contains,
    "startswith": _text(str.startswith),
    "endswith": _text(str.endswith),
    "re": _matches,
    "exists": lambda value, wanted: (value is not None) is bool(wanted),
}


def holds(op: Op, value: Any, others: tuple[Any, ...]) -> bool:
    """Whether a value passes a test against any of several others (for `ne`: against all of them)."""
    test = OPERATORS[op]
    if op == "ne":
        return all(test(value, other) for other in others)
    return any(test(value, other) for other in others)


def constant(kind: str, test: Test) -> Predicate:
    """A test without references as a function of the fact's values."""
    read = getter(kind, test.path)
    values: tuple[Scalar, ...] = tuple(value for value in test.values if not isinstance(value, Ref))
    compare = OPERATORS[test.op]
    if len(values) == 1:
        only = values[0]
        return lambda fact: compare(read(fact), only)
    op = test.op
    return lambda fact: holds(op, read(fact), values)


def conjunction(predicates: list[Predicate]) -> Predicate | None:
    """All of several; None for none. Written out for one and two, which nearly all patterns have."""
    match predicates:
        case []:
            return None
        case [only]:
            return only
        case [first, second]:
            return lambda values: first(values) and second(values)
        case _:
            rest = tuple(predicates)
            return lambda values: all(predicate(values) for predicate in rest)
