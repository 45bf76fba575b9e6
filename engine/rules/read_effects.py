"""`then`: YAML nodes into drafts of effects. Knows the shape of effects, not which actions and kinds there are."""

from engine.rules import catalogue, decode
from engine.rules.draft import DraftEffect, DraftText, DraftValue
from engine.rules.findings import Report, Span, nearest, one_of
from engine.rules.model import Ref, Retry, Scalar, Template, Value
from engine.rules.text import BINDING, parse_binding
from engine.rules.yamltree import ListNode, MapNode, Node, ScalarNode

MAX_EFFECTS = 32
"""Effects of one rule."""
MAX_ATTEMPTS = 1_000
"""Attempts of one action: at the longest pause that is still three weeks."""
MAX_FACTOR = 100.0
"""Growth of the pause between attempts."""

_FORMS = ("alert", "do", "assert", "retract")
RESERVED = ("fact_id", "at", "host", "source")
"""Names that every fact's envelope has; no rule may set them. (`fact` and `ttl` are keys of the effect.)"""


def read_then(node: Node, report: Report) -> tuple[DraftEffect, ...]:
    """The effects, in order."""
    listing = decode.as_list(node, "`then`", report)
    if listing is None:
        return ()
    if not listing.items:
        report.add(catalogue.EMPTY, node.span, "`then` has no effect", expected="a list of alert, do, assert or retract")
    if len(listing.items) > MAX_EFFECTS:
        report.add(
            catalogue.OUT_OF_RANGE, node.span, f"there are {len(listing.items)} effects", expected=f"at most {MAX_EFFECTS}"
        )
    return tuple(effect for item in listing.items[:MAX_EFFECTS] for effect in [_read_effect(item, report)] if effect is not None)


def _read_effect(node: Node, report: Report) -> DraftEffect | None:
    mapping = decode.as_map(node, "an effect", report)
    if mapping is None:
        return None
    forms = [key for key, _ in mapping.entries if key.text in _FORMS]
    if not forms:
        keys = mapping.entries
        report.add(
            catalogue.UNKNOWN_KEY,
            keys[0][0].span if keys else node.span,
            f"unknown effect `{keys[0][0].text}`" if keys else "an effect is an empty mapping",
            nearest=nearest(keys[0][0].text, _FORMS) if keys else "",
            expected=one_of(_FORMS),
        )
        return None
    if len(forms) > 1:
        report.add(
            catalogue.WRONG_SHAPE, forms[1].span, f"`{forms[1].text}` stands in the same effect as `{forms[0].text}`",
            expected="one effect in each item of the list", hint=f"begin a new item: - {forms[1].text}: …",
        )  # fmt: skip
        return None
    readers = {"alert": _read_alert, "do": _read_do, "assert": _read_assert, "retract": _read_retract}
    return readers[forms[0].text](mapping, report)


def _read_alert(mapping: MapNode, report: Report) -> DraftEffect:
    key, value = mapping.entries[0]
    decode.known_keys(mapping, ("alert",), "an alert", report)
    node = mapping.get("alert") or value
    template = decode.as_template(node, "`alert`", report)
    return DraftEffect("alert", key.span, text=DraftText(template, node.span) if template is not None else None)


def _read_do(mapping: MapNode, report: Report) -> DraftEffect:
    action: str | None = None
    values: list[DraftValue | None] = []
    unread: list[str] = []
    rate, retry = mapping.get("rate"), mapping.get("retry")
    span = name_span = mapping.span
    for key, value in mapping.entries:
        if key.text == "do":
            action, span, name_span = decode.as_name(value, "the action", report), key.span, value.span
        elif key.text not in ("rate", "retry"):
            values.append(_read_value(key, value, report))
            unread += [key.text] if values[-1] is None else []
    return DraftEffect(
        "do",
        span,
        name=action,
        name_span=name_span,
        values=tuple(value for value in values if value is not None),
        unread=tuple(unread),
        rate=decode.as_rate(rate, "`rate`", report) if rate is not None else None,
        retry=_read_retry(retry, report) if retry is not None else None,
    )


def _read_retry(node: Node, report: Report) -> Retry | None:
    mapping = decode.as_map(node, "`retry`", report)
    if mapping is None:
        return None
    decode.known_keys(mapping, ("first", "factor", "max", "jitter", "attempts"), "`retry`", report)
    usual = Retry()
    first, longest = mapping.get("first"), mapping.get("max")
    factor, jitter, attempts = mapping.get("factor"), mapping.get("jitter"), mapping.get("attempts")
    first_us = decode.as_duration(first, "`first`", report) if first is not None else usual.first
    max_us = decode.as_duration(longest, "`max`", report) if longest is not None else max(usual.max, first_us or 0)
    grows = decode.as_number(factor, "`factor`", 1, MAX_FACTOR, report) if factor is not None else usual.factor
    shakes = decode.as_number(jitter, "`jitter`", 0, 1, report) if jitter is not None else usual.jitter
    tries = decode.as_integer(attempts, "`attempts`", 1, MAX_ATTEMPTS, report) if attempts is not None else usual.attempts
    if first_us is None or max_us is None or grows is None or shakes is None or tries is None:
        return None
    if longest is not None and max_us < first_us:
        report.add(catalogue.OUT_OF_RANGE, longest.span, "`max` is shorter than `first`", expected="at least `first`")
        return None
    return Retry(first_us, float(grows), max_us, float(shakes), tries)


def _read_assert(mapping: MapNode, report: Report) -> DraftEffect:
    decode.known_keys(mapping, ("assert",), "an assert", report)
    span, node = _only(mapping, "assert")
    inner = decode.as_map(node, "`assert`", report)
    if inner is None:
        return DraftEffect("assert", span)
    kind, kind_span = _read_kind(inner, "`assert`", report)
    ttl, supported = inner.get("ttl"), inner.get("while_supported")
    values = _read_fields(inner, ("fact", "ttl", "while_supported"), report)
    read = {"fact", "ttl", "while_supported", *(value.name for value in values)}
    return DraftEffect(
        "assert",
        span,
        name=kind,
        name_span=kind_span,
        values=values,
        unread=tuple(key for key in inner.keys if key not in read),
        ttl=decode.as_duration(ttl, "`ttl`", report) if ttl is not None else None,
        while_supported=bool(decode.as_bool(supported, "`while_supported`", report)) if supported is not None else False,
    )


def _read_retract(mapping: MapNode, report: Report) -> DraftEffect:
    decode.known_keys(mapping, ("retract",), "a retract", report)
    span, node = _only(mapping, "retract")
    if isinstance(node, ScalarNode):
        binding = parse_binding(node.text)
        if binding is None:
            message = f"`retract` is {decode.describe(node)}"
            report.add(catalogue.BAD_REFERENCE, node.span, message, expected="$name of a pattern, or {fact: kind, …}")
        return DraftEffect("retract", span, binding=binding, name_span=node.span)
    inner = decode.as_map(node, "`retract`", report)
    if inner is None:
        return DraftEffect("retract", span)
    kind, kind_span = _read_kind(inner, "`retract`", report)
    return DraftEffect("retract", span, name=kind, name_span=kind_span, values=_read_fields(inner, ("fact",), report))


def _only(mapping: MapNode, name: str) -> tuple[Span, Node]:
    """The key of an effect with its value; the caller has seen that it is there."""
    return next((key.span, value) for key, value in mapping.entries if key.text == name)


def _read_kind(mapping: MapNode, where: str, report: Report) -> tuple[str | None, Span]:
    node = mapping.get("fact")
    if node is None:
        report.add(catalogue.MISSING_KEY, mapping.span, f"{where} has no `fact`", expected="{fact: kind, …}")
        return None, mapping.span
    kind = decode.as_name(node, f"the kind of {where}", report)
    if kind is not None and not BINDING.fullmatch(kind):
        report.add(catalogue.BAD_NAME, node.span, f"invalid fact kind name `{kind}`", expected="letters, digits and underscores")
        kind = None
    return kind, node.span


def _read_fields(mapping: MapNode, keys: tuple[str, ...], report: Report) -> tuple[DraftValue, ...]:
    values = []
    for key, node in mapping.entries:
        if key.text in keys:
            continue
        if key.text in RESERVED:
            report.add(catalogue.BAD_NAME, key.span, f"`{key.text}` is given to every fact by itself", hint="use another name")
        elif not BINDING.fullmatch(key.text):
            report.add(
                catalogue.BAD_NAME, key.span, f"invalid field name `{key.text}`", expected="letters, digits and underscores"
            )
        else:
            value = _read_value(key, node, report)
            if value is not None:
                values.append(value)
    return tuple(values)


def _read_value(key: ScalarNode, node: Node, report: Report) -> DraftValue | None:
    """A literal, a reference, a text with placeholders, or a list of literals."""
    what = f"the value of `{key.text}`"
    value: Value | None
    if isinstance(node, ListNode):
        value = _read_list(node, what, report)
    elif isinstance(node, ScalarNode) and isinstance(node.value, str) and not node.value.startswith("$"):
        template = decode.as_template(node, what, report) if node.value.strip() else Template(())
        value = template if template is None or template.refs else _literal(template)
    else:
        value = decode.as_value(node, what, report)
    return None if value is None else DraftValue(key.text, key.span, value, node.span)


def _literal(template: Template) -> str:
    return "".join(part for part in template.parts if isinstance(part, str))


def _read_list(node: ListNode, what: str, report: Report) -> tuple[Scalar, ...] | None:
    read = [(decode.as_value(item, f"an item of {what}", report), item.span) for item in node.items]
    items = []
    for value, span in read:
        if isinstance(value, Ref):
            report.add(catalogue.UNFIT_REFERENCE, span, f"an item of {what} is a reference", expected="literal values in a list")
        elif value is not None:
            items.append(value)
    return tuple(items) if len(items) == len(node.items) else None
