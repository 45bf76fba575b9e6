"""Do the effects of a rule make sense: actions and parameters, asserted and retracted facts, texts with placeholders?"""

import re
from datetime import UTC, datetime

from engine.action_catalog import ACTIONS, ActionSpec
from engine.rules import catalogue
from engine.rules.checks.patterns import comparable, known_kind, literal_fault, report_problem
from engine.rules.declared_kinds import value_type
from engine.rules.decode import describe_value
from engine.rules.draft import DraftEffect, DraftRule, DraftText, DraftValue
from engine.rules.findings import Report, Span, nearest, one_of
from engine.rules.kinds import FieldType, Kinds
from engine.rules.model import DURATION, Placeholder, Ref, Template
from engine.rules.scope import Problem, resolve
from engine.rules.text import join_path

_SAMPLES: dict[str, object] = {
    "string": "text",
    "integer": 1,
    "number": 0.5,
    "time": datetime(2026, 11, 20, tzinfo=UTC),
}
"""One value of each type, to try a format on."""


# Four digits in a format would make a text of a thousand blanks and more out of one number.
_BAD_FORMAT = re.compile(r"[0-9]{4}|[{}\x00-\x1f]")
_MAX_FORMAT = 32


def check_effects(rule: DraftRule, kinds: Kinds, report: Report) -> None:
    """Every effect of a rule, its key, and its advice."""
    for text in (rule.key, rule.advice):
        if text is not None:
            _check_text(rule, text, kinds, report)
    for effect in rule.then:
        if effect.text is not None:
            _check_text(rule, effect.text, kinds, report)
        for value in effect.values:
            _check_refs(rule, value, kinds, report)
        if effect.form == "do":
            _check_action(rule, effect, kinds, report)
        elif effect.form == "assert":
            _check_assert(rule, effect, kinds, report)
        elif effect.form == "retract":
            _check_retract(rule, effect, kinds, report)


def _check_text(rule: DraftRule, text: DraftText, kinds: Kinds, report: Report) -> None:
    for part in text.template.parts:
        if isinstance(part, Placeholder):
            _check_placeholder(rule, part, text.span, kinds, report)


def _check_placeholder(rule: DraftRule, part: Placeholder, span: Span, kinds: Kinds, report: Report) -> None:
    name = f"{part.ref.binding}.{join_path(part.ref.path)}"
    place = report.within(span, f"{{{name}")
    found = resolve(rule, kinds, part.ref)
    if isinstance(found, Problem):
        report_problem(found, place, report)
        return
    sample = _SAMPLES.get(found.name)
    if not part.format or found.name == "any":
        return
    if part.format == DURATION and found.name in ("integer", "number"):
        return
    if sample is None or not _formats(sample, part.format):
        report.add(
            catalogue.BAD_FORMAT,
            report.within(span, f":{part.format}}}"),
            f"`{name}` is {found.shown}: the format `{part.format}` does not go with it",
            expected="one such as .1f or .0%, or duration for seconds" if found.name in ("integer", "number") else "none",
        )


def _formats(sample: object, form: str) -> bool:
    if len(form) > _MAX_FORMAT or _BAD_FORMAT.search(form):
        return False
    try:
        return bool(format(sample, form))
    except (ValueError, TypeError):
        return False


def _check_refs(rule: DraftRule, value: DraftValue, kinds: Kinds, report: Report) -> None:
    if isinstance(value.value, Template):
        _check_text(rule, DraftText(value.value, value.span), kinds, report)
    elif isinstance(value.value, Ref):
        found = resolve(rule, kinds, value.value)
        if isinstance(found, Problem):
            report_problem(found, value.span, report)


def _check_action(rule: DraftRule, effect: DraftEffect, kinds: Kinds, report: Report) -> None:
    spec = ACTIONS.get(effect.name or "")
    if spec is None:
        if effect.name is not None:
            report.add(
                catalogue.UNKNOWN_ACTION,
                effect.name_span or effect.span,
                f"unknown action `{effect.name}`",
                nearest=nearest(effect.name, ACTIONS),
                expected=one_of(ACTIONS),
            )
        return
    for value in effect.values:
        param = spec.params.get(value.name)
        if param is None:
            report.add(
                catalogue.UNKNOWN_PARAMETER,
                value.name_span,
                f"{spec.name} has no parameter `{value.name}`",
                nearest=nearest(value.name, (*spec.params, "rate", "retry")),
                expected=_parameters(spec),
            )
        else:
            _check_type(rule, value, FieldType(param.type), f"`{value.name}` of {spec.name}", kinds=kinds, report=report)
    given = {*effect.unread, *(value.name for value in effect.values)}
    for name, param in spec.params.items():
        if param.required and name not in given:
            report.add(
                catalogue.MISSING_PARAMETER,
                effect.name_span or effect.span,
                f"{spec.name} needs `{name}`",
                expected=f"{name}: {param.doc[0].lower()}{param.doc[1:]}",
            )


def _parameters(spec: ActionSpec) -> str:
    return one_of((*spec.params, "rate", "retry"))


def _check_assert(rule: DraftRule, effect: DraftEffect, kinds: Kinds, report: Report) -> None:
    kind = known_kind(effect.name, effect.name_span or effect.span, kinds, report)
    if kind is None or not kind.built_in:
        return
    place = effect.name_span or effect.span
    report.add(catalogue.BUILT_IN_ASSERT, place, f"{kind.name} is a built-in fact kind")
    _check_fields(rule, effect, kinds, report)
    given = {*effect.unread, *(value.name for value in effect.values)}
    for name, found in kind.fields.items():
        if found.required and name not in given:
            report.add(catalogue.MISSING_PARAMETER, place, f"{kind.name} needs `{name}`", expected=f"{name}: {found.shown}")


def _check_retract(rule: DraftRule, effect: DraftEffect, kinds: Kinds, report: Report) -> None:
    place = effect.name_span or effect.span
    if effect.binding is not None:
        pattern = rule.pattern(effect.binding)
        if pattern is None:
            names = [known.name for known in rule.when if known.form == "fact"]
            report.add(
                catalogue.UNKNOWN_BINDING,
                place,
                f"the rule has no pattern `{effect.binding}`",
                nearest=nearest(effect.binding, names),
                expected=one_of(f"${name}" for name in names) if names else "",
            )
        elif pattern.form != "fact":
            message = f"`{effect.binding}` is a {pattern.form} pattern: it binds no single fact"
            report.add(catalogue.UNFIT_REFERENCE, place, message, expected="$name of a fact pattern")
        return
    kind = known_kind(effect.name, place, kinds, report)
    if kind is None:
        return
    if not kind.state:
        message = f"{kind.name} is an event, which expires by itself"
        report.add(catalogue.WRONG_TYPE, place, message, expected="a kind of state facts")
        return
    _check_fields(rule, effect, kinds, report)


def _check_fields(rule: DraftRule, effect: DraftEffect, kinds: Kinds, report: Report) -> None:
    kind = kinds.get(effect.name)
    if kind is None:
        return
    for value in effect.values:
        found = kind.fields.get(value.name)
        if found is None:
            report.add(
                catalogue.UNKNOWN_FIELD,
                value.name_span,
                f"{kind.name} has no field `{value.name}`",
                nearest=nearest(value.name, kind.fields),
                expected=one_of(kind.fields),
            )
            continue
        _check_type(rule, value, found, f"`{value.name}` of {kind.name}", kinds=kinds, report=report)


def _check_type(rule: DraftRule, value: DraftValue, wanted: FieldType, what: str, *, kinds: Kinds, report: Report) -> None:
    given = value.value
    if isinstance(given, str | int | float):  # bool is an int
        # In an effect a time may be written out: the fact model reads it.
        fault = "" if wanted.name == "time" and isinstance(given, str) else literal_fault(wanted, given)
        if wanted.name in ("map", "list"):
            fault = wanted.shown
        if fault:
            report.add(
                catalogue.WRONG_TYPE, value.span, f"{what} is {wanted.shown}, this is {describe_value(given)}", expected=fault
            )
        elif wanted.choices and given not in wanted.choices:
            near = nearest(str(given), wanted.choices)
            report.add(
                catalogue.UNKNOWN_VALUE, value.span, f"{what} is never `{given}`", nearest=near, expected=one_of(wanted.choices)
            )
        return
    found = value_type(value, rule, kinds)
    if not comparable(wanted, found) or {wanted.name, found.name} == {"integer", "number"} != {wanted.name}:
        if wanted.name == "number" and found.name == "integer":
            return
        report.add(catalogue.WRONG_TYPE, value.span, f"{what} is {wanted.shown}, this is {found.shown}", expected=wanted.shown)
