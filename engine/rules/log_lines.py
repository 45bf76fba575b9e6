"""Which lines of logs the rules ask for. Pure: patterns of kind `log_line` in, what the logs' prefilter looks for out.

A pattern asks by its conditions on `text`: `contains`, `re`, `startswith`, `endswith`, or the whole text. One condition of a
pattern is enough for the prefilter, the longest; the core tests all of them. A pattern without one would need every line of a
log: it asks for nothing, and `without_text` names it for the check.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from engine.rules.model import Condition, Pattern, Position, RuleSet

KIND = "log_line"


class AskedLine(NamedTuple):
    """Lines that a pattern asks for; the fields are those of `engine.logparse.Wanted`."""

    log: str
    """Name of the log; "" for any."""
    text: str
    is_expression: bool = False


_TEXT_OPS = frozenset({"contains", "re", "startswith", "endswith", "eq"})


def wanted_lines(rules: RuleSet) -> tuple[AskedLine, ...]:
    """What the rules ask for, in their order, each once."""
    wanted: dict[AskedLine, None] = {}
    for _, pattern in _patterns(rules):
        asked = [_of_test(test) for test in pattern.tests if test.path == ("text",)]
        best = max((texts for texts in asked if texts), key=lambda texts: min(len(want.text) for want in texts), default=())
        for log in _logs(pattern.tests):
            wanted |= dict.fromkeys(want._replace(log=log) for want in best)
    return tuple(wanted)


def without_text(rules: RuleSet) -> tuple[Position, ...]:
    """Places of rules with a `log_line` pattern that no source can make facts for, since it names no text of the line."""
    return tuple(
        position
        for position, pattern in _patterns(rules)
        if not any(test.path == ("text",) and _of_test(test) for test in pattern.tests)
    )


def _patterns(rules: RuleSet) -> Iterator[tuple[Position, Pattern]]:
    for rule in rules.rules:
        patterns: Iterable[Pattern] = (*rule.when, *rule.unless)
        yield from ((rule.position, pattern) for pattern in patterns if pattern.kind == KIND)


def _of_test(test: Condition) -> tuple[AskedLine, ...]:
    """What a condition on the text asks for; empty for one that does not say what must be there."""
    texts = [value for value in test.values if isinstance(value, str) and value]
    if test.op not in _TEXT_OPS or len(texts) != len(test.values):
        return ()
    return tuple(AskedLine("", text, test.op == "re") for text in texts)


def _logs(tests: tuple[Condition, ...]) -> tuple[str, ...]:
    """Names of the logs that the conditions allow; one empty name for all."""
    for test in tests:
        if test.path == ("log",) and test.op == "eq" and all(isinstance(value, str) for value in test.values):
            return tuple(str(value) for value in test.values)
    return ("",)
