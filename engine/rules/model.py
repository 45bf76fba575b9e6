"""A rule as the core uses it: checked, typed, with every duration in microseconds. Knows no YAML.

`engine.rules.reader` makes these from files; `engine.inference` matches them.
"""

from dataclasses import dataclass, field
from typing import Literal

from engine.facts.outcomes import Severity
from engine.facts.timestamps import Micros

Scalar = str | int | float | bool
Op = Literal["eq", "ne", "gt", "gte", "lt", "lte", "contains", "startswith", "endswith", "re", "exists"]

FieldPath = tuple[str] | tuple[str, str]
"""A field, or a field that is a map and a key in it: `labels.com.example.role` is ("labels", "com.example.role")."""


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a file; line and column count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Ref:
    """`$binding.field`: a field of what another pattern bound."""

    binding: str
    path: FieldPath


@dataclass(frozen=True, slots=True)
class Condition:
    """`field|op: value`. Several values: any of them matches (for `ne`: none of them is equal)."""

    path: FieldPath
    op: Op
    values: tuple[Scalar | Ref, ...]

    @property
    def refs(self) -> tuple[Ref, ...]:
        """The references among the values."""
        return tuple(value for value in self.values if isinstance(value, Ref))


@dataclass(frozen=True, slots=True)
class FactPattern:
    """Matches one fact."""

    name: str
    kind: str
    tests: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True)
class CountPattern:
    """Matches a group of facts while at least so many of them lie within the window."""

    name: str
    kind: str
    tests: tuple[Condition, ...]
    by: tuple[FieldPath, ...]
    within: Micros
    at_least: int


@dataclass(frozen=True, slots=True)
class MissingPattern:
    """Matches while no such fact was seen for so long."""

    name: str
    kind: str
    tests: tuple[Condition, ...]
    duration: Micros


Pattern = FactPattern | CountPattern | MissingPattern


DURATION = "duration"
"""The format that shows a number of seconds as a length of time: `{disk.full_in_s:duration}` is `3h40m`."""


@dataclass(frozen=True, slots=True)
class Placeholder:
    """`{binding.field}` in a text, with an optional format after a colon (`{disk.used_ratio:.0%}`)."""

    ref: Ref
    format: str = ""


@dataclass(frozen=True, slots=True)
class Template:
    """A text with placeholders."""

    parts: tuple[str | Placeholder, ...]

    @property
    def refs(self) -> tuple[Ref, ...]:
        """The references in it."""
        return tuple(part.ref for part in self.parts if isinstance(part, Placeholder))


Value = Scalar | Ref | Template | tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class Retry:
    """Exponential backoff: attempt n (from 1) that failed is tried again after min(first * factor**(n-1), max) * (1 ± jitter).

    The durations are microseconds; `jitter` is a share from 0 to 1; `attempts` counts the first one too.
    """

    first: Micros = 5_000_000
    factor: float = 2.0
    max: Micros = 1_800_000_000
    jitter: float = 0.2
    attempts: int = 12


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `count` in `per` microseconds."""

    count: float
    per: Micros


@dataclass(frozen=True, slots=True)
class AlertEffect:
    """Raise the rule's alert; the template is its summary."""

    text: Template


@dataclass(frozen=True, slots=True)
class DoEffect:
    """Ask for an action."""

    action: str
    params: tuple[tuple[str, Value], ...]
    rate: Rate | None = None
    retry: Retry | None = None


@dataclass(frozen=True, slots=True)
class AssertEffect:
    """Add a fact."""

    kind: str
    fields: tuple[tuple[str, Value], ...]
    ttl: Micros | None = None
    while_supported: bool = False


@dataclass(frozen=True, slots=True)
class RetractEffect:
    """Take facts back: the one that a pattern bound, or every state fact of a kind whose fields equal these."""

    binding: str | None = None
    kind: str | None = None
    fields: tuple[tuple[str, Value], ...] = ()


Effect = AlertEffect | DoEffect | AssertEffect | RetractEffect


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. `version` is a hash of everything that decides what it does; `order` its place among all rules."""

    id: str
    title: str
    severity: Severity
    when: tuple[Pattern, ...]
    then: tuple[Effect, ...]
    unless: tuple[FactPattern | CountPattern, ...] = ()
    hold: Micros = 0
    """`for`: how long the match must hold before it fires."""
    key: Template = field(default_factory=lambda: Template(()))
    priority: int = 0
    resolve_after: Micros | None = None
    incident: str = ""
    runbook: str = ""
    advice: Template = field(default_factory=lambda: Template(()))
    """`next`: what to do next, in one sentence; stands in the alert, filled in when the rule fires."""
    version: str = ""
    order: tuple[int, int] = (0, 0)
    """Place of its file among the files, and of the rule in its file."""
    position: Position = Position("", 0, 0)


@dataclass(frozen=True, slots=True)
class RuleSet:
    """Every rule of a folder, in order, with the kinds that they declare."""

    rules: tuple[Rule, ...]
    declared: frozenset[str] = frozenset()
    version: str = ""
    """Hash over all rules; the commit stands beside it where the folder is a Git repository."""
