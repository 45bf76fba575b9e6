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
_Pattern = tuple[str, tuple[Condition, ...], Node]

_SPLIT_ABOVE = 8
"""Patterns with one value in common that are tried one by one; more are looked up by a second field."""

_SHARED_AT_MOST = 10_000
"""Different groups of nodes that are held once for all their facts."""


class _Index:
    """Patterns of one kind, by the values of fields that none of the indexes above it went by."""

    __slots__ = ("always", "tables")

    def __init__(self, patterns: list[_Pattern], spent: tuple[str, ...] = ()) -> None:
        # The field that most patterns test for equality sorts best: it makes the fewest tables.
        popularity = Counter(
            name for kind, tests, _ in patterns for name in dict.fromkeys(attribute(kind, t.path) for t in tests if _literal(t))
        )
        tables: dict[str, dict[Any, list[_Pattern]]] = {}
        self.always: list[_Entry] = []
        for kind, tests, node in patterns:
            eligible = [test for test in tests if _literal(test) and attribute(kind, test.path) not in (None, *spent)]
            chosen = max(eligible, key=lambda test: (popularity[attribute(kind, test.path)], test.path), default=None)
            # A number or a flag is tried again after the look-up: 1, 1.0 and True are the same key of a table.
            others = tuple(t for t in tests if t is not chosen or not all(isinstance(value, str) for value in t.values))
            if chosen is None:
                self.always.append(_entry((kind, others, node)))
                continue
            name = attribute(kind, chosen.path)
            assert name is not None  # noqa: S101 - eligible tests have one
            for value in dict.fromkeys(chosen.values):
                tables.setdefault(name, {}).setdefault(value, []).append((kind, others, node))
        self.tables: tuple[tuple[str, dict[Any, list[_Entry] | _Index]], ...] = tuple(
            (name, {value: _bucket(found, (*spent, name)) for value, found in table.items()}) for name, table in tables.items()
        )

    def find(self, values: Mapping[str, Any], found: list[Node]) -> None:
        """Add the nodes whose tests these values pass."""
        for name, table in self.tables:
            try:
                bucket = table.get(values.get(name))
            except TypeError:  # a list or map where a rule expects one value: no literal equals it
                continue
            if bucket is not None:
                _add(bucket, values, found)
        if self.always:
            _add(self.always, values, found)


def _add(bucket: list[_Entry] | _Index, values: Mapping[str, Any], found: list[Node]) -> None:
    if isinstance(bucket, list):
        found.extend([node for test, node in bucket if test is None or test(values)])
    else:
        bucket.find(values, found)


def _entry(pattern: _Pattern) -> _Entry:
    kind, tests, node = pattern
    return conjunction([constant(kind, test) for test in tests]), node


def _bucket(patterns: list[_Pattern], spent: tuple[str, ...]) -> "list[_Entry] | _Index":
    if len(patterns) > _SPLIT_ABOVE:
        index = _Index(patterns, spent)
        if len(index.always) < len(patterns):
            return index
    return [_entry(pattern) for pattern in patterns]


def _literal(test: Condition) -> bool:
    return test.op == "eq" and bool(test.values) and not test.refs


class AlphaNetwork:
    """Patterns by the facts that pass their own tests (those without references)."""

    def __init__(self) -> None:
        self._patterns: dict[str, list[_Pattern]] = {}
        self._kinds: dict[str, _Index] = {}
        self._shared: dict[tuple[Node, ...], tuple[Node, ...]] = {}

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
            index = self._kinds[kind] = _Index(patterns)
        found: list[Node] | None = None
        for name, table in index.tables:  # as `find`, without its call for what concerns nobody
            try:
                bucket = table.get(values.get(name))
            except TypeError:
                continue
            if bucket is not None:
                found = [] if found is None else found
                _add(bucket, values, found)
        if index.always:
            found = [] if found is None else found
            _add(index.always, values, found)
        return tuple(found) if found else ()

    def shared(self, nodes: tuple[Node, ...]) -> tuple[Node, ...]:
        """The same nodes as one tuple for all facts that they concern."""
        if len(self._shared) > _SHARED_AT_MOST:
            self._shared.clear()
        return self._shared.setdefault(nodes, nodes)
