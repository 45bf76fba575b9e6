"""Lines of dockerd and answers of its API, over versions and formats."""

# ruff: noqa: E501 -- log lines are as long as they are

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.unit.logparse.support import ID, OTHER_ID, answer, says

ROOT = f"/var/lib/docker/overlay2/{OTHER_ID}/merged"
SHM = f"/var/lib/docker/containers/{ID}/shm"
BUSY = "device or resource busy"
DELETE = f"Handler for DELETE /v1.24/containers/{ID} returned error: "

LINES: list[tuple[str, str | None, dict[str, Any]]] = [
    # removal, over versions
    (f"Error response from daemon: Cannot destroy container web: Driver aufs failed to remove root filesystem {ID}: rename /a/mnt/x /a/mnt/x-removing: {BUSY}", "docker_rm_busy", {"container_id": ID, "driver": "aufs", "path": "/a/mnt/x", "cause": BUSY}),
    (f"Error response from daemon: Driver devicemapper failed to remove root filesystem {ID}: Device is Busy", "docker_rm_busy", {"container_id": ID, "driver": "devicemapper", "cause": "Device is Busy", "path": None}),
    (f"Driver devicemapper failed to remove init filesystem {ID}-init: Device is Busy", "docker_rm_busy", {"container_id": ID}),
    (f"{DELETE}Unable to remove filesystem for {ID}: remove {SHM}: {BUSY}", "docker_rm_busy", {"container_id": ID, "path": SHM, "api": "1.24", "cause": BUSY}),
    (f'{DELETE}driver "overlay" failed to remove root filesystem for {ID}: remove {ROOT}: {BUSY}', "docker_rm_busy", {"driver": "overlay", "path": ROOT}),
    (f'container {ID}: driver "overlay2" failed to remove root filesystem: unlinkat {ROOT}: {BUSY}', "docker_rm_busy", {"container_id": ID, "path": ROOT}),
    (f"Error response from daemon: container {ID}: unable to remove filesystem: unlinkat {SHM}: {BUSY}", "docker_rm_busy", {"container_id": ID, "driver": None}),
    (f'Error response from daemon: cannot remove container "web": unable to remove filesystem: unlinkat {SHM}: {BUSY}', "docker_rm_busy", {"container_ref": "web", "container_id": None}),
    (f'driver "zfs" failed to remove root filesystem for {ID}: exit status 1: "/sbin/zfs fs destroy -r tank/x" => cannot destroy \'tank/x\': dataset is busy', "docker_rm_busy", {"driver": "zfs", "cause": "dataset is busy", "path": None}),
    (f"Error response from daemon: container {ID}: unable to remove filesystem: openfdat {SHM}: operation not permitted", "docker_rm_failed", {"container_id": ID, "cause": "operation not permitted"}),
    (f'driver "devicemapper" failed to remove root filesystem for {ID}: failed to remove device abc: devicemapper: Error running DeleteDevice dm_task_run failed', "docker_rm_failed", {"cause": "Error running DeleteDevice dm_task_run failed"}),
    ("Error response from daemon: You cannot remove a running container 0123456789ab. Stop the container before attempting removal or use -f", None, {}),
    (f"Error response from daemon: removal of container {ID} is already in progress", "docker_rm_in_progress", {"container_ref": ID}),
    (f"Error removing mounted layer {ID}: remove /var/lib/docker/devicemapper/mnt/x: {BUSY}", "docker_layer_busy", {"container_id": ID, "path": "/var/lib/docker/devicemapper/mnt/x"}),
    (f"Error removing mounted layer {ID}: no such file or directory", None, {}),
    # stopping and killing
    (f"Container {ID} failed to exit within 10 seconds of SIGTERM - using the force", "docker_stop_timeout", {"container_id": ID, "seconds": 10, "signal": 15}),
    (f"Container {ID} failed to exit within 30 seconds of signal 3 - using the force", "docker_stop_timeout", {"seconds": 30, "signal": 3}),
    ("Container 0123456789ab failed to exit within 10 seconds of kill - trying direct SIGKILL", "docker_kill_timeout", {"container_id": "0123456789ab", "seconds": 10}),
    (f"Container {ID}, process {OTHER_ID} failed to exit within 10 seconds of signal TERM - using the force", None, {}),
    (f"Container {ID} failed to exit within 10 seconds of signal 15 - usi", "docker_stop_timeout", {"container_id": ID, "seconds": 10, "signal": 15}),
    (f"Container {ID} failed to exit within 10 seconds of sig", "docker_stop_timeout", {"container_id": ID, "seconds": 10, "signal": None}),
    (f"Container {ID} failed to exit within 10 seconds of s...the force", "docker_stop_timeout", {"container_id": ID, "seconds": 10}),
    (f"Container {ID} failed to exit within 10 seconds", "docker_stop_timeout", {"container_id": ID, "seconds": 10}),
    (f"Container {ID} failed to exit wi\u2026", "docker_stop_timeout", {"container_id": ID, "seconds": None}),
    (f"Container {ID} failed to exit>", "docker_stop_timeout", {"container_id": ID}),
    ("Container 4d5f...e1 failed to exit within 10 seconds of signal 15 - using the force", "docker_stop_timeout", {"seconds": 10}),
    ("Container 0123456789ab failed to exit within 10 seconds of lxc-kill SIGKILL - trying direct SIGKILL", "docker_kill_timeout", {"seconds": 10}),
    (f"Container {ID} failed to exit cleanly, says its owner", None, {}),
    (f"Failed to unmount {OTHER_ID} overlay: {ROOT} - {BUSY}", "docker_layer_busy", {"path": ROOT, "cause": BUSY, "container_id": None}),
    (f"Failed to unmount {OTHER_ID} overlay: {BUSY}", "docker_layer_busy", {"path": None}),
    (f"Failed to unmount {OTHER_ID} mount {ROOT}: {BUSY}", "docker_layer_busy", {"path": ROOT}),
    (f"error unmounting {ROOT}: {BUSY}", "docker_layer_busy", {"path": ROOT}),
    (f"Failed to unmount {OTHER_ID} overlay: {ROOT} - invalid argument", None, {}),
    ("devmapper: Unmount(/var/lib/docker/devicemapper/mnt/x)", None, {}),
    ("Container failed to stop after sending signal 15 to the process, force killing", None, {}),
    # starting
    ("failed to start daemon: error initializing graphdriver: driver not supported: btrfs", "docker_start_failed", {"graphdriver": "btrfs"}),
    ("failed to start daemon: error initializing graphdriver: overlay2: unknown option x", "docker_start_failed", {"graphdriver": "overlay2"}),
    ("Error starting daemon: error initializing graphdriver: driver not supported", "docker_start_failed", {"graphdriver": None, "reason": "error initializing graphdriver: driver not supported"}),
    ("failed to start daemon, ensure docker is not running or delete /var/run/docker.pid: process with PID 7 is still running", "docker_start_failed", {}),
    ("failed to start containerd: timeout waiting for containerd to start", "docker_start_failed", {"reason": "failed to start containerd: timeout waiting for containerd to start"}),
    ("Starting up", None, {}),
    ("[graphdriver] using prior storage driver: overlay2", None, {}),
    ("devmapper: Thin Pool has 12 free metadata blocks which is less than minimum required 345 free metadata blocks. Create more", "docker_thinpool_low", {"kind": "metadata", "free_blocks": 12, "required": 345}),
    # runtimes
    (f"Handler for POST /v1.40/containers/{ID}/start returned error: OCI runtime create failed: container_linux.go:380: x", "docker_oci_error", {"container_id": ID}),
    ("docker: Error response from daemon: failed to create task for container: failed to create shim task: OCI runtime create failed: runc create failed: y", "docker_oci_error", {}),
    ("docker: Error response from daemon: oci runtime error: container_linux.go:247: starting container process caused z", "docker_oci_error", {}),
    # no space
    (f"docker: Error response from daemon: OCI runtime create failed: x: mkdir /sys/fs/cgroup/memory/docker/{ID}: no space left on device: unknown.", "cgroup_enospc", {"container_id": ID}),
    (f"write /var/lib/docker/containers/{ID}/.tmp-hostconfig.json12: no space left on device", "enospc", {"container_id": ID}),
    ("docker: Error response from daemon: mkdir /var/lib/docker/overlay2/x-init: no space left on device. See 'docker run --help'.", "enospc", {}),
    ("Error trying v2 registry: failed to register layer: Error processing tar file(exit status 1): write /usr/lib/x: no space left on device", "enospc", {"container_id": None}),
    (f"{ID} cleanup: failed to save: write /x: no space left on device", "enospc", {}),
    ("[graphdriver] prior storage driver overlay2 failed: mkdir /var/lib/docker/x: no space left on device", "enospc", {}),
    ("Service 'web' failed to build: mkdir /var/run/docker/libcontainerd/: no space left on device", "enospc", {}),
    ("failed to copy files: userspace copy failed: write /x: no space left on device", "enospc", {}),
    ("failed to copy files: copy file range failed: no space left on device", "enospc", {}),
    ("inotify_add_watch /sys/fs/cgroup/cpu: no space left on device", "enospc", {}),
    (f"Failed to log msg for logger json-file: write /data/containers/{ID}/{ID}-json.log: no space left on device", "enospc", {"container_id": ID}),
]  # fmt: skip


@pytest.mark.parametrize(("line", "name", "fields"), LINES, ids=[f"{number}-{name}" for number, (_, name, _) in enumerate(LINES)])
@pytest.mark.parametrize("form", ["bare", "logfmt", "syslog", "json"])
def test_wording(form: str, line: str, name: str | None, fields: dict[str, Any]) -> None:
    """Each wording has its class and fields, in every format of the log."""
    quoted = '"' + line.replace("\\", "\\\\").replace('"', '\\"') + '"'
    wrapped = {
        "bare": line,
        "logfmt": f'time="2020-07-16T12:02:05.787529170-04:00" level=error msg={quoted}',
        "syslog": f'Jul 16 12:02:05 host dockerd[639]: time="2020-07-16T12:02:05.787529170-04:00" level=error msg={quoted}',
        "json": f'{{"level":"error","msg":{quoted},"time":"2020-07-16T16:02:05.787529170Z"}}',
    }[form]
    fact = answer("dockerd", wrapped)
    says(fact, name, fields)
    if fact is not None and form != "bare":
        assert fact["at"] == "2020-07-16T16:02:05.787529Z"


@pytest.mark.parametrize(
    ("time", "seconds"), [("10s", 10), ("1m30s", 90), ("1h0m0s", 3600), ("1.5s", 2), ("500ms", 0), ("10 seconds", 10)]
)
def test_container_beside_the_message(time: str, seconds: int) -> None:
    """From 23 on the container is a value beside the message, and the time a Go duration."""
    line = f'level=info msg="Container failed to exit within {time} of signal 15 - using the force" container={ID}'
    says(answer("dockerd", line), "docker_stop_timeout", {"container_id": ID, "seconds": seconds, "signal": 15})
    line = f'level=warning msg="Container failed to exit within {time} of kill - trying direct SIGKILL" container={ID} error="x"'
    says(answer("dockerd", line), "docker_kill_timeout", {"container_id": ID, "seconds": seconds})


def test_error_beside_the_message() -> None:
    """What failed may stand in `error`, the container in `id`."""
    line = f'level=error msg="containerd: start container" error="oci runtime error: \\"exit status 6\\"\\n" id={ID}'
    says(answer("dockerd", line), "containerd_start_failed", {"container_id": ID})
    line = f'level=error msg="Error removing" container={ID} error="unable to remove filesystem: unlinkat {SHM}: {BUSY}"'
    says(answer("dockerd", line), "docker_rm_busy", {"container_id": ID, "path": SHM})


def test_full_id_in_name_is_no_name() -> None:
    """A request that names the container by its id has no reference beside it; one that names it by name has."""
    line = DELETE.replace(ID, "web_1") + f'driver "overlay2" failed to remove root filesystem for {ID}: remove {ROOT}: {BUSY}'
    says(answer("dockerd", line), "docker_rm_busy", {"container_id": ID, "container_ref": "web_1"})
    says(answer("dockerd", line.replace("web_1", ID)), "docker_rm_busy", {"container_id": ID, "container_ref": None})


def test_time_is_utc() -> None:
    """The line's own time is taken with its zone."""
    fact = answer("dockerd", f'time="2020-07-16T12:02:05+02:00" level=error msg="{DELETE}unable to remove filesystem: {BUSY}"')
    assert fact is not None
    assert datetime.fromisoformat(fact["at"]) == datetime(2020, 7, 16, 10, 2, 5, tzinfo=UTC)


def test_broken_quotes() -> None:
    """A line cut by a pager, or posted without the backslashes before inner quotes, still says what it says."""
    said = f'container {ID}: driver "overlay2" failed to remove root filesystem: unlinkat {ROOT}: {BUSY}'
    fields = {"container_id": ID, "driver": "overlay2", "path": ROOT, "cause": BUSY}
    says(answer("dockerd", f'level=error msg="{said}"'), "docker_rm_busy", fields)
    says(answer("dockerd", f'level=error msg="{said}" spanID=1'), "docker_rm_busy", fields)
    says(answer("dockerd", f'level=error msg="{said}'), "docker_rm_busy", fields)
    says(
        answer("dockerd", f'level=error msg="Container {ID} failed to exit within 10 seconds of signal 15 - us>'),
        "docker_stop_timeout",
        {"seconds": 10},
    )
