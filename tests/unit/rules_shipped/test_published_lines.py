"""What operators published of their incidents, line by line, from the parser to the alert."""

from datetime import timedelta

import pytest

from engine.facts.docker import ContainerEvent, Daemon
from engine.facts.host import Disk
from tests.unit.rules_shipped.support import NOW, Rules, parsed, received

SLUB_ID = "b40c3884668600191e02b3c32efaf12bdd1e6d0a4d3869662045e4193af6c26c"
SLUB = (
    "Jun  8 03:03:28 [node hostname] kernel: [88820.247535] SLUB: Unable to allocate memory on node -1 (gfp=0x8020)",
    (
        f"Jun  8 03:03:28 [node hostname] kernel: [88820.247541]   cache: kmalloc-192(33:{SLUB_ID}), object size: 192, "
        "buffer size: 192, default order: 0, min order: 0"
    ),
    "Jun  8 03:03:28 [node hostname] kernel: [88820.247543]   node 0: slabs: 202, objs: 4242, free: 0",
)
INIT_KILLED = "[7993043.926831] Memory cgroup out of memory: Kill process 20357 (runc:[2:INIT]) score 970 or sacrifice child"
POD_UID = "dc6bd3a06883f50ce46d35fd024f66f2"
KILLED_ID = "853a131b5d9a577590773c677898ae61ca6a411e1046cd3422fa0d97d9547258"
EVICTION = (
    "I0617 03:05:13.803095    5478 eviction_manager.go:346] eviction manager: must evict pod(s) to reclaim imagefs",
    (
        "I0617 03:05:13.803169    5478 eviction_manager.go:364] eviction manager: pods ranked for eviction: "
        f"kube-proxy-[node IP]_kube-system({POD_UID}), config-88df876c5-pmk67_ec-prod(e134b5a2-6fc1-11e8-b1d1-0226410ff50c), …"
    ),
    (
        f'I0617 03:05:13.803305    5478 kuberuntime_container.go:582] Killing container "docker://{KILLED_ID}" '
        "with 30 second grace period"
    ),
    (
        "I0617 03:05:14.960777    5478 eviction_manager.go:156] eviction manager: pods "
        f"kube-proxy-[node IP]_kube-system({POD_UID}) evicted, waiting for pod to be cleaned up"
    ),
)
PROXY = "kube-system/kube-proxy-[node IP]"


def test_a_hang_is_explained_by_the_runc_that_the_oom_killer_took() -> None:
    """I2: the kernel's line and the hung list are one diagnosis with the upgrade advice, and the stack dump is asked for once."""
    rules = Rules()
    rules.tell(*parsed("kernel", INIT_KILLED))
    rules.tell(Daemon(at=NOW + timedelta(minutes=5), reachable=True, version="17.03.2-ce", hung="list"))
    rules.tell(Daemon(at=NOW + timedelta(minutes=6), reachable=True, version="17.03.2-ce", hung="ping", hung_container="c1"))
    ((key, text),) = rules.alerts("daemon-hung-by-oom-kill")
    assert key == "engine"
    assert "runc:[2:INIT] (process 20357" in text
    assert next(said for _, said in rules.alerts("daemon-hung")).startswith("Docker 17.03.2-ce accepts connections")
    assert rules.actions() == ["collect_stacks"]
    rules.tell(Daemon(at=NOW + timedelta(minutes=9), reachable=True, version="17.03.2-ce"))
    assert rules.alerts("daemon-hung", "resolved")
    assert rules.alerts("daemon-hung-by-oom-kill", "resolved")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            "Error starting daemon: error initializing graphdriver: devicemapper: Non existing device docker-thinpool",
            "(storage driver: devicemapper): error initializing graphdriver: devicemapper: Non existing device docker-thinpool",
        ),
        (
            "failed to start daemon: error initializing graphdriver: driver not supported",
            "error initializing graphdriver: driver not supported",
        ),
        (
            (
                "Apr 15 13:46:35 xxx dockerd: failed to start daemon: failed to dial "
                '"/run/containerd/containerd.sock": context deadline exceeded'
            ),
            "/run/containerd/containerd.sock",
        ),
    ],
)
def test_a_daemon_that_cannot_start_is_said_and_left_alone(line: str, words: str) -> None:
    """I3: whatever the driver and the reason, an alert, no action, and its end when Docker is reached."""
    rules = Rules()
    (failure,) = parsed("dockerd", line)
    rules.tell(failure, Daemon(at=failure.at + timedelta(seconds=3), reachable=False, error="there is no socket"))
    assert [(key, words in text) for key, text in rules.alerts("daemon-start-failed")] == [("engine", True)]
    assert rules.actions() == []
    rules.tell(Daemon(at=failure.at + timedelta(hours=5), reachable=True))
    assert rules.alerts("daemon-start-failed", "resolved")


@pytest.mark.parametrize("followed", [True, False], ids=["followed", "line by line"])
def test_ten_thousand_slub_lines_are_one_alert(followed: bool) -> None:
    """I7: one alert for the host with count, rate, cache and container, said once while the lines go on."""
    # Without their date, which is one for all of them: each counts at the moment it is read.
    lines = [SLUB[number % 3].partition("kernel: ")[2] for number in range(10_002)]
    rules = Rules()
    rules.tell(*(received(lines, every=timedelta(milliseconds=50)) if followed else parsed("kernel", *lines)))
    ((key, text),) = rules.alerts("slub-failures")
    assert key == "host"
    assert "5 times in 5m" in text
    assert "a minute) to allocate slab kmalloc-192" in text
    assert SLUB_ID in text
    assert not rules.alerts("slub-failures", "resolved")
    rules.wait_until(NOW + timedelta(days=1))
    assert len(rules.alerts("slub-failures", "resolved")) == 1


def test_the_published_eviction_is_joined_with_disk_and_container() -> None:
    """I9: ranked, evicted, the full disk, the resource, and the container that Docker then stops: one key, all critical."""
    rules = Rules()
    must, ranked, evicted = parsed("kubelet", *EVICTION)
    disk = Disk(at=must.at - timedelta(seconds=5), path="/var/lib/docker", used_ratio=0.93)
    killed = ContainerEvent(
        at=evicted.at, action="die", id=KILLED_ID, name="k8s_kube-proxy", labels={"io.kubernetes.pod.uid": POD_UID}
    )
    rules.tell(disk, must, ranked, killed, evicted)
    assert [key for key, _ in rules.alerts("critical-pod-ranked")] == ["eviction"]
    assert [key for key, _ in rules.alerts("critical-pod-evicted")] == [PROXY]
    assert {text for _, text in rules.alerts("critical-pod-eviction-disk")} == {
        f"/var/lib/docker is 93% full (inodes: unknown), and for that the kubelet evicts {PROXY}"
    }
    assert rules.alerts("critical-pod-eviction-resource")[0] == (PROXY, f"the kubelet evicts {PROXY} to reclaim imagefs")
    assert [(key, KILLED_ID in text) for key, text in rules.alerts("critical-pod-killed")] == [(PROXY, True)]
    assert rules.actions() == []


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        (
            (
                "Oct 12 19:34:44 aks-nodepool1-24207654-vmss000002 kubelet[2480]: I1012 19:34:44.999261    2480 "
                'eviction_manager.go:374] "Eviction manager: pods ranked for eviction" pods="[default/nginx '
                'kube-system/kube-proxy-5thr6 kube-system/csi-azurefile-node-wz6c7]"'
            ),
            "critical-pod-ranked",
        ),
        (
            (
                "Mar 08 00:29:47 deb11mk8s microk8s.daemon-kubelite[24749]: I0308 00:29:47.508884   24749 "
                'eviction_manager.go:367] "Eviction manager: pods ranked for eviction" pods=[kube-system/calico-node-29x5m]'
            ),
            "critical-pod-ranked",
        ),
        (
            (
                'I0308 00:29:47.508884   24749 eviction_manager.go:412] "Eviction manager: pods evicted, '
                'waiting for pod to be cleaned up" '
                'pods=["kube-system/calico-node-29x5m"]'
            ),
            "critical-pod-evicted",
        ),
        (
            (
                'I0308 00:29:47.508884   24749 eviction_manager.go:620] "Eviction manager: pod is evicted successfully" '
                'pod="kube-system/coredns-66bff467f8-7x2kz"'
            ),
            "critical-pod-evicted",
        ),
        (
            (
                "I0617 03:05:14.960777    5478 eviction_manager.go:156] eviction manager: pod "
                f"calico-node-x7k2p_kube-system({POD_UID}) is evicted successfully"
            ),
            "critical-pod-evicted",
        ),
    ],
)
def test_kubelets_of_all_ages_are_understood(line: str, rule: str) -> None:
    """I9: the same alert, however the kubelet of the day words it."""
    rules = Rules()
    rules.tell(*parsed("kubelet", line))
    assert len(rules.alerts(rule)) == 1


def test_other_pods_may_go() -> None:
    """I9: an eviction that touches nothing the node depends on is the kubelet's business."""
    rules = Rules()
    rules.tell(
        *parsed(
            "kubelet",
            f"I0617 03:05:13.8 5478 eviction_manager.go:364] eviction manager: pods ranked for eviction: web_default({POD_UID})",
            f"I0617 03:05:14.9 5478 eviction_manager.go:156] eviction manager: pods my-kube-proxy-ui_default({POD_UID}) evicted, "
            "waiting for pod to be cleaned up",
        )
    )
    assert [decision.rule for decision in rules.decisions] == []
