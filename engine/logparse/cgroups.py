"""Cgroup paths of containers, by every runtime and driver that names containers in them. Pure.

cgroupfs driver: `/docker/<id>`, `/kubepods/burstable/pod<uid>/<id>`; systemd driver: `docker-<id>.scope`,
`kubepods-burstable-pod<uid>.slice/cri-containerd-<id>.scope`, where `-` of a uid is written `_` because systemd makes levels of
dashes (kubelet's cgroup_manager_linux.go, escapeSystemdCgroupName); containerd under systemd in the raw form:
`kubepods-….slice:cri-containerd:<id>`.
"""

import re

_SCOPE = re.compile(
    r"(?P<runtime>docker|cri-containerd|containerd|nerdctl|crio|libpod)-(?P<id>[0-9a-f]{6,64})(?:\.scope)?", re.ASCII
)
_TRIPLE = re.compile(r"[^/]*:(?P<runtime>[a-z][a-z-]{0,31}):(?P<id>[0-9a-f]{6,64})", re.ASCII)
_PLAIN = re.compile(r"[0-9a-f]{12,64}", re.ASCII)
_POD = re.compile(r"(?:^|[/-])pod(?P<uid>[0-9A-Za-z][\w-]{4,63}?)(?=/|\.slice|:|$)", re.ASCII)
_FULL_ID_CHARS = 60
"""An id has 64 characters; people who post logs lose a few. Shorter segments are an id only below a parent that
holds containers."""

_PARENTS = ("docker", "pod", "lxc", "k8s.io", "moby", "default")


def describe(path: str) -> dict[str, str]:
    """What the path says: `container_id`, `runtime`, `pod_uid`, `qos`, each only where it does.

    The innermost container counts.
    """
    found = _container(path)
    if "kubepods" not in path:
        return found
    if pods := _POD.findall(path):
        uid = str(pods[-1])
        found["pod_uid"] = uid.replace("_", "-") if ".slice" in path else uid
        found["qos"] = next((qos for qos in ("besteffort", "burstable") if qos in path), "guaranteed")
    return found


def _container(path: str) -> dict[str, str]:
    segments = [segment for segment in path.split("/") if segment]
    for place in range(len(segments) - 1, -1, -1):
        segment = segments[place]
        found = _SCOPE.fullmatch(segment) or _TRIPLE.fullmatch(segment)
        if found is not None:
            return {"container_id": found["id"], "runtime": found["runtime"]}
        if _PLAIN.fullmatch(segment):
            parent = segments[place - 1] if place else ""
            if len(segment) >= _FULL_ID_CHARS or parent.startswith(_PARENTS):
                return {"container_id": segment} | ({"runtime": "docker"} if parent == "docker" else {})
    return {}
