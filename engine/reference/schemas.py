"""The JSON Schemas of rules files, facts and alerts, as `dockwarden schema` prints them and rules/schema.json has them."""

import json
from typing import Any, Literal

from pydantic import TypeAdapter

from engine.facts import BUILT_IN
from engine.messages.cloudevents import AlertData
from engine.rules.schema import rules_schema


def schema_of(what: Literal["rules", "facts", "alert"]) -> dict[str, Any]:
    """The JSON Schema of rules files, of facts as JSON lines, or of the data of an alert message."""
    if what == "rules":
        return rules_schema()
    if what == "alert":
        return TypeAdapter(AlertData).json_schema(mode="serialization")
    return _facts_schema()


def _facts_schema() -> dict[str, Any]:
    """Any fact, by its kind; or a retraction."""
    kinds: list[dict[str, Any]] = []
    for model in BUILT_IN:
        schema = model.model_json_schema(by_alias=True)
        schema["properties"] = {"fact": {"const": model.KIND, "description": (model.__doc__ or "").strip()}} | schema[
            "properties"
        ]
        schema["required"] = ["fact", *schema.get("required", [])]
        kinds.append(schema)
    retraction = {
        "title": "Retraction",
        "type": "object",
        "properties": {
            "retract": {"enum": [m.KIND for m in BUILT_IN if m.KEY is not None]},
            "key": {"type": "string"},
            "at": {"type": "string", "format": "date-time"},
        },
        "required": ["retract", "at"],
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A fact as a JSON line",
        "anyOf": [*kinds, retraction],
    }


def schema_text(schema: dict[str, Any]) -> str:
    """As it is printed, and as it stands in rules/schema.json."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
