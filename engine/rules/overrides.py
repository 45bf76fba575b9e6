"""Overrides: other values for single rules on some hosts, without copying the rules. Trees in, trees out; reads no file.

An override replaces nodes in the tree of a rules file before anything looks at it, and brings its own places along: every check
then judges the overridden rule as if it had been written so, and points into the file that says it.

    overrides:
      - rule: container-storm
        set: {when.storm.at_least: 50, severity: error}
        unless: [{fact: disk, path: /backup}]
      - rule: restart-loop
        disable: true
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from engine.rules import catalogue, decode
from engine.rules.findings import Report, Span, nearest, one_of
from engine.rules.yamltree import ListNode, MapNode, Node, ScalarNode

ADDABLE = ("severity", "for", "priority", "resolve_after", "runbook", "next")
"""Keys of a rule that may be set although the rule does not have them."""

FIXED = frozenset({"rule", "fact", "do", "assert", "retract"})
"""What makes a rule this rule: another fact kind or action is another rule, not a setting of this one."""

_KEYS = ("rule", "set", "unless", "disable")
_SHOWN_PATHS = 12
"""Paths listed as expected: more would hide the nearest one."""


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that an override does, for people."""

    span: Span
    rule: str
    what: str

    def __str__(self) -> str:
        """In one line."""
        return f"{self.span.position}: override of {self.rule}: {self.what}"


@dataclass(slots=True)
class Overridden:
    """Trees of rules files with the overrides in them, and the rules that are switched off."""

    trees: dict[str, Node]
    disabled: set[str]
    changes: list[Change]


def layers(host: str, groups: Iterable[str]) -> tuple[str, ...]:
    """Names of the override files that are for a host, in the order in which they apply: later ones count over earlier ones."""
    return ("all.yaml", *(f"groups/{group}.yaml" for group in groups), f"hosts/{host}.yaml")


def is_layer(name: str) -> bool:
    """Whether there can be a host that an override file, by its path below `overrides/`, is for."""
    return name == "all.yaml" or (name.startswith(("groups/", "hosts/")) and name.endswith(".yaml"))


def apply(trees: Mapping[str, Node], overrides: Iterable[tuple[str, Node]], report: Report) -> Overridden:
    """The trees with every override in them, in order; faults of the overrides go into the report."""
    result = Overridden(dict(trees), set(), [])
    for file, tree in overrides:
        mapping = decode.as_map(tree, "the file", report)
        if mapping is None:
            continue
        decode.known_keys(mapping, ("overrides",), "the file", report)
        listed = mapping.get("overrides")
        listing = decode.as_list(listed, "`overrides`", report) if listed is not None else None
        if listed is None:
            report.add(
                catalogue.MISSING_KEY, Span(file, 1, 1), "the file has no `overrides`", expected="a list under `overrides:`"
            )
        for item in listing.items if listing is not None else ():
            _apply_one(item, result, report)
    return result


def _apply_one(node: Node, result: Overridden, report: Report) -> None:
    mapping = decode.as_map(node, "an override", report)
    if mapping is None:
        return
    decode.known_keys(mapping, _KEYS, "an override", report)
    named = mapping.get("rule")
    ident = decode.as_text(named, "`rule`", report) if named is not None else None
    if named is None:
        report.add(catalogue.MISSING_KEY, mapping.span, "an override names its `rule`")
    if named is None or ident is None:
        return
    found = _find(result.trees, ident)
    if found is None:
        near = nearest(ident, _ids(result.trees))
        report.add(catalogue.BAD_OVERRIDE, named.span, f"unknown rule `{ident}`", nearest=near)
        return
    file, rule = found
    changed = rule
    setting = mapping.get("set")
    values = decode.as_map(setting, "`set`", report) if setting is not None else None
    for key, value in values.entries if values is not None else ():
        after = _set(changed, key, value, report)
        if after is not None:
            result.changes.append(Change(key.span, ident, f"{key.text}: {_shown(_at(changed, key.text))} -> {_shown(value)}"))
            changed = after
    more = mapping.get("unless")
    listing = decode.as_list(more, "`unless`", report) if more is not None else None
    if listing is not None and more is not None:
        changed = _extend(changed, listing)
        result.changes.append(Change(more.span, ident, f"{len(listing.items)} more `unless`"))
    off = mapping.get("disable")
    if off is not None and decode.as_bool(off, "`disable`", report):
        result.disabled.add(ident)
        result.changes.append(Change(off.span, ident, "disabled"))
    result.trees[file] = _swap(result.trees[file], rule, changed)


def _rules(tree: Node) -> tuple[MapNode, ...]:
    listing = tree.get("rules") if isinstance(tree, MapNode) else None
    return tuple(item for item in listing.items if isinstance(item, MapNode)) if isinstance(listing, ListNode) else ()


def _id(rule: MapNode) -> str:
    node = rule.get("rule")
    return node.text if isinstance(node, ScalarNode) else ""


def _ids(trees: Mapping[str, Node]) -> list[str]:
    return [_id(rule) for tree in trees.values() for rule in _rules(tree)]


def _find(trees: Mapping[str, Node], ident: str) -> tuple[str, MapNode] | None:
    return next(((file, rule) for file, tree in trees.items() for rule in _rules(tree) if _id(rule) == ident), None)


def _swap(tree: Node, before: Node, after: Node) -> Node:
    """The same tree with one rule in the place of another."""
    assert isinstance(tree, MapNode)  # noqa: S101  a rule was found in it
    listing = tree.get("rules")
    assert isinstance(listing, ListNode)  # noqa: S101  as above
    items = tuple(after if item is before else item for item in listing.items)
    return _with(tree, "rules", replace(listing, items=items))


def _with(mapping: MapNode, key: str, value: Node) -> MapNode:
    return replace(mapping, entries=tuple((name, value if name.text == key else old) for name, old in mapping.entries))


def _extend(rule: MapNode, more: ListNode) -> MapNode:
    there = rule.get("unless")
    if isinstance(there, ListNode):
        return _with(rule, "unless", replace(there, items=(*there.items, *more.items)))
    if there is not None:  # a single pattern, or what the check will refuse
        return _with(rule, "unless", ListNode(there.span, (there, *more.items)))
    return replace(rule, entries=(*rule.entries, (ScalarNode(more.span, "unless", "unless"), more)))


def _set(rule: MapNode, key: ScalarNode, value: Node, report: Report) -> MapNode | None:
    path = key.text
    if not _is_literal(value):
        report.add(catalogue.BAD_OVERRIDE, value.span, f"`{path}` is not set to a value", expected="a value, or a list of values")
        return None
    if path in ADDABLE and rule.get(path) is None:
        return replace(rule, entries=(*rule.entries, (key, value)))
    known = dict(_paths(rule))
    if path not in known:
        report.add(
            catalogue.BAD_OVERRIDE,
            key.span,
            f"the rule `{_id(rule)}` has no `{path[:100]}`",
            nearest=nearest(path, known),
            expected=one_of(known) if len(known) <= _SHOWN_PATHS else "",
        )
        return None
    changed = _replaced(rule, known[path], value)
    assert isinstance(changed, MapNode)  # noqa: S101  a path is never empty
    return changed


def value_paths(trees: Iterable[Node], ident: str) -> list[str] | None:
    """Every value of a rule that may be set, by its path (`when.storm.at_least`); None when there is no such rule."""
    for tree in trees:
        for rule in _rules(tree):
            if _id(rule) == ident:
                return [path for path, _ in _paths(rule)]
    return None


def _is_literal(node: Node) -> bool:
    return isinstance(node, ScalarNode) or (
        isinstance(node, ListNode) and all(isinstance(item, ScalarNode) for item in node.items)
    )


Steps = tuple[str | int, ...]


def _paths(node: Node, so_far: Steps = ()) -> Iterable[tuple[str, Steps]]:
    """Every value of a rule that may be set, by its path: keys joined with dots, places in a list counted from 1."""
    if isinstance(node, MapNode):
        for key, value in node.entries:
            if key.text not in FIXED or isinstance(value, MapNode):
                yield from _paths(value, (*so_far, key.text))
    elif _is_literal(node) and so_far:
        yield ".".join(str(step + 1) if isinstance(step, int) else step for step in so_far), so_far
    elif isinstance(node, ListNode):
        for number, item in enumerate(node.items):
            yield from _paths(item, (*so_far, number))


def _replaced(node: Node, steps: Steps, value: Node) -> Node:
    if not steps:
        return value
    step, rest = steps[0], steps[1:]
    if isinstance(node, MapNode):
        entries = tuple((key, _replaced(old, rest, value) if key.text == step else old) for key, old in node.entries)
        return replace(node, entries=entries)
    assert isinstance(node, ListNode)  # noqa: S101  a path leads through maps and lists alone
    return replace(node, items=tuple(_replaced(old, rest, value) if n == step else old for n, old in enumerate(node.items)))


def _at(rule: MapNode, path: str) -> Node | None:
    steps = dict(_paths(rule)).get(path)
    node: Node | None = rule
    for step in steps or ():
        node = node.get(str(step)) if isinstance(node, MapNode) else node.items[int(step)] if isinstance(node, ListNode) else None
    return node if steps else None


def _shown(node: Node | None) -> str:
    if isinstance(node, ScalarNode):
        return node.text[:80]
    return "[" + ", ".join(_shown(item) for item in node.items) + "]" if isinstance(node, ListNode) else "(not set)"
