"""The models of what stands in the `data` of each message; `dockwarden schema` prints them. Pure; knows no topic and no MQTT."""

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from engine.facts.base import UtcTime
from engine.facts.outcomes import ErrorKind, Severity
from engine.messages.topics import MAX_DEDUP_KEY, MAX_SUMMARY, clean_text

MAX_TEXT: Final = 1024
"""Characters of a single text in a message; a label of a megabyte is evidence of itself, not worth carrying."""


def short_text(text: str) -> str:
    """The text without lone surrogates and NUL, cut to what a message carries."""
    cleaned = clean_text(text[: MAX_TEXT + 1])
    return cleaned if len(text) <= MAX_TEXT else cleaned[: MAX_TEXT - 1] + "…"


Text = Annotated[str, BeforeValidator(lambda value: short_text(value) if isinstance(value, str) else value)]
"""A text from outside: anything goes in, what comes out is valid UTF-8 and bounded."""


class Data(BaseModel):
    """What all of them have in common."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, ser_json_inf_nan="null")


class AlertAction(Data):
    """What was decided about an alert, and what came of it."""

    action: Text = Field(description="remove_container, unmount, …")
    target: Text = Field(default="", description="What it is done to.")
    verdict: Text = Field(description="done, failed, refused (by a guardrail), observed (mode observe), scheduled, …")
    at: UtcTime | None = None
    reason: Text = Field(default="", description="Why it was refused or failed.")


class AlertData(Data):
    """`data` of a `dockwarden.alert.v1` event."""

    dedup_key: str = Field(max_length=MAX_DEDUP_KEY, description="The same for every message about one trouble.")
    status: Literal["firing", "resolved"]
    severity: Severity
    summary: str = Field(
        max_length=MAX_SUMMARY, description="One line: what is wrong, since when, what was done, what to do next."
    )
    host: Text
    rule: str = Field(description="Id of the rule that concluded it.")
    key: Text = Field(description="What it is about, as the rule has it; empty where the rule has one alert.")
    labels: dict[Text, Text] = Field(description="Identity, with names that Prometheus takes: alertname, host, severity, key, …")
    annotations: dict[Text, Text] = Field(description="Texts for people: summary, description, next, …")
    runbook_url: str | None = None
    starts_at: UtcTime = Field(description="Since when it fires.")
    ends_at: UtcTime | None = Field(default=None, description="When it was resolved; null while it fires.")
    updated_at: UtcTime = Field(description="Event time of this message.")
    count: int = Field(ge=1, description="How often it fired since starts_at; above 1 it flaps or goes on.")
    evidence: list[dict[str, Any]] = Field(description="The facts that support it, long texts cut.")
    evidence_omitted: int = Field(default=0, ge=0, description="Supporting facts left out to keep the message small.")
    actions: list[AlertAction] = Field(default_factory=list)
    rules_version: str = ""
    seq: int = Field(ge=0, description="Number of the message on this host: rises, never used twice.")
    schema_: Literal["dockwarden.alert.v1"] = Field(default="dockwarden.alert.v1", alias="schema")


class ActionData(Data):
    """`data` of a `dockwarden.action.v1` event: the outcome of one attempt."""

    action: Text
    target: Text
    host: Text
    ok: bool
    attempt: int = Field(ge=1)
    exhausted: bool = Field(default=False, description="It failed and will not be tried again.")
    error: Text | None = Field(default=None, description="In the words of who refused.")
    error_kind: ErrorKind | None = None
    detail: Text | None = None
    duration_ms: float = 0.0
    container_id: str | None = None
    rule: str | None = None
    activation: str = Field(default="", description="The decision it carries out; the audit has it under this id.")
    at: UtcTime
    rules_version: str = ""
    seq: int = Field(ge=0)
    schema_: Literal["dockwarden.action.v1"] = Field(default="dockwarden.action.v1", alias="schema")


class StatusData(Data):
    """`data` of a `dockwarden.status.v1` event. The last will has the state, the host and the version alone."""

    state: Literal["online", "offline"]
    host: Text
    version: str
    mode: Literal["observe", "act"] | None = None
    frozen: bool = Field(default=False, description="All actions are stopped.")
    rules_version: str = ""
    rules: int | None = Field(default=None, description="Number of rules in force.")
    since: UtcTime | None = Field(default=None, description="Start of the process.")
    outbox_depth: int | None = Field(default=None, description="Messages that wait for the broker.")
    losses: dict[str, int] = Field(default_factory=dict, description="What was lost, by kind: outbox rows, source gaps.")
    sources: dict[Text, Text] = Field(default_factory=dict, description="Sources by name: ok, lost, gap.")
    firing: int | None = Field(default=None, description="Alerts that fire.")
    troubles: list[Text] = Field(default_factory=list, description="What dockwarden itself suffers from, one sentence each.")
    at: UtcTime | None = None
    schema_: Literal["dockwarden.status.v1"] = Field(default="dockwarden.status.v1", alias="schema")
