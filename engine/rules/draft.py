"""Rules as they were read: the parts of `engine.rules.model` with the place of each in its file, before anything was judged.

A part that could not be read is None or left out; the finding about it is in the report already. Checks look at drafts;
`engine.rules.build` makes rules of those that are clean.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from engine.facts.timestamps import Micros
from engine.rules.findings import Span
from engine.rules.kinds import FieldType
from engine.rules.model import FieldPath, Op, Rate, Ref, Retry, Scalar, Template, Value


@dataclass(frozen=True, slots=True)
class DraftCondition:
    """`field|op: value`; one span for each value."""

    path: FieldPath
    op: Op
    values: tuple[Scalar | Ref, ...]
    span: Span
    value_spans: tuple[Span, ...]

    @property
    def refs(self) -> Iterator[tuple[Ref, Span]]:
        """The references among the values."""
        for value, span in zip(self.values, self.value_spans, strict=True):
            if isinstance(value, Ref):
                yield value, span

    @property
    def literals(self) -> Iterator[tuple[Scalar, Span]]:
        """The other values."""
        for value, span in zip(self.values, self.value_spans, strict=True):
            if not isinstance(value, Ref):
                yield value, span


@dataclass(frozen=True, slots=True)
class DraftPattern:
    """A pattern of any of the three forms; what belongs to another form is left empty."""

    form: Literal["fact", "count", "missing"]
    name: str
    name_span: Span
    kind: str | None
    kind_span: Span
    tests: tuple[DraftCondition, ...] = ()
    by: tuple[tuple[FieldPath, Span], ...] = ()
    within: Micros = 0
    at_least: int = 1
    duration: Micros = 0


@dataclass(frozen=True, slots=True)
class DraftValue:
    """A value of an effect under its name."""

    name: str
    name_span: Span
    value: Value
    span: Span

    @property
    def refs(self) -> tuple[Ref, ...]:
        """The references in it."""
        if isinstance(self.value, Ref):
            return (self.value,)
        return self.value.refs if isinstance(self.value, Template) else ()


@dataclass(frozen=True, slots=True)
class DraftText:
    """A text with placeholders."""

    template: Template
    span: Span


@dataclass(frozen=True, slots=True)
class DraftEffect:
    """An effect of any form. `name` is the action or the fact kind; `binding` what `retract: $name` names."""

    form: Literal["alert", "do", "assert", "retract"]
    span: Span
    text: DraftText | None = None
    name: str | None = None
    name_span: Span | None = None
    values: tuple[DraftValue, ...] = ()
    unread: tuple[str, ...] = ()
    """Names whose values could not be read: they are there all the same."""
    rate: Rate | None = None
    retry: Retry | None = None
    ttl: Micros | None = None
    while_supported: bool = False
    binding: str | None = None


@dataclass(frozen=True, slots=True)
class DraftRule:
    """A rule."""

    id: str
    id_span: Span
    span: Span
    order: tuple[int, int]
    when: tuple[DraftPattern, ...] = ()
    unless: tuple[DraftPattern, ...] = ()
    then: tuple[DraftEffect, ...] = ()
    severity: str | None = None
    has_severity: bool = False
    """The key stands there, readable or not."""
    title: str = ""
    has_title: bool = False
    runbook: str = ""
    runbook_span: Span | None = None
    advice: DraftText | None = None
    incident: str = ""
    hold: Micros = 0
    hold_span: Span | None = None
    key: DraftText | None = None
    has_key: bool = False
    """As `has_severity`."""
    priority: int = 0
    resolve_after: Micros | None = None

    @property
    def shown(self) -> str:
        """How findings call it."""
        return f"the rule `{self.id}`" if self.id else "the rule"

    def pattern(self, name: str) -> DraftPattern | None:
        """The pattern under `when` of that name."""
        return next((pattern for pattern in self.when if pattern.name == name), None)

    @property
    def raises_alert(self) -> bool:
        """One of its effects is an alert."""
        return any(effect.form == "alert" for effect in self.then)


@dataclass(frozen=True, slots=True)
class DraftKind:
    """A fact kind that `facts:` declares."""

    name: str
    span: Span
    fields: tuple[tuple[str, FieldType, Span], ...]
    doc: str = ""


@dataclass(frozen=True, slots=True)
class DraftFile:
    """What one file holds."""

    file: str
    rules: tuple[DraftRule, ...] = ()
    kinds: tuple[DraftKind, ...] = ()
