"""Lines of the kubelet, over versions and formats."""

# ruff: noqa: E501 -- log lines are as long as they are

from typing import Any

import pytest

from tests.unit.logparse.support import ID, UID, answer, says

POD = {"pod": "kube-system/kube-proxy-x", "namespace": "kube-system"}
TEXT = "I0617 03:05:13.803095    5478 eviction_manager.go:346] "
TIMEOUT = "rpc error: code = DeadlineExceeded desc = context deadline exceeded"

LINES: list[tuple[str, str | None, dict[str, Any]]] = [
    ("eviction manager: attempting to reclaim imagefs", "kubelet_pressure", {"resource": "imagefs"}),
    ('"Eviction manager: attempting to reclaim" resourceName="memory"', "kubelet_pressure", {"resource": "memory"}),
    ("eviction manager: must evict pod(s) to reclaim nodefsInodes", "kubelet_must_evict", {"resource": "nodefsInodes"}),
    ('"Eviction manager: must evict pod(s) to reclaim" resourceName="ephemeral-storage"', "kubelet_must_evict", {"resource": "ephemeral-storage"}),
    (f"eviction manager: pods ranked for eviction: kube-proxy-x_kube-system({UID}), config-1_ec-prod(e134b5a2)", "kubelet_ranked_for_eviction", POD | {"uid": UID, "pods": ["kube-system/kube-proxy-x", "ec-prod/config-1"]}),
    (f"eviction manager: pods ranked for eviction: kube-proxy-[node IP]_kube-system({UID})", "kubelet_ranked_for_eviction", {"pods": ["kube-system/kube-proxy-[node IP]"], "uid": UID}),
    ('"Eviction manager: pods ranked for eviction" pods="[kube-system/kube-proxy-x default/b]"', "kubelet_ranked_for_eviction", POD | {"pods": ["kube-system/kube-proxy-x", "default/b"]}),
    ('"Eviction manager: pods ranked for eviction" pods=["kube-system/kube-proxy-x","default/b"]', "kubelet_ranked_for_eviction", POD | {"pods": ["kube-system/kube-proxy-x", "default/b"]}),
    ('"Eviction manager: pods ranked for eviction" pods=[kube-system/kube-proxy-x]', "kubelet_ranked_for_eviction", POD),
    (f"eviction manager: pods kube-proxy-x_kube-system({UID}) evicted, waiting for pod to be cleaned up", "kubelet_pod_evicted", POD | {"uid": UID}),
    (f"eviction manager: pod kube-proxy-x_kube-system({UID}) is evicted successfully", "kubelet_pod_evicted", POD | {"uid": UID}),
    ('"Eviction manager: pods evicted, waiting for pod to be cleaned up" pods=["kube-system/kube-proxy-x"]', "kubelet_pod_evicted", POD),
    ('"Eviction manager: pod is evicted successfully" pod="kube-system/kube-proxy-x"', "kubelet_pod_evicted", POD),
    (f"eviction manager: pods kube-proxy-x_kube-system({UID}) successfully cleaned up", None, {}),
    (f"eviction manager: timed out waiting for pods a_b({UID}) to be cleaned up", None, {}),
    ('"Eviction manager: eviction thresholds have been met, but no pods are active to evict"', "kubelet_nothing_to_evict", {}),
    ("eviction manager: unable to evict any pods from the node", "kubelet_nothing_to_evict", {}),
    ("eviction manager: able to reduce memory pressure without evicting pods.", None, {}),
    ("skipping pod synchronization - [PLEG is not healthy: pleg was last seen active 5m2.1s ago; threshold is 3m0s]", "pleg_unhealthy", {"last_seen": "5m2.1s", "threshold": "3m0s"}),
    ('"Skipping pod synchronization" err="PLEG is not healthy: pleg was last seen active 3m1s ago; threshold is 3m0s"', "pleg_unhealthy", {"last_seen": "3m1s", "threshold": "3m0s"}),
    ('"Skipping pod synchronization" err="[container runtime status check may not have completed yet, PLEG is not healthy: pleg has yet to be successful]"', None, {}),
    ("PLEG: pod kube-proxy-x/kube-system failed reinspection: rpc error: code = DeadlineExceeded desc = context deadline exceeded", "kubelet_pleg_reinspect_failed", POD),
    ('"PLEG: pod failed reinspection" err="x" pod="kube-system/kube-proxy-x"', "kubelet_pleg_reinspect_failed", POD),
    ("skipping pod synchronization - [container runtime is down]", "kubelet_runtime_down", {}),
    ("Container runtime not ready: RuntimeReady=false reason:DockerDaemonNotReady message:docker: failed to get docker version", "kubelet_runtime_down", {}),
    ('"Container runtime network not ready" networkReady="NetworkReady=false reason:NetworkPluginNotReady"', None, {}),
    ("Image garbage collection failed multiple times in a row: failed to garbage collect required amount of images. Wanted to free 966184140 bytes, but freed 12 bytes", "image_gc_failed", {"wanted": 966184140, "freed": 12}),
    ('"Image garbage collection failed once. Stats initialization may not have completed yet" err="failed to get imageFs info"', None, {}),
    (f'RemoveContainer "{ID}" from runtime service failed: rpc error: code = Unknown desc = failed to remove container "{ID}": Error response from daemon: driver "overlay2" failed to remove root filesystem for {ID}: remove /var/lib/docker/overlay2/x/merged: device or resource busy', "docker_rm_busy", {"container_id": ID, "driver": "overlay2", "path": "/var/lib/docker/overlay2/x/merged"}),
    (f'"RemoveContainer from runtime service failed" err="rpc error: code = Unknown desc = failed to remove container \\"{ID}\\": Error response from daemon: container {ID}: driver \\"overlay2\\" failed to remove root filesystem: unlinkat /x: directory not empty" containerID="{ID}"', "docker_rm_failed", {"container_id": ID, "cause": "directory not empty", "path": "/x"}),
    (f'StopContainer "{ID}" from runtime service failed: {TIMEOUT}', "runtime_stop_timeout", {"container_id": ID}),
    (f'Container "docker://{ID}" termination failed with gracePeriod 30: rpc error: code = Unknown desc = operation timeout: context deadline exceeded', "runtime_stop_timeout", {"container_id": ID}),
    (f'"Kill container failed" err="{TIMEOUT}" pod="kube-system/kube-proxy-x" podUID="{UID}" containerName="a" containerID={{"Type":"containerd","ID":"{ID}"}}', "runtime_stop_timeout", POD | {"container_id": ID, "uid": UID}),
    (f'StopContainer "{ID}" from runtime service failed: rpc error: code = Unknown desc = no such container', None, {}),
    (f'Killing container "docker://{ID}" with 30 second grace period', None, {}),
    (f'"StopPodSandbox from runtime service failed" err="{TIMEOUT}" podSandboxID="{ID}"', None, {}),
    (f'UnmountVolume.TearDown failed for volume "x" : remove /var/lib/kubelet/pods/{UID}/volumes/x: device or resource busy', "kubelet_unmount_busy", {}),
    (f"Unmount failed: exit status 32 Unmounting arguments: /var/lib/kubelet/pods/{UID}/x Output: umount: /x: target is busy.", "kubelet_unmount_busy", {}),
    (f'Operation for "\\"flexvolume-x/{UID}\\"" failed. No retries permitted until 2018-07-31 01:24:27.832676931 +0000 UTC m=+207501.064801385 (durationBeforeRetry 500ms). Error: "UnmountVolume.TearDown failed for volume \\"x\\" : remove /var/lib/kubelet/pods/{UID}/volumes/x: device or resource busy"', "kubelet_unmount_busy", {}),
    (f'Operation for "x" failed. No retries permitted until 2016-07-13 06:12:43.76110436 +0000 UTC (durationBeforeRetry 2m0s). error: UnmountVolume.TearDown failed for volume "x" (UID: "{UID}") with: rename /a /b: device or resource busy', "kubelet_unmount_busy", {}),
    ("Unmount failed: exit status 32\\nUnmounting arguments: /x\\nOutput: umount: /x: target is busy.\\n (In some cases useful info about processes that use the device is found by lsof(8) or fuser(1))", "kubelet_unmount_busy", {}),
    (f'Failed to remove dead container "/k8s_POD.d8dbe16c_frontend-511d9_default_e70b06ac_528d48e3": Error response from daemon: Unable to remove filesystem for {ID}: remove /var/lib/docker/containers/{ID}/shm: device or resource busy', "docker_rm_busy", {"container_id": ID}),
    (f"unable to ensure pod container exists: failed to create container for [kubepods besteffort pod{UID}] : mkdir /sys/fs/cgroup/memory/kubepods/besteffort/pod{UID}: no space left on device", "cgroup_enospc", {}),
    ('MountVolume.SetUp failed for volume "x" : timeout', None, {}),
    (f"starting container process caused: mkdir /sys/fs/cgroup/memory/kubepods/burstable/pod{UID}/{ID}: no space left on device", "cgroup_enospc", {"container_id": ID}),
    (f"Failed to watch directory: inotify_add_watch /sys/fs/cgroup/memory/kubepods/burstable/pod{UID}/{ID}: no space left on device", "enospc", {}),
    ('SyncLoop (PLEG): "a_b(c)", event: &pleg.PodLifecycleEvent{}', None, {}),
]  # fmt: skip


@pytest.mark.parametrize(("line", "name", "fields"), LINES, ids=[f"{number}-{name}" for number, (_, name, _) in enumerate(LINES)])
@pytest.mark.parametrize("prefix", [TEXT, "Jun 17 03:05:13 node kubelet[5478]: " + TEXT], ids=["klog", "syslog"])
def test_wording(prefix: str, line: str, name: str | None, fields: dict[str, Any]) -> None:
    """Each wording has its class and fields, with and without syslog's prefix."""
    says(answer("kubelet", prefix + line), name, fields)


def test_json_format() -> None:
    """Klog's JSON format, in which pods are objects."""
    line = (
        '{"ts":1753121294157.29,"caller":"eviction/eviction_manager.go:405","msg":"Eviction manager: pods ranked for eviction","v":0,'
        '"pods":[{"name":"kube-proxy-x","namespace":"kube-system"},{"name":"b","namespace":"default"}]}'
    )
    says(answer("kubelet", line), "kubelet_ranked_for_eviction", POD | {"pods": ["kube-system/kube-proxy-x", "default/b"]})
    line = f'{{"ts":1.5,"msg":"Kill container failed","err":"{TIMEOUT}","containerID":{{"Type":"docker","ID":"{ID}"}}}}'
    says(answer("kubelet", line), "runtime_stop_timeout", {"container_id": ID})


def test_no_pods() -> None:
    """A line of another kind has no pods, and its list is empty."""
    says(
        answer("kubelet", TEXT + "eviction manager: attempting to reclaim memory"), "kubelet_pressure", {"pods": [], "pod": None}
    )


def test_cut_line() -> None:
    """A line that a pager cut still says what it says."""
    line = TEXT + f'"Kill container failed" pod="kube-system/kube-proxy-x" err="{TIMEOUT}'
    says(answer("kubelet", line), "runtime_stop_timeout", POD)
