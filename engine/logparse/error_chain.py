"""Go error chains of Docker and the kubelet: what stands before an error, removals that failed, full disks. Pure.

A daemon's message is `context: context: error`, and much of it may be text that a user chose: the CMD of a HEALTHCHECK, the USER
of an image, the argument of an exec, a registry's answer. So nothing is searched for. A message is read from its begin: contexts
of a closed list (fixed words, and values in which no space can stand), then an error of a known shape; a cause stands at the very
end. What fits nowhere is no evidence. A file name may stand in a path; it changes neither the class nor the container.
"""

import re
from typing import NamedTuple

from engine.logparse.cgroups import describe
from engine.logparse.reading import Fields, Reading, found_fields

_FLAGS = re.ASCII
_ID = re.compile(r"[0-9a-f]{12,64}", _FLAGS)

_POD = r"\"[\w./()-]{1,512}\""


def _any_of(*patterns: str) -> str:
    return "|".join(patterns)


_CONTEXT = _any_of(
    # the API's answer (api/server/server.go, httpstatus), and what clients write before it
    r"Handler for [A-Z]{3,7} (?:/(?:v(?P<api>\d{1,3}\.\d{1,4})/)?containers/(?P<ref>[\w.-]{1,255})(?:[/?]\S{0,512})?|/\S{0,1024})"
    r" returned error: (?!(?s:.*) returned error: )",  # a path is decoded: a caller may have written these words into it
    r"Error response from daemon: (?:\{\"message\":\")?|HTTP Error: ",
    r"(?:docker|nerdctl)(?:-compose)?(?: [a-z]{1,16}){0,2}: |ERROR: for [\w.-]{1,255}  |(?:ERROR|Error|error): ",
    r"Failed to remove container \([\w.-]{1,255}\): |Error deleting container: ",
    # daemon/delete.go and who calls it, 0.9 to 29
    r"(?:Clean up Error! )?Cannot destroy container [\w.-]{1,255}: |cannot remove container \"/?(?P<name>[\w.-]{1,255})\": ",
    r"(?:[Ff]ailed to remove|can't remove|Could not remove|[Ee]rror removing|Error deleting) container (?P<of>[0-9a-f]{6,64}): ",
    r"failed to cleanup container(?: on create error)?: |[Ff]ailed to remove container: |[Ee]rror removing(?: container)?: ",
    r"[Cc]ontainer (?P<container>[0-9a-f]{6,64}): ",
    # what storage drivers and image layers write before an error
    r"failed to prepare [\w.-]{1,128}: |failed to register layer: |devmapper: |error creating overlay mount to /\S{1,512}: ",
    r"(?P<layer>(?:Error|ApplyLayer error|failed) (?:processing tar file|unpacking|to extract layer)\b[^:]{0,64}: )",
)
_KUBELET_CONTEXT = _any_of(
    # kuberuntime, dockershim, container_gc.go; pods and containers are quoted, their names have no space
    r"rpc error: code = \w{1,32} desc = ",
    r"(?:[Ff]ailed to remove (?:dead |stopped )?container|(?:Remove|Stop)Container|(?:Stop|Run)PodSandbox) "
    r"\"(?P<quoted>[\w./-]{1,512})\"(?: from runtime service failed)?: ",
    r"(?:(?:Remove|Stop|Create|Start)Container|(?:Stop|Run)PodSandbox)(?: in sandbox \"[0-9a-f]+\")?"
    r" from runtime service failed: ",
    r"(?:CreatePodSandbox|CreateContainer|StartContainer) for pod \\*\"[\w.()-]{1,512}\\*\" failed: ",
    rf"Error syncing pod [\w-]{{1,64}}(?: \({_POD}\))?, skipping: |failed to \"\w{{1,32}}\" for {_POD} with \w{{1,64}}: \"?",
    rf"[Ff]ailed (?:to )?create (?:pod )?sandbox(?: for pod {_POD})?: "
    rf"|failed to (?:start|create a?|set up) ?sandbox(?: container)?(?: for pod)? {_POD}(?: network for pod {_POD})?: ",
    rf"failed to start container \"[0-9a-f]{{6,64}}\": |Failed to start container {_POD} in pod {_POD}: ",
    r"(?:[Ff]ailed|[Uu]nable) to ensure (?:that the pod: [\w-]{1,64} cgroups exist and are correctly applied"
    r"|pod container exists): ",
    r"failed to create container for \[[\w /.-]{1,512}\] ?: |(?:createPodSandbox|syncPod|killPod)\w*: ",
    r"Failed to watch directory(?: \"/\S{1,512}\")?: |Failed to create existing container: /\S{1,1024}: ",
)


class Context(NamedTuple):
    """What stands before an error: where the error begins, and what the contexts name."""

    end: int
    container_id: str | None = None
    ref: str | None = None
    """The container as a caller of the API named it."""
    api: str | None = None
    from_image: bool = False
    """The error is about the inside of an image: its paths are whoever's who made the image."""


_CHAIN = re.compile(rf"(?:{_CONTEXT}){{0,8}}", _FLAGS)
_KUBELET_CHAIN = re.compile(rf"(?:{_CONTEXT}|{_KUBELET_CONTEXT}){{0,12}}", _FLAGS)


def read_context(message: str, *, kubelet: bool = False) -> Context:
    """The contexts at the begin of a message."""
    found = (_KUBELET_CHAIN if kubelet else _CHAIN).match(message)
    return Context(0) if found is None or not found.end() else context_of(found)


def context_of(found: "re.Match[str]") -> Context:
    """What a matched chain of contexts names."""
    groups = found.groupdict()
    names = (groups["container"], groups["of"], groups.get("quoted"), groups["ref"])
    ref = groups["name"] or groups["ref"]
    return Context(
        found.end(),
        next((name for name in names if name and _ID.fullmatch(name)), None),
        ref if ref and not _ID.fullmatch(ref) else None,
        groups["api"],
        groups["layer"] is not None,
    )


_END = r"[\s\"'\\.,;)}\]]*(?:: unknown)?[\s\"'\\.,;)}\]]*(?:See 'docker run --help'\.?\s*)?$"
_BUSY = re.compile(
    r"(?:^|: |:|- )(?P<cause>(?:device or )?resource busy|[Dd]evice is [Bb]usy|dataset is busy|target is busy)" + _END, _FLAGS
)
_PATH = re.compile(
    # Go's *PathError and *LinkError: operation, path, cause
    r"\b(?:remove|removing|unlinkat|unlink|rename|rmdir|u?n?mount|openat?|lstat|stat|readdirent|fdopendir|openfdat) "
    r"(?P<path>/\S*?)(?=:\s|:?$|\s|\")",
    _FLAGS,
)


def busy_cause(error: str) -> str | None:
    """The words with which an error ends, where they say that something is in use."""
    found = _BUSY.search(error) if "usy" in error else None
    return None if found is None else found["cause"]


def path_and_cause(error: str) -> Fields:
    """`path` and `cause` of a Go error chain: the path of the first operation, and what stands after the last colon."""
    cause = busy_cause(error) or error.rstrip(" \n\"'.").rpartition(": ")[2].strip()
    path = _PATH.search(error) if " /" in error else None
    return found_fields({"path": path["path"] if path else None, "cause": cause or None})


_FAILED = re.compile(
    # moby daemon/delete.go and the layer store. Until 17.05 "Driver D failed to remove root filesystem ID: …" ("init filesystem"
    # until 1.9), "Unable to remove filesystem for ID: …"; until 18.06 small letters, the driver quoted, "for" before the id; from
    # 18.09 on "container ID: " before it; from 28 on `cannot remove container "NAME": ` before it, and no id at all.
    r"(?:[Dd]river \"?(?P<driver>[\w.-]{1,32})\"? failed to remove (?:root|init) filesystem|[Uu]nable to remove filesystem)"
    r"(?: for)?(?: (?P<id>[0-9a-f]{6,64})(?:-init)?)?(?=:|\s|$)",
    _FLAGS,
)


def read_removal(message: str, context: Context, values: dict[str, str]) -> Reading | None:
    """`docker_rm_busy` or `docker_rm_failed`, None when no removal failed here.

    Args:
        message: what was said, the error included.
        context: what stands before the error.
        values: what stood beside it; a container may be named there.
    """
    if (failed := _FAILED.match(message, context.end)) is None:
        return None
    beside = next((values[key] for key in ("container", "containerID") if _ID.fullmatch(values.get(key, ""))), None)
    fields = found_fields({"driver": failed["driver"], "api": context.api})
    error = message[failed.end() :]
    fields |= path_and_cause(error)
    fields |= found_fields({"container_id": failed["id"] or context.container_id or beside, "container_ref": context.ref})
    return "docker_rm_busy" if busy_cause(error) else "docker_rm_failed", fields


_OCI_CONTEXT = _any_of(
    r"OCI runtime create failed: (?:(?!exec)[a-z]{1,16}: )?|oci runtime error: |runc create failed: ",
    r"unable to start container process: |error during container init: ",
    r"failed to create (?:task for container|containerd task|shim(?: task)?): ",
    r"[\\\"]*(?:container|process|rootfs|init|standard_init)_linux\.go:\d{1,5}: ",
    r"(?:starting container|creating new parent|running exec setns|getting the final child's pid from pipe|container init)"
    r"[\w ]{0,32} caused:? [\\\"]*",
    r"applying cgroup configuration for process caused:? [\\\"]*|unable to apply cgroup configuration: ",
    r"error setting cgroup config for procHooks process: |cannot enter cgroupv2 \"/\S{1,512}\" with domain controllers -- ",
    r"failed to write \"?[\w ]{1,32}\"?(?: to \"/?\S{1,512}\")?: ",
)
_WORK_CONTEXT = _any_of(
    r"(?:Download failed, retrying|Not continuing with pull after error|Attempting next endpoint for (?:pull|push) after error"
    r"|Upload failed, retrying|error pulling image configuration|Error trying v2 registry"
    r"|write blob \S{1,128}|copy file range failed|userspace copy failed): ",
    r"[0-9a-f]{64} cleanup: |\[graphdriver\] prior storage driver \w{1,32} failed: |Service '[\w.-]{1,255}' failed to build: ",
    # "unable to find user TEXT" and the like are left out: there a user's own words may end the message
    r"(?:[Ff]ailed to|[Ee]rror(?: while)?|[Uu]nable to|[Cc]annot|[Cc]ould not|[Cc]an't) (?:sav|creat|commit|writ|cop|stor|log"
    r"|updat|open|extract|regist|mount|set ?up|persist|initiali|start|mak|mkdir|link|renam|add|watch|apply|prepar|restor|alloc"
    r"|stream|process|unpack)[^:\"'\\]{0,128}: ",
    r"\[\d{1,3}\] System error: |API error \(\d{3}\): |Cannot start container [0-9a-f]{6,64}: ",
    r"Event\(\w{1,16}\.ObjectReference\{[^{}]{0,1024}\}\): type: '\w{1,16}' "
    r"reason: '(?!Unhealthy|FailedP)\w{1,64}' (?:\(combined from similar events\): )?",  # a probe's or hook's own output
)
_NO_SPACE_CHAIN = re.compile(rf"(?:{_CONTEXT}|{_OCI_CONTEXT}|{_WORK_CONTEXT}){{0,16}}", _FLAGS)
_KUBELET_NO_SPACE_CHAIN = re.compile(rf"(?:{_CONTEXT}|{_KUBELET_CONTEXT}|{_OCI_CONTEXT}|{_WORK_CONTEXT}){{0,16}}", _FLAGS)
_NO_SPACE = re.compile(
    r"(?:(?P<operation>[a-z_]{2,24})(?: [\\\"']*(?P<path>/.{0,4096}))?: )?no space left on device" + _END, _FLAGS
)
NO_SPACE = "no space left on device"
CONTAINER_KEYS = ("container", "id", "containerID", "container_id")
"""Values beside a message that name its container."""

_OF_CONTAINER = re.compile(
    # not below a storage driver's folder or a volume: what lies there has the names that users gave
    r"(?:/(?!(?:overlay2?|overlay-containers|aufs|devicemapper|btrfs|zfs|vfs|fuse-overlayfs|volumes|rootfs|tmp|buildkit|image|diff)/)"
    r"[\w.-]{1,255}){1,8}?/containers/(?P<id>[0-9a-f]{64})(?:/|$)",
    _FLAGS,
)


def read_no_space(message: str, values: dict[str, str], *, kubelet: bool = False) -> Reading | None:
    """`cgroup_enospc` when a cgroup could not be made or written, else `enospc`; None when no full disk ended this.

    A watch that could not be added below /sys/fs/cgroup is not the cgroups' fault: inotify's limits answer ENOSPC, too.
    """
    chain = (_KUBELET_NO_SPACE_CHAIN if kubelet else _NO_SPACE_CHAIN).match(message)
    if chain is None or (found := _NO_SPACE.match(message, chain.end())) is None:
        return None
    context = context_of(chain)
    path = found["path"] or ""
    if context.from_image:
        return "enospc", found_fields({"container_id": context.container_id})
    if path.startswith("/sys/fs/cgroup") and found["operation"] != "inotify_add_watch":
        named = describe(path.partition(": ")[0]).get("container_id")
        return "cgroup_enospc", found_fields({"container_id": named or context.container_id})
    of = _OF_CONTAINER.match(path)
    named = of["id"] if of is not None else context.container_id
    return "enospc", found_fields({"container_id": named or container_beside(values)})


def container_beside(values: dict[str, str]) -> str | None:
    """The container that the values beside a message name, None where they name none."""
    return next((values[key] for key in CONTAINER_KEYS if _ID.fullmatch(values.get(key, ""))), None)
