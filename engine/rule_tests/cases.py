"""Reads the tests of rules (`*.test.yaml`): what is given, and what is expected, each with its line.

A fault is a finding like those of rules files, with its place and an excerpt, so that `check` shows both together.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from engine.action_catalog import ACTIONS
from engine.facts.timestamps import Micros
from engine.rules import catalogue
from engine.rules.findings import Report, Span, nearest, one_of
from engine.rules.kinds import Kinds
from engine.rules.units import parse_duration
from engine.rules.yamltree import ListNode, MapNode, Node, ScalarNode, decode, parse_yaml, read_bounded

MAX_TIMES = 100_000
"""Repetitions of one given fact: a storm of 6,000 with room to spare."""

TEST_KEYS = ("name", "given", "expect", "only", "description")
GIVEN_KEYS = ("at", "every", "times")
EXPECT_KEYS = ("at", "rule", "alert", "key", "text", "action", "params", "does", "fact", "absent", "times")


@dataclass(frozen=True, slots=True)
class Given:
    """A fact, perhaps repeated. Times in microseconds from the start of the test."""

    at: Micros
    every: Micros
    times: int
    content: dict[str, Any]
    line: int


@dataclass(frozen=True, slots=True)
class Expectation:
    """What must be so (or, with `absent`, must not be) at a moment."""

    at: Micros
    line: int
    rule: str = ""
    key: str | None = None
    alert: Literal["firing", "resolved"] | None = None
    text: str | None = None
    action: str | None = None
    params: dict[str, Any] = field(default_factory=dict)
    does: Literal["alert", "action", "assert", "retract"] | None = None
    fact: dict[str, Any] = field(default_factory=dict)
    absent: bool = False
    times: int | None = None
    """How often it must have been decided by then, exactly; None: at least once, and as the last word for an alert."""

    def described(self) -> str:
        """What is expected, in words."""
        what = f"alert {self.alert}" if self.alert else f"action {self.action}" if self.action else self.does or "a firing"
        often = "" if self.times is None else f", {self.times} time{'' if self.times == 1 else 's'}"
        return f"{what} of {self.rule or 'any rule'}{f' [{self.key}]' if self.key is not None else ''}{often}"


@dataclass(frozen=True, slots=True)
class Case:
    """One test."""

    file: str
    name: str
    line: int
    given: tuple[Given, ...]
    expect: tuple[Expectation, ...]
    only: bool = False


def read_cases(path: Path, report: Report, *, kinds: Kinds, rules: frozenset[str]) -> list[Case]:
    """The tests of one file; what is wrong goes into the report, and a file with an error gives no test."""
    name = str(path)
    try:
        data = read_bounded(path)
    except OSError as error:
        report.add(catalogue.UNREADABLE, Span(name, 1, 1), f"cannot be read: {error.strerror}")
        return []
    before = report.count
    text = decode(data, name, report)
    root = parse_yaml(data, name, report) if text is not None else None
    if root is None:
        return []
    cases = _Reader(name, report, kinds, rules).cases(root)
    return cases if report.count == before else []


class _Reader:
    """Reads one file."""

    def __init__(self, file: str, report: Report, kinds: Kinds, rules: frozenset[str]) -> None:
        self._file = file
        self._report = report
        self._kinds = kinds
        self._rules = rules

    def cases(self, root: Node) -> list[Case]:
        tests = root.get("tests") if isinstance(root, MapNode) else None
        if not isinstance(root, MapNode) or not isinstance(tests, ListNode):
            self._wrong(root.span, "a test file has a list `tests:`")
            return []
        self._keys(root, ("tests", "incident"))
        return [case for item in tests.items if (case := self._case(item)) is not None]

    def _case(self, node: Node) -> Case | None:
        if not isinstance(node, MapNode):
            self._wrong(node.span, "a test is a map with name, given and expect")
            return None
        self._keys(node, TEST_KEYS)
        name, given, expect, only = (node.get(key) for key in ("name", "given", "expect", "only"))
        if not isinstance(name, ScalarNode) or not name.text:
            self._wrong(node.span, "a test has a name: one sentence that says what it holds")
        if not isinstance(given, ListNode) or not isinstance(expect, ListNode):
            self._wrong(node.span, "a test has a list `given:` and a list `expect:` (empty: nothing may fire)")
            return None
        return Case(
            self._file,
            name.text if isinstance(name, ScalarNode) else "",
            node.span.line,
            tuple(one for item in given.items if (one := self._given(item)) is not None),
            tuple(wanted for item in expect.items if (wanted := self._expectation(item)) is not None),
            only=isinstance(only, ScalarNode) and only.value is True,
        )

    def _given(self, node: Node) -> Given | None:
        if not isinstance(node, MapNode):
            self._wrong(node.span, "a given fact is a map with at, fact and its fields")
            return None
        content = {key.text: plain(value) for key, value in node.entries if key.text not in GIVEN_KEYS}
        self._kind(node, "retract" if "retract" in content else "fact")
        self._given_fields(node, content)
        times = node.get("times")
        number = times.value if isinstance(times, ScalarNode) else 1
        if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= MAX_TIMES:
            self._wrong((times or node).span, f"`times` is a number from 1 to {MAX_TIMES}")
            return None
        return Given(self._time(node, "at"), self._time(node, "every", needed=number > 1), number, content, node.span.line)

    def _given_fields(self, node: MapNode, content: dict[str, Any]) -> None:
        """A given fact of a built-in kind has the fields that its kind needs, and no others."""
        named = node.get("fact")
        kind = self._kinds.get(named.text) if isinstance(named, ScalarNode) else None
        if named is None or kind is None or not kind.built_in:
            return
        for name, found in kind.fields.items():
            if found.required and name not in content:
                message = f"a given {kind.name} needs `{name}`"
                self._report.add(catalogue.BAD_TEST, named.span, message, expected=f"{name}: {found.shown}")
        known = (*kind.names, "ttl", "fact", *GIVEN_KEYS)
        for key, _ in node.entries:
            if key.text not in known:
                message = f"{kind.name} has no field `{key.text}`"
                self._report.add(catalogue.BAD_TEST, key.span, message, nearest=nearest(key.text, known))

    def _expectation(self, node: Node) -> Expectation | None:
        if not isinstance(node, MapNode):
            self._wrong(node.span, "an expectation is a map with at and what must be so")
            return None
        fields = {key.text: plain(value) for key, value in node.entries}
        if "fact" in fields:
            self._kind(node, "fact")
            fact = {name: value for name, value in fields.items() if name not in ("at", "absent")}
            return Expectation(self._time(node, "at"), node.span.line, fact=fact, absent=fields.get("absent") is True)
        action = fields.get("action")
        known = (*EXPECT_KEYS, *(ACTIONS[action].params if isinstance(action, str) and action in ACTIONS else ()))
        self._keys(node, known)
        self._one_of(node, "alert", ("firing", "resolved"))
        self._one_of(node, "action", tuple(ACTIONS))
        self._one_of(node, "does", ("alert", "action", "assert", "retract"))
        self._one_of(node, "rule", tuple(sorted(self._rules)))
        if not {"rule", "alert", "action", "does"} & fields.keys():
            self._wrong(node.span, "an expectation names a rule, an alert, an action, or a fact")
        params = {name: value for name, value in fields.items() if name not in EXPECT_KEYS}
        return Expectation(
            self._time(node, "at"),
            node.span.line,
            rule=str(fields.get("rule", "")),
            key=None if fields.get("key") is None else str(fields["key"]),
            alert=fields.get("alert"),
            text=None if fields.get("text") is None else str(fields["text"]),
            action=action,
            params={**(fields.get("params") or {}), **params},
            does=fields.get("does"),
            absent=fields.get("absent") is True,
            times=self._times(node),
        )

    def _times(self, node: MapNode) -> int | None:
        times = node.get("times")
        if times is None:
            return None
        number = times.value if isinstance(times, ScalarNode) else None
        if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number <= MAX_TIMES:
            self._wrong(times.span, f"`times` is a number from 0 to {MAX_TIMES}: how often it was decided by then, exactly")
            return None
        if "absent" in node.keys:
            self._wrong(times.span, "`times` and `absent` stand in one expectation: write `times: 0`, or `absent: true`")
        return number

    # -- small questions ------------------------------------------------------------------------------------------

    def _time(self, node: MapNode, key: str, *, needed: bool = True) -> Micros:
        value = node.get(key)
        if value is None:
            if needed:
                self._wrong(node.span, f"`{key}` is missing: a time such as 95s")
            return 0
        text = value.text if isinstance(value, ScalarNode) else ""
        try:
            return parse_duration("0s" if text == "0" else text)
        except ValueError as error:
            self._report.add(catalogue.BAD_TEST, value.span, f"`{key}: {text}` is {error}", expected="95s, 10m, 1h30m")
            return 0

    def _kind(self, node: MapNode, key: str) -> None:
        value = node.get(key)
        name = value.text if isinstance(value, ScalarNode) else ""
        if name not in self._kinds:
            known = [kind.name for kind in self._kinds]
            place = value.span if value is not None else node.span
            message = f"unknown fact kind `{name}`" if name else "a given fact needs its kind: `fact: container`, say"
            self._report.add(catalogue.BAD_TEST, place, message, nearest=nearest(name, known))

    def _one_of(self, node: MapNode, key: str, known: tuple[str, ...]) -> None:
        value = node.get(key)
        if isinstance(value, ScalarNode) and value.text not in known:
            self._report.add(
                catalogue.BAD_TEST,
                value.span,
                f"unknown {key} `{value.text}`",
                expected=one_of(known) if len(known) <= 10 else "",  # noqa: PLR2004  a longer list helps nobody
                nearest=nearest(value.text, known),
            )

    def _keys(self, node: MapNode, known: tuple[str, ...]) -> None:
        for key, _ in node.entries:
            if key.text not in known:
                self._report.add(
                    catalogue.BAD_TEST,
                    key.span,
                    f"unknown key `{key.text}`",
                    expected=one_of(known),
                    nearest=nearest(key.text, known),
                )

    def _wrong(self, span: Span, message: str) -> None:
        self._report.add(catalogue.BAD_TEST, span, message)


def plain(node: Node) -> Any:
    """A node as Python has it."""
    match node:
        case ScalarNode():
            return node.value
        case ListNode():
            return [plain(item) for item in node.items]
        case MapNode():
            return {key.text: plain(value) for key, value in node.entries}
