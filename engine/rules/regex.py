"""Regular expressions of rules: RE2, linear in the text whatever the expression. The only module that imports re2.

Syntax: https://github.com/google/re2/wiki/Syntax (no back-references, no look-around).
"""

from collections.abc import Callable
from functools import lru_cache

import re2

MAX_LENGTH = 1_000
"""Characters of an expression: what is longer belongs into several tests."""

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
