"""YAML into a small tree that knows where each node stands. Knows nothing of rules.

Built from libyaml's events rather than by its composer: depth and size are then bounded before anything recursive runs, and
aliases are counted before they multiply. Plain scalars are resolved by the core schema of YAML 1.2.2 (section 10.3.2), which is
what editors' language servers use: `yes`, `on` and `1:30` are texts, as they look.
"""

import errno
import math
import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import yaml

from engine.rules import catalogue
from engine.rules.findings import Report, Span

MAX_BYTES = 1 << 20
"""A rules file of 1 MiB would hold some two thousand rules; what is larger is no rules file."""
MAX_DEPTH = 32
"""The rule language needs eight levels."""
MAX_KEYS = 200
"""Keys of one mapping; the largest that the language knows is a fact kind with every field tested in every way."""
MAX_NODES = 200_000
"""Nodes after aliases are followed: more than a file of the largest size holds when it uses none."""

Plain = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class ScalarNode:
    """A value. `text` is how it reads in the file, without quotes."""

    span: Span
    value: Plain
    text: str


@dataclass(frozen=True, slots=True)
class ListNode:
    """A sequence."""

    span: Span
    items: "tuple[Node, ...]"


@dataclass(frozen=True, slots=True)
class MapNode:
    """A mapping; its keys are unique."""

    span: Span
    entries: "tuple[tuple[ScalarNode, Node], ...]"

    def get(self, key: str) -> "Node | None":
        """The value of a key, None when it is missing."""
        return next((value for name, value in self.entries if name.text == key), None)

    @property
    def keys(self) -> tuple[str, ...]:
        """Its keys, in order."""
        return tuple(name.text for name, _ in self.entries)


Node = ScalarNode | ListNode | MapNode

_STANDARD = "tag:yaml.org,2002:"
"""What `!!` at the start of a tag stands for."""

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]{1,18}")  # within 64 bits; what is longer stays a text and is refused where a number is wanted
_OCTAL = re.compile(r"0o[0-7]{1,20}")
_HEX = re.compile(r"0x[0-9a-fA-F]{1,15}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]{1,30}|[0-9]{1,30}(\.[0-9]{0,30})?)([eE][-+]?[0-9]{1,3})?")
# What YAML 1.2.2 section 5.1 calls non-printable, and lone surrogates.
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def resolve(text: str) -> Plain:
    """What a plain (unquoted) scalar means. Infinities and not-a-number stay texts: no field holds them."""
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if _INT.fullmatch(text):
        return int(text)
    if _OCTAL.fullmatch(text) or _HEX.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        number = float(text)
        return number if math.isfinite(number) else text
    return text


@dataclass(slots=True)
class _Open:
    """A collection whose end has not come."""

    start: Span
    mapping: bool
    anchor: str | None
    children: list[Node] = field(default_factory=list)
    weight: int = 1


def read_bounded(path: Path) -> bytes:
    """A file's bytes, at most one more than `MAX_BYTES`. Never waits: a FIFO, a device or a link to one is refused.

    Raises:
        OSError: it cannot be read, or is not a regular file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        return file.read(MAX_BYTES + 1)


def decode(data: bytes, file: str, report: Report) -> str | None:
    """The text of a file, None (and a finding) when it is none."""
    if len(data) > MAX_BYTES:
        report.add(
            catalogue.UNREADABLE, Span(file, 1, 1), f"the file has {len(data)} bytes", expected=f"at most {MAX_BYTES} (1 MiB)"
        )
        return None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        report.add(
            catalogue.UNREADABLE,
            Span(file, before.count(b"\n") + 1, len(before) - (before.rfind(b"\n") + 1) + 1),
            f"byte {data[error.start]:#04x} is not valid UTF-8",
            expected="a text file in UTF-8",
        )
        return None
    report.source(file, text)
    found = _UNPRINTABLE.search(text)
    if found:
        line = text.count("\n", 0, found.start()) + 1
        column = found.start() - (text.rfind("\n", 0, found.start()) + 1) + 1
        report.add(catalogue.UNREADABLE, Span(file, line, column), f"control character U+{ord(found[0]):04X} in the file")
        return None
    return text


def parse_yaml(data: bytes, file: str, report: Report) -> Node | None:
    """The tree of a file; None when it is empty or cannot be read (then with a finding). Never raises, whatever the bytes."""
    text = decode(data, file, report)
    if text is None:
        return None
    try:
        return _Builder(file, report).build(text)
    except yaml.MarkedYAMLError as error:
        begun, problem = error.context_mark, error.problem or "not valid YAML"
        # What was never closed is marked where it begins: its end is the end of the file.
        mark = begun if begun and "end of stream" in problem else error.problem_mark or begun
        span = Span(file, mark.line + 1, mark.column + 1) if mark else Span(file, 1, 1)
        where = f", {error.context} begun at line {begun.line + 1}" if error.context and begun else ""
        hint = "indent with blanks: YAML takes no tabs" if _tab_before(text, span) else ""
        report.add(catalogue.YAML_FAULT, span, f"{problem}{where}", hint=hint)
    except yaml.YAMLError as error:
        report.add(catalogue.YAML_FAULT, Span(file, 1, 1), str(error).splitlines()[0] if str(error) else "not valid YAML")
    except _StopError as stop:
        report.add(catalogue.YAML_FAULT, stop.span, str(stop))
    return None


def _marks(event: yaml.Event) -> tuple[yaml.Mark, yaml.Mark]:
    """Where an event starts and ends; libyaml always says."""
    return cast("yaml.Mark", event.start_mark), cast("yaml.Mark", event.end_mark)


def _tab_before(text: str, span: Span) -> bool:
    lines = text.split("\n")[span.line - 1 : span.line]
    return any("\t" in line[: span.column] for line in lines)


class _StopError(Exception):
    """The file goes beyond a bound."""

    def __init__(self, span: Span, message: str) -> None:
        super().__init__(message)
        self.span = span


class _Builder:
    """Puts events together."""

    def __init__(self, file: str, report: Report) -> None:
        self._file = file
        self._report = report
        self._anchors: dict[str, tuple[Node, int]] = {}
        self._stack: list[_Open] = []
        self._root: Node | None = None
        self._documents = 0

    def build(self, text: str) -> Node | None:
        for event in yaml.parse(text, yaml.CSafeLoader):
            self._on_event(event)
        return self._root

    def _span(self, event: yaml.Event) -> Span:
        start, end = _marks(event)
        length = end.column - start.column if end.line == start.line else 0
        return Span(self._file, start.line + 1, start.column + 1, max(1, length), end.line + 1)

    def _on_event(self, event: yaml.Event) -> None:
        if isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                raise _StopError(self._span(event), "a second document begins; a rules file holds one")
        elif isinstance(event, yaml.NodeEvent):
            self._on_node(event)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._close(event)

    def _on_node(self, event: yaml.NodeEvent) -> None:
        span = self._span(event)
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._anchors:
                raise _StopError(span, f"`*{event.anchor}` names no anchor, or one that holds it")
            self._add(*self._anchors[event.anchor], span)
            return
        tag = event.tag if isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent) else None
        if tag is not None:
            self._report.add(
                catalogue.YAML_FAULT,
                span,
                f"the tag `{tag.replace(_STANDARD, '!!')}` means nothing here",
                hint="leave the tag out",
            )
        if isinstance(event, yaml.ScalarEvent):
            plain = not event.style and tag is None
            node = ScalarNode(span, resolve(event.value) if plain else event.value, event.value)
            if event.anchor:
                self._anchors[event.anchor] = (node, 1)
            self._add(node, 1, span)
            return
        if len(self._stack) >= MAX_DEPTH:
            raise _StopError(span, f"nested more than {MAX_DEPTH} deep")
        self._stack.append(_Open(span, isinstance(event, yaml.MappingStartEvent), event.anchor))

    def _add(self, node: Node, weight: int, span: Span) -> None:
        if not self._stack:
            self._root = node
            return
        parent = self._stack[-1]
        parent.children.append(node)
        parent.weight += weight
        if parent.weight > MAX_NODES:
            raise _StopError(span, f"more than {MAX_NODES} values, aliases counted each time")

    def _close(self, event: yaml.Event) -> None:
        done = self._stack.pop()
        start, (_, end) = done.start, _marks(event)
        length = end.column + 1 - start.column if end.line + 1 == start.line else 1
        span = Span(start.file, start.line, start.column, max(1, length), max(start.line, end.line + 1))
        node: Node
        node = MapNode(span, self._entries(done.children)) if done.mapping else ListNode(span, tuple(done.children))
        if done.anchor:
            self._anchors[done.anchor] = (node, done.weight)
        self._add(node, done.weight, span)

    def _entries(self, children: list[Node]) -> tuple[tuple[ScalarNode, Node], ...]:
        entries: dict[str, tuple[ScalarNode, Node]] = {}
        if len(children) > 2 * MAX_KEYS:
            place = children[2 * MAX_KEYS].span
            self._report.add(catalogue.YAML_FAULT, place, f"a mapping has more than {MAX_KEYS} keys")
            children = children[: 2 * MAX_KEYS]
        for key, value in zip(children[::2], children[1::2], strict=True):
            if not isinstance(key, ScalarNode):
                self._report.add(catalogue.YAML_FAULT, key.span, "a key is a text, not a list or a mapping")
            elif key.text in entries:
                first = entries[key.text][0].span
                self._report.add(catalogue.DUPLICATE_KEY, key.span, f"`{key.text}` stands already at line {first.line}")
            else:
                entries[key.text] = (key, value)
        return tuple(entries.values())
