"""What the operators of conditions mean: one meaning for the check of rules and for the core. Alone in its room, it imports re2.

Regular expressions are RE2's, linear in the text whatever the expression: https://github.com/google/re2/wiki/Syntax (no
back-references, no look-around). Knows nothing of facts, patterns or memory.
"""

import json
import operator
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

import re2

from engine.rules.model import Op

MAX_LENGTH = 1_000
"""Characters of an expression: what is longer belongs into several conditions."""

_MAX_MEMORY = 1 << 20
"""Bytes an expression may take when compiled (RE2's default is 8 MiB; a host has hundreds of rules and 60 MiB)."""


class BadRegexError(ValueError):
    """The expression is none; the message says why, in RE2's words."""


def _options() -> re2.Options:
    options = re2.Options()
    options.log_errors = False  # RE2 would write them to stderr; the check reports them
    options.max_mem = _MAX_MEMORY
    return options


@lru_cache(maxsize=4_096)
def compile_regex(expression: str) -> Callable[[str], bool]:
    """A function that says whether the expression occurs anywhere in a text.

    Lone surrogates in the text, which UTF-8 cannot carry, are taken as `?`.

    Raises:
        BadRegexError: the expression is no RE2 expression, or too large.
    """
    if len(expression) > MAX_LENGTH:
        raise BadRegexError(f"longer than {MAX_LENGTH} characters")
    try:
        search = re2.compile(expression.encode(), _options()).search
    except re2.error as error:
        reason = error.args[0] if error.args else "no expression"
        raise BadRegexError(reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)) from error
    except UnicodeEncodeError as error:
        raise BadRegexError("holds a lone surrogate, which is no text") from error

    def matches(text: str) -> bool:
        return search(text.encode(errors="replace")) is not None

    return matches


def equal(value: Any, other: Any) -> bool:
    """Whether two values are equal. Nothing equals nothing; and in Python True == 1, but in a rule a flag is no number."""
    return value is not None and bool(value == other) and isinstance(value, bool) is isinstance(other, bool)


def equality_key(value: Any) -> str | int | float | None:
    """Equal values have equal keys, others do not; None for nothing, which equals nothing. A key survives JSON."""
    kind = type(value)
    if kind is str:
        return "\x00s" + value if value[:1] == "\x00" else value  # type: ignore[no-any-return]  # kind is str
    if value is None or kind is int or kind is float:
        return value if value == value else None  # noqa: PLR0124  NaN equals nothing
    if isinstance(value, bool):
        return "\x00true" if value else "\x00false"
    if isinstance(value, datetime):
        return "\x00t" + value.isoformat()
    return "\x00o" + json.dumps(value, sort_keys=True, default=str)


def _ordered(compare: Callable[[Any, Any], Any]) -> Callable[[Any, Any], bool]:
    def test(value: Any, other: Any) -> bool:
        if value is None or other is None or isinstance(value, bool) or isinstance(other, bool):
            return False
        try:
            return bool(compare(value, other))
        except TypeError:
            times = _moment(value), _moment(other)
            return None not in times and bool(compare(*times))

    return test


def _moment(value: Any) -> datetime | None:
    """A time, also one that a declared fact has as text (RFC 3339); None for anything else."""
    if isinstance(value, datetime):
        return value
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return moment if moment.tzinfo is not None else None


def _contains(value: Any, part: Any) -> bool:
    if isinstance(value, str):
        return isinstance(part, str) and part in value
    return isinstance(value, list | tuple | Mapping) and part in value


def _matches(value: Any, expression: Any) -> bool:
    """A text that matches, or a list one of whose elements does."""
    if not isinstance(expression, str):
        return False
    matches = compile_regex(expression)
    parts = value if isinstance(value, list | tuple) else (value,)
    return any(isinstance(part, str) and matches(part) for part in parts)


def _text(test: Callable[[str, str], bool]) -> Callable[[Any, Any], bool]:
    return lambda value, other: isinstance(value, str) and isinstance(other, str) and test(value, other)


OPERATORS: dict[Op, Callable[[Any, Any], bool]] = {
    "eq": equal,
    "ne": lambda value, other: not equal(value, other),
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
    """Whether a value passes a condition against any of several others (for `ne`: against all of them)."""
    test = OPERATORS[op]
    if op == "ne":
        return all(test(value, other) for other in others)
    return any(test(value, other) for other in others)


def fits(op: Op, value: Any, other: Any) -> bool:
    """Whether an operator means anything for values of these types; equality always does."""
    if op in ("eq", "ne", "exists"):
        return True
    both_text = isinstance(value, str) and isinstance(other, str)
    if op in ("gt", "gte", "lt", "lte"):
        return both_text or (_is_number(value) and _is_number(other))
    return both_text


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
