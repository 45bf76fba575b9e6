"""Which patterns does a fact concern? Looked up by the value of one field rather than tried one by one.

Of the tests of a pattern for equality with a literal, one is its discriminator: patterns of a kind are kept in a table by the
discriminator's value, so that a thousand rules on `class` or `action` cost as much as one. The other tests are tried one by one.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from engine.inference.conditions import Predicate, attribute, conjunction, constant
from engine.inference.items import Node
from engine.rules.model import Condition

_Entry = tuple[Predicate | None, Node]


class _Kind:
    """Patterns of one kind."""

    __slots__ = ("always", "tables")

    def __init__(self, patterns: list[tuple[str, tuple[Condition, ...], Node]]) -> None:
        # The field that most patterns test for equality sorts best: it makes the fewest tables.
        popularity = Counter(
            name for kind, tests, _ in patterns for name in dict.fromkeys(attribute(kind, t.path) for t in tests if _literal(t))
        )
        tables: dict[str, dict[Any, list[_Entry]]] = {}
        self.always: list[_Entry] = []
        for kind, tests, node in patterns:
            eligible = [test for test in tests if _literal(test) and attribute(kind, test.path) is not None]
            chosen = max(eligible, key=lambda test: (popularity[attribute(kind, test.path)], test.path), default=None)
            # A number or a flag is tried again after the look-up: 1, 1.0 and True are the same key of a table.
            others = [t for t in tests if t is not chosen or not all(isinstance(value, str) for value in t.values)]
            entry = (conjunction([constant(kind, test) for test in others]), node)
            if chosen is None:
                self.always.append(entry)
                continue
            name = attribute(kind, chosen.path)
            assert name is not None  # noqa: S101 - eligible tests have one
            for value in dict.fromkeys(chosen.values):
                tables.setdefault(name, {}).setdefault(value, []).append(entry)
        self.tables = tuple(tables.items())


def _literal(test: Condition) -> bool:
    return test.op == "eq" and bool(test.values) and not test.refs


class AlphaNetwork:
    """Patterns by the facts that pass their own tests (those without references)."""

    def __init__(self) -> None:
        self._patterns: dict[str, list[tuple[str, tuple[Condition, ...], Node]]] = {}
        self._kinds: dict[str, _Kind] = {}

    def add(self, kind: str, tests: Iterable[Condition], node: Node) -> None:
        """A pattern over facts of this kind; tests with references are not looked at."""
        own = tuple(test for test in tests if not test.refs)
        self._patterns.setdefault(kind, []).append((kind, own, node))
        self._kinds.pop(kind, None)

    def nodes_for(self, kind: str, values: Mapping[str, Any]) -> tuple[Node, ...]:
        """Nodes whose tests these values pass, in the order in which they were added within one table."""
        index = self._kinds.get(kind)
        if index is None:
            patterns = self._patterns.get(kind)
            if patterns is None:
                return ()
            index = self._kinds[kind] = _Kind(patterns)
        found: list[Node] = []
        for name, table in index.tables:
            value = values.get(name)
            try:
                entries = table.get(value)
            except TypeError:  # a list or map where a rule expects one value: no literal equals it
                continue
            if entries is not None:
                found.extend([node for test, node in entries if test is None or test(values)])
        if index.always:
            found.extend([node for test, node in index.always if test is None or test(values)])
        return tuple(found)
