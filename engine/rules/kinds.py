"""The fields of every fact kind with their types: read off the fact models, or declared by rules. Knows no YAML.

A kind that rules declare has the fields that `facts:` gives it and those that any rule asserts.
"""

import dataclasses
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from engine.action_catalog import ACTIONS
from engine.facts import BUILT_IN, Fact
from engine.rules.model import FieldPath

TypeName = Literal["string", "integer", "number", "boolean", "time", "map", "list", "any"]


@dataclass(frozen=True, slots=True)
class FieldType:
    """What a field holds. `map` is of texts to texts, `list` of texts; `any` is not known before a fact is there."""

    name: TypeName
    choices: tuple[str, ...] = ()
    """The possible values, where they are few."""
    doc: str = ""
    required: bool = False
    optional: bool = False
    """It may be unknown (null)."""

    @property
    def shown(self) -> str:
        """For people: `an integer`, `one of ok, lost, gap`."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        words = {"map": "a map of strings", "list": "a list of strings", "any": "a value", "integer": "an integer"}
        return words.get(self.name, f"a {self.name}")


ANY = FieldType("any")
STRING = FieldType("string")
ENTRY = FieldType("string", optional=True)
"""What stands under a key of a map."""
INTEGER = FieldType("integer")
NUMBER = FieldType("number")
BOOLEAN = FieldType("boolean")
TIME = FieldType("time")
TEXTS = FieldType("list")

DECLARABLE: dict[str, FieldType] = {"string": STRING, "integer": INTEGER, "number": NUMBER, "boolean": BOOLEAN, "time": TIME}
"""Types that `facts:` may name."""

ENVELOPE: dict[str, FieldType] = {
    "at": FieldType("time", doc="Event time, UTC."),
    "host": FieldType("string", doc="Name of the host it is about."),
    "source": FieldType("string", doc="Where it is from: docker, kernel, dockerd, probe, rule, …"),
    "fact_id": FieldType("string", doc="Names this observation."),
}
"""Fields that every fact has."""

CLOSED: dict[tuple[str, str], tuple[str, ...]] = {
    ("container", "health"): ("starting", "healthy", "unhealthy"),
    ("daemon", "hung"): ("ping", "list", "version", "inspect"),
    ("daemon_change", "field"): ("version", "kernel", "storage_driver", "cgroup_driver", "root_dir"),
    ("host_change", "field"): ("hostname", "kernel", "boot_id"),
    ("mount_leak", "owner_status"): (
        "created", "running", "paused", "restarting", "removing", "exited", "dead", "gone", "",
    ),
    ("action_result", "action"): tuple(ACTIONS),
}  # fmt: skip
"""All values of fields that the models leave open."""

VOCABULARY: dict[tuple[str, str], tuple[str, ...]] = {
    # https://docs.docker.com/reference/cli/docker/system/events/ (Containers), and what Podman's compatible API adds.
    ("container_event", "action"): (
        "attach", "checkpoint", "cleanup", "commit", "copy", "create", "destroy", "detach", "die", "exec_create", "exec_detach",
        "exec_die", "exec_start", "export", "health_status", "import", "init", "kill", "mount", "oom", "pause", "prune", "remove",
        "rename", "resize", "restart", "restore", "start", "stop", "sync", "top", "unmount", "unpause", "update",
    ),
}  # fmt: skip
"""Known values of fields to which newer sources may add others."""

COUNT_FIELDS: dict[str, FieldType] = {
    "count": FieldType("integer", doc="How many lie within the window."),
    "per_minute": FieldType("number", doc="How many a minute, over the window."),
    "first_at": FieldType("time", doc="Time of the first within the window."),
    "last_at": FieldType("time", doc="Time of the last."),
    "within": FieldType("string", doc="The window as the rule gives it."),
    "samples": FieldType("list", doc="Some of the facts that were counted, by what they are about."),
}
"""What a `count` pattern binds, beside the fields of its `by`."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A fact kind. `key` names what identifies a built-in state fact; it is None for events and declared kinds."""

    name: str
    fields: Mapping[str, FieldType]
    key: tuple[str, ...] | None = None
    built_in: bool = True
    external: bool = False
    """Declared by `facts:`: it may come from outside as well as from rules."""
    doc: str = ""

    @property
    def state(self) -> bool:
        """Not an event."""
        return self.key is not None or not self.built_in

    @property
    def single(self) -> bool:
        """There is at most one fact of the kind."""
        return self.key == ()

    def type_of(self, path: FieldPath) -> FieldType | None:
        """Type at a path, None when there is nothing."""
        found = self.fields.get(path[0]) or ENVELOPE.get(path[0])
        if found is None or len(path) == 1:
            return found
        return ENTRY if found.name == "map" else ANY if found.name == "any" else None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of its fields, the envelope's last."""
        return (*self.fields, *ENVELOPE)


@dataclass(slots=True)
class Kinds:
    """Fact kinds by name."""

    by_name: dict[str, Kind] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Kind]:
        return iter(self.by_name.values())

    def __contains__(self, name: str) -> bool:
        return name in self.by_name

    def get(self, name: str | None) -> Kind | None:
        """The kind of that name, None when there is none."""
        return self.by_name.get(name) if name is not None else None

    def with_declared(self, declared: Iterable[Kind]) -> "Kinds":
        """These and others; a built-in kind stays what it is."""
        return Kinds({kind.name: kind for kind in declared} | self.by_name)


def _field_type(annotation: Any) -> FieldType:
    """The type behind an annotation of a fact model; None in a union only says that it may be unknown."""
    origin = typing.get_origin(annotation)
    arguments = typing.get_args(annotation)
    if origin is typing.Annotated:
        return _field_type(arguments[0])
    if origin in (typing.Union, types.UnionType):
        inner = [argument for argument in arguments if argument is not type(None)]
        return _field_type(inner[0]) if len(inner) == 1 else ANY
    if origin is Literal:
        return FieldType("string", choices=tuple(str(choice) for choice in arguments))
    if origin is dict:
        return FieldType("map")
    if origin in (list, tuple):
        return FieldType("list")
    plain: dict[Any, TypeName] = {bool: "boolean", int: "integer", float: "number", str: "string", datetime: "time"}
    return FieldType(plain.get(annotation, "any"))


def kind_of(model: type[Fact]) -> Kind:
    """A fact model as rules see it: its fields by the names that JSON has."""
    fields = {}
    for name, info in model.model_fields.items():
        if name in Fact.model_fields:
            continue
        # pydantic takes the metadata out of Annotated when it stands at the top; the bare type is what is left.
        found = _field_type(info.annotation)
        if not found.choices:
            found = dataclasses.replace(found, choices=CLOSED.get((model.KIND, info.alias or name), ()))
        optional = type(None) in typing.get_args(info.annotation)
        fields[info.alias or name] = dataclasses.replace(
            found, doc=info.description or "", required=info.is_required(), optional=optional
        )
    doc = (model.__doc__ or "").strip().splitlines()
    return Kind(model.KIND, fields, key=model.KEY, doc=doc[0] if doc else "")


def built_in_kinds(models: Iterable[type[Fact]] = BUILT_IN) -> Kinds:
    """The kinds that sources and dockwarden itself emit."""
    return Kinds({model.KIND: kind_of(model) for model in models})
