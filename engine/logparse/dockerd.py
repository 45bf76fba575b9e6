"""What dockerd, containerd and the daemon's API errors say. Pure.

The wordings follow moby's source from 0.9 to 29 (daemon/stop.go, kill.go, delete.go, command/daemon.go, libcontainerd,
graphdriver) and containerd's. "shim disconnected" and "cleaning up after shim disconnected" stand beside ordinary exits.
Every pattern begins where the message, or its error, begins: what is quoted further on is a user's text, and no evidence.
"""

import re
from collections.abc import Callable

from engine.logparse.error_chain import (
    CONTAINER_KEYS,
    NO_SPACE,
    Context,
    busy_cause,
    path_and_cause,
    read_context,
    read_no_space,
    read_removal,
)
from engine.logparse.reading import Fields, Reading, found_fields
from engine.logparse.records import Record, Values

_FLAGS = re.ASCII
_ID = re.compile(r"[0-9a-f]{6,64}", _FLAGS)

_EXIT = re.compile(
    # daemon/stop.go: "%d seconds" until 20.10, a Go duration since; "of SIGTERM" until 1.10; the id beside it since 20.10.
    # daemon/kill.go: the same with "of kill", "of lxc-kill" until 1.1. "Container X, process Y failed to exit" is of an exec, and
    # no container's fault. Pagers, and `systemctl status` with three dots, cut the line anywhere behind "failed to exit".
    r"Container (?:(?P<id>\[?[\w.\u2026-]{1,255}\]?) )?failed to exit(?: within (?P<time>\d{1,10} seconds|[\dhms.µn]{2,32})"
    r"(?: of (?:(?P<kill>(?:lxc[ -])?(?:SIG)?[kK](?:ill|ILL)\b)|signal (?P<signal>\d{1,3})|SIG(?P<name>[A-Z]{3,8}))"
    r"|[ a-zA-Z\d]{0,32}(?:\.{3}.{0,64}|[\u2026>].{0,64})?$)|[ a-z\d]{0,24}(?:\.{3}.{0,64}|[\u2026>].{0,64})?$)",
    re.NOFLAG,  # µ
)
_DURATION = re.compile(r"(\d{1,10}(?:\.\d{1,9})?)(h|ms|m|s)", _FLAGS)
_UNIT_S = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_SIGNALS = {"HUP": 1, "INT": 2, "QUIT": 3, "KILL": 9, "USR1": 10, "USR2": 12, "TERM": 15}

_IN_PROGRESS = re.compile(r"removal of container (?P<ref>[\w.-]{1,255}) is already in progress", _FLAGS)
_LAYER = re.compile(r"Error removing mounted layer (?P<id>[\w.-]{1,128}): ", _FLAGS)
_UNMOUNT = re.compile(
    # graphdriver/overlay2, overlay and aufs, mostly at level debug; "%s overlay: %s - %v", "%s mount %s: %v"
    r"(?:Failed to unmount (?P<id>[0-9a-f]{12,64})(?:-init)?(?: (?P<driver>overlay2?|aufs|devicemapper))?(?: mount)?:? "
    r"|[Ee]rror (?:unmounting|checking unmount of) (?=/))(?:(?P<path>/\S{1,1024}?)(?: -|:) )?",
    _FLAGS,
)
_THIN_POOL = re.compile(
    r"Thin Pool has (?P<free_blocks>\d{1,19}) free (?P<kind>data|metadata) blocks "
    r"which is less than minimum required (?P<required>\d{1,19}) ",
    _FLAGS,
)
_NOT_STARTED = re.compile(
    # "Error starting daemon" until 18.03; a second daemon reports "failed to start daemon, ensure docker is not running …"
    r"(?:Error starting daemon: |[Ff]ailed to start daemon(?:: |, )"
    r"|(?=failed to start containerd: |unable to configure the Docker daemon ))"
    r"(?P<reason>.+)",
    _FLAGS | re.DOTALL,
)
_GRAPHDRIVER = re.compile(
    r"error initializing graphdriver: (?:driver not supported: (?P<unsupported>[\w-]{1,32})$|(?P<named>\w{1,32}): )", _FLAGS
)
_CONTAINERD_START = re.compile(
    r"containerd: (?:start container\b|container did not start before the specified timeout)"
    r"|container did not start before the specified timeout",
    _FLAGS,
)
_OCI = re.compile(
    # as an answer of the API only: what the daemon says when it restarts containers at its own start is another matter
    r"(?:failed to create (?:task for container|containerd task|shim task|shim): )*"
    r"(?:OCI runtime (?:create|start) failed|oci runtime error)",
    _FLAGS,
)


def _container(values: Values) -> Fields:
    """The container that the values beside a message name."""
    for key in CONTAINER_KEYS:
        if _ID.fullmatch(values.get(key, "")):
            return {"container_id": values[key]}
    return {}


def _requested(context: Context, values: Values) -> Fields:
    """The container that the values beside a message name, or the request that it answers."""
    return _container(values) or found_fields({"container_id": context.container_id, "container_ref": context.ref})


def _exit(message: str, context: Context, values: Values) -> Reading | None:
    if context.end or (found := _EXIT.match(message)) is None:
        return None
    name = (found["id"] or "").strip("[]")
    fields: Fields = {"container_id": name} if name else _container(values)
    if found["time"]:
        time = found["time"].removesuffix(" seconds")
        seconds = float(time) if time.isdecimal() else sum(float(n) * _UNIT_S[unit] for n, unit in _DURATION.findall(time))
        fields["seconds"] = round(seconds)
    if found["kill"]:
        return "docker_kill_timeout", fields
    signal = int(found["signal"]) if found["signal"] else _SIGNALS.get(found["name"] or "")
    return "docker_stop_timeout", fields | ({} if signal is None else {"signal": signal})


def _not_started(message: str, context: Context, _values: Values) -> Reading | None:
    if (found := _NOT_STARTED.match(message, context.end)) is None:
        return None
    reason = found["reason"].strip()
    driver = _GRAPHDRIVER.match(reason)
    return "docker_start_failed", found_fields(
        {"reason": reason, "graphdriver": (driver["unsupported"] or driver["named"]) if driver else None}
    )


def _layer(message: str, context: Context, _values: Values) -> Reading | None:
    if context.end:
        return None
    if (found := _LAYER.match(message)) is not None and busy_cause(message):
        return "docker_layer_busy", {"container_id": found["id"]} | path_and_cause(message[found.end() :])
    if (found := _UNMOUNT.match(message)) is not None and (cause := busy_cause(message)):
        return "docker_layer_busy", found_fields({"path": found["path"], "driver": found["driver"], "cause": cause})
    return None


def _in_progress(message: str, context: Context, _values: Values) -> Reading | None:
    found = _IN_PROGRESS.match(message, context.end)
    return None if found is None else ("docker_rm_in_progress", {"container_ref": found["ref"]})


def _thin_pool(message: str, context: Context, _values: Values) -> Reading | None:
    found = _THIN_POOL.match(message, context.end)
    numbers = frozenset({"free_blocks", "required"})
    return None if found is None else ("docker_thinpool_low", found_fields(found.groupdict(), numbers))


def _containerd_start(message: str, context: Context, values: Values) -> Reading | None:
    if _CONTAINERD_START.match(message, context.end) is None:
        return None
    return "containerd_start_failed", _requested(context, values)


def _oci(message: str, context: Context, values: Values) -> Reading | None:
    return ("docker_oci_error", _requested(context, values)) if _OCI.match(message, context.end) else None


def _no_space(message: str, _context: Context, values: Values) -> Reading | None:
    return read_no_space(message, values)


def _cgroup_no_space(message: str, _context: Context, values: Values) -> Reading | None:
    reading = read_no_space(message, values)
    return reading if reading is not None and reading[0] == "cgroup_enospc" else None


_READERS: tuple[tuple[tuple[str, ...], Callable[[str, Context, Values], Reading | None]], ...] = (
    # The more telling first: a removal that failed for want of space is a failed removal. Before each, words of which one stands
    # in all that it recognises: to look for them costs a tenth of what the pattern costs.
    (("daemon", "to start containerd: "), _not_started),
    ((" filesystem",), read_removal),
    (("removing mounted layer", "nmount"), _layer),
    (("failed to exit",), _exit),
    (("is already in progress",), _in_progress),
    (("Thin Pool has ",), _thin_pool),
    ((NO_SPACE,), _cgroup_no_space),
    (("containerd: start container", "container did not start"), _containerd_start),
    (("OCI runtime ", "oci runtime error"), _oci),
    ((NO_SPACE,), _no_space),
)


def read_dockerd(record: Record) -> Reading | None:
    """The problem that this record reports, None when it reports none.

    The message and the error beside it are read each on its own. What a plugin wrote dockerd repeats with `plugin` beside it.
    """
    values = record.values
    if "plugin" in values:
        return None
    for message in (record.message, values.get("error", "")):
        if not message:
            continue
        context: Context | None = None
        for words, read in _READERS:
            for word in words:
                if word in message:
                    context = context or read_context(message)
                    if (reading := read(message, context, values)) is not None:
                        return reading
                    break
    return None
