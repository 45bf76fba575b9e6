"""JSON Schema of rules files, for editors: it completes and explains keys, fact kinds, fields and modifiers.

Looser than the check where a schema cannot judge (references, declared kinds, templates), never stricter: what the check takes is
valid. `rules/schema.json` is printed from it. Draft 7, which yaml-language-server and the editors' own services understand.
"""

from collections.abc import Mapping
from typing import Any

from engine.action_catalog import ACTIONS, ActionSpec, Param
from engine.rules.kinds import DECLARABLE, ENVELOPE, FieldType, Kind, Kinds, built_in_kinds
from engine.rules.read_file import KEBAB, MAX_ID, SEVERITIES
from engine.rules.read_patterns import MAX_COUNT, MODIFIERS
from engine.rules.units import DURATION_SHAPE, RATE_SHAPE

Schema = dict[str, Any]

_DURATION: Schema = {
    "type": "string",
    "pattern": r"^([0-9]+(\.[0-9]+)?(ms|s|m|h|d))+$",
    "description": f"A duration: {DURATION_SHAPE}.",
}
_RATE: Schema = {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?/", "description": f"A rate: {RATE_SHAPE}."}
_SCALAR: Schema = {"type": ["string", "number", "boolean"]}
_REF: Schema = {
    "type": "string",
    "pattern": r"^\$[A-Za-z_][A-Za-z0-9_]*\.\S+$",
    "description": "A field of another pattern: $name.field.",
}
_VALUES: dict[str, Schema] = {
    "string": {"type": "string"},
    "number": {"type": "number"},
    "boolean": {"type": "boolean"},
    "any": _SCALAR,
}
"""What may stand for a field, by type; whole numbers are numbers here, as an order may compare with 1.5."""
_TEXT: Schema = {"type": "string", "minLength": 1}

_MODIFIER_DOCS = {
    "ne": "is not equal (a list: to none of these)",
    "gt": "is greater",
    "gte": "is greater or equal",
    "lt": "is less",
    "lte": "is less or equal",
    "contains": "contains; a list an element, a map a key",
    "startswith": "starts with",
    "endswith": "ends with",
    "re": "matches an RE2 expression anywhere; a list: one of its elements does",
    "exists": "is known (true) or not (false)",
}
_BY_TYPE: dict[str, tuple[str, ...]] = {
    "string": ("ne", "contains", "startswith", "endswith", "re", "exists"),
    "integer": ("ne", "gt", "gte", "lt", "lte", "exists"),
    "number": ("ne", "gt", "gte", "lt", "lte", "exists"),
    "boolean": ("ne", "exists"),
    "time": ("ne", "gt", "gte", "lt", "lte", "exists"),
    "map": ("contains", "exists"),
    "list": ("contains", "re", "exists"),
    "any": MODIFIERS,
}


def rules_schema(kinds: Kinds | None = None) -> Schema:
    """The schema of a rules file; kinds that rules declare are completed too when they are given."""
    kinds = kinds if kinds is not None else built_in_kinds()
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "dockwarden rules",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "incident": {**_TEXT, "description": "What the rules of this file are about; stands in their alerts."},
            "facts": {
                "type": "object",
                "description": "Fact kinds that these rules use and that come from outside, or that are worth explaining.",
                "additionalProperties": _declaration(),
            },
            "rules": {"type": "array", "items": {"$ref": "#/definitions/rule"}},
        },
        "definitions": {
            "rule": _rule(),
            "fact_pattern": _fact_pattern(kinds),
            "count_pattern": _count_pattern(),
            "missing_pattern": _missing_pattern(),
            "effect": _effect(kinds),
            "ref": _REF,
            "retry": _retry(),
            **{f"{name}_values": _one_or_more(value) for name, value in _VALUES.items()},
            **{f"kind_{kind.name}": _kind(kind) for kind in kinds},
        },
    }


def _object(
    properties: Mapping[str, Schema], required: tuple[str, ...] = (), description: str = "", *, closed: bool = True
) -> Schema:
    body: Schema = {"type": "object", "properties": dict(properties)}
    if closed:
        body["additionalProperties"] = False
    if required:
        body["required"] = list(required)
    if description:
        body["description"] = description
    return body


def _declaration() -> Schema:
    fields = {"type": "object", "additionalProperties": {"enum": list(DECLARABLE)}, "description": "Name and type of each field."}
    return _object({"fields": fields, "doc": _TEXT})


def _rule() -> Schema:
    one = {"anyOf": [{"$ref": f"#/definitions/{name}_pattern"} for name in ("fact", "count", "missing")]}
    held = {"anyOf": [{"$ref": f"#/definitions/{name}_pattern"} for name in ("fact", "count")]}
    duration = _DURATION["pattern"]
    return _object(
        {
            "rule": {
                "type": "string",
                "pattern": f"^{KEBAB.pattern}$",
                "maxLength": MAX_ID,
                "description": "Id: unique, kebab-case, never reused.",
            },
            "title": {**_TEXT, "description": "What is wrong, in a few words."},
            "description": {**_TEXT, "description": "For those who read the rule."},
            "severity": {"enum": list(SEVERITIES), "description": "Needed where the rule raises an alert."},
            "runbook": {**_TEXT, "description": "Where it stands what to do."},
            "references": {"type": "array", "items": _TEXT},
            "when": {
                "type": "object",
                "minProperties": 1,
                "description": "Every pattern must match; each binds a name.",
                "propertyNames": {"pattern": "^[A-Za-z_][A-Za-z0-9_]*$"},
                "additionalProperties": one,
            },
            "unless": {"type": "array", "items": held, "description": "While one of these matches, the rule waits."},
            "for": {"type": "string", "pattern": duration, "description": "Must hold this long before it fires."},
            "key": {**_TEXT, "description": "One alert per key: a text with {name.field}."},
            "priority": {"type": "integer", "description": "Of what is due at one moment, higher goes first; usually 0."},
            "then": {"type": "array", "minItems": 1, "items": {"$ref": "#/definitions/effect"}, "description": "What it does."},
            "resolve_after": {"type": "string", "pattern": duration, "description": "The alert resolves by then at the latest."},
            "next": {**_TEXT, "description": "What to do next, in one sentence with {name.field}; stands in the alert."},
        },
        ("rule", "when", "then"),
    )


def _fact_pattern(kinds: Kinds) -> Schema:
    names = [kind.name for kind in kinds]
    listed = [{"const": kind.name, "description": kind.doc} if kind.doc else {"const": kind.name} for kind in kinds]
    return {
        "type": "object",
        "required": ["fact"],
        "properties": {"fact": {"anyOf": [*listed, {"type": "string"}], "description": "Kind of the fact."}},
        "allOf": [
            {
                "if": {"properties": {"fact": {"const": name}}, "required": ["fact"]},
                "then": {"$ref": f"#/definitions/kind_{name}"},
            }
            for name in names
        ],
    }


def _count_pattern() -> Schema:
    return _object(
        {
            "count": {"$ref": "#/definitions/fact_pattern"},
            "by": {"type": "array", "items": _TEXT, "description": "Fields that make a group; each group is counted by itself."},
            "within": {**_DURATION, "description": "The window."},
            "at_least": {"type": "integer", "minimum": 1, "maximum": MAX_COUNT, "description": "How many make it match."},
        },
        ("count", "within", "at_least"),
    )


def _missing_pattern() -> Schema:
    return _object(
        {
            "missing": {"$ref": "#/definitions/fact_pattern"},
            "for": {**_DURATION, "description": "How long none was seen."},
        },
        ("missing", "for"),
    )


def _kind(kind: Kind) -> Schema:
    properties: dict[str, Schema] = {"fact": {"const": kind.name}}
    reaching: dict[str, Schema] = {}
    for name, found in {**kind.fields, **ENVELOPE}.items():
        properties |= _tests(name, found)
        if found.name in ("map", "any"):
            reaching[rf"^{name}\.[^|]+(\|(ne|contains|startswith|endswith|re))?$"] = _values(FieldType("string"))
            reaching[rf"^{name}\.[^|]+\|exists$"] = {"type": "boolean"}
    body = _object(properties, description=kind.doc)
    if reaching:
        body["patternProperties"] = reaching
    return body


def _tests(name: str, found: FieldType) -> dict[str, Schema]:
    tests = {}
    doc = found.doc or found.shown
    if found.name not in ("map", "list"):
        tests[name] = {**_values(found), "description": doc}
    for modifier in _BY_TYPE[found.name]:
        if modifier == "exists":
            value: Schema = {"type": "boolean"}
        elif modifier in ("contains", "startswith", "endswith", "re"):
            value = _values(FieldType("string"))
        else:
            value = _values(found)
        tests[f"{name}|{modifier}"] = {**value, "description": f"{doc} — {_MODIFIER_DOCS[modifier]}."}
    return tests


def _values(found: FieldType) -> Schema:
    if found.choices:
        return _one_or_more({"enum": list(found.choices)})
    if found.name == "time":
        return {
            "anyOf": [{"$ref": "#/definitions/ref"}, {"type": "array", "minItems": 1, "items": {"$ref": "#/definitions/ref"}}]
        }
    name = {"integer": "number"}.get(found.name, found.name)
    return {"anyOf": [{"$ref": f"#/definitions/{name}_values"}]}


def _one_or_more(value: Schema) -> Schema:
    one = {"anyOf": [value, {"$ref": "#/definitions/ref"}]}
    return {"anyOf": [*one["anyOf"], {"type": "array", "minItems": 1, "items": one}]}


def _effect(kinds: Kinds) -> Schema:
    alert = _object({"alert": {**_TEXT, "description": "The alert's summary: a text with {name.field}."}}, ("alert",))
    fact: Schema = {"type": "string", "description": "Kind of the fact; a new one is declared by this."}
    own = [kind.name for kind in kinds if not kind.built_in]
    if own:
        fact = {"anyOf": [{"enum": own}, {"type": "string"}], "description": fact["description"]}
    field: Schema = {"anyOf": [_SCALAR, {"type": "array", "items": _SCALAR}]}
    asserted = {
        "type": "object",
        "required": ["fact"],
        "properties": {
            "fact": fact,
            "ttl": {**_DURATION, "description": "How long it is so, unless it is asserted again."},
            "while_supported": {"type": "boolean", "description": "true: it goes with the facts that led to it."},
        },
        "additionalProperties": field,
    }
    retracted = {
        "type": "object",
        "required": ["fact"],
        "properties": {"fact": {"type": "string"}},
        "additionalProperties": field,
    }
    whole = {"type": "string", "pattern": r"^\$[A-Za-z_][A-Za-z0-9_]*$", "description": "$name: the fact that a pattern bound."}
    return {
        "anyOf": [
            alert,
            *(_action(spec) for spec in ACTIONS.values()),
            _object({"assert": {**asserted, "description": "Add a fact."}}, ("assert",)),
            _object({"retract": {"anyOf": [whole, retracted], "description": "Take facts back."}}, ("retract",)),
        ]
    }


def _retry() -> Schema:
    return _object(
        {
            "first": {**_DURATION, "description": "Pause after the first failure; 5s where not given."},
            "factor": {"type": "number", "minimum": 1, "description": "Growth of the pause; 2 where not given."},
            "max": {**_DURATION, "description": "Longest pause; 30m where not given."},
            "jitter": {
                "type": "number",
                "minimum": 0,
                "maximum": 1,
                "description": "Share by which pauses differ; 0.2.",
            },
            "attempts": {"type": "integer", "minimum": 1, "description": "Attempts in all; 12 where not given."},
        },
        description="What happens when it fails.",
    )


def _action(spec: ActionSpec) -> Schema:
    properties: dict[str, Schema] = {"do": {"const": spec.name, "description": spec.doc}}
    properties |= {name: _param(param) for name, param in spec.params.items()}
    properties |= {"rate": _RATE, "retry": {"$ref": "#/definitions/retry"}}
    return _object(properties, ("do", *(name for name, param in spec.params.items() if param.required)), spec.doc)


def _param(param: Param) -> Schema:
    kind = "number" if param.type == "integer" else param.type
    return {"anyOf": [{"type": kind}, {"$ref": "#/definitions/ref"}], "description": param.doc}
