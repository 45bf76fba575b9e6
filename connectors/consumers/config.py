"""The configuration file of a consumer: its models, and how it is read.

Every fault is named with its place in the file, what is wrong and what would be right; a value is never repeated, for it may be a
secret. Secrets stand in files of their own, that are read when they are used: they can be changed without a restart.
"""

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, HttpUrl, ValidationError, model_validator

from connectors.consumers.routing import Match, QuietHours, Route
from connectors.consumers.threads import Policy
from connectors.mqtt.settings import BrokerSettings
from engine.errors import SettingsError

Program = Literal["pager", "chat"]
_NAME = r"^[a-z0-9][a-z0-9_-]{0,63}$"


class _Group(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Broker(_Group):
    """How the broker is reached."""

    url: str = Field(description="mqtt://user@host:port or mqtts://user@host:port.")
    password_file: Path | None = Field(default=None, description="Its first line is the password; read at each connection.")
    ca_file: Path | None = Field(default=None, description="PEM; null: the system's certificate authorities.")
    cert_file: Path | None = Field(default=None, description="PEM; a client certificate.")
    key_file: Path | None = Field(default=None, description="PEM; its key.")
    client_id: str | None = Field(
        default=None,
        min_length=1,
        max_length=128,
        description="Names the session; null: the program's name. Never two with the same.",
    )
    protocol: Literal["auto", "5", "3.1.1"] = Field(default="auto", description="Version of MQTT; auto: 5, else 3.1.1.")
    keepalive_s: int = Field(default=10, ge=1, le=3600, description="Seconds; a dead broker is noticed after twice that.")
    session_s: int = Field(
        default=7 * 86_400, ge=60, le=90 * 86_400, description="Seconds that the broker keeps for us what we have not received."
    )

    def settings(self, client_id: str) -> BrokerSettings:
        """As the broker's kit wants it.

        Raises:
            SettingsError: the URL is none.
        """
        return BrokerSettings.from_url(
            self.url,
            password_file=self.password_file,
            ca_file=self.ca_file,
            cert_file=self.cert_file,
            key_file=self.key_file,
            client_id=self.client_id or client_id,
            protocol=self.protocol,
            keepalive_s=self.keepalive_s,
        )

    @model_validator(mode="after")
    def _usable(self) -> Self:
        try:
            settings = self.settings("x")
        except SettingsError as error:
            raise ValueError(str(error)) from None
        if settings.password is not None:
            msg = "`url` holds a password: put it into a file of its own and name that in `password_file`"
            raise ValueError(msg)
        return self


class Receiver(_Group):
    """What every receiver has."""

    timeout_s: float = Field(default=10.0, gt=0, le=120, description="Seconds for one attempt.")
    retry_first_s: float = Field(default=1.0, gt=0, description="Pause after the first failure, doubled each time …")
    retry_max_s: float = Field(default=60.0, gt=0, description="… up to this. A Retry-After counts more.")
    give_up_s: float = Field(default=86_400.0, gt=0, description="Seconds after which what was not taken becomes a dead letter.")
    settle_s: float = Field(default=60.0, ge=0, description="Seconds that it must be over before the end is told; 0: at once.")
    settle_max_s: float = Field(default=3600.0, ge=0, description="What `settle_s` grows to for what flaps.")

    @property
    def policy(self) -> Policy:
        """How it wants to be told: of single alerts, and of nothing that is no step."""
        return Policy(by_alert=True, settle_s=self.settle_s, settle_max_s=self.settle_max_s)


class PagerDuty(Receiver):
    """PagerDuty's Events API v2."""

    type: Literal["pagerduty"]
    routing_key_file: Path = Field(description="Its first line is the integration key.")
    url: HttpUrl = Field(
        default=HttpUrl("https://events.pagerduty.com/v2/enqueue"), description="EU: https://events.eu.pagerduty.com/v2/enqueue."
    )


class Alertmanager(Receiver):
    """Alertmanager's API v2. It groups and silences by itself: every change is told at once, and repeated while it fires."""

    type: Literal["alertmanager"]
    url: HttpUrl = Field(description="Its address, without /api: http://alertmanager:9093.")
    repeat_s: float = Field(
        default=60.0,
        gt=0,
        description="Seconds; Alertmanager takes for resolved what nobody repeats for its resolve_timeout (5 min).",
    )
    settle_s: float = Field(default=0.0, ge=0, description="Seconds that it must be over before the end is told; 0: at once.")

    @property
    def policy(self) -> Policy:
        """Of single alerts, and of every change."""
        return Policy(by_alert=True, updates=True, update_s=0.0, settle_s=self.settle_s, settle_max_s=self.settle_max_s)


class Webhook(Receiver):
    """Any HTTP interface: the alert as JSON, in the form of Opsgenie's Alert API where that is wanted."""

    type: Literal["webhook"]
    url: HttpUrl | None = Field(default=None, description="Where to post. Opsgenie: https://api.opsgenie.com/v2/alerts.")
    url_file: Path | None = Field(default=None, description="In place of `url`, when the address itself is a secret.")
    form: Literal["dockwarden", "opsgenie"] = Field(default="dockwarden", description="Of the body.")
    headers: Mapping[str, str] = Field(default={}, description="Further headers that are no secret.")
    authorization_file: Path | None = Field(
        default=None, description="Its first line is the whole Authorization header: `GenieKey …` or `Bearer …`."
    )

    @model_validator(mode="after")
    def _one_address(self) -> Self:
        if (self.url is None) == (self.url_file is None):
            msg = "give `url`, or `url_file` when the address is a secret"
            raise ValueError(msg)
        if any(name.lower() == "authorization" for name in self.headers):
            msg = "an Authorization header is a secret: put it into a file and name that in `authorization_file`"
            raise ValueError(msg)
        return self


class _Chat(Receiver):
    @property
    def policy(self) -> Policy:
        """Of incidents: first, escalation and end."""
        return Policy(settle_s=self.settle_s, settle_max_s=self.settle_max_s)


class Apprise(_Chat):
    """Any service that the library apprise knows: Slack, Mattermost, Teams, Matrix, DingTalk, WeCom, Feishu, ntfy, mail …."""

    type: Literal["apprise"]
    url_file: Path = Field(description="Its first line is the service's address for apprise; it holds the service's secret.")


class EditingChat(_Chat):
    """A service whose interface for bots can edit a message: one message per incident is kept up to date."""

    type: Literal["slack", "mattermost", "telegram"]
    token_file: Path = Field(description="Its first line is the bot's token.")
    channel: str = Field(min_length=1, description="Slack: C…; Mattermost: the channel's id; Telegram: the chat's id.")
    url: HttpUrl | None = Field(default=None, description="Of the service; null: that of slack.com or telegram.org.")
    edit_s: float = Field(default=5.0, ge=0, description="Seconds between two edits of one message.")

    @property
    def policy(self) -> Policy:
        """Of incidents, and of changes between the steps."""
        return Policy(updates=True, update_s=self.edit_s, settle_s=self.settle_s, settle_max_s=self.settle_max_s)

    @model_validator(mode="after")
    def _address(self) -> Self:
        if self.type == "mattermost" and self.url is None:
            msg = "a Mattermost server has an address of its own: give `url`"
            raise ValueError(msg)
        return self


AnyReceiver = Annotated[PagerDuty | Alertmanager | Webhook | Apprise | EditingChat, Field(discriminator="type")]
TYPES: dict[Program, tuple[str, ...]] = {
    "pager": ("pagerduty", "alertmanager", "webhook"),
    "chat": ("apprise", "slack", "mattermost", "telegram"),
}
"""Which program has which receivers."""


class AlarmTests(_Group):
    """Test alarms."""

    expect_every_s: float | None = Field(
        default=None, ge=60, description="Seconds within which each host's test alarm must come; null: none is expected."
    )


class Config(_Group):
    """The whole file."""

    broker: Broker
    state: Path = Field(description="Folder of the queues.")
    receivers: Mapping[Annotated[str, Field(pattern=_NAME)], AnyReceiver] = Field(min_length=1, description="By name.")
    routes: tuple[Route, ...] = Field(min_length=1, description="Tried in order; the first that matches decides.")
    runbooks_url: str = Field(default="", description="Where the rules repository can be read; runbooks become links below it.")
    gone_after_s: float = Field(default=60.0, gt=0, description="Seconds that a sidecar may be away before that is an alert.")
    alarm_tests: AlarmTests = AlarmTests()
    queue_rows: int = Field(
        default=10_000, ge=10, description="What may wait for one receiver; beyond it the oldest are dead letters."
    )
    queue_bytes: int = Field(default=64 * 1024 * 1024, ge=1024 * 1024, description="The same in bytes.")
    log_format: Literal["auto", "text", "json"] = Field(default="auto", description="auto: text on a terminal, JSON elsewhere.")

    @model_validator(mode="after")
    def _routes_lead_somewhere(self) -> Self:
        for number, route in enumerate(self.routes):
            for name in route.receivers:
                if name not in self.receivers:
                    msg = f"routes.{number}: unknown receiver `{name}`{_nearest(name, list(self.receivers))}"
                    raise ValueError(msg)
        return self


def load_config(file: Path, program: Program) -> Config:
    """Read a file.

    Raises:
        SettingsError: it cannot be read or used; each line names one fault, its place and what to do.
    """
    try:
        text = file.read_text(encoding="utf-8")
        content = yaml.load(text, Loader=yaml.CSafeLoader)
        places = _places(yaml.compose(text, Loader=yaml.CSafeLoader))
    except OSError as error:
        raise SettingsError(f"{file}: cannot be read: {error.strerror}; name the file with --config") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise SettingsError(f"{file}: not valid YAML: {_yaml_fault(error)}") from None
    if not isinstance(content, dict):
        raise SettingsError(f"{file}: expected settings by name (broker, state, receivers, routes)")
    faults = _foreign_types(content, program)
    try:
        config = Config.model_validate(content)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        # A map whose every entry is faulty counts as empty to pydantic: the entries' own faults say more.
        inner = {one["loc"][:1] for one in found if len(one["loc"]) > 1}
        faults += [_fault(one) for one in found if one["type"] != "too_short" or one["loc"][:1] not in inner]
        raise SettingsError("\n".join(_located(file, places, where, what) for where, what in faults)) from None
    if faults:
        raise SettingsError("\n".join(_located(file, places, where, what) for where, what in faults))
    return config


def read_secret(path: Path) -> str:
    """The first line of a file.

    Raises:
        SettingsError: it cannot be read or is empty. What stands in it is not repeated.
    """
    try:
        with path.open(encoding="utf-8") as file:
            secret = file.readline(64 * 1024).strip()
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise SettingsError(f"cannot read {path}: not valid UTF-8") from None
    if not secret:
        raise SettingsError(f"{path} is empty: its first line is the secret")
    return secret


_Path = tuple[str | int, ...]


def _foreign_types(content: Mapping[Any, Any], program: Program) -> list[tuple[_Path, str]]:
    receivers = content.get("receivers")
    faults: list[tuple[_Path, str]] = []
    for name, receiver in receivers.items() if isinstance(receivers, dict) else ():
        kind = receiver.get("type") if isinstance(receiver, dict) else None
        other = next((other for other, kinds in TYPES.items() if kind in kinds and other != program), None)
        if other is not None:
            faults.append(
                (("receivers", name, "type"), f"`{kind}` is a receiver of dockwarden-{other}, not of dockwarden-{program}")
            )
    return faults


def _fault(error: Any) -> tuple[_Path, str]:
    """Where and what, in our words where pydantic's say little."""
    tags = {tag for kinds in TYPES.values() for tag in kinds}
    where: _Path = tuple(part for number, part in enumerate(error["loc"]) if not (number == 2 and part in tags))  # noqa: PLR2004
    kind, context = error["type"], error.get("ctx", {})
    if kind == "extra_forbidden":
        return where, f"unknown setting `{where[-1]}`{_nearest(str(where[-1]), _names(error['loc']))}"
    if kind == "missing":
        return where[:-1], f"`{where[-1]}` is missing: {_description(error['loc'])}"
    if kind == "union_tag_not_found":
        return where, f"`type` is missing: {context.get('discriminator', 'type')} is one of {', '.join(sorted(tags))}"
    if kind == "union_tag_invalid":
        tag = str(context.get("tag", ""))
        return (*where, "type"), f"unknown type `{tag}`{_nearest(tag, sorted(tags))}"
    return where, str(error["msg"]).removeprefix("Value error, ")


def _model(loc: _Path) -> type[BaseModel]:
    """The model that holds what an error is about."""
    models: dict[str, type[BaseModel]] = {
        "pagerduty": PagerDuty,
        "alertmanager": Alertmanager,
        "webhook": Webhook,
        "apprise": Apprise,
        "slack": EditingChat,
        "mattermost": EditingChat,
        "telegram": EditingChat,
        "broker": Broker,
        "alarm_tests": AlarmTests,
        "routes": Route,
        "match": Match,
        "quiet": QuietHours,
    }
    return next((models[part] for part in reversed(loc[:-1]) if isinstance(part, str) and part in models), Config)


def _names(loc: _Path) -> list[str]:
    return list(_model(loc).model_fields)


def _description(loc: _Path) -> str:
    field = _model(loc).model_fields.get(str(loc[-1]))
    return (field.description if field is not None else None) or "it has no default"


def _nearest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean `{near[0]}`?" if near else f"; known: {', '.join(known)}" if len(known) <= 12 else ""  # noqa: PLR2004


def _places(node: Any, path: _Path = ()) -> dict[_Path, tuple[int, int]]:
    """Line and column, from 1, of everything in the file."""
    if node is None:
        return {}
    places = {path: (node.start_mark.line + 1, node.start_mark.column + 1)}
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = (*path, str(key.value))
            places |= _places(value, inner)
            places[inner] = (key.start_mark.line + 1, key.start_mark.column + 1)
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            places |= _places(value, (*path, number))
    return places


def _located(file: Path, places: Mapping[_Path, tuple[int, int]], where: _Path, what: str) -> str:
    """`FILE:LINE:COLUMN: SETTING: WHAT`, with the place of the nearest thing that is in the file."""
    known = where
    while known and known not in places:
        known = known[:-1]
    line, column = places.get(known, (1, 1))
    name = ".".join(str(part) for part in where)
    return f"{file}:{line}:{column}: {f'{name}: ' if name else ''}{what}"


def _yaml_fault(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or type(error).__name__
    place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark is not None else ""
    return place + re.sub(r"\s+", " ", str(problem))
