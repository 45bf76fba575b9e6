"""Every setting: its meaning, unit and default, in one place. A YAML file, and over it the environment.

Settings of the contract stand at the top level (`mode`, `mqtt_url`, …): in the environment they are `DOCKWARDEN_MODE` and so on;
groups are reached with two underscores, `DOCKWARDEN_PROBES__LIST_S=30`. Docker's address is `DOCKER_HOST`, as everywhere.
"""

import difflib
import os
import re
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings.exceptions import SettingsError as UnreadableVariableError

from engine.action_catalog import ACTIONS
from engine.errors import SettingsError
from engine.facts import FactKinds
from engine.guardrails import Mode, Policy

_HOST_NAME = re.compile(r"[^\x00-\x1f+#/]{1,255}\Z")
_MAX_PORT = 65_535


class _Group(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Mqtt(_Group):
    """How the broker is reached. The address itself is `mqtt_url`."""

    username: str | None = Field(default=None, description="Over the one in the address.")
    password: SecretStr | None = Field(default=None, description="Better in the environment or in `password_file`.")
    password_file: Path | None = Field(default=None, description="Read at each connection, so that it can be changed.")
    ca_file: Path | None = Field(default=None, description="PEM; null: the system's certificate authorities.")
    cert_file: Path | None = Field(default=None, description="PEM; a client certificate.")
    key_file: Path | None = Field(default=None, description="PEM; its key.")
    keepalive_s: int = Field(default=10, ge=1, le=3600, description="Seconds; a dead broker is noticed after twice that.")
    facts: tuple[str, ...] = Field(default=(), description="Fact kinds published below fact/; none by default.")
    commands: bool = Field(default=False, description="Whether commands are taken from below command/.")
    command_keys: Path = Field(
        default=Path("/etc/dockwarden/operators"),
        description="Folder of the operators' keys, NAME.key each; commands are signed, unsigned ones refused always.",
    )

    @field_validator("facts")
    @classmethod
    def _known(cls, kinds: tuple[str, ...]) -> tuple[str, ...]:
        known = list(FactKinds())
        for kind in kinds:
            if kind not in known:
                msg = f"unknown fact kind `{kind}`{_nearest(kind, known)}"
                raise ValueError(msg)
        return kinds


class Probes(_Group):
    """How often things are looked at, in seconds. The defaults cost well below half a percent of a core."""

    list_s: float = Field(default=60.0, ge=1, description="Full listing of the containers; events tell in between.")
    daemon_s: float = Field(default=10.0, ge=0.5, description="Is Docker well?")
    daemon_timeout_s: float = Field(
        default=10.0, gt=0, description="A call that takes longer hangs; a busy daemon is slow, and slow is not hung."
    )
    disk_s: float = Field(default=10.0, ge=1, description="How full the file systems are.")
    disk_paths: tuple[Path, ...] = Field(default=(), description="More paths whose file systems matter.")
    files_s: float = Field(default=15.0, ge=1, description="Open files against their limits.")
    files_watch: tuple[str, ...] = Field(
        default=("calico-*", "bird*", "felix*", "kube-proxy", "coredns", "dockerd", "containerd", "etcd"),
        description="Names of processes that are always told of (glob); others once they use half of their limit.",
    )
    storage_s: float = Field(default=300.0, ge=10, description="Images and unused volumes, by two lists.")
    usage_s: float = Field(
        default=15.0, ge=1, description="Memory, processor and processes of containers against limits; pressure."
    )
    sockets_s: float = Field(default=15.0, ge=1, description="TIME_WAIT and connection tracking.")
    mounts_s: float = Field(default=300.0, ge=5, description="Sweep for mounts that belong to containers that are gone.")
    identity_s: float = Field(default=60.0, ge=1, description="Kernel and boot id; the host name is noticed at once.")


class Protect(_Group):
    """Containers that no action may touch, beside those with the label dockwarden.protect=true. Globs."""

    names: tuple[str, ...] = ()
    images: tuple[str, ...] = ()


class Memory(_Group):
    """How many events working memory holds; beyond that the oldest go, and a `source` fact counts them."""

    per_kind: int = Field(
        default=20_000, ge=100, description="Events of one kind: one source in a storm leaves half of the room for all others."
    )
    per_container: int = Field(
        default=2_000, ge=10, description="Events of one container: more than a day of one that is killed once a minute."
    )
    total: int = Field(
        default=40_000,
        ge=100,
        description="Events in all: with matches and alerts (2 to 4 kB each) within what the unit allows.",
    )


class RulesRepo(_Group):
    """Where rules come from, when `rules` is a Git repository."""

    ref: str = Field(default="", description="Branch or tag; empty: `rules` is an ordinary folder.")
    folder: str = Field(default="", description="Folder of the rules in the repository; empty: its root.")
    every_s: float = Field(default=60.0, ge=1, description="Seconds between two pulls; only fast-forwards are taken.")
    signed: bool = Field(default=False, description="Only a commit with a good signature is taken.")
    groups: tuple[str, ...] = Field(default=(), description="Groups of this host, for overrides/.")


class FleetGroup(_Group):
    """The engine of the fleet, `dockwarden fleet`; a sidecar needs none of it."""

    name: str = Field(default="fleet", description="In topics, dockwarden/NAME/…; both engines of a fleet have the same.")
    engine: str = Field(default="", description="Which of the engines this is, NAME@ENGINE in topics; empty: the host's name.")
    key_file: Path | None = Field(
        default=None, description="Key with which commands to all hosts are signed; null: the breaker only reports."
    )
    operator_keys: Path = Field(
        default=Path("/etc/dockwarden/operators"), description="Folder of the keys with which the page signs, NAME.key each."
    )
    tokens: dict[str, str] = Field(
        default_factory=dict, description="SHA-256 of each operator's token for the page, by name; none: it is read-only."
    )
    listen: str = Field(default="127.0.0.1", description="Address of the page.")
    port: int = Field(default=8480, ge=0, le=65535, description="Of the page; 0: any that is free.")
    labels: dict[str, dict[str, str]] = Field(
        default_factory=dict, description="Labels of hosts by patterns of their names (glob): disk models, racks, zones."
    )

    @field_validator("name", "engine")
    @classmethod
    def _fits_a_topic(cls, name: str) -> str:
        if name and (not _HOST_NAME.match(name) or "@" in name):
            msg = "it stands in topics: 1 to 255 characters without / + # @ and control characters"
            raise ValueError(msg)
        return name

    @field_validator("tokens")
    @classmethod
    def _digests(cls, tokens: dict[str, str]) -> dict[str, str]:
        if not all(re.fullmatch("[0-9A-Fa-f]{64}", digest) for digest in tokens.values()):
            msg = "a token stands as its SHA-256, 64 hexadecimal digits (printf %s TOKEN | sha256sum)"
            raise ValueError(msg)
        return tokens


def _default_state() -> Path:
    if os.geteuid() == 0:
        return Path("/var/lib/dockwarden")
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "dockwarden"


class Settings(BaseSettings):
    """The settings of one sidecar."""

    model_config = SettingsConfigDict(
        env_prefix="DOCKWARDEN_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        env_ignore_empty=True,
        nested_model_default_partial_update=True,
    )

    host: str = Field(default_factory=socket.gethostname, description="Name of this host in topics and facts.")
    docker_host: str = Field(
        default="",
        validation_alias=AliasChoices("docker_host", "DOCKER_HOST"),
        description="unix:///path or tcp://host:port; empty: the usual socket.",
    )
    mode: Mode | None = Field(default=None, description="observe or act; null: what the policy says (observe).")
    state: Path = Field(default_factory=_default_state, description="Folder of the journal.")
    rules: Path | None = Field(default=None, description="Folder of rules; null: those that come with dockwarden.")
    mqtt_url: str = Field(default="", description="mqtt://user@host:port or mqtts://…; empty: a broker of our own on loopback.")
    kernel_log: str = Field(default="/dev/kmsg", description="A character device, a file, journald, or off.")
    dockerd_log: str = Field(default="off", description="A file, journald, or off.")
    kubelet_log: str = Field(default="off", description="A file, journald, or off.")
    mqtt: Mqtt = Mqtt()
    probes: Probes = Probes()
    protect: Protect = Protect()
    policy: Policy = Policy()
    memory: Memory = Memory()
    repo: RulesRepo = RulesRepo()
    fleet: FleetGroup = FleetGroup()
    nofile_ceiling: int = Field(default=102_400, ge=1024, description="raise_nofile goes no higher.")
    page_url: str = Field(
        default="",
        description="Where the fleet's page is reached, https://dockwarden.example; alerts then link to their incident.",
    )
    runbooks_url: str = Field(
        default="", description="Where your rules repository can be read; relative runbooks of alerts become URLs below it."
    )
    exec_root: Path = Field(default=Path("/var/run/docker"), description="Where dockerd writes its stack dumps (--exec-root).")
    outbox_rows: int = Field(default=10_000, ge=100, description="Messages kept while the broker is away.")
    recording_bytes: int = Field(
        default=64 * 1024 * 1024,
        ge=0,
        description="Bytes, compressed, of the recording for `replay --since` and `tune`: weeks of an ordinary host; 0: none.",
    )
    alarm_test_every_s: float | None = Field(
        default=None,
        ge=60,
        description="Seconds between two test alarms, 604800 for one a week; null: none but those of `dockwarden alarm-test`.",
    )
    metrics_listen: str = Field(
        default="127.0.0.1:9478",
        description="host:port of /healthz, /readyz and /metrics; port 0: a free one; off: none. Nobody has to log in there.",
    )
    log_format: Literal["auto", "text", "json"] = Field(default="auto", description="auto: text on a terminal, JSON elsewhere.")

    @field_validator("host")
    @classmethod
    def _host_fits_a_topic(cls, host: str) -> str:
        if not _HOST_NAME.match(host):
            msg = "the host's name stands in topics: 1 to 255 characters without / + # and control characters"
            raise ValueError(msg)
        return host

    @field_validator("metrics_listen")
    @classmethod
    def _listen_is_an_address(cls, listen: str) -> str:
        if listen == "off":
            return listen
        host, _, port = listen.rpartition(":")
        if not host or not port.isdecimal() or int(port) > _MAX_PORT:
            msg = f"`{listen}` is neither host:port, 127.0.0.1:9478 for example, nor off"
            raise ValueError(msg)
        return listen

    @model_validator(mode="after")
    def _actions_exist(self) -> Self:
        for name in self.policy.actions:
            if name not in ACTIONS:
                msg = f"policy.actions: unknown action `{name}`{_nearest(name, list(ACTIONS))}"
                raise ValueError(msg)
        return self

    @property
    def effective_policy(self) -> Policy:
        """The policy with the general mode in it."""
        return self.policy if self.mode is None else self.policy.model_copy(update={"mode": self.mode})

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003  the signature is pydantic-settings'
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment over the file (which comes in as arguments)."""
        return env_settings, init_settings


def load_settings(file: Path | None, over: Mapping[str, Any] | None = None) -> Settings:
    """The settings from a file, the environment, and what the command line says over both.

    Args:
        file: YAML; None for none.
        over: settings by name, of the right types already: they are taken as they are.

    Raises:
        SettingsError: the file cannot be read, or settings are unknown or unusable; every fault is named.
    """
    content = _read(file) if file is not None else {}
    faults = [
        f"{_where(file)}unknown setting `{name}`{_nearest(str(name), list(Settings.model_fields))}"
        for name in content
        if name not in Settings.model_fields
    ]
    faults += [
        f"unknown setting `{name}` in the environment{_nearest(name, known)}"
        for known in [_environment_names()]
        for name in sorted(os.environ)
        if name.startswith("DOCKWARDEN_") and name.split("__")[0] not in known
    ]
    try:
        settings = Settings(**{name: value for name, value in content.items() if name in Settings.model_fields})
    except ValidationError as error:
        faults += [_fault(file, one) for one in error.errors(include_url=False, include_input=False)]
        raise SettingsError("\n".join(faults)) from error
    except UnreadableVariableError as error:
        raise SettingsError("\n".join([*faults, _unreadable_variable(error)])) from error
    if faults:
        raise SettingsError("\n".join(faults))
    # Validated anew, they would have to give way to the environment once more.
    return settings.model_copy(update=dict(over or {}))


def _unreadable_variable(error: UnreadableVariableError) -> str:
    """Of a list or a group that is not valid JSON, pydantic-settings names the field alone."""
    field = re.search(r'field "(\w+)"', str(error))
    start = f"DOCKWARDEN_{field[1].upper()}" if field else "DOCKWARDEN_"
    named = sorted(name for name in os.environ if name == start or name.startswith(f"{start}__"))
    return f'{" or ".join(named) or start} (environment): a list or a group is written as JSON, ["a", "b"] for example'


def _environment_names() -> list[str]:
    return [f"DOCKWARDEN_{name.upper()}" for name in Settings.model_fields if name != "docker_host"]


def _read(file: Path) -> dict[str, Any]:
    try:
        content = yaml.load(file.read_bytes(), Loader=yaml.CSafeLoader)
    except OSError as error:
        raise SettingsError(f"{file}: cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: no UTF-8, or a date such as 2026-13-45
        raise SettingsError(f"{file}: not valid YAML: {error}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise SettingsError(f"{file}: settings are a map of names and values, this is a {type(content).__name__}")
    return {str(name): value for name, value in content.items()}


def _where(file: Path | None) -> str:
    return f"{file}: " if file is not None else ""


def _fault(file: Path | None, error: Any) -> str:
    where = ".".join(str(part) for part in error["loc"])
    env = f"DOCKWARDEN_{where.upper().replace('.', '__')}"
    source = (
        f"{env} (environment)"
        if env in os.environ
        else f"{_where(file)}{where}"
        if where
        else _where(file).rstrip(": ") or "settings"
    )
    message = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "extra_forbidden" and error["loc"]:
        group = Settings.model_fields.get(str(error["loc"][0]))
        known = list(getattr(group.annotation, "model_fields", {})) if group is not None else []
        return f"{_where(file)}unknown setting `{where}`{_nearest(str(error['loc'][-1]), known)}"
    return f"{source}: {message}"


def _nearest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]}?" if near else ""
