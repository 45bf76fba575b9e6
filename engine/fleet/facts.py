"""Messages of all hosts into facts: what each host reports, and what that adds up to. Sans-I/O: messages and time come in.

State facts that wait to be taken are one for each identity, the newest, so that what waits is bounded by the fleet, not by how
fast it talks. Conditions of hosts go by our clock, and by how long we have been able to hear them.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Final

from engine.action_catalog import ACTIONS
from engine.facts import Fact, Retraction
from engine.facts.fleet import (
    Condition,
    Fleet,
    FleetActing,
    FleetAlert,
    FleetEngine,
    FleetLabel,
    FleetRollout,
    HostAction,
    HostAlert,
    HostStatus,
)
from engine.facts.timestamps import SECOND, Micros, from_micros
from engine.fleet.view import SEVERITIES, STALE_AFTER, AlertId, AlertView, Change, FleetView
from engine.messages.models import ActionData, StatusData
from engine.messages.topics import level_text

WINDOW: Final[Micros] = 600 * SECOND
"""For `fleet_acting` and `fleet_rollout`."""

SLACK: Final[Micros] = 30 * SECOND
"""An alert by new rules may begin before the status that names them, and clocks differ."""

RENEW: Final[Micros] = 60 * SECOND
"""A number that changes by less than a tenth is renewed this often."""

ROLLOUTS: Final = 20
"""Versions of rules whose arrival is remembered; the oldest goes."""

SOME: Final = 5
"""Hosts named in a fact."""

MAX_EVENTS: Final = 5_000
"""Outcomes of actions that wait to be taken."""

_OWN_LABELS: Final = frozenset({"alertname", "host", "severity", "key", "incident"})
_EMITTED_BY: Final = "fleet"

Identity = tuple[str, ...]


@dataclass(slots=True)
class _Firing:
    """One alert that fires, as far as the sums need it."""

    view: AlertView
    labels: Mapping[str, str]


@dataclass(slots=True)
class _HostMark:
    """What is remembered of a host beside its status."""

    status: HostStatus
    rules_since: Micros | None = None


@dataclass(slots=True)
class _Sums:
    """What is derived over hosts: the facts that are so, by identity, with when they were renewed."""

    facts: dict[Identity, tuple[Fact, Micros]] = field(default_factory=dict)


class HostLabels:
    """Labels of hosts, by patterns of their names: what the fleet knows beside what hosts report."""

    def __init__(self, patterns: Mapping[str, Mapping[str, str]]) -> None:
        self._patterns = patterns
        self._known: dict[str, dict[str, str]] = {}

    def of(self, host: str) -> dict[str, str]:
        """Of one host; a later pattern counts more."""
        found = self._known.get(host)
        if found is None:
            found = {}
            for pattern, labels in self._patterns.items():
                if fnmatchcase(host, pattern):
                    found |= labels
            self._known[host] = found
        return found


class FleetFacts:
    """Keeps a view of the fleet, and the facts that follow."""

    def __init__(
        self,
        view: FleetView,
        *,
        name: str,
        labels: HostLabels | None = None,
        wanted: Iterable[str] = (),
        known: Iterable[Fact] = (),
    ) -> None:
        """Make one.

        Args:
            view: takes each message first.
            name: under which the fleet's engines publish alerts; they themselves are called `NAME@…`. They are no hosts.
            labels: of hosts.
            wanted: kinds that rules read; events of other kinds are left out.
            known: facts from before a restart.
        """
        self.view = view
        self._name = name
        self._labels = labels or HostLabels({})
        self.wanted = frozenset(wanted)
        self._waiting: dict[Identity, Fact | Retraction] = {}
        self._events: list[Fact] = []
        self.dropped = 0
        """Events left out because nobody took those before."""
        self._hosts: dict[str, _HostMark] = {}
        self._with_label: Counter[tuple[str, str]] = Counter()
        self._firing: dict[str, dict[str, dict[str, _Firing]]] = {}
        """By rule, host and key."""
        self._dirty: set[str] = set()
        self._acting: dict[tuple[str, str], dict[str, Micros]] = {}
        self._got: dict[str, dict[str, Micros]] = {}
        """By rules version: the hosts that were seen to get it, and when."""
        self._sums = _Sums()
        self._engines: dict[str, Condition] = {}
        self._hearing_since: Micros | None = None
        self._renewed: Micros = 0
        for fact in known:
            self._remember(fact)

    # -- messages in --------------------------------------------------------------------------------------------------

    def is_engine(self, host: str) -> bool:
        """Whether this is the name of an engine of the fleet, or of all of them."""
        return host == self._name or host.startswith(f"{self._name}@")

    def apply(self, topic: str, payload: bytes, now: Micros) -> list[Change]:
        """Take one message in; what it changed in the view."""
        parts = topic.split("/")
        kind = parts[2] if len(parts) > 2 else ""  # noqa: PLR2004  dockwarden/HOST/KIND
        host = level_text(parts[1]) if kind else ""
        if kind == "alert" and not self.is_engine(host) and len(parts) == 5:  # noqa: PLR2004  …/RULE/KEY
            return self._apply_alert((host, level_text(parts[3]), level_text(parts[4])), topic, payload, now)
        changes = self.view.apply(topic, payload, now)
        if not changes:
            return changes
        if kind == "status":
            known = self.view.hosts.get(host)
            if known is None:
                self._forget_host(host, now)
            elif self.is_engine(host):
                self._engine(host, known.condition(now), now)
            else:
                self._status(host, known.data, known.condition(now), now)
        elif kind == "action" and not self.is_engine(host):
            self._action(self.view.actions[-1], now)
        return changes

    def _apply_alert(self, identity: AlertId, topic: str, payload: bytes, now: Micros) -> list[Change]:
        before = self._firing.get(identity[1], {}).get(identity[0], {}).get(identity[2])
        changes = self.view.apply(topic, payload, now)
        after = self.view.alerts.get(identity)
        if changes and (before is None or after is None or before.view is not after):
            self._alert(identity, before, after, now)
        return changes

    def _alert(self, identity: AlertId, before: _Firing | None, after: AlertView | None, now: Micros) -> None:
        host, rule, key = identity
        at = from_micros(now)
        if after is None:
            if before is not None:
                keys = self._firing[rule][host]
                del keys[key]
                if not keys:
                    del self._firing[rule][host]
                self._dirty.add(rule)
                self._put(Retraction(retract=HostAlert.KIND, key="|".join(identity), at=at, host=host), ("host_alert", *identity))
            return
        new = before is None or before.view.starts_at != after.starts_at
        labels = _labels_of(after) | self._labels.of(host) if new or before is None else before.labels
        self._firing.setdefault(rule, {}).setdefault(host, {})[key] = _Firing(after, labels)
        if not new and before is not None and _same(before.view, after):
            return  # it fired again: nothing that a rule could ask for has changed
        self._dirty.add(rule)
        self._put(
            HostAlert(
                fact_id=_id("host_alert", *identity, str(after.seq)),
                at=at,
                host=host,
                source=_EMITTED_BY,
                rule=rule,
                key=key,
                severity=after.severity,
                title=after.title,
                starts_at=from_micros(after.starts_at),
                acknowledged=bool(after.acknowledged_by),
                rules_version=after.rules_version,
                labels=dict(labels),
            )
        )

    def _status(self, host: str, data: StatusData, condition: Condition, now: Micros) -> None:
        mark = self._hosts.get(host)
        rules_since = None if mark is None else mark.rules_since
        version = data.rules_version or ("" if mark is None else mark.status.rules_version)  # the last will names none
        if mark is not None and version != mark.status.rules_version and mark.status.rules_version:
            rules_since = now
            self._arrived(version, host, now)
        # A last will has state, host and version alone: what was known of the rest stays so.
        last = mark.status if mark is not None and data.state == "offline" else None
        status = HostStatus(
            at=from_micros(now),
            host=host,
            source=_EMITTED_BY,
            condition=condition,
            version=data.version,
            mode=data.mode if last is None else data.mode or last.mode,
            frozen=data.frozen if last is None else last.frozen,
            rules_version=version,
            rules_since=None if rules_since is None else from_micros(rules_since),
            since=data.since if last is None else data.since or last.since,
            sources_lost=sum(state == "lost" for state in data.sources.values()),
            labels=self._labels.of(host),
        )
        self._keep(status, rules_since, now)

    def _keep(self, status: HostStatus, rules_since: Micros | None, now: Micros) -> None:
        mark = self._hosts.get(status.host)
        if mark is None:
            self._with_label.update(self._labels.of(status.host).items())
        same = mark is not None and mark.status.model_copy(update={"at": status.at, "fact_id": ""}) == status
        if not same:
            status = status.with_id(_id("host_status", status.host, str(now)))
            self._hosts[status.host] = _HostMark(status, rules_since)
            self._put(status)

    def _forget_host(self, host: str, now: Micros) -> None:
        at = from_micros(now)
        if self.is_engine(host):
            if self._engines.pop(host, None) is not None:
                self._put(Retraction(retract=FleetEngine.KIND, key=host, at=at), ("fleet_engine", host))
        elif self._hosts.pop(host, None) is not None:
            self._with_label.subtract(self._labels.of(host).items())
            self._put(Retraction(retract=HostStatus.KIND, key=host, at=at, host=host), ("host_status", host))

    def _engine(self, engine: str, condition: Condition, now: Micros) -> None:
        if engine != self._name and self._engines.get(engine) != condition:
            self._engines[engine] = condition
            identity = _id("fleet_engine", engine, str(now))
            self._put(FleetEngine(fact_id=identity, at=from_micros(now), source=_EMITTED_BY, engine=engine, condition=condition))

    def _arrived(self, version: str, host: str, now: Micros) -> None:
        if version not in self._got and len(self._got) >= ROLLOUTS:
            oldest = min(self._got, key=lambda one: max(self._got[one].values(), default=0))
            del self._got[oldest]
            self._dirty.update(fact.rule for fact, _ in self._sums.facts.values() if isinstance(fact, FleetRollout))
        self._got.setdefault(version, {})[host] = now
        self._dirty.update(self._firing)

    def _action(self, data: ActionData, now: Micros) -> None:
        if data.rule and (spec := ACTIONS.get(data.action)) is not None and spec.changes and data.error_kind != "refused":
            self._acting.setdefault((data.rule, data.action), {})[data.host] = now
        if HostAction.KIND not in self.wanted:
            return
        if len(self._events) >= MAX_EVENTS:
            self.dropped += 1
            return
        self._events.append(
            HostAction(
                fact_id=_id("host_action", data.host, str(data.seq)),
                at=from_micros(now),
                host=data.host,
                source=_EMITTED_BY,
                action=data.action,
                target=data.target,
                ok=data.ok,
                error=data.error,
                error_kind=data.error_kind,
                attempt=data.attempt,
                exhausted=data.exhausted,
                rule=data.rule,
            )
        )

    # -- time passes --------------------------------------------------------------------------------------------------

    def tick(self, now: Micros, *, hearing: bool) -> bool:
        """Work out what follows from time, and the sums; about once a second. Whether a host is another than before.

        Args:
            now: our wall clock.
            hearing: whether messages reach us: while they do not, no host is called silent.
        """
        if not hearing:
            self._hearing_since = None
            return False
        if self._hearing_since is None:
            self._hearing_since = now
        changed = self._conditions(now)
        self._whole(now)
        self._acting_sums(now)
        if now - self._renewed >= RENEW:
            self._renewed = now
            self._dirty.update(self._firing)
        dirty, self._dirty = self._dirty, set()
        for rule in sorted(dirty):
            self._rule_sums(rule, now)
        return changed

    def clock_stepped(self, step: Micros) -> None:
        """The machine's clock was set: hosts are given their time anew, since when they were heard is of the clock before."""
        if self._hearing_since is not None:
            self._hearing_since += step

    def _conditions(self, now: Micros) -> bool:
        changed = False
        silent_before = now - STALE_AFTER
        for host, known in self.view.hosts.items():
            heard = max(min(known.seen_at, now), self._hearing_since or now)
            condition: Condition = "offline" if known.data.state == "offline" else "stale" if heard < silent_before else "online"
            if self.is_engine(host):
                self._engine(host, condition, now)
            elif (mark := self._hosts.get(host)) is not None and mark.status.condition != condition:
                changed = True
                status = mark.status.model_copy(update={"condition": condition, "at": from_micros(now)})
                status.__dict__.pop("at_micros", None)
                self._keep(status.with_id(""), mark.rules_since, now)
        return changed

    def _whole(self, now: Micros) -> None:
        conditions = Counter(mark.status.condition for mark in self._hosts.values())
        size = len(self._hosts)
        silent = conditions["stale"] + conditions["offline"]
        self._sum(
            Fleet(
                at=from_micros(now),
                source=_EMITTED_BY,
                hosts=size,
                online=conditions["online"],
                stale=conditions["stale"],
                offline=conditions["offline"],
                acting=sum(mark.status.mode == "act" for mark in self._hosts.values()),
                silent_share=_share(silent, size),
            ),
            now,
        )

    def _acting_sums(self, now: Micros) -> None:
        online = sum(mark.status.condition == "online" for mark in self._hosts.values())
        for (rule, action), hosts in list(self._acting.items()):
            for host in [host for host, at in hosts.items() if at <= now - WINDOW]:
                del hosts[host]
            if not hosts:
                del self._acting[rule, action]
                self._drop((FleetActing.KIND, rule, action), now)
                continue
            self._sum(
                FleetActing(
                    at=from_micros(now),
                    source=_EMITTED_BY,
                    rule=rule,
                    action=action,
                    hosts=len(hosts),
                    share=min(1.0, _share(len(hosts), online)),
                    some=_some(hosts),
                ),
                now,
            )

    def _rule_sums(self, rule: str, now: Micros) -> None:
        hosts = self._firing.get(rule, {})
        so: set[Identity] = set()
        if hosts:
            so.add(self._alert_sum(rule, hosts, now))
            so |= self._label_sums(rule, hosts, now)
            so |= self._rollout_sums(rule, hosts, now)
        else:
            self._firing.pop(rule, None)
        for identity, (fact, _) in list(self._sums.facts.items()):
            if getattr(fact, "rule", None) == rule and not isinstance(fact, FleetActing) and identity not in so:
                self._drop(identity, now)

    def _alert_sum(self, rule: str, hosts: Mapping[str, Mapping[str, _Firing]], now: Micros) -> Identity:
        views = [firing.view for keys in hosts.values() for firing in keys.values()]
        size = max(len(self._hosts), len(hosts))
        fact = FleetAlert(
            at=from_micros(now),
            source=_EMITTED_BY,
            rule=rule,
            title=views[0].title,
            severity=min((view.severity for view in views), key=SEVERITIES.index),
            hosts=len(hosts),
            share=_share(len(hosts), size),
            fleet_size=size,
            some=_some(hosts),
        )
        return self._sum(fact, now)

    def _label_sums(self, rule: str, hosts: Mapping[str, Mapping[str, _Firing]], now: Micros) -> set[Identity]:
        having: dict[tuple[str, str], dict[str, None]] = {}
        for host, keys in hosts.items():
            for firing in keys.values():
                for pair in firing.labels.items():
                    having.setdefault(pair, {})[host] = None
        so = set()
        for (label, value), some in having.items():
            share = _share(len(some), len(hosts))
            if share < 0.5 or len(some) < 3:  # noqa: PLR2004  what is not most of them is nothing in common
                continue
            everywhere = self._with_label[label, value]
            lift = None if everywhere <= 0 else share / max(_share(everywhere, len(self._hosts)), 1e-9)
            fact = FleetLabel(
                at=from_micros(now),
                source=_EMITTED_BY,
                rule=rule,
                label=label,
                value=value,
                hosts=len(some),
                share=share,
                lift=lift if lift is None else round(lift, 2),
                some=_some(some),
            )
            so.add(self._sum(fact, now))
        return so

    def _rollout_sums(self, rule: str, hosts: Mapping[str, Mapping[str, _Firing]], now: Micros) -> set[Identity]:
        so = set()
        for version, got in self._got.items():
            struck = [
                host
                for host, since in got.items()
                if any(
                    firing.view.rules_version == version and since - SLACK <= firing.view.starts_at <= since + WINDOW
                    for firing in hosts.get(host, {}).values()
                )
            ]
            if struck:
                fact = FleetRollout(
                    at=from_micros(now),
                    source=_EMITTED_BY,
                    rules_version=version,
                    rule=rule,
                    hosts=len(struck),
                    share=_share(len(struck), len(got)),
                    got=len(got),
                    some=_some(struck),
                )
                so.add(self._sum(fact, now))
        return so

    def _sum(self, fact: Fact, now: Micros) -> Identity:
        """Put a sum when it is another than before by enough to matter, or was not renewed for a while."""
        identity = fact.identity
        before = self._sums.facts.get(identity)
        if before is not None:
            known, renewed = before
            if not _differs(known, fact) or (now - renewed < RENEW and not _differs_much(known, fact)):
                return identity
        self._sums.facts[identity] = (fact, now)
        self._put(fact.with_id(_id(*identity, str(now))))
        return identity

    def _drop(self, identity: Identity, now: Micros) -> None:
        if self._sums.facts.pop(identity, None) is not None:
            kind, *key = identity
            self._put(Retraction(retract=kind, key="|".join(key), at=from_micros(now), source=_EMITTED_BY), identity)

    # -- facts out ----------------------------------------------------------------------------------------------------

    def _put(self, fact: Fact | Retraction, identity: Identity | None = None) -> None:
        if identity is None:
            assert isinstance(fact, Fact)  # noqa: S101  retractions name theirs
            identity = fact.identity
        self._waiting.pop(identity, None)  # so that what changes last comes last
        self._waiting[identity] = fact

    def drain(self, most: int) -> list[Fact | Retraction]:
        """The oldest facts that wait, at most so many."""
        taken: list[Fact | Retraction] = []
        while self._waiting and len(taken) < most:
            taken.append(self._waiting.pop(next(iter(self._waiting))))
        if len(taken) < most:
            events, self._events = self._events[: most - len(taken)], self._events[most - len(taken) :]
            taken += events
        return taken

    def missing(self, seen: set[AlertId]) -> set[AlertId]:
        """Alerts that fire here and are not among these."""
        return {identity for identity in self.view.alerts if identity not in seen}

    def end(self, identity: AlertId, topic: str, now: Micros) -> list[Change]:
        """The broker keeps nothing of this alert any more."""
        return self._apply_alert(identity, topic, b"", now)

    # -- across restarts ----------------------------------------------------------------------------------------------

    def _remember(self, fact: Fact) -> None:
        """Of what was before a restart: when hosts got their rules."""
        if isinstance(fact, HostStatus):
            since = None if fact.rules_since is None else round(fact.rules_since.timestamp() * SECOND)
            self._hosts[fact.host] = _HostMark(fact, since)
            self._with_label.update(self._labels.of(fact.host).items())
            if since is not None:
                self._got.setdefault(fact.rules_version, {})[fact.host] = since

    def forget_unseen(self, now: Micros) -> None:
        """After everything that is retained has come: hosts from before the restart that have no status any more are gone."""
        for host in [host for host in self._hosts if host not in self.view.hosts]:
            self._forget_host(host, now)


def _same(before: AlertView, after: AlertView) -> bool:
    """Whether no field of `host_alert` differs."""
    return (before.severity, before.title, before.acknowledged_by, before.rules_version) == (
        after.severity,
        after.title,
        after.acknowledged_by,
        after.rules_version,
    )


def _labels_of(alert: AlertView) -> dict[str, str]:
    data = alert.data()
    labels = {name: value for name, value in data.labels.items() if name not in _OWN_LABELS}
    images = [fact.get("image") for fact in data.evidence]
    registry = next((registry_of(image) for image in images if isinstance(image, str) and image), None)
    return labels if registry is None else {"registry": registry, **labels}


def registry_of(image: str) -> str:
    """The registry of an image's name, by Docker's own rule: what stands before the first slash when it has a dot or a colon."""
    first, slash, _ = image.partition("/")
    return first if slash and ("." in first or ":" in first or first == "localhost") else "docker.io"


def _differs(known: Fact, fact: Fact) -> bool:
    return _plain(known) != _plain(fact)


def _plain(fact: Fact) -> dict[str, Any]:
    return {name: value for name, value in fact.__dict__.items() if name not in ("at", "at_micros", "fact_id", "some")}


def _differs_much(known: Fact, fact: Fact) -> bool:
    """Whether a number changed by a tenth or more, or anything that is none changed."""
    before, after = _plain(known), _plain(fact)
    for name, value in after.items():
        old = before.get(name)
        if isinstance(value, int | float) and isinstance(old, int | float):
            if abs(value - old) > 0.1 * max(abs(old), 1e-9):
                return True
        elif value != old:
            return True
    return False


def _share(part: int, whole: int) -> float:
    return round(part / whole, 4) if whole else 0.0


def _some(hosts: Iterable[str]) -> str:
    names = sorted(hosts)
    more = f" and {len(names) - SOME} more" if len(names) > SOME else ""
    return ", ".join(names[:SOME]) + more


def _id(*parts: str) -> str:
    return "/".join(parts)[:512]
