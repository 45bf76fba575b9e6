"""What the kubelet says. Pure.

The wordings follow kubernetes' source from 1.6 to 1.34, in pkg/kubelet: eviction/eviction_manager.go, kubelet.go,
images/image_gc_manager.go, pleg/generic.go, cri/remote, kuberuntime/kuberuntime_container.go; and pkg/volume/util. Text until
1.19 or so (`eviction manager: …`), key="value" since (`"Eviction manager: …" resourceName="memory"`), which is why letters' case
does not matter.
"""

import re
from collections.abc import Callable
from itertools import islice

from engine.logparse.error_chain import NO_SPACE, busy_cause, read_context, read_no_space, read_removal
from engine.logparse.reading import Fields, Reading
from engine.logparse.records import Record, Values

_FLAGS = re.ASCII | re.IGNORECASE
MAX_PODS = 512
"""Pods of one line that are kept: a node holds 110 by default, and nobody runs more than a few hundred."""

_EVICTION = re.compile(r"eviction manager: ", _FLAGS)
_RECLAIM = re.compile(r"(?:attempting|(?P<must>must evict pod\(s\))) to reclaim\b(?: (?P<resource>[\w.-]{1,64}))?", _FLAGS)
_EVICTED = re.compile(
    r"pods? (?:.{0,65536}? )?(?:is )?evicted(?:, waiting for pod to be cleaned up| successfully)", re.ASCII | re.DOTALL
)
_NOTHING = ("eviction thresholds have been met, but no pods are active to evict", "unable to evict any pods from the node")
_OLD_POD = re.compile(
    # kubelet's format.Pod: `name_namespace(uid)`. People who post logs write kube-proxy-[node IP] for the name of theirs.
    r"(?P<name>[^\s,_()\"\[]{1,253}+(?:\[[^\]]{1,64}\])?)_(?P<namespace>[a-z0-9-]{1,63})\((?P<uid>[\w-]{1,64})\)",
    re.ASCII,
)
_OLD_POD_END = re.compile(r"_[a-z0-9-]{1,63}\([\w-]{1,64}\)", re.ASCII)
_OLD_NAME_CHARS = 253 + 66
"""What stands before that end, at most: a name, and a bracket."""
_NEW_POD = re.compile(r"(?P<namespace>[a-z0-9-]{1,63})/(?P<name>[a-z0-9.-]{1,253})", re.ASCII)

_SKIPPED = r"(?:skipping pod synchronization - )?(?:\[?(?:[\w' -]{1,80}(?: - | ?, ?|; ))*?)"
"""Before a reason for which pods are not synchronised: others, in a list."""
_PLEG = re.compile(
    _SKIPPED + r"PLEG is not healthy: pleg was last seen active (?P<last_seen>[\d.hmsµn]{2,32}) ago; "
    r"threshold is (?P<threshold>[\d.hmsµn]{2,32})",
    re.IGNORECASE,
)
_REINSPECT = re.compile(r"PLEG: pod (?:(?P<name>[^\s/]{1,253})/(?P<namespace>[^\s/]{1,63}) )?failed reinspection", re.ASCII)
"""Until 1.19 with the name before the namespace, other than everywhere else."""
_RUNTIME_DOWN = re.compile(_SKIPPED + r"container runtime (?:is down|not ready\b.{0,64}?(?:RuntimeReady=false|$))", _FLAGS)
_NOT_READY = re.compile(r"container runtime not ready$", _FLAGS)
_GC = (
    r"(?:image garbage collection failed(?: once| multiple times in a row)?[:.] "
    r"|Event\(\w{1,16}\.ObjectReference\{[^{}]{0,1024}\}\): type: '\w{1,16}' reason: '(?:ImageGCFailed|FreeDiskSpaceFailed)' )?"
    r"(?:\(combined from similar events\): )?"
)
_GC_AMOUNT = re.compile(
    _GC + r"failed to garbage collect required amount of images\. "
    r"(?:wanted|attempted) to free (?P<wanted>\d{1,19}) bytes, but (?:freed|only found) (?P<freed>\d{1,19}) bytes",
    _FLAGS,
)
_GC_AGAIN = re.compile(r"image garbage collection failed multiple times in a row", _FLAGS)
_POD_OR_ID = r"\\*\"[\w.:/()-]{1,512}\\*\""
_STOP = re.compile(
    rf"StopContainer (?:{_POD_OR_ID} )?from runtime service failed"
    rf"|Container (?:{_POD_OR_ID} )?termination failed with gracePeriod"
    r"|Kill container failed|(?:[Ee]rror killing pod: |Error syncing pod [^:]{0,600}: \[?)?failed to \"KillContainer\" for"
    r"|KillContainerError",
    re.ASCII,
)
_TIMED_OUT = re.compile(r"DeadlineExceeded|context deadline exceeded|operation timeout", re.ASCII)
_UNMOUNT = re.compile(
    r"(?:Operation for .{1,512}? failed\. No retries permitted until [^()]{1,120}\(durationBeforeRetry [\w.]{1,24}\)\. "
    r"[Ee]rror: \"?)?(?:Clean up error: )?(?:UnmountVolume|UnmountDevice|TearDown|(?:Failed to )?(?:unmount|umount)(?:ing)?\b"
    r"|error (?:un)?mounting\b)",
    _FLAGS,
)
_UMOUNT_SAYS = re.compile(r"Output: umount: /\S{1,1024}: (?:target|device) is busy", _FLAGS)
"""What umount(8) wrote; advice on lsof may follow."""
_CONTAINER = re.compile(r"(?:docker|containerd|cri-o)://(?P<id>[0-9a-f]{12,64})", re.ASCII)
_ID = re.compile(r"\b(?P<id>[0-9a-f]{64})\b", re.ASCII)


def _pod_fields(message: str, values: Values) -> Fields:
    """`pods` as namespace/name in the order of the line, and the first one's `pod`, `namespace` and `uid`."""
    pods: list[str] = []
    uid: str | None = None
    listed = values.get("pods", "")
    text = f"{message} {listed} {values.get('pod', '')}"
    # The pattern begins anywhere; its end is found much sooner, and shows where the first pod can begin.
    if (end := _OLD_POD_END.search(text)) is not None:
        for found in islice(_OLD_POD.finditer(text, max(0, end.start() - _OLD_NAME_CHARS)), MAX_PODS):
            pods.append(f"{found['namespace']}/{found['name']}")
            uid = uid or found["uid"]
    if not pods:
        named = listed or values.get("pod", "")
        pods = [f"{found['namespace']}/{found['name']}" for found in islice(_NEW_POD.finditer(named), MAX_PODS)]
    if not pods:
        return {}
    uid = uid or values.get("podUID")
    return {"pods": pods, "pod": pods[0], "namespace": pods[0].partition("/")[0]} | ({"uid": uid} if uid else {})


def _container(message: str, values: Values) -> Fields:
    named = values.get("containerID") or values.get("containerId") or ""
    found = _CONTAINER.search(named) or _ID.search(named) or _CONTAINER.search(message) or _ID.search(message)
    return {} if found is None else {"container_id": found["id"]}


def _eviction(message: str, values: Values) -> Reading | None:
    if (begin := _EVICTION.match(message)) is None:
        return None
    said = message[begin.end() :]
    if (found := _RECLAIM.match(said)) is not None:
        resource = values.get("resourceName") or found["resource"]
        return "kubelet_must_evict" if found["must"] else "kubelet_pressure", {"resource": resource} if resource else {}
    if said.startswith(_NOTHING):
        return "kubelet_nothing_to_evict", {}
    if said.startswith("pods ranked for eviction"):
        return "kubelet_ranked_for_eviction", _pod_fields(said, values)
    if _EVICTED.match(said):
        return "kubelet_pod_evicted", _pod_fields(said, values)
    return None


def _pleg(message: str, values: Values) -> Reading | None:
    if (found := _PLEG.match(message)) is not None:
        return "pleg_unhealthy", {"last_seen": found["last_seen"], "threshold": found["threshold"]}
    if (again := _REINSPECT.match(message)) is not None:
        named = {"pod": f"{again['namespace']}/{again['name']}"} if again["name"] else values
        return "kubelet_pleg_reinspect_failed", _pod_fields("", named)
    return None


def _runtime_down(message: str, values: Values) -> Reading | None:
    if _NOT_READY.match(message):
        return (
            None
            if values.get("runtimeReady", "RuntimeReady=false").startswith("RuntimeReady=true")
            else ("kubelet_runtime_down", {})
        )
    return ("kubelet_runtime_down", {}) if _RUNTIME_DOWN.match(message) else None


def _image_gc(message: str, values: Values) -> Reading | None:
    if (found := _GC_AMOUNT.match(message) or _GC_AMOUNT.match(values.get("err", ""))) is not None:
        return "image_gc_failed", {"wanted": int(found["wanted"]), "freed": int(found["freed"])}
    return ("image_gc_failed", {}) if _GC_AGAIN.match(message) else None


def _removal(message: str, values: Values) -> Reading | None:
    context = read_context(message, kubelet=True)
    if (reading := read_removal(message, context, values)) is None:
        return None
    name, fields = reading
    return name, _container("", values) | {
        key: fields[key] for key in ("container_id", "cause", "path", "driver") if key in fields
    }


def _stop(message: str, values: Values) -> Reading | None:
    if _STOP.match(message) is None or not (_TIMED_OUT.search(message) or _TIMED_OUT.search(values.get("err", ""))):
        return None
    return "runtime_stop_timeout", _container(message, values) | _pod_fields(message, values)


def _unmount(message: str, values: Values) -> Reading | None:
    if _UNMOUNT.match(message) is None:
        return None
    for text in (message, values.get("err", "")):
        if busy_cause(text) or _UMOUNT_SAYS.search(text):
            return "kubelet_unmount_busy", {}
    return None


def _no_space(message: str, values: Values) -> Reading | None:
    if (reading := read_no_space(message, {}, kubelet=True)) is None:
        return None
    name, fields = reading
    fields = {key: value for key, value in fields.items() if key == "container_id"}
    return name, fields or (_container("", values) if values.get("containerID") else {})


_READERS: tuple[tuple[tuple[str, ...], Callable[[str, Values], Reading | None]], ...] = (
    # Before each, words in small letters of which one stands in all that it recognises: to look for them costs a tenth of what
    # the pattern costs.
    (("eviction manager: ",), _eviction),
    (("pleg",), _pleg),  # before `_runtime_down`: one line may say both, and this one says for how long
    (("container runtime ",), _runtime_down),
    (("garbage collect",), _image_gc),
    ((" filesystem",), _removal),
    (("stopcontainer", "termination failed", "kill container", "killcontainer"), _stop),
    (("mount",), _unmount),
    ((NO_SPACE,), _no_space),
)


def read_kubelet(record: Record) -> Reading | None:
    """The problem that this record reports, None when it reports none.

    The message and the error beside it are read each on its own, from their begins.
    """
    values = record.values
    error = values.get("err") or values.get("error") or ""
    for message in (record.message, error):
        small = message.lower()
        for words, read in _READERS:
            for word in words:
                if word in small:
                    if (reading := read(message, values)) is not None:
                        return reading
                    break
    return None
