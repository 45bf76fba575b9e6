"""Containers in cgroup paths."""

import pytest

from engine.logparse.cgroups import describe
from tests.unit.logparse.support import ID, OTHER_ID, UID

SLICE = f"kubepods-burstable-pod{UID.replace('-', '_')}.slice"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (f"/docker/{ID}", {"container_id": ID, "runtime": "docker"}),
        ("/docker/0123456789ab", {"container_id": "0123456789ab", "runtime": "docker"}),
        (f"/docker/{ID}/init.scope", {"container_id": ID, "runtime": "docker"}),
        (f"/system.slice/docker-{ID}.scope", {"container_id": ID, "runtime": "docker"}),
        (f"/kubepods/besteffort/pod{UID}/{ID}", {"container_id": ID, "pod_uid": UID, "qos": "besteffort"}),
        (f"/kubepods/pod{UID}/{ID}", {"container_id": ID, "pod_uid": UID, "qos": "guaranteed"}),
        (f"/kubepods/burstable/pod{UID}", {"pod_uid": UID, "qos": "burstable"}),
        (
            f"/kubepods.slice/kubepods-burstable.slice/{SLICE}/cri-containerd-{ID}.scope",
            {"container_id": ID, "runtime": "cri-containerd", "pod_uid": UID, "qos": "burstable"},
        ),
        (
            f"/system.slice/containerd.service/{SLICE}:cri-containerd:{ID}",
            {"container_id": ID, "runtime": "cri-containerd", "pod_uid": UID, "qos": "burstable"},
        ),
        (f"/kubepods.slice/{SLICE}/crio-{ID}.scope", {"container_id": ID, "runtime": "crio", "pod_uid": UID, "qos": "burstable"}),
        (f"/machine.slice/libpod-{ID}.scope/container", {"container_id": ID, "runtime": "libpod"}),
        (f"/docker/{OTHER_ID}/kubelet/kubepods/pod{UID}/{ID}", {"container_id": ID, "pod_uid": UID, "qos": "guaranteed"}),
        (f"/ecs/0123456789abcdef0123456789abcdef/{ID}", {"container_id": ID}),
        ("/user.slice/user-1000.slice/session-2.scope", {}),
        ("/LXC011175068174", {}),
        ("/deadbeefdeadbeef", {}),
        ("/", {}),
        ("", {}),
    ],
)
def test_describe(path: str, expected: dict[str, str]) -> None:
    """Every runtime's way of naming containers in paths is understood; the innermost container counts."""
    assert describe(path) == expected
