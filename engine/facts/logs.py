"""Facts that were log lines: of the kernel, of dockerd, of the kubelet.

`class` is the vocabulary that `dockwarden parse` prints; which fields go with which class is in the reference.
"""

from typing import ClassVar, Literal

from pydantic import Field

from engine.facts.base import EventFact

KernelClass = Literal[
    "conntrack_full",
    "dm_device_busy",
    "dm_thin_delete_failed",
    "dm_thin_low_water",
    "dm_thin_out_of_space",
    "file_max",
    "fs_error",
    "fs_remount_ro",
    "fs_shutdown",
    "fs_warning",
    "global_oom_kill",
    "global_oom_report",
    "hung_task",
    "memcg_oom_kill",
    "memcg_oom_report",
    "neigh_overflow",
    "netdev_refcount_leak",
    "oom_victim",
    "rcu_stall",
    "slub_alloc_failure",
    "slub_report",
    "soft_lockup",
    "tcp_out_of_memory",
]

DaemonLogClass = Literal[
    "cgroup_enospc",
    "containerd_start_failed",
    "docker_kill_timeout",
    "docker_layer_busy",
    "docker_oci_error",
    "docker_rm_busy",
    "docker_rm_failed",
    "docker_rm_in_progress",
    "docker_start_failed",
    "docker_stop_timeout",
    "docker_thinpool_low",
    "enospc",
]

KubeletClass = Literal[
    "cgroup_enospc",
    "docker_rm_busy",
    "docker_rm_failed",
    "enospc",
    "image_gc_failed",
    "kubelet_must_evict",
    "kubelet_nothing_to_evict",
    "kubelet_pleg_reinspect_failed",
    "kubelet_pod_evicted",
    "kubelet_pressure",
    "kubelet_ranked_for_eviction",
    "kubelet_runtime_down",
    "kubelet_unmount_busy",
    "pleg_unhealthy",
    "runtime_stop_timeout",
]


class LogFact(EventFact):
    """What the three kinds share."""

    container_id: str | None = Field(
        default=None, description="Container the line is about, as the line gives it (full or short id)."
    )
    text: str = Field(default="", description="The line or lines it was read from, shortened to 4,096 characters.")


class KernelEvent(LogFact):
    """A trouble the kernel reported."""

    KIND: ClassVar[str] = "kernel_event"

    class_: KernelClass = Field(alias="class", description="Which trouble.")
    pid: int | None = None
    comm: str | None = Field(default=None, description="Name of the task; may hold spaces, colons and brackets.")
    uid: int | None = None
    score: int | None = Field(default=None, description="Badness score of the killed task, 0 to 2000.")
    oom_score_adj: int | None = None
    constraint: str | None = Field(default=None, description="CONSTRAINT_MEMCG, CONSTRAINT_NONE, …")
    cpuset: str | None = None
    global_: bool | None = Field(default=None, alias="global", description="The whole machine was out of memory.")
    oom_memcg: str | None = Field(default=None, description="Cgroup whose limit was hit (kernel 4.19 and later).")
    task_memcg: str | None = Field(default=None, description="Cgroup of the killed task (kernel 4.19 and later).")
    task_cgroup: str | None = Field(default=None, description="Cgroup of the killed task (kernels before 4.19).")
    limit_cgroup: str | None = Field(default=None, description="Cgroup whose limit was hit (kernels before 4.19).")
    pod_uid: str | None = None
    qos: str | None = Field(default=None, description="guaranteed, burstable or besteffort.")
    runtime: str | None = Field(default=None, description="docker, cri-containerd, crio, libpod: as the cgroup's name tells.")
    total_vm_kb: int | None = None
    anon_rss_kb: int | None = None
    file_rss_kb: int | None = None
    shmem_rss_kb: int | None = None
    pgtables_kb: int | None = None
    usage_kb: int | None = None
    limit_kb: int | None = None
    failcnt: int | None = None
    kmem_usage_kb: int | None = None
    neighbours: list[dict[str, int | str]] | None = Field(
        default=None,
        description="Who held the memory: of the kernel's table, the five tasks with the most, each with pid, name, rss_pages, "
        "rss_kb, and container_id where the report tells.",
    )
    invoked_by: str | None = Field(default=None, description="Task whose allocation invoked the OOM killer.")
    kernel_release: str | None = None
    node: int | None = Field(default=None, description="NUMA node, -1 for any.")
    gfp: str | None = None
    cache: str | None = Field(default=None, description="Slab cache.")
    object_size: int | None = Field(default=None, description="Bytes.")
    memcg_css_id: int | None = None
    memcg_name: str | None = None
    cpu: int | None = None
    seconds: int | None = Field(default=None, description="How long it has been stuck.")
    flavor: str | None = Field(default=None, description="Which RCU: rcu_sched, rcu_preempt, rcu_bh.")
    self_: bool | None = Field(default=None, alias="self", description="The stalled CPU reported itself.")
    device: str | None = None
    device_name: str | None = None
    thin_dev: int | None = None
    which: str | None = Field(default=None, description="data or metadata.")
    io_mode: str | None = Field(default=None, description="queue or error: what happens to writes.")
    fs: str | None = Field(default=None, description="ext4, xfs, btrfs, …")
    function: str | None = Field(default=None, description="Kernel function that reported.")
    limit: int | None = Field(default=None, description="file-max limit that was reached.")
    table: str | None = Field(default=None, description="Neighbour table: arp_cache, ndisc_cache.")
    usage_count: int | None = None


class DaemonLog(LogFact):
    """A trouble dockerd (or containerd) reported in its log."""

    KIND: ClassVar[str] = "daemon_log"

    class_: DaemonLogClass = Field(alias="class", description="Which trouble.")
    cause: str | None = Field(default=None, description="The error at the end of the chain: device or resource busy, …")
    path: str | None = None
    driver: str | None = Field(default=None, description="Storage driver the failure names.")
    api: str | None = Field(default=None, description="Version of the Docker API in which the failed call was made: 1.24, say.")
    container_ref: str | None = Field(default=None, description="Container as the caller named it: a name or any form of the id.")
    seconds: int | None = None
    signal: int | None = None
    reason: str | None = None
    graphdriver: str | None = None
    free_blocks: int | None = None
    required: int | None = None
    kind: str | None = Field(default=None, description="data or metadata.")


class KubeletEvent(LogFact):
    """A trouble the kubelet reported."""

    KIND: ClassVar[str] = "kubelet_event"

    class_: KubeletClass = Field(alias="class", description="Which trouble.")
    pods: list[str] = Field(default_factory=list, description="namespace/name of the pods, in the order of the line.")
    pod: str | None = Field(default=None, description="namespace/name of the first pod.")
    namespace: str | None = Field(default=None, description="Namespace of the first pod.")
    uid: str | None = Field(default=None, description="Uid of the first pod.")
    resource: str | None = Field(default=None, description="imagefs, nodefs, ephemeral-storage, memory, …")
    cause: str | None = None
    path: str | None = None
    driver: str | None = None
    wanted: int | None = Field(default=None, description="Bytes the image garbage collection meant to free.")
    freed: int | None = Field(default=None, description="Bytes it freed.")
    last_seen: str | None = Field(default=None, description="How long ago PLEG was last active, as the kubelet writes it.")
    threshold: str | None = None


class LogLine(LogFact):
    """A line of a log that a rule asks for by its text; lines that no rule asks for are no facts."""

    KIND: ClassVar[str] = "log_line"

    log: str = Field(description="Which log: kernel, dockerd, kubelet, or a named log.")
    unit: str | None = Field(default=None, description="Unit of systemd that wrote it, where the log knows it.")
    process: str | None = Field(default=None, description="Program that wrote it, where the log knows it.")
    level: str | None = Field(default=None, description="As the daemon writes it: info, warning, error, …")
