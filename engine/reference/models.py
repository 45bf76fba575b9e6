"""The reference pages that follow from models: facts, actions, settings. Renders Markdown; reads and writes no file.

`scripts/check-docs` writes them to docs/reference, and a test says when they are stale.
"""

import types
import typing
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from engine.action_catalog import ACTIONS, ActionSpec
from engine.rules.kinds import ENVELOPE, FieldType, Kind, built_in_kinds
from engine.settings import Settings

EMITTED_BY = {
    "container": "Docker: the full listing, and inspect of what is removing or dead",
    "container_event": "Docker: the `/events` stream",
    "daemon": "Docker: ping, list and inspect, each timed, and `/info`",
    "daemon_change": "Docker: `/info` compared with what was last seen, also across restarts",
    "kernel_event": "the kernel log: `/dev/kmsg`, a file, or journald",
    "daemon_log": "dockerd's log: a file or journald",
    "kubelet_event": "kubelet's log: a file or journald",
    "log_line": "the kernel's, dockerd's and the kubelet's log: lines that a rule asks for by a condition on `text`",
    "mount_leak": "mount namespaces: `/proc/PID/mountinfo`, in a slow sweep and after a failed deletion",
    "image": "Docker: the list of images, every five minutes",
    "volume": "Docker: the list of volumes that no container uses, every five minutes",
    "docker_storage": "Docker: both lists in sum",
    "disk": "file systems: statvfs, with a trend over the last measurements",
    "process_files": "processes: `/proc/PID/fd` and `/proc/PID/limits`",
    "container_usage": "control groups of running containers, versions 1 and 2: nothing is asked of Docker",
    "pressure": "`/proc/pressure`, and the containers' control groups of version 2",
    "sockets": "the network namespace: `/proc/net/sockstat` and nf_conntrack",
    "host": "the kernel: host name, release, boot id",
    "host_change": "the kernel: a poll on `/proc/sys/kernel/hostname`, and what was last seen",
    "source": "dockwarden: each source of facts about itself",
    "action_result": "dockwarden: the outcome of one attempt of an action",
    "alert": "dockwarden: every alert that fires or was resolved within the last hour",
    "host_alert": "the fleet's engine: alerts of all hosts",
    "host_status": "the fleet's engine: statuses of all hosts, and its own clock",
    "host_action": "the fleet's engine: outcomes on all hosts; made only while a rule reads the kind",
    "fleet": "the fleet's engine: all statuses together",
    "fleet_alert": "the fleet's engine: alerts of one rule over all hosts",
    "fleet_rollout": "the fleet's engine: alerts by the rules version of their hosts",
    "fleet_label": "the fleet's engine: alerts by labels of alerts and hosts",
    "fleet_acting": "the fleet's engine: outcomes on all hosts, by rule and action",
    "fleet_engine": "the fleet's engine: the statuses of its engines",
}
"""Where each built-in kind comes from."""

_NOTE = "\nThis page is written by `scripts/check-docs`.\n"


def facts_page() -> str:
    """Every built-in fact kind with its fields."""
    parts = ["# Facts\n\nWhat rules can match. Every fact also has:\n\n", *_fields(ENVELOPE.items())]
    parts.append(
        "\nA state fact replaces the one with the same key and goes when what it describes goes; an event expires, after an hour"
        " unless `ttl` (seconds) says otherwise.\n" + _NOTE
    )
    for kind in built_in_kinds():
        parts += _kind(kind)
    return "".join(parts)


def _kind(kind: Kind) -> Iterator[str]:
    key = (
        "an event"
        if kind.key is None
        else f"state, one for each {' and '.join(kind.key)}"
        if kind.key
        else "state, one for the host"
    )
    yield f"\n## {kind.name}\n\n{kind.doc.strip() or kind.name}\n\n*{key[0].upper()}{key[1:]}.* From {EMITTED_BY[kind.name]}.\n\n"
    yield from _fields(kind.fields.items())


def _fields(fields: typing.Iterable[tuple[str, FieldType]]) -> Iterator[str]:
    yield "| field | type | meaning |\n|---|---|---|\n"
    for name, field in fields:
        null = ", or not known" if field.optional else ""
        yield f"| `{name}` | {_cell(field.shown + null)} | {_cell(field.doc)} |\n"


def actions_page() -> str:
    """Every action with its parameters and what it needs."""
    parts = ["# Actions\n\nWhat rules can ask for with `do:`.\n" + _NOTE]
    for spec in ACTIONS.values():
        parts += _action(spec)
    return "".join(parts)


def _action(spec: ActionSpec) -> Iterator[str]:
    yield f"\n## {spec.name}\n\n{spec.doc}\n\n"
    yield f"- **Needs:** {spec.needs or 'Docker'}\n"
    yield f"- **Mode observe:** {'decided and not done' if spec.changes else 'done too: it only looks'}\n"
    if spec.touches_running:
        yield "- **Running containers:** only where the policy names the rule\n"
    if spec.params:
        yield "\n| parameter | type | | meaning |\n|---|---|---|---|\n"
    for name, param in spec.params.items():
        yield f"| `{name}` | {param.type} | {'required' if param.required else ''} | {_cell(param.doc)} |\n"


def settings_page() -> str:
    """Every setting with its variable and default."""
    parts = [
        "# Settings\n\nA YAML file (`--config`), over it the environment, over both the command line. A setting of a group is"
        " written with two underscores in the environment: `DOCKWARDEN_PROBES__LIST_S=30`.\n" + _NOTE
    ]
    top = {name: field for name, field in Settings.model_fields.items() if _group(field) is None}
    parts += ["\n## At the top\n\n", *_settings(top, "DOCKWARDEN_")]
    for name, field in Settings.model_fields.items():
        group = _group(field)
        if group is not None:
            doc = " ".join((group.__doc__ or "").split())
            parts += [f"\n## {name}\n\n{doc}\n\n", *_settings(group.model_fields, f"DOCKWARDEN_{name.upper()}__")]
    return "".join(parts)


def _group(field: FieldInfo) -> type[BaseModel] | None:
    found = field.annotation
    return found if isinstance(found, type) and issubclass(found, BaseModel) else None


def _settings(fields: typing.Mapping[str, FieldInfo], prefix: str) -> Iterator[str]:
    yield "| setting | variable | type | default | meaning |\n|---|---|---|---|---|\n"
    for name, field in fields.items():
        variable = "DOCKER_HOST" if name == "docker_host" else prefix + name.upper()
        cells = (_type(field.annotation), _default(field), field.description or "")
        yield f"| `{name}` | `{variable}` | {' | '.join(map(_cell, cells))} |\n"


def _type(annotation: object) -> str:
    arguments = typing.get_args(annotation)
    origin = typing.get_origin(annotation)
    if origin is typing.Literal:
        return "one of " + ", ".join(map(str, arguments))
    if origin in (typing.Union, types.UnionType):
        return " or ".join("null" if one is type(None) else _type(one) for one in arguments)
    if origin is tuple:
        return f"list of {_type(arguments[0])}"
    if origin is dict:
        return f"map of {_type(arguments[0])} to {_type(arguments[1])}"
    names = {"str": "text", "int": "integer", "float": "number", "bool": "true or false", "Path": "path", "SecretStr": "secret"}
    name = getattr(annotation, "__name__", str(annotation))
    return names.get(name, name)


def _default(field: FieldInfo) -> str:
    if field.default is PydanticUndefined:
        return "of this host"  # what is made when asked for: the host's name, the state folder
    value = field.default
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | frozenset):
        return ", ".join(f"`{item}`" for item in value) or "none"
    if isinstance(value, str | Path):
        return f"`{value}`" if str(value) else "empty"
    return str(value) if isinstance(value, int | float) else "as below" if isinstance(value, BaseModel) else "none"


def _cell(text: str) -> str:
    """A table's cell: one line, no bar."""
    return " ".join(text.replace("|", "\\|").split())


PAGES = {"facts.md": facts_page, "actions.md": actions_page, "settings.md": settings_page}
"""By file name below docs/reference."""
