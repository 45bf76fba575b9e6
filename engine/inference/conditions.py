"""Conditions of a pattern as functions over the values of a fact. Knows nothing of rules or memory."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from engine.facts.registry import BUILT_IN
from engine.rules.model import Condition, FieldPath, Ref, Scalar
from engine.rules.operators import OPERATORS, holds

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


def constant(kind: str, test: Condition) -> Predicate:
    """A condition without references as a function of the fact's values."""
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
