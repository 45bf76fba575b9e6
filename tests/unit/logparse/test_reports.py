"""Reports that span lines: one line at a time, and as a whole."""

# ruff: noqa: E501 -- log lines are as long as they are

from datetime import timedelta

import pytest

from engine.logparse import ReportAssembler
from tests.unit.logparse.support import ID, NOW, OTHER_ID, answers, assembled, says

TASK_IN = f"Task in /docker/{ID} killed as a result of limit of /docker/{ID}"
KILL = "Memory cgroup out of memory: Kill process 20357 (runc:[2:INIT]) score 970 or sacrifice child"
KILLED = "Killed process 20358 (sh) total-vm:100kB, anon-rss:20kB, file-rss:3kB, shmem-rss:0kB"
USAGE = "memory: usage 1048576kB, limit 1048576kB, failcnt 267"

OLD = [
    "sh invoked oom-killer: gfp_mask=0xd0, order=0, oom_score_adj=0",
    f"sh cpuset={ID} mems_allowed=0",
    "CPU: 1 PID: 20358 Comm: sh Not tainted 3.10.0-327.el7.x86_64 #1",
    "Call Trace:",
    " [<ffffffff8163515c>] dump_stack+0x19/0x1b",
    TASK_IN,
    USAGE,
    "memory+swap: usage 1048576kB, limit 1048576kB, failcnt 0",
    "kmem: usage 12kB, limit 9007199254740991kB, failcnt 0",
    f"Memory cgroup stats for /docker/{ID}: cache:188KB rss:1048388KB",
    "[ pid ]   uid  tgid total_vm      rss nr_ptes swapents oom_score_adj name",
    "[20357]     0 20357   394872   262036     521        0             0 runc:[2:INIT]",
    KILL,
    KILLED,
]
"""As kernels before 4.19 print it."""

SUMMARY = (
    f"oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset={ID},mems_allowed=0-1,oom_memcg=/docker/{ID},"
    f"task_memcg=/docker/{ID},task=a,b=c,pid=77,uid=1000"
)
NEW_KILLED = (
    "Memory cgroup out of memory: Killed process 77 (a,b=c) total-vm:9kB, anon-rss:8kB, file-rss:7kB, shmem-rss:6kB, "
    "UID:1000 pgtables:44kB oom_score_adj:-998"
)
NEW = [
    "a,b=c invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=-998",
    "CPU: 0 UID: 1000 PID: 77 Comm: a,b=c Not tainted 6.18.44 #1 PREEMPT(none)",
    "Call Trace:",
    " <TASK>",
    " dump_stack_lvl+0x57/0x80",
    " </TASK>",
    "memory: usage 20480kB, limit 20480kB, failcnt 157",
    "swap: usage 0kB, limit 0kB, failcnt 0",
    f"Memory cgroup stats for /docker/{ID}:",
    "anon 20467712",
    "Tasks state (memory values in pages):",
    "[  pid  ]   uid  tgid total_vm      rss rss_anon rss_file rss_shmem pgtables_bytes swapents oom_score_adj name",
    "[     77]  1000    77    55342     6715     5056     1659         0   102400        0          -998 a,b=c",
    SUMMARY,
    NEW_KILLED,
]
"""As kernels from 5.3 on print it."""


def stamped(lines: list[str], start: float = 100.0) -> list[str]:
    """The lines as dmesg prints them, microseconds apart."""
    return [f"[{start + number / 1_000_000:12.6f}] {line}" for number, line in enumerate(lines)]


@pytest.mark.parametrize("lines", [OLD, stamped(OLD)], ids=["bare", "dmesg"])
def test_old_report_line_by_line(lines: list[str]) -> None:
    """The line that names the cgroup answers, the later kill line answers with the container, and the last with everything."""
    told = answers("kernel", *lines)
    assert [place for place, fact in enumerate(told) if fact is not None] == [5, 12, 13]
    says(told[5], "memcg_oom_kill", {"container_id": ID, "task_cgroup": f"/docker/{ID}", "pid": None, "usage_kb": None})
    says(told[12], "memcg_oom_kill", {"container_id": ID, "pid": 20357, "comm": "runc:[2:INIT]", "score": 970})
    whole = {"container_id": ID, "pid": 20358, "comm": "sh", "usage_kb": 1048576, "failcnt": 267, "kmem_usage_kb": 12}
    says(told[13], "memcg_oom_report", whole | {"invoked_by": "sh", "kernel_release": "3.10.0-327.el7.x86_64", "cpuset": ID})


@pytest.mark.parametrize("lines", [NEW, stamped(NEW)], ids=["bare", "dmesg"])
def test_new_report_line_by_line(lines: list[str]) -> None:
    """From 4.19 on the summary answers with container and process, and the last line with everything; a comm may hold commas."""
    told = answers("kernel", *lines)
    assert [place for place, fact in enumerate(told) if fact is not None] == [13, 14]
    says(told[13], "memcg_oom_kill", {"container_id": ID, "pid": 77, "comm": "a,b=c", "uid": 1000, "cpuset": ID})
    says(
        told[14], "memcg_oom_report", {"container_id": ID, "pid": 77, "limit_kb": 20480, "pgtables_kb": 44, "oom_score_adj": -998}
    )


@pytest.mark.parametrize(
    ("lines", "pid"),
    [(OLD, 20358), (stamped(OLD), 20358), (NEW, 77), (stamped(NEW), 77)],
    ids=["old", "old-dmesg", "new", "new-dmesg"],
)
def test_assembled(lines: list[str], pid: int) -> None:
    """A live log tells one kill, with container and the process that died, and one report."""
    told = assembled(*lines)
    assert [fact["class"] for fact in told] == ["memcg_oom_kill", "memcg_oom_report"]
    for fact in told:
        assert (fact["container_id"], fact["pid"]) == (ID, pid)
    assert "Killed process" in told[0]["text"]


def test_foreign_lines_between() -> None:
    """Lines of other processors may stand between stamped lines of a report; they are told, and the report is not torn."""
    lines = stamped([*OLD[:8], "VFS: file-max limit 9 reached", "eth0: link up", *OLD[8:]])
    assert [fact["class"] for fact in assembled(*lines)] == ["file_max", "memcg_oom_kill", "memcg_oom_report"]


def test_slab_failure_within_a_kill() -> None:
    """The slab allocator may fail in the midst of an OOM report; both are told whole."""
    cache = f"cache: kmalloc-192(33:{OTHER_ID}), object size: 192, buffer size: 192, default order: 0, min order: 0"
    lines = stamped([*OLD[:8], "SLUB: Unable to allocate memory on node -1 (gfp=0x8020)", cache, *OLD[8:]])
    told = assembled(*lines)
    assert [fact["class"] for fact in told] == ["slub_alloc_failure", "slub_report", "memcg_oom_kill", "memcg_oom_report"]
    assert [fact["container_id"] for fact in told] == [OTHER_ID, OTHER_ID, ID, ID]


def test_group_kill() -> None:
    """With memory.oom.group every process of the cgroup is a kill of its own, with the container."""
    others = [
        f"Memory cgroup out of memory: Killed process {pid} (b) total-vm:1kB, anon-rss:1kB, file-rss:0kB" for pid in (78, 79)
    ]
    lines = [*NEW, f"Tasks in /docker/{ID} are going to be killed due to memory.oom.group set", *others]
    told = assembled(*stamped(lines))
    kills = [fact for fact in told if fact["class"] == "memcg_oom_kill"]
    assert [(fact["pid"], fact["container_id"]) for fact in kills] == [(77, ID), (78, ID), (79, ID)]
    says(answers("kernel", *stamped(lines))[-1], "memcg_oom_kill", {"pid": 79, "container_id": ID})


def test_global_report() -> None:
    """When the machine runs out, the kill and the report are global, and the invoker's cpuset is not the victim's container."""
    lines = [
        *NEW[:6],
        "Mem-Info:",
        "Node 0 active_anon:1kB",
        "Tasks state (memory values in pages):",
        f"oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset={OTHER_ID},mems_allowed=0,global_oom,task_memcg=/system.slice/docker-{ID}.scope,task=x,pid=5,uid=0",
        "Out of memory: Killed process 5 (x) total-vm:9kB, anon-rss:8kB, file-rss:7kB, shmem-rss:6kB, UID:0 pgtables:4kB oom_score_adj:0",
    ]
    told = assembled(*lines)
    assert [fact["class"] for fact in told] == ["global_oom_kill", "global_oom_report"]
    says(told[0], "global_oom_kill", {"container_id": ID, "global": True, "pid": 5, "invoked_by": "a,b=c", "runtime": "docker"})
    says(answers("kernel", *lines)[-1], "global_oom_report", {"container_id": ID, "cpuset": OTHER_ID})


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ([f"[  100.0] {TASK_IN}", f"[  200.0] {KILL}"], "a hundred seconds lie between them"),
        ([f"[  200.0] {TASK_IN}", f"[  100.0] {KILL}"], "the second is older"),
        ([f"[  100.0] {TASK_IN}", f"Jun  8 03:03:28 x kernel: {KILL}"], "they are written in two forms"),
        ([f"Jun  8 03:03:28 x kernel: {TASK_IN}", f"Jun  8 03:03:28 y kernel: {KILL}"], "they are of two hosts"),
        ([TASK_IN, "eth0: link up", KILL], "there is no time, and something else stands between"),
        ([f"[  100.0] {TASK_IN}", f"[  100.0] {KILL.replace('Memory cgroup out', 'Out')}"], "the second is of the machine"),
        ([f"[  100.0] {SUMMARY}", f"[  100.0] {NEW_KILLED.replace(' 77 ', ' 78 ')}"], "they name two processes"),
        ([f"[  100.0] {TASK_IN}", f"[  100.0] {NEW[0]}", f"[  100.0] {KILL}"], "another report begins between them"),
        ([f"[  100.0] {KILL}", f"[  100.0] {TASK_IN}", f"[  100.0] {KILLED}"], "a new report was begun, which has no kill"),
    ],
    ids=lambda value: value.replace(" ", "-") if isinstance(value, str) else "",
)
def test_unrelated_lines_stay_apart(lines: list[str], why: str) -> None:
    """Nothing leaks from one report into another."""
    last = answers("kernel", *lines)[-1]
    assert last is not None
    assert "container_id" not in last, why
    assert last["class"] in ("memcg_oom_kill", "global_oom_kill", "oom_victim")


def test_no_kill_no_fact() -> None:
    """A report without a kill (nothing killable, or only its begin was logged) tells nothing."""
    assert assembled(*NEW[:10], "Out of memory and no killable processes...") == []


def test_victim_alone() -> None:
    """`Killed process` without what stood before it is a victim, whose cgroup and cause are unknown."""
    says(answers("kernel", KILLED)[0], "oom_victim", {"pid": 20358, "comm": "sh", "container_id": None})
    assert [fact["class"] for fact in assembled(KILLED)] == ["oom_victim"]


@pytest.mark.parametrize(
    ("line", "name", "fields"),
    [
        ("Out of memory: kill process 12 (java) score 19 or a child", "global_oom_kill", {"pid": 12, "score": 19}),
        ("No available memory in cpuset: kill process 12 (java) score 19 or a child", "global_oom_kill", {"pid": 12}),
        ("Out of memory (oom_kill_allocating_task): Kill process 1 (a) score 0 or sacrifice child", "global_oom_kill", {"comm": "a"}),
        ("Killed process 12 (java) vsz:9kB, anon-rss:8kB, file-rss:7kB", "oom_victim", {"total_vm_kb": 9, "anon_rss_kb": 8}),
        ("Killed process 12, UID 33, (a (b) c) total-vm:9kB, anon-rss:8kB, file-rss:7kB", "oom_victim", {"comm": "a (b) c", "uid": 33}),
        ("Memory cgroup out of memory: Killed process 9 ((sd-pam)) total-vm:9kB, anon-rss:8kB", "memcg_oom_kill", {"comm": "(sd-pam)"}),
        ("Memory cgroup out of memory: OOM victim 12 (a) is already exiting. Skip killing the task", None, {}),
        ("oom_reaper: reaped process 12 (a), now anon-rss:0kB, file-rss:0kB, shmem-rss:0kB", None, {}),
        ("Kill process 12 (a) sharing same memory", None, {}),
        (f"oom-kill:,cpuset=/,mems_allowed=0,oom_memcg=/x,task_memcg=/docker/{ID},task=a,pid=1,uid=0", "memcg_oom_kill", {"container_id": ID, "constraint": None}),
        ("oom-kill:constraint=CONSTRAINT_CPUSET,nodemask=0,2,cpuset=/a,mems_allowed=0,2,global_oom,task_memcg=/b,task=c,pid=1,uid=0", "global_oom_kill", {"cpuset": "/a", "task_memcg": "/b"}),
        ("oom-kill:constraint=CONSTRAINT_MEMCG,truncated", None, {}),
    ],
)  # fmt: skip
def test_lines_of_a_report_alone(line: str, name: str | None, fields: dict[str, object]) -> None:
    """Each line alone gives what it has."""
    says(answers("kernel", line)[0], name, fields)


def test_slab_report() -> None:
    """The failure and its cache are one report; a cache line without a failure before it is none."""
    failure = "SLUB: Unable to allocate memory on node -1, gfp=0x20(GFP_ATOMIC)"
    cache = "cache: kmalloc-64, object size: 64, buffer size: 64, default order: 0, min order: 0"
    told = answers("kernel", failure, cache, "node 0: slabs: 202, objs: 4242, free: 0", cache)
    says(told[0], "slub_alloc_failure", {"gfp": "0x20"})
    says(told[1], "slub_report", {"gfp": "0x20", "cache": "kmalloc-64", "object_size": 64, "memcg_name": None})
    assert told[2:] == [None, None]
    assert answers("kernel", failure, "eth0: link up", cache)[1:] == [None, None]


def test_slab_storm() -> None:
    """Ten thousand failures are told one by one, each with its cache."""
    failure = "SLUB: Unable to allocate memory on node -1 (gfp=0x8020)"
    cache = f"cache: kmalloc-192(33:{ID}), object size: 192, buffer size: 192, default order: 0, min order: 0"
    told = assembled(*[line for start in range(10_000) for line in stamped([failure, cache], float(start))])
    failures = [fact for fact in told if fact["class"] == "slub_alloc_failure"]
    assert len(failures) == 10_000
    assert {fact["container_id"] for fact in failures} == {ID}


def test_pending() -> None:
    """A report under way is held back since its first line, and flushed with what is known by then."""
    assembler = ReportAssembler("kernel")
    assert assembler.pending_since is None
    assert assembler.feed(OLD[0], NOW) == []
    later = NOW + timedelta(milliseconds=1)
    for line in OLD[1:13]:
        assert assembler.feed(line, later) == []
    assert assembler.pending_since == NOW
    facts = assembler.flush(later)
    assert [fact.to_json_dict()["class"] for fact in facts] == ["memcg_oom_kill", "memcg_oom_report"]
    assert assembler.pending_since is None
    assert assembler.flush(later) == []


def test_report_ended_by_another_log_line() -> None:
    """A report whose last line is missing is told with the first line that comes seconds later."""
    told = assembled(*stamped(OLD[:13]), "[  200.000000] eth0: link up")
    assert [fact["class"] for fact in told] == ["memcg_oom_kill", "memcg_oom_report"]
    assert told[0]["pid"] == 20357


def test_text_is_bounded() -> None:
    """However long a report, what a fact quotes is cut."""
    path = "/docker/" + "x" * 4000
    lines = [f"Task in {path} killed as a result of limit of {path}"] * 3
    assert all(len(fact["text"]) <= 4096 for fact in assembled(*stamped([*OLD[:5], *lines, KILL, KILLED])))


def test_neighbours() -> None:
    """The table of tasks says who held the memory: the five with the most, in bytes by the size of a page that the report tells."""
    head = "[  pid  ]   uid  tgid total_vm      rss rss_anon rss_file rss_shmem pgtables_bytes swapents oom_score_adj name"
    rows = [
        f"[{pid:7}]  1000 {pid:5}    55342 {pid * 10:8}     5056     1659         0   102400        0          -998 t {pid}"
        for pid in range(1, 400)
    ]
    killed = "Out of memory: Killed process 399 (t 399) total-vm:9kB, anon-rss:15000kB, file-rss:960kB, shmem-rss:0kB, UID:0 pgtables:44kB oom_score_adj:0"
    invoked = "sh invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0"
    (kill, report) = assembled(invoked, "Tasks state (memory values in pages):", head, *rows, killed)
    assert (kill["class"], report["class"]) == ("global_oom_kill", "global_oom_report")
    assert [task["pid"] for task in kill["neighbours"]] == [399, 398, 397, 396, 395]
    assert kill["neighbours"][0] == {"pid": 399, "name": "t 399", "rss_pages": 3990, "rss_kb": 15960}
    large = assembled(invoked, head, *rows, killed.replace("15000kB", "62880kB"))
    assert large[0]["neighbours"][0]["rss_kb"] == 3990 * 16


@pytest.mark.parametrize("report", [OLD, NEW], ids=["until-4.18", "from-5.3"])
def test_neighbours_in_a_cgroup(report: list[str]) -> None:
    """What ran out of its cgroup's memory is all of that container, on old kernels and new ones."""
    kill = assembled(*report)[0]
    (task,) = kill["neighbours"]
    assert task["container_id"] == ID
    assert task["rss_kb"] == task["rss_pages"] * 4


def test_rows_alone_say_nothing() -> None:
    """Rows of a table without a report, or with other columns than its head names, are no neighbours."""
    assert assembled(NEW[12], NEW[11]) == []
    without = assembled(*NEW[:11], NEW[11].replace(" rss ", " "), *NEW[12:])
    assert [fact["class"] for fact in without] == ["memcg_oom_kill", "memcg_oom_report"]
    assert all("neighbours" not in fact for fact in without)
