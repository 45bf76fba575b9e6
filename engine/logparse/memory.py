"""The single lines of reports about memory. Pure; how they belong together is in `reports`.

The OOM killer: what mm/oom_kill.c and mm/memcontrol.c print, in order:
- `COMM invoked oom-killer: …`, from 4.19 on with `cpuset=`, before on a line of its own; the processor, the kernel, the stack;
- before 4.19 `Task in CGROUP killed as a result of limit of CGROUP` (task and limit);
- `memory: usage … failcnt …`, `kmem: …` and the like;
- the table of tasks;
- from 4.19 on `oom-kill:constraint=…,task_memcg=…,task=…,pid=…,uid=…`;
- until 5.0 `[Memory cgroup out|Out] of memory: Kill process P (COMM) score S or sacrifice child`, then `Killed process V …`,
  where V may be a child of P; from 5.1 on only `[Memory cgroup out|Out] of memory: Killed process V (COMM) …`;
- with memory.oom.group, `Tasks in CGROUP are going to be killed …` and one `Memory cgroup out of memory: Killed process` each.

The slab allocator (mm/slub.c, slab_out_of_memory):
`SLUB: Unable to allocate memory on node -1 (gfp=0x8020)`, from 4.2 on `…, gfp=0x…(GFP_…)`, from 6.11 on `on CPU 0 (of node 0) on
node -1`; then `  cache: NAME, object size: …`. Kernels before 4.5 that account kernel memory by cgroup put the cgroup's id and
name behind the cache's: `kmalloc-192(33:<container id>)` (memcg_create_kmem_cache in mm/memcontrol.c).
"""

import re
from typing import Literal, NamedTuple

from engine.logparse.cgroups import describe
from engine.logparse.reading import Fields, found_fields

Scope = Literal["memcg", "global"]
"""Whose memory ran out: a cgroup's, or the machine's (or a cpuset's, or a NUMA policy's)."""

PartKind = Literal["invoked", "task_in", "oom_kill", "kill", "killed", "group", "stats", "body", "table", "task"]


class Part(NamedTuple):
    """One line of a report. `stats`, `table` (the head of the table of tasks) and `task` (a row) stand in whole reports only."""

    kind: PartKind
    fields: Fields
    scope: Scope | None = None


_NUMBERS = frozenset(
    {"pid", "uid", "score", "oom_score_adj", "usage_kb", "limit_kb", "failcnt", "kmem_usage_kb"}
    | {"total_vm_kb", "anon_rss_kb", "file_rss_kb", "shmem_rss_kb", "pgtables_kb"}
)
_FLAGS = re.ASCII

_INVOKED = re.compile(
    r"(?P<invoked_by>.{1,64}) invoked oom-killer: (?:.{0,256}?,\s?cpuset=(?P<cpuset>.{1,4096}?),\s?mems_allowed=)?", _FLAGS
)

_TASK_IN = re.compile(r"Task in (?P<task>\S{1,4096}) killed as a result of limit of (?P<limit>\S{1,4096})", _FLAGS)

_GROUP = re.compile(r"Tasks in (?P<path>\S{1,4096}) are going to be killed due to memory\.oom\.group set", _FLAGS)

_MESSAGE = (
    # the first argument of oom_kill_process(), over versions; "Out of Memory" until 2.6.10
    r"(?:(?P<memcg>Memory cgroup out of memory)|Out of [mM]emory|No available memory)(?: \([\w ]{1,40}\)| in cpuset)?: "
)
_KILL = re.compile(
    _MESSAGE + r"[kK]ill process (?P<pid>\d{1,10}) \((?P<comm>.{1,64}?)\) score (?P<score>-?\d{1,19}) or (?:a|sacrifice) child",
    _FLAGS,
)
_KILLED = re.compile(
    rf"(?P<message>{_MESSAGE})?Killed process (?P<pid>\d{{1,10}}),? (?:UID (?P<uid>\d{{1,10}}),? )?\((?P<comm>.{{1,64}}?)\)"
    r"(?=,? (?:total-vm|vsz|UID)|[.,]?$)(?:,? UID (?P<uid2>\d{1,10}),?)?",
    _FLAGS,
)
_SIZE = re.compile(r"\b(total-vm|vsz|anon-rss|file-rss|shmem-rss|pgtables):(\d{1,19})kB", _FLAGS)
_SIZE_NAMES = {
    "total-vm": "total_vm_kb",
    "vsz": "total_vm_kb",  # 2.6.34 and 2.6.35
    "anon-rss": "anon_rss_kb",
    "file-rss": "file_rss_kb",
    "shmem-rss": "shmem_rss_kb",
    "pgtables": "pgtables_kb",
}
_AFTER_SIZES = re.compile(r" UID:(?P<uid>\d{1,10})\b(?:.{0,64}? oom_score_adj:(?P<oom_score_adj>-?\d{1,6}))?", _FLAGS)

_CONSTRAINT = re.compile(r"oom-kill:constraint=(\w{1,64})", _FLAGS)
_TASK = re.compile(r",task=(?P<comm>.{1,64}),pid=(?P<pid>\d{1,10})(?:,uid=(?P<uid>\d{1,10}))?(?!\S)", _FLAGS)

_USAGE = re.compile(
    r"memory: usage (?P<usage_kb>\d{1,19})kB, limit (?P<limit_kb>\d{1,19})kB, failcnt (?P<failcnt>\d{1,19})", _FLAGS
)
_KMEM = re.compile(r"kmem: usage (?P<kmem_usage_kb>\d{1,19})kB, limit ", _FLAGS)
_RELEASE = re.compile(
    r"(?:CPU: |[Pp]id: |UID: ).{0,160}(?:Not tainted|Tainted: .{1,64}?) (?P<kernel_release>\d\.\d\S{0,64}) #", _FLAGS
)
_CPUSET = re.compile(r".{1,64} cpuset=(?P<cpuset>\S{1,4096}) mems_allowed=", _FLAGS)

_BODY = (
    "Mem-Info:",
    "Tasks state (memory values in pages)",
    "Memory cgroup stats for ",
    "memory+swap: usage ",
)

_TABLE_HEAD = re.compile(r"\[ *pid *\](?: +[a-z_]{1,24}){5,16}", _FLAGS)
_TASK_ROW = re.compile(r"\[ *(?P<pid>\d{1,10})\](?P<columns>(?: +-?\d{1,19}){6,16}) +(?P<name>.{1,64})", _FLAGS)
"""mm/oom_kill.c, dump_task(): one process; how many columns stand between, and which, the head of the table says."""

_FILLER = re.compile(
    # what else stands between the first and the last line: stack, registers, counters, the table
    r"\[ *\d{1,10}\] |\[<?[0-9a-f]{8,16}>?\]|[0-9a-f]{8,16}( [0-9a-f]{8,16}){1,4}$|Call Trace|Hardware name|Workqueue|Modules"
    r"|(?:\? )?[\w.]{1,80}\+0x[0-9a-f]+/0x|</?\w{1,8}>$|R[A-Z0-9]{1,2}: |Code: |CPU[: ] ?\d|Node \d|\w{1,32}:\d"
    r"|\w{1,40} \d{1,20}$|(?:Free|Total) swap|Swap cache|\d{1,20} (?:total )?pages|lowmem_reserve|(?:kmem|swap): usage |cache:\d",
    _FLAGS,
)


def is_filler(text: str) -> bool:
    """Whether the line may stand inside a report without telling anything that is kept."""
    return not text or _FILLER.match(text) is not None


def read_part(text: str) -> Part | None:
    """The part of a report that this message is.

    Each pattern is tried only where its words stand: nearly all messages that come here are some other part, or none.
    """
    if text.startswith("["):
        return _table(text)
    if " process " in text:
        if (found := _KILLED.match(text)) is not None:
            return _killed(text, found)
        if (found := _KILL.match(text)) is not None:
            fields: Fields = {"pid": int(found["pid"]), "comm": found["comm"], "score": int(found["score"])}
            return Part("kill", fields, "memcg" if found["memcg"] else "global")
    if text.startswith("oom-kill:"):
        return _oom_kill(text)
    if text.startswith("Task") and (found := _TASK_IN.match(text)) is not None:
        return Part("task_in", {"task_cgroup": found["task"], "limit_cgroup": found["limit"]} | describe(found["task"]), "memcg")
    if text.startswith("Tasks in ") and (found := _GROUP.match(text)) is not None:
        return Part("group", {"task_memcg": found["path"]} | describe(found["path"]), "memcg")
    if " invoked oom-killer: " in text and (found := _INVOKED.match(text)) is not None:
        return Part("invoked", found_fields(found.groupdict()))
    return _stats(text)


def _table(text: str) -> Part | None:
    """The head of the table of tasks, or a row: `columns` are the numbers behind the process, `name` the task's."""
    if (row := _TASK_ROW.match(text)) is not None:
        return Part("task", {"pid": int(row["pid"]), "name": row["name"], "columns": row["columns"]})
    head = _TABLE_HEAD.match(text)
    return None if head is None else Part("table", {"columns": tuple(head[0].partition("]")[2].split()[:-1])})


def _stats(text: str) -> Part | None:
    if text.startswith(("memory: ", "kmem: ")) and (found := _USAGE.match(text) or _KMEM.match(text)) is not None:
        return Part("stats", found_fields(found.groupdict(), _NUMBERS), "memcg")
    if text.startswith(_BODY):
        return Part("stats", {})
    if "ainted" in text and (found := _RELEASE.match(text)) is not None:
        return Part("body", found_fields(found.groupdict()))
    if " cpuset=" in text and (found := _CPUSET.match(text)) is not None:
        return Part("body", found_fields(found.groupdict()))
    return None


def _killed(text: str, found: "re.Match[str]") -> Part:
    fields = found_fields({"pid": found["pid"], "comm": found["comm"], "uid": found["uid"] or found["uid2"]}, _NUMBERS)
    rest = text[found.end() :]
    fields |= {_SIZE_NAMES[name]: int(value) for name, value in _SIZE.findall(rest)}
    if (after := _AFTER_SIZES.search(rest)) is not None:
        fields |= found_fields(after.groupdict(), _NUMBERS)
    if found["message"] is None:
        return Part("killed", fields)
    return Part("killed", fields, "memcg" if found["memcg"] else "global")


def _oom_kill(text: str) -> Part | None:
    """dump_oom_summary(), since 4.19; the constraint is missing in a vendor's 3.10.0-514.

    Names of cgroups and tasks may hold commas, so it is read from its end: the task, its cgroup, the cgroup at its limit.
    """
    if (task := _TASK.search(text)) is None:
        return None
    head, task_memcg = _split_last(text[: task.start()], ",task_memcg=")
    head, oom_memcg = _split_last(head, ",oom_memcg=")
    cpuset = head.partition("cpuset=")[2]
    constraint = _CONSTRAINT.match(text)
    fields = found_fields(task.groupdict(), _NUMBERS)
    fields |= found_fields(
        {"constraint": constraint[1] if constraint else None, "cpuset": cpuset.partition(",mems_allowed=")[0] or None}
    )
    fields |= found_fields({"oom_memcg": oom_memcg or None, "task_memcg": task_memcg or None})
    if cpuset.endswith(",global_oom"):
        fields["global"] = True
    fields |= describe(task_memcg or oom_memcg)
    of_cgroup = bool(oom_memcg) or fields.get("constraint") == "CONSTRAINT_MEMCG"
    return Part("oom_kill", fields, "memcg" if of_cgroup else "global")


def _split_last(text: str, separator: str) -> tuple[str, str]:
    """What stands before and behind the last `separator`; all and nothing where there is none."""
    head, found, tail = text.rpartition(separator)
    return (head, tail) if found else (text, "")


_SLAB_FAILURE = re.compile(
    r"SLUB: Unable to allocate memory on (?:CPU \d{1,6} \(of node -?\d{1,6}\) on )?node (?P<node>-?\d{1,6})"
    r"(?:,? \(?gfp=(?P<gfp>0x[0-9a-f]{1,16}))?",
    re.ASCII,
)
_SLAB_CACHE = re.compile(
    r"cache: (?P<cache>.{1,128}?)(?:\((?P<memcg_css_id>\d{1,10}):(?P<memcg_name>.{0,255}?)\))?, "
    r"object size: (?P<object_size>\d{1,10})\b",
    re.ASCII,
)
_CONTAINER_ID = re.compile(r"[0-9a-f]{12,64}", re.ASCII)


def read_slab_failure(text: str) -> Fields | None:
    """`node` and `gfp` of the first line, None for any other."""
    found = _SLAB_FAILURE.match(text) if text.startswith("SLUB: ") else None
    return None if found is None else found_fields(found.groupdict(), frozenset({"node"}))


def read_slab_cache(text: str) -> Fields | None:
    """Cache, object size (bytes) and cgroup of the second line, None for any other."""
    if (found := _SLAB_CACHE.match(text)) is None:
        return None
    fields = found_fields(found.groupdict(), frozenset({"memcg_css_id", "object_size"}))
    name = found["memcg_name"] or ""
    return fields | ({"container_id": name} if _CONTAINER_ID.fullmatch(name) else describe(name))
