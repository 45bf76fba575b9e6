"""Who is told of an alert, and when: routes, quiet hours, digests. Pure; the moment is handed in."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from fnmatch import fnmatchcase
from typing import Literal, Self
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from connectors.consumers.alert import Alert, rank

Severity = Literal["info", "warning", "error", "critical"]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
"""As `datetime.weekday` numbers them."""


class QuietHours(BaseModel):
    """A span of the day in which what is less severe waits until it ends."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    start: time = Field(description="Local time, as in '22:00'.")
    end: time = Field(description="Local time; earlier than `start`: on the next day.")
    days: tuple[Day, ...] = Field(default=DAYS, min_length=1, description="Days on which it begins.")
    timezone: str = Field(default="UTC", description="IANA name, as in Europe/Berlin.")
    unless: Severity = Field(default="critical", description="From this severity on alerts do not wait.")

    @field_validator("start", "end", mode="before")
    @classmethod
    def _clock_time(cls, value: object) -> object:
        # YAML 1.1 reads 22:00 without quotes as the number 1320 (base 60); more than a day of minutes is no time.
        day = 24 * 60
        return time(value // 60, value % 60) if isinstance(value, int) and 0 <= value < day else value

    @field_validator("timezone")
    @classmethod
    def _known(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (OSError, ValueError, KeyError) as error:
            msg = f"unknown time zone `{name}` (IANA names, as in Europe/Berlin; they need the package tzdata)"
            raise ValueError(msg) from error
        return name

    @model_validator(mode="after")
    def _some_time(self) -> Self:
        if self.start == self.end:
            msg = "`start` and `end` are the same: quiet hours of a whole day are a route without receivers"
            raise ValueError(msg)
        return self

    def until(self, now: float) -> float | None:
        """When the quiet hours end that `now` lies in (both in seconds since the epoch); None outside of them."""
        zone = ZoneInfo(self.timezone)
        today = datetime.fromtimestamp(now, zone).date()
        ends = []
        for day in (today - timedelta(days=1), today):
            if DAYS[day.weekday()] not in self.days:
                continue
            last = day + timedelta(days=1) if self.end < self.start else day
            begin = datetime.combine(day, self.start, zone).astimezone(UTC).timestamp()
            end = datetime.combine(last, self.end, zone).astimezone(UTC).timestamp()
            if begin <= now < end:
                ends.append(end)
        return max(ends, default=None)


class Match(BaseModel):
    """Which alerts a route is for; everything that is given must hold. Names are globs (`web-*`), case counts."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    severity: Severity = Field(default="info", description="At least this severe.")
    hosts: tuple[str, ...] = Field(default=(), description="Any of these; none given: every host.")
    rules: tuple[str, ...] = Field(default=(), description="Ids of rules, any of these; none given: every rule.")
    labels: Mapping[str, str] = Field(default={}, description="Labels that the alert must have, each with a glob for its value.")

    def __call__(self, alert: Alert) -> bool:
        """Whether it is for this alert."""
        labels = alert.labels
        return (
            alert.at_least(self.severity)
            and _any(alert.host, self.hosts)
            and _any(alert.rule, self.rules)
            and all(name in labels and fnmatchcase(labels[name], wanted) for name, wanted in self.labels.items())
        )


class Route(BaseModel):
    """From alerts to receivers. Routes are tried in order; the first that matches decides, unless it says `go_on`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    match: Match = Match()
    receivers: tuple[str, ...] = Field(description="Names of receivers; none: these alerts are told to nobody.")
    go_on: bool = Field(default=False, description="True: later routes are tried as well.")
    quiet: tuple[QuietHours, ...] = Field(default=(), description="Quiet hours.")
    digest_s: float = Field(
        default=0.0, ge=0, le=7 * 86_400, description="Seconds; alerts are collected and told together so often. 0: each at once."
    )
    digest_below: Severity = Field(default="error", description="Only alerts less severe than this wait for the digest.")

    def release_at(self, alert: Alert, now: float) -> float | None:
        """Until when the alert waits, in seconds since the epoch; None: it is told now."""
        waits = [end for hours in self.quiet if not alert.at_least(hours.unless) and (end := hours.until(now)) is not None]
        if self.digest_s and rank(alert.severity) < rank(self.digest_below):
            waits.append((now // self.digest_s + 1) * self.digest_s)
        return max(waits, default=None)


@dataclass(frozen=True, slots=True)
class Addressed:
    """A receiver that is to be told."""

    receiver: str
    release_at: float | None
    """Seconds since the epoch; None: now."""


def addressees(alert: Alert, routes: Iterable[Route], now: float) -> list[Addressed]:
    """Who is told of an alert, each receiver once, by the first of the matching routes that names it.

    A test alarm goes to every receiver that may ever receive of its host: it tries the ways, whatever goes which.
    """
    if alert.test:
        names = [name for route in routes if _any(alert.host, route.match.hosts) for name in route.receivers]
        return [Addressed(name, None) for name in dict.fromkeys(names)]
    found: dict[str, Addressed] = {}
    for route in routes:
        if not route.match(alert):
            continue
        for receiver in route.receivers:
            found.setdefault(receiver, Addressed(receiver, route.release_at(alert, now)))
        if not route.go_on:
            break
    return list(found.values())


def _any(name: str, globs: tuple[str, ...]) -> bool:
    return not globs or any(fnmatchcase(name, glob) for glob in globs)
