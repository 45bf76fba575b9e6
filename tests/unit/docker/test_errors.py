"""Refusals and broken connections become kinds that rules can distinguish."""

import errno

import aiohttp
import pytest

from connectors.docker.api.errors import classify, refused, unreachable

ID = "e1f4db20d043e73b997375c1db06c72127f22b5fa9b0163e98b311532fbbb257"


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (404, f"No such container: {ID}", "not_found"),
        (404, "page not found", "not_found"),
        (500, f"No such container: {ID}", "not_found"),
        (409, f"removal of container {ID} is already in progress", "in_progress"),
        (400, f"removal of container {ID} is already in progress", "in_progress"),
        (409, f"Container {ID} is marked for removal and cannot be started", "in_progress"),
        (
            409,
            f"You cannot remove a running container {ID}. Stop the container before attempting removal or force remove",
            "running",
        ),
        (409, f"Conflict, You cannot remove a running container {ID}. Stop the container", "running"),
        (409, f"You cannot remove a paused container {ID}. Unpause and then stop the container", "running"),
        (
            409,
            'cannot remove container "web": container is running: stop the container before removing or force remove',
            "running",
        ),
        (409, "Conflict. The container name is already in use", "conflict"),
        # up to 1.12
        (
            500,
            f"Unable to remove filesystem for {ID}: remove /var/lib/docker/containers/{ID}/shm: device or resource busy",
            "busy",
        ),
        (500, f"Driver aufs failed to remove root filesystem {ID}: rename /x /y: device or resource busy", "busy"),
        (500, f"Driver devicemapper failed to remove root filesystem {ID}: Device is Busy", "busy"),
        # 17.06
        (500, f'driver "overlay2" failed to remove root filesystem for {ID}: remove /x/merged: device or resource busy', "busy"),
        (500, f"unable to remove filesystem for {ID}: remove /x/shm: device or resource busy", "busy"),
        # 18.09 and later
        (
            500,
            f'container {ID}: driver "overlay2" failed to remove root filesystem: unlinkat /x: device or resource busy',
            "busy",
        ),
        (
            500,
            f'container {ID}: driver "zfs" failed to remove root filesystem: exit status 1: "cannot destroy: dataset is busy"',
            "busy",
        ),
        # 28.5
        (500, 'cannot remove container "web": unable to remove filesystem: unlinkat /x: device or resource busy', "busy"),
        (500, f"unable to remove filesystem for {ID}: unlinkat /x: operation not permitted", "failed"),
        (500, "no space left on device", "failed"),
        (500, "", "failed"),
        (400, "invalid filter 'status=sleeping'", "failed"),
        (401, "x", "denied"),
        (403, "authorization denied by plugin", "denied"),
        (504, "gateway timeout", "timeout"),
        (502, "bad gateway", "unreachable"),
        (503, "service unavailable", "unreachable"),
        (900, "Cannot connect to Docker Engine", "unreachable"),
    ],
)
def test_refusals_are_classified(status: int, message: str, kind: str) -> None:
    """By status where that says enough, else by the wording of any version."""
    assert classify(status, message) == kind


def test_a_refusal_is_cleaned_and_bounded() -> None:
    """What Docker says may hold what a container's owner wrote."""
    error = refused(500, "a\x1b[31mb" + "x" * 1_000_000)
    assert str(error).startswith("a\ufffd[31mb")
    assert len(str(error)) == 2_000
    assert str(refused(500, " ")) == "HTTP status 500 without a message"


@pytest.mark.parametrize(
    ("error", "kind", "advice"),
    [
        (FileNotFoundError(errno.ENOENT, "x"), "unreachable", "start Docker, or name its address in DOCKER_HOST"),
        (PermissionError(errno.EACCES, "x"), "denied", "member of the group"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "x"), "unreachable", "systemctl status docker"),
        (TimeoutError(), "timeout", "no answer"),
        (aiohttp.ConnectionTimeoutError("x"), "unreachable", "no connection"),
        (aiohttp.ClientPayloadError("cut"), "unreachable", "broke: cut"),
        (aiohttp.ServerDisconnectedError(), "unreachable", "broke"),
    ],
)
def test_broken_connections_say_what_to_do(error: Exception, kind: str, advice: str) -> None:
    """Each reason for an unreachable engine has its advice, and names the address."""
    error_made = unreachable(error, "unix:///x.sock")
    assert error_made.kind == kind
    assert advice in str(error_made)
    assert "unix:///x.sock" in str(error_made)


def test_the_reason_is_found_in_the_chain_of_causes() -> None:
    """The client library raises its own error while handling the operating system's."""
    wrapped = RuntimeError("wrapped")
    wrapped.__context__ = ValueError("between")
    wrapped.__context__.__context__ = PermissionError(errno.EACCES, "denied")
    assert unreachable(wrapped, "x").kind == "denied"
    ring = RuntimeError("ring")
    ring.__context__ = RuntimeError("ring too")
    ring.__context__.__context__ = ring
    assert unreachable(ring, "x").kind == "unreachable"
