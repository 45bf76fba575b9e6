"""What dockerd, containerd and the daemon's API errors say. Pure.

The wordings follow moby's source from 1.9 to 29 (daemon/stop.go, kill.go, delete.go, command/daemon.go, libcontainerd,
graphdriver/devmapper) and containerd's. "shim disconnected" and "cleaning up after shim disconnected" stand beside ordinary
exits.
"""

import re
from collections.abc import Callable

from engine.logparse.cgroups import describe
from engine.logparse.reading import Fields, Reading, found_fields
from engine.logparse.records import Record, Values
from engine.logparse.removal import is_busy, path_and_cause, read_removal, request_of

_FLAGS = re.ASCII
_ID = re.compile(r"[0-9a-f]{6,64}", _FLAGS)

_EXIT = re.compile(
    # daemon/stop.go: "%d seconds" until 20.10, a Go duration since; "of SIGTERM" until 1.8; the id beside it since 23.
    # daemon/kill.go: the same with "of kill". "Container X, process Y failed to exit" is of an exec, and no container's fault.
    r"Container (?:(?P<id>\S{1,255}) )?failed to exit within (?P<time>\d{1,10} seconds|[\dhms.µn]{2,32}) of "
    r"(?:(?P<kill>(?:lxc SIG)?[kK](?:ill|ILL)\b)|signal (?P<signal>\d{1,3})|SIG(?P<name>[A-Z]{3,8}))",
    re.NOFLAG,  # µ
)
_DURATION = re.compile(r"(\d{1,10}(?:\.\d{1,9})?)(h|ms|m|s)", _FLAGS)
_UNIT_S = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_SIGNALS = {"HUP": 1, "INT": 2, "QUIT": 3, "KILL": 9, "USR1": 10, "USR2": 12, "TERM": 15}

_IN_PROGRESS = re.compile(r"removal of container (?P<ref>\S{1,255}) is already in progress", _FLAGS)
_LAYER = re.compile(r"Error removing mounted layer (?P<id>[\w.-]{1,128}):", _FLAGS)
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
_CONTAINERD_START = re.compile(r"containerd: start container\b|container did not start before the specified timeout", _FLAGS)
_OCI = re.compile(
    # as an answer of the API only: what the daemon says when it restarts containers at its own start is another matter
    r"(?:returned error: |Error response from daemon: |^)"
    r"(?:failed to create (?:task for container|containerd task|shim task|shim): )*"
    r"(?:OCI runtime (?:create|start) failed|oci runtime error)",
    _FLAGS,
)
_NO_SPACE = "no space left on device"
_OF_CONTAINER = re.compile(r"/containers/(?P<id>[0-9a-f]{64})(?:/|$)", _FLAGS)


def _container(message: str, values: Values) -> Fields:
    """The container that the values beside a message name, or the request that it answers."""
    for key in ("container", "id", "containerID", "container_id"):
        if _ID.fullmatch(values.get(key, "")):
            return {"container_id": values[key]}
    request = request_of(message)
    if request is None:
        return {}
    return {"container_id" if _ID.fullmatch(request["ref"]) else "container_ref": request["ref"]}


def _exit(message: str, values: Values) -> Reading | None:
    if (found := _EXIT.search(message)) is None:
        return None
    fields: Fields = {"container_id": found["id"]} if found["id"] else _container("", values)
    time = found["time"].removesuffix(" seconds")
    seconds = float(time) if time.isdecimal() else sum(float(n) * _UNIT_S[unit] for n, unit in _DURATION.findall(time))
    fields["seconds"] = round(seconds)
    if found["kill"]:
        return "docker_kill_timeout", fields
    signal = int(found["signal"]) if found["signal"] else _SIGNALS.get(found["name"])
    return "docker_stop_timeout", fields | ({} if signal is None else {"signal": signal})


def _not_started(message: str, _values: Values) -> Reading | None:
    if (found := _NOT_STARTED.search(message)) is None:
        return None
    reason = found["reason"].strip()
    driver = _GRAPHDRIVER.search(reason)
    return "docker_start_failed", found_fields(
        {"reason": reason, "graphdriver": (driver["unsupported"] or driver["named"]) if driver else None}
    )


def _layer(message: str, _values: Values) -> Reading | None:
    found = _LAYER.search(message)
    if found is None or not is_busy(message):
        return None
    return "docker_layer_busy", {"container_id": found["id"]} | path_and_cause(message[found.end() :])


def _in_progress(message: str, _values: Values) -> Reading | None:
    found = _IN_PROGRESS.search(message)
    return None if found is None else ("docker_rm_in_progress", {"container_ref": found["ref"]})


def _thin_pool(message: str, _values: Values) -> Reading | None:
    found = _THIN_POOL.search(message)
    numbers = frozenset({"free_blocks", "required"})
    return None if found is None else ("docker_thinpool_low", found_fields(found.groupdict(), numbers))


def _containerd_start(message: str, values: Values) -> Reading | None:
    return ("containerd_start_failed", _container(message, values)) if _CONTAINERD_START.search(message) else None


def _oci(message: str, values: Values) -> Reading | None:
    return ("docker_oci_error", _container(message, values)) if _OCI.search(message) else None


def read_no_space(message: str, values: Values) -> Reading | None:
    """`cgroup_enospc` when a cgroup could not be made or written, else `enospc`; the kubelet's messages say it likewise.

    A watch that could not be added below /sys/fs/cgroup is not the cgroups' fault: inotify's limits answer ENOSPC, too.
    """
    before, said, _ = message.partition(_NO_SPACE)
    if not said:
        return None
    words = before.rstrip(": ").split(" ")[-2:]  # Go's *PathError: operation, path
    operation, path = words[0], words[-1].lstrip("\"'")
    fields = _container(message, values)
    if of_container := _OF_CONTAINER.search(path):
        fields = {"container_id": of_container["id"]}
    if path.startswith("/sys/fs/cgroup") and operation != "inotify_add_watch":
        return "cgroup_enospc", fields | {name: value for name, value in describe(path).items() if name == "container_id"}
    return "enospc", fields


def _cgroup_no_space(message: str, values: Values) -> Reading | None:
    reading = read_no_space(message, values)
    return reading if reading is not None and reading[0] == "cgroup_enospc" else None


_READERS: tuple[tuple[tuple[str, ...], Callable[[str, Values], Reading | None]], ...] = (
    # The more telling first: a removal that failed for want of space is a failed removal. Before each, words of which one stands
    # in all that it recognises: to look for them costs a tenth of what the pattern costs.
    (("daemon", "to start containerd: "), _not_started),
    ((" filesystem",), read_removal),
    (("removing mounted layer",), _layer),
    (("failed to exit within",), _exit),
    (("is already in progress",), _in_progress),
    (("Thin Pool has ",), _thin_pool),
    ((_NO_SPACE,), _cgroup_no_space),
    (("containerd: start container", "container did not start"), _containerd_start),
    (("OCI runtime ", "oci runtime error"), _oci),
    ((_NO_SPACE,), read_no_space),
)


def read_dockerd(record: Record) -> Reading | None:
    """The problem that this record reports, None when it reports none."""
    error = record.values.get("error", "")
    message = f"{record.message}: {error}" if error else record.message
    for words, read in _READERS:
        for word in words:
            if word in message:
                if (reading := read(message, record.values)) is not None:
                    return reading
                break
    return None
