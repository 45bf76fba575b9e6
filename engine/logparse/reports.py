"""Reports of the kernel that span lines: which line belongs to which, what each line answers, and what a whole report says. Pure.

Two lines belong together when they were written in one form, on one host, within seconds (`framing.may_follow`), and do not
contradict each other: another process, another kind of kill. Lines without any time must follow one another with nothing foreign
in between, unless the time of their arrival is as good as their own (a live source).
"""

from dataclasses import dataclass, field, replace
from datetime import datetime
from heapq import heappush, heappushpop
from typing import NamedTuple

from engine.logparse.cgroups import describe
from engine.logparse.framing import Frame, may_follow
from engine.logparse.memory import Part, Scope, is_filler, read_part, read_slab_cache, read_slab_failure
from engine.logparse.reading import MAX_TEXT_CHARS, Fields, Reading, remembering

MAX_REPORT_LINES = 20_000
"""Lines of one report, at most: a table of 16,000 tasks and what is around it. What goes on longer is no report."""

MAX_NEIGHBOURS = 5
"""Tasks of a report's table that are kept: who held the memory is among the first."""

_PAGES_KB = (4, 16, 64)
"""Sizes of a page in KiB: all machines have the first; arm64 and ppc64le may have the others."""

_part = remembering(read_part)

_SHARED = ("container_id", "pod_uid", "qos", "runtime", "task_cgroup", "limit_cgroup", "oom_memcg", "task_memcg")
"""What a later line of a report gets of the cgroup that an earlier one named."""


@dataclass(slots=True)
class Report:
    """A report under way, or ended."""

    last: Frame
    arrived: datetime
    """When the first line came."""
    fields: Fields = field(default_factory=dict)
    scope: Scope | None = None
    named: int | None = None
    """Process that `oom-kill:` names."""
    condemned: int | None = None
    """Process that `Kill process` names; the one that dies may be its child."""
    slub: bool = False
    group: bool = False
    stats: bool = False
    """It has lines that only a whole report has."""
    answered: bool = False
    """A line of it was answered with the kill."""
    adjacent: bool = False
    """The line before this one was `Kill process`."""
    lines: int = 0
    columns: tuple[str, ...] = ()
    """Of the table of tasks."""
    tasks: list[tuple[int, int, str]] = field(default_factory=list)
    """The tasks that hold the most memory: pages, process, name."""
    quoted: list[str] = field(default_factory=list)
    quoted_chars: int = 0

    def quote(self, text: str) -> None:
        """Keep a line for `text`, while there is room."""
        if self.quoted_chars < MAX_TEXT_CHARS:
            self.quoted.append(text)
            self.quoted_chars += len(text) + 1

    def note_task(self, part: Part) -> None:
        """A row of the table of tasks; those with the most memory are kept."""
        numbers = part.fields["columns"].split()
        if "rss" not in self.columns or len(numbers) != len(self.columns):
            return
        task = (int(numbers[self.columns.index("rss")]), part.fields["pid"], part.fields["name"])
        if len(self.tasks) < MAX_NEIGHBOURS:
            heappush(self.tasks, task)
        else:
            heappushpop(self.tasks, task)

    def neighbours(self) -> Fields:
        """Who held the memory, the most first. In a cgroup all tasks of the table are of its container, where it is one's own."""
        if not self.tasks:
            return {}
        limit = self.fields.get("oom_memcg") or self.fields.get("limit_cgroup") or ""
        container = describe(limit).get("container_id") if self.scope == "memcg" else None
        killed = {self.fields.get("pid"): self.fields.get("container_id")}
        page_kb = self._page_kb()
        found = []
        for pages, pid, name in sorted(self.tasks, key=lambda task: (-task[0], task[1])):
            of = container or killed.get(pid)
            task = {"pid": pid, "name": name, "rss_pages": pages, "rss_kb": pages * page_kb}
            found.append(task | ({"container_id": of} if of else {}))
        return {"neighbours": found}

    def _page_kb(self) -> int:
        """Size of a page, as the row of the killed task and its sizes in kilobytes tell it."""
        size = sum(self.fields.get(name, 0) for name in ("anon_rss_kb", "file_rss_kb", "shmem_rss_kb"))
        pages = next((pages for pages, pid, _ in self.tasks if pid == self.fields.get("pid")), 0)
        return min(_PAGES_KB, key=lambda kb: abs(pages * kb - size)) if size and pages else _PAGES_KB[0]

    @property
    def text(self) -> str:
        """The lines that were kept."""
        return "\n".join(self.quoted)[:MAX_TEXT_CHARS]

    def readings(self) -> list[Reading]:
        """What it says as a whole: the problem, then the report where there was a whole one. Empty when nothing was killed."""
        if self.slub:
            problem: Reading = ("slub_alloc_failure", self.fields)
            return [problem, ("slub_report", self.fields)] if "cache" in self.fields else [problem]
        if not (self.answered or "pid" in self.fields):
            return []
        if self.scope is None:
            return [("oom_victim", self.fields)]
        kill: Reading = (f"{self.scope}_oom_kill", self.fields)
        return [kill, (f"{self.scope}_oom_report", self.fields)] if self.stats else [kill]


class Step(NamedTuple):
    """What one line brought about."""

    answer: Reading | None = None
    """What this line says, with what its report said before."""
    ended: tuple[Report, ...] = ()
    """Reports that are complete, or that this line showed to be over."""
    part: bool = False
    """The line is of a report (and no other reader need look at it)."""


_NOTHING = Step()
_PART = Step(part=True)


class Reports:
    """The reports under way: at most one of the OOM killer and one of the slab allocator. One line at a time, in order."""

    def __init__(self) -> None:
        self._kill: Report | None = None
        self._slab: Report | None = None

    @property
    def pending(self) -> bool:
        """Whether any is under way."""
        return self._kill is not None or self._slab is not None

    @property
    def pending_since(self) -> datetime | None:
        """When the first line of what is under way arrived; None when nothing is."""
        return min((report.arrived for report in (self._kill, self._slab) if report is not None), default=None)

    def end_all(self) -> list[Report]:
        """End what is under way."""
        ended = [report for report in (self._kill, self._slab) if report is not None]
        self._kill = self._slab = None
        return ended

    def read(self, frame: Frame, arrived: datetime) -> Step:
        """One more line."""
        part = read_part(frame.text) if frame.text[:1] == "[" else _part(frame.text)  # rows of a table do not come again
        failure = read_slab_failure(frame.text) if part is None else None
        cache = read_slab_cache(frame.text) if part is None and failure is None and self._slab is not None else None
        ended: tuple[Report, ...] = ()
        if self._kill is not None and not _continues(self._kill, frame, part):
            ended = (self._kill,)
            self._kill = None
        if self._slab is not None and not (failure is None and _awaits(self._slab, frame, cache)):
            ended = (*ended, self._slab)
            self._slab = None
        if failure is not None:
            self._slab = Report(frame, arrived, dict(failure), slub=True)
            self._slab.quote(frame.text)
            return Step(("slub_alloc_failure", failure), ended, part=True)
        if cache is not None and self._slab is not None:
            return self._close_slab(self._slab, frame, cache, ended)
        if part is not None:
            return self._oom(part, frame, arrived, ended)
        return Step(ended=ended) if ended else _NOTHING

    def _close_slab(self, report: Report, frame: Frame, fields: Fields, ended: tuple[Report, ...]) -> Step:
        report.fields |= fields
        report.quote(frame.text)
        self._slab = None
        return Step(("slub_report", dict(report.fields)), (*ended, report), part=True)

    def _oom(self, part: Part, frame: Frame, arrived: datetime, ended: tuple[Report, ...]) -> Step:
        report = self._kill
        if report is None:
            if part.kind in ("stats", "body", "table", "task"):
                return Step(ended=ended, part=True) if ended else _PART
            report = self._kill = Report(frame, arrived)
        report.last = frame
        report.stats = report.stats or part.kind in ("stats", "table")
        if part.kind == "task":
            report.adjacent = False
            report.note_task(part)
            return Step(ended=ended, part=True) if ended else _PART
        if part.kind == "table":
            report.adjacent = False
            report.columns, report.tasks = part.fields["columns"], []
            return Step(ended=ended, part=True) if ended else _PART
        report.scope = report.scope or part.scope
        report.quote(frame.text)
        if part.kind == "killed":
            return self._killed(report, part, ended)
        shared = _shared(report)
        report.fields |= part.fields
        report.adjacent = part.kind == "kill"
        if part.kind == "kill":
            report.condemned = part.fields["pid"]
        elif part.kind == "oom_kill":
            report.named = part.fields["pid"]
        elif part.kind == "group":
            report.group = True
        answer = _answer(report, part, shared)
        report.answered = report.answered or answer is not None
        return Step(answer, ended, part=True)

    def _killed(self, report: Report, part: Part, ended: tuple[Report, ...]) -> Step:
        """The line that closes a report; with memory.oom.group, one of several."""
        if report.group:
            one = replace(
                report, fields=report.fields | part.fields | report.neighbours(), quoted=list(report.quoted), group=False
            )
            return Step(("memcg_oom_kill", _shared(report) | part.fields), (*ended, one), part=True)
        self._kill = None
        shared = _shared(report)
        report.fields |= part.fields
        report.fields |= report.neighbours()
        if report.answered and report.stats and report.scope is not None:
            answer: Reading = (f"{report.scope}_oom_report", dict(report.fields))
        elif part.scope is not None:
            answer = (f"{part.scope}_oom_kill", shared | part.fields)
        else:
            answer = ("oom_victim", shared | part.fields)
        return Step(answer, (*ended, report), part=True)


def _continues(report: Report, frame: Frame, part: Part | None) -> bool:
    """Whether the report is still under way at this line, whether or not the line is of it. Notes the line."""
    if report.lines >= MAX_REPORT_LINES or not may_follow(report.last, frame):
        return False
    report.lines += 1
    if part is not None:
        return _agrees(report, part)
    report.adjacent = False
    if frame.clock == "delta":  # counts from the line before, whatever that was
        report.last = frame
    return frame.clock != "none" or is_filler(frame.text)


def _awaits(report: Report, frame: Frame, cache: Fields | None) -> bool:
    """Whether the slab allocator's second line is this one, or may still come."""
    return may_follow(report.last, frame) and (cache is not None or frame.clock != "none")


def _shared(report: Report) -> Fields:
    fields = report.fields
    return {name: fields[name] for name in _SHARED if name in fields} if fields else {}


def _answer(report: Report, part: Part, shared: Fields) -> Reading | None:
    if part.kind not in ("task_in", "oom_kill", "kill") or part.scope is None:
        return None
    if part.kind == "oom_kill" and not (part.fields.keys() & {"oom_memcg", "task_memcg"} or report.stats):
        # A kernel without memory cgroups: alone, the line says nothing that `Out of memory: Killed process` right after it
        # does not say, and counted with it, one kill would be two.
        return None
    return f"{part.scope}_oom_kill", shared | part.fields


def _agrees(report: Report, part: Part) -> bool:
    """Whether the part can belong to the report, by what both say."""
    if part.scope is not None and report.scope is not None and part.scope != report.scope:
        return False
    pid = part.fields.get("pid")
    decided = report.named is not None or report.condemned is not None
    match part.kind:
        case "task":
            return True
        case "invoked" | "group":
            return False
        case "task_in" | "oom_kill":
            return not (decided or report.group)
        case "kill":
            return report.condemned is None and not report.group and report.named in (None, pid)
        case "killed":
            if report.group:
                return part.scope == "memcg"
            if part.scope is None:  # until 5.0, right after `Kill process`; the victim may be a child of that one
                return pid in (report.condemned, report.named) or report.adjacent
            return report.condemned is None and report.named in (None, pid)
    return not report.group
