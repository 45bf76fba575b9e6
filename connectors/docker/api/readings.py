"""Docker's JSON into typed readings. Pure; takes whatever comes.

What is missing or of another type becomes empty or None, never an error: over thirty API versions every field has been absent
somewhere, and Podman has states of its own. Only an entry without an id is left out, since nothing could be said about it.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast, get_args

from connectors.sources.text import NAME_CHARS, VALUE_CHARS, clean, clean_labels
from engine.facts.docker import ContainerStatus
from engine.ports.docker import ContainerDetail, ContainerSummary, DockerInfo, DockerVersion, ImageSummary, Pruned, VolumeSummary

ID = re.compile(r"[0-9a-f]{64}\Z")
_STATES = frozenset(get_args(ContainerStatus))
_PODMAN: dict[str, ContainerStatus] = {
    "configured": "created",
    "initialized": "created",
    "stopped": "exited",
    "stopping": "running",
}
_EXITED = re.compile(r"(?:Exited|Restarting) \((-?[0-9]{1,10})\)")
_HEALTH = re.compile(r"\((?:health: )?(starting|healthy|unhealthy)\)")
_FRACTION = re.compile(r"(\.\d{1,6})\d*")
_YEAR_ONE = "0001-01-01"
"""Go's zero time: it has not happened yet."""
_SIZE = re.compile(r"\s*([0-9]{1,20}(?:\.[0-9]{1,12})?)\s*(?:([KMGTPEZY]?)(I?)B)?\s*\Z", re.IGNORECASE)
_POWERS = " KMGTPEZY"
"""As the devicemapper driver writes figures (daemon/graphdriver/devmapper/driver.go, Status) by go-units' HumanSize: four digits
in powers of 1000, with a space before the unit up to Docker 1.12 ("16.2 GB", "40.19 MB") and without one later ("16.2GB").
Daemons that speak the same API print powers of 1024 ("1.5GiB") or bare bytes."""
_WARNINGS = 50
_TAGS = 16
_YEAR_3000 = 32_503_680_000
_PAIRS = 200

_PARENTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("kubernetes", ("io.kubernetes.pod.namespace", "io.kubernetes.pod.name")),
    ("swarm", ("com.docker.swarm.service.name",)),
    ("compose", ("com.docker.compose.project", "com.docker.compose.service")),
    ("rancher", ("io.rancher.stack_service.name",)),
    ("rancher", ("io.rancher.stack.name", "io.rancher.service.name")),
    ("rancher", ("io.rancher.container.name",)),
    ("rancher", ("io.rancher.container.system",)),
    ("nomad", ("com.hashicorp.nomad.job_name", "com.hashicorp.nomad.task_name")),
    ("nomad", ("com.hashicorp.nomad.alloc_id",)),
    ("ecs", ("com.amazonaws.ecs.task-definition-family", "com.amazonaws.ecs.container-name")),
)
"""Kind of parent, and the labels that name it; the first of which all are there counts."""


def summaries(answer: object) -> list[ContainerSummary]:
    """The answer of GET /containers/json."""
    return [_summary(entry) for entry in _list(answer) if isinstance(entry, dict) and _id(entry)]


def _id(entry: Mapping[str, Any]) -> str:
    container = entry.get("Id")
    return container if isinstance(container, str) and ID.match(container) else ""


def _summary(entry: Mapping[str, Any]) -> ContainerSummary:
    status_text = clean(entry.get("Status"), NAME_CHARS)
    status = _status(entry.get("State")) or _status_by_text(status_text)
    exited = _EXITED.match(status_text) if status in ("exited", "restarting") else None
    health = _HEALTH.search(status_text)
    created = entry.get("Created")
    return ContainerSummary(
        id=_id(entry),
        name=_own_name(_list(entry.get("Names"))),
        image=clean(entry.get("Image")),
        command=clean(entry.get("Command")),
        status=status,
        exit_code=int(exited[1]) if exited else None,
        health=health[1] if health else None,
        created_at=_from_seconds(created) if isinstance(created, int) else None,
        labels=clean_labels(entry.get("Labels")),
    )


def _own_name(names: Sequence[Any]) -> str:
    """Its own name among those that links give it (`/other/alias`): the one with a single slash."""
    texts = [name for name in names if isinstance(name, str)]
    own = next((name for name in texts if name.count("/") <= 1), texts[0] if texts else "")
    return clean(own.lstrip("/"), NAME_CHARS)


def _status(state: object) -> ContainerStatus | None:
    if not isinstance(state, str) or not state:
        return None
    lower = state.lower()
    if lower in _STATES:
        return cast("ContainerStatus", lower)
    # A state that is not known counts as running: that is the one which no remedy touches.
    return _PODMAN.get(lower, "running")


def _status_by_text(text: str) -> ContainerStatus:
    """Before API 1.23 the list had no State, only "Up 5 minutes (Paused)", "Exited (0) …", "Dead", "Removal In Progress"."""
    if text.startswith("Up"):
        return "paused" if text.endswith("(Paused)") else "running"
    starts: dict[str, ContainerStatus] = {
        "Exited": "exited",
        "Restarting": "restarting",
        "Dead": "dead",
        "Removal": "removing",
        "Created": "created",
    }
    return next((status for start, status in starts.items() if text.startswith(start)), "created" if not text else "running")


def detail(answer: object) -> ContainerDetail | None:
    """The answer of GET /containers/ID/json; None when it has no id."""
    entry = _map(answer)
    if not _id(entry):
        return None
    state, config = _map(entry.get("State")), _map(entry.get("Config"))
    status = _status(state.get("Status")) or _status_by_flags(state)
    exit_code, pid, error = _int(state.get("ExitCode")), _int(state.get("Pid")), clean(state.get("Error"))
    finished = read_time(state.get("FinishedAt"))
    oom_killed = state.get("OOMKilled")
    health = clean(_map(state.get("Health")).get("Status"), NAME_CHARS)
    return ContainerDetail(
        id=_id(entry),
        name=clean(entry.get("Name"), NAME_CHARS).lstrip("/"),
        image=clean(config.get("Image")),
        command=command_of(entry.get("Path"), entry.get("Args")),
        status=status,
        # A container that never ran, or runs, has exit code 0 too; one that could not start has 127 or so and never finished.
        exit_code=exit_code if (finished or exit_code) and status not in ("running", "paused") else None,
        oom_killed=oom_killed if isinstance(oom_killed, bool) else None,
        error=error or None,
        health=health if health not in ("", "none") else None,
        created_at=read_time(entry.get("Created")),
        started_at=read_time(state.get("StartedAt")),
        finished_at=finished,
        labels=clean_labels(config.get("Labels")),
        pid=pid if pid and pid > 0 else None,
    )


def _status_by_flags(state: Mapping[str, Any]) -> ContainerStatus:
    """Before API 1.21 inspect had flags only (container/state.go, StateString)."""
    flags: tuple[tuple[str, ContainerStatus], ...] = (
        ("RemovalInProgress", "removing"),
        ("Dead", "dead"),
        ("Paused", "paused"),
        ("Restarting", "restarting"),
        ("Running", "running"),
    )
    for flag, status in flags:
        if state.get(flag) is True:
            return status
    return "exited" if read_time(state.get("StartedAt")) else "created"


def command_of(path: object, args: object) -> str:
    """Entrypoint and arguments as the list shows them: arguments with a space in single quotes (daemon/list.go)."""
    words = [path if isinstance(path, str) else ""]
    words += [f"'{word}'" if " " in word else word for word in _list(args) if isinstance(word, str)]
    return clean(" ".join(words)[: 2 * VALUE_CHARS])


def parent_of(labels: Mapping[str, str]) -> str | None:
    """Who keeps creating a container, as `kind:name` such as `compose:shop/web` or `kubernetes:kube-system/kube-proxy-x1`.

    None when no label names it.
    """
    if not labels:
        return None
    for kind, keys in _PARENTS:
        names = [labels.get(key, "") for key in keys]
        if all(names):
            return f"{kind}:{'/'.join(names)}"
    return None


def version(answer: object) -> DockerVersion:
    """The answer of GET /version."""
    entry = _map(answer)
    return DockerVersion(
        version=clean(entry.get("Version"), NAME_CHARS),
        api_version=clean(entry.get("ApiVersion"), NAME_CHARS),
        kernel=clean(entry.get("KernelVersion"), NAME_CHARS),
    )


def info(answer: object) -> DockerInfo:
    """The answer of GET /info."""
    entry = _map(answer)
    pairs = [pair for pair in _list(entry.get("DriverStatus"))[:_PAIRS] if isinstance(pair, list) and len(pair) == 2]  # noqa: PLR2004 - a pair
    return DockerInfo(
        version=clean(entry.get("ServerVersion"), NAME_CHARS),
        kernel=clean(entry.get("KernelVersion"), NAME_CHARS),
        storage_driver=clean(entry.get("Driver"), NAME_CHARS),
        cgroup_driver=clean(entry.get("CgroupDriver"), NAME_CHARS),
        root_dir=root if (root := clean(entry.get("DockerRootDir"))).startswith("/") else "",
        driver_status=tuple((clean(name, NAME_CHARS), clean(value, NAME_CHARS)) for name, value in pairs),
        containers=_count(entry.get("Containers")),
        running=_count(entry.get("ContainersRunning")),
        stopped=_count(entry.get("ContainersStopped")),
        warnings=tuple(clean(text, VALUE_CHARS) for text in _list(entry.get("Warnings"))[:_WARNINGS] if isinstance(text, str)),
    )


def pruned(answer: object) -> Pruned:
    """The answer of POST /images/prune."""
    entry = _map(answer)
    return Pruned(count=len(_list(entry.get("ImagesDeleted"))), bytes=_count(entry.get("SpaceReclaimed")) or 0)


def images(answer: object) -> list[ImageSummary]:
    """The answer of GET /images/json. `<none>:<none>` is no name (until API 1.43); the time is one of seconds."""
    found = []
    for entry in _list(answer):
        image = _map(entry).get("Id")
        if not isinstance(image, str) or not image:
            continue
        tags = [clean(tag, NAME_CHARS) for tag in _list(entry.get("RepoTags")) if isinstance(tag, str) and tag != "<none>:<none>"]
        created = _count(entry.get("Created"))
        found.append(
            ImageSummary(
                id=clean(image, NAME_CHARS),
                tags=tuple(tags[:_TAGS]),
                size=_count(entry.get("Size")) or 0,
                created_at=datetime.fromtimestamp(created, UTC) if created and created < _YEAR_3000 else None,
            )
        )
    return found


def volumes(answer: object) -> list[VolumeSummary]:
    """The answer of GET /volumes."""
    return [
        VolumeSummary(
            name=clean(entry["Name"], NAME_CHARS),
            driver=clean(entry.get("Driver"), NAME_CHARS),
            created_at=read_time(entry.get("CreatedAt")),
        )
        for entry in _list(_map(answer).get("Volumes"))
        if isinstance(entry, dict) and isinstance(entry.get("Name"), str)
    ]


def read_time(text: object) -> datetime | None:
    """A time of RFC 3339 with nanoseconds; None when there is none, when it cannot be read, and for Go's zero time."""
    if not isinstance(text, str) or not text or text.startswith(_YEAR_ONE) or len(text) > NAME_CHARS:
        return None
    try:
        at = datetime.fromisoformat(_FRACTION.sub(r"\1", text, count=1))
        return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def size(text: str) -> float | None:
    """Bytes; None when it is no size."""
    match = _SIZE.match(text)
    if match is None:
        return None
    base = 1024.0 if match[3] else 1000.0
    return float(match[1]) * base ** _POWERS.index((match[2] or " ").upper())


@dataclass(frozen=True, slots=True)
class Pool:
    """How full it is (shares from 0 to 1), and whether it deletes later what is busy now; None where the driver does not say."""

    data_ratio: float | None = None
    metadata_ratio: float | None = None
    deferred_removal: bool | None = None
    deferred_deletion: bool | None = None


def read_pool(driver_status: Iterable[tuple[str, str]]) -> Pool:
    """The pool's state from the pairs of `docker info`; all None for drivers without a pool (overlay2)."""
    pairs = dict(driver_status)
    return Pool(
        data_ratio=_ratio(pairs, "Data Space"),
        metadata_ratio=_ratio(pairs, "Metadata Space"),
        deferred_removal=_flag(pairs, "Deferred Removal Enabled"),
        deferred_deletion=_flag(pairs, "Deferred Deletion Enabled"),
    )


def _ratio(pairs: dict[str, str], what: str) -> float | None:
    used, total = size(pairs.get(f"{what} Used", "")), size(pairs.get(f"{what} Total", ""))
    return None if used is None or not total else min(used / total, 1.0)


def _flag(pairs: dict[str, str], name: str) -> bool | None:
    return {"true": True, "false": False}.get(pairs.get(name, "").strip().lower())


def _from_seconds(seconds: int) -> datetime | None:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _int(value: object) -> int | None:
    """A whole number that fits a fact (and JSON readers that count in doubles)."""
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 53 else None


def _count(value: object) -> int | None:
    number = _int(value)
    return number if number is not None and number >= 0 else None


def _map(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
