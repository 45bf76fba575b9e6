"""Kernel messages that stand for themselves: one line, one problem. Pure.

The patterns follow the format strings of the kernel source, named beside each, from 2.6.18 to 6.17. They are anchored at the
message's begin: an application that quotes a kernel message is no evidence. What the OOM killer and the slab allocator print
over several lines is in `oom` and `slub`.
"""

import re
from collections.abc import Callable

from engine.logparse.reading import Fields, Reading, found_fields

_NUMBERS = frozenset({"pid", "seconds", "cpu", "usage_count", "limit", "thin_dev"})

_FLAGS = re.ASCII

_SIMPLE: tuple[tuple[str, str, "re.Pattern[str]"], ...] = tuple(
    (letters, name, re.compile(pattern, _FLAGS))
    for letters, name, pattern in (
        # the letters that it may begin with, none for any; the class; the pattern
        # kernel/hung_task.c; "in I/O wait" since 6.10 or so where the task sleeps in io_schedule
        (
            "I",
            "hung_task",
            (
                r"INFO: task (?P<comm>.{1,64}):(?P<pid>\d{1,10}) blocked (?:in I/O wait )?"
                r"for more than (?P<seconds>\d{1,10}) seconds"
            ),
        ),
        # kernel/watchdog.c (kernel/softlockup.c before 2.6.36); "detected on" until 2.6.22. A comm may hold colons and brackets.
        (
            "NwB",
            "soft_lockup",
            (
                r"(?:NMI )?(?:watchdog: )?BUG: soft lockup - CPU#(?P<cpu>\d{1,6}) stuck for (?P<seconds>\d{1,10})s!"
                r"(?: \[(?P<comm>.{1,64}?):(?P<pid>\d{1,10})\])?"
            ),
        ),
        ("NwB", "soft_lockup", r"(?:NMI )?(?:watchdog: )?BUG: soft lockup detected on CPU#(?P<cpu>\d{1,6})!"),
        # net/core/dev.c, netdev_wait_allrefs
        (
            "u",
            "netdev_refcount_leak",
            r"unregister_netdevice: waiting for (?P<device>\S{1,64}) to become free\. Usage count = (?P<usage_count>-?\d{1,10})",
        ),
        # net/netfilter/nf_conntrack_core.c; ip_conntrack before 2.6.20; the module's name is printed twice where pr_fmt adds it
        ("ni", "conntrack_full", r"(?:(?:nf|ip)_conntrack: ){1,2}table full(?: in netns \d{1,10})?, dropping packet"),
        # net/core/neighbour.c; without the table's name before 3.16 (net/ipv4/route.c, net/ipv6/route.c)
        ("", "neigh_overflow", r"(?:neighbour: )?(?P<table>\w{1,32}): neighbor table overflow!"),
        ("", "neigh_overflow", r"(?:\w{1,16}: )?Neighbour table overflow"),
        # fs/file_table.c
        ("V", "file_max", r"VFS: file-max limit (?P<limit>\d{1,19}) reached"),
        # net/ipv4/tcp.c, tcp_check_oom; "Out of socket memory" before 3.3
        ("T", "tcp_out_of_memory", r"(?:TCP: ){1,2}out of memory -- consider tuning tcp_mem"),
        ("TO", "tcp_out_of_memory", r"(?:TCP: )?Out of socket memory"),
        # drivers/md/dm-thin.c; which device since 3.12
        (
            "d",
            "dm_thin_low_water",
            r"device-mapper: thin: (?:(?P<device>\S{1,64}): )?reached low water mark(?: for (?P<which>data|metadata) device)?",
        ),
        (
            "d",
            "dm_thin_out_of_space",
            (
                r"device-mapper: thin: (?:(?P<device>\S{1,64}): )?switching pool to out-of-data-space"
                r"(?: \((?P<io_mode>queue|error) IO\))? mode"
            ),
        ),
        (
            "d",
            "dm_thin_out_of_space",
            r"device-mapper: thin: (?:(?P<device>\S{1,64}): )?no free (?:data |metadata )?space available",
        ),
        (
            "d",
            "dm_thin_delete_failed",
            r"device-mapper: thin: (?:\S{1,64}: )?Deletion of thin device (?P<thin_dev>\d{1,19}) failed",
        ),
        # drivers/md/dm-ioctl.c, dev_remove
        ("d", "dm_device_busy", r"device-mapper: ioctl: unable to remove open device (?P<device_name>\S{1,255})"),
    )
)

_STALL = re.compile(
    # kernel/rcu/tree_stall.h, tree_exp.h, tasks.h, update.c; "rcu: " since 4.19; "_state" names in 2.6.3x
    r"(?:rcu: )?INFO: (?P<flavor>\w{1,32}) (?P<self>self-)?detected (?:expedited )?stalls? on "
    r"(?P<where>CPUs?/tasks|CPUs?|tasks)\b",
    _FLAGS,
)
_OLD_STALL = re.compile(r"INFO: RCU detected CPU (?P<one>\d{1,6} stall|stalls)", _FLAGS)  # kernel/rcutree.c of 2.6.32


def _rcu(text: str) -> Reading | None:
    if (found := _STALL.match(text)) is not None:
        # "detected stall on CPU 3" without "self-" is how 2.6.3x said that it is this one
        return "rcu_stall", {"flavor": found["flavor"], "self": found["self"] is not None or found["where"] == "CPU"}
    if (old := _OLD_STALL.match(text)) is not None:
        return "rcu_stall", {"self": old["one"] != "stalls"}
    return None


_EXT = re.compile(
    # fs/ext4/super.c: __ext4_error, __ext4_warning, __ext4_std_error ("in function"); ext2 and ext3 likewise
    r"(?P<fs>EXT[234])-fs (?P<level>error|warning) ?\((?:device )?(?P<device>[^)]{1,64})\)"
    r"(?::? (?P<function>\w{1,64})(?::\d{1,6})?:|:? in (?P<within>\w{1,64})(?::\d{1,6})?:?)?",
    _FLAGS,
)
_EXT_STATE = re.compile(
    r"(?P<fs>EXT[234])-fs \((?:device )?(?P<device>[^)]{1,64})\): "
    r"(?:(?P<ro>(?:error: )?[Rr]emounting filesystem read-only)|(?P<down>shut down requested)"
    # __ext4_msg(): what it says of errors, in fs/ext4/super.c, inode.c, extents.c, page-io.c, fast_commit.c
    r"|(?P<warning>warning: mounting (?:unchecked )?fs with errors|warning: mounting unchecked fs)"
    r"|(?P<error>(?:previous )?I/O error (?:while writing|to) superblock|error count since last fsck: [1-9]"
    r"|(?:initial|last) error at time \d{1,19}: (?P<function>\w{1,64})|(?:initial|last) error at time"
    r"|Delayed block allocation failed|This should not happen!! +Data will be lost"
    r"|panic forced after error"
    r"|failed to convert unwritten extents|error loading journal|group descriptors corrupted"
    r"|(?P<checked>ext4_check_descriptors): "
    r"|(?P<pages>ext4_\w{1,48}): jbd2_start: ))",
    _FLAGS,
)


_EXT_CLASSES = (("ro", "fs_remount_ro"), ("down", "fs_shutdown"), ("warning", "fs_warning"))


def _ext(text: str) -> Reading | None:
    if (found := _EXT.match(text)) is not None:
        fields = found_fields({"device": found["device"], "function": found["function"] or found["within"]})
        return f"fs_{found['level']}", {"fs": found["fs"].lower()} | fields
    if (state := _EXT_STATE.match(text)) is not None:
        name = (
            "fs_remount_ro"
            if state["ro"]
            else "fs_shutdown"
            if state["down"]
            else "fs_warning"
            if state["warning"]
            else "fs_error"
        )
        function = state["function"] or state["checked"] or state["pages"]
        return name, {"fs": state["fs"].lower()} | found_fields({"device": state["device"], "function": function})
    return None


_XFS = re.compile(r"XFS ?\((?P<device>[^)]{1,64})\): (?P<rest>.*)", _FLAGS)
_XFS_DOWN = re.compile(
    # fs/xfs/xfs_fsops.c, xfs_do_force_shutdown; 6.5 and later: "Filesystem has been shut down due to …"
    r".{0,256}?(?:[Ss]hutting down filesystem|xfs_(?:do_)?force_shutdown\("
    r"|Filesystem has been shut down|User initiated shutdown)",
    _FLAGS,
)
_XFS_ERROR = re.compile(
    # fs/xfs/xfs_buf.c, xfs_buf_ioerror_alert: the function in parentheses until 4.16, after "in" since; fs/xfs/xfs_error.c.
    # From 5.x on the function is printed with its offset: "xfs_trans_read_buf_map+0xc1/0x130 [xfs]"
    r'[Mm]etadata I/O error(?: in "(?P<in>\w{1,64})[^"]{0,64}"|.{0,64}?\("(?P<old>\w{1,64})"\))?'
    r"|Metadata (?:corruption|CRC error) detected at (?P<at>\w{1,64})"
    r"|Internal error |[Ll]og I/O error|writeback error on |Corruption detected\b",
    _FLAGS,
)
_XFS_OLD = re.compile(
    # 2.6.3x: without the common prefix
    r'Filesystem "(?P<device>[^"]{1,64})": .{0,256}?Shutting down filesystem|xfs_force_shutdown\((?P<other>[^,]{1,64}),0x',
    _FLAGS,
)


def _xfs(text: str) -> Reading | None:
    if (found := _XFS.match(text)) is not None:
        fields: Fields = {"fs": "xfs", "device": found["device"]}
        if _XFS_DOWN.match(found["rest"]) is not None:
            return "fs_shutdown", fields
        if (error := _XFS_ERROR.match(found["rest"])) is not None:
            return "fs_error", fields | found_fields({"function": error["in"] or error["old"] or error["at"]})
        return None
    if text.startswith("XFS: Internal error "):
        return "fs_error", {"fs": "xfs"}
    if (old := _XFS_OLD.match(text)) is not None:
        return "fs_shutdown", {"fs": "xfs", "device": old["device"] or old["other"]}
    return None


_BTRFS = re.compile(
    # fs/btrfs/messages.c (super.c before 6.2): "error (device sda1: state EA) in function:line: errno=-5 IO failure"
    r"BTRFS:? (?P<level>emergency|alert|critical|error|warning|info) \(device (?P<device>[^\s):]{1,64})[^)]{0,32}\)"
    r"(?: in (?P<function>\w{1,64}):\d{1,6})?(?P<rest>.*)",
    _FLAGS,
)


def _btrfs(text: str) -> Reading | None:
    if (found := _BTRFS.match(text)) is None:
        return None
    fields: Fields = {"fs": "btrfs"} | found_fields({"device": found["device"], "function": found["function"]})
    if found["level"] == "info":
        return ("fs_remount_ro", fields) if "forced readonly" in found["rest"] else None
    return "fs_warning" if found["level"] == "warning" else "fs_error", fields


_FAT = re.compile(
    # fs/fat/misc.c, __fat_fs_error
    r"FAT-fs \((?P<device>[^)]{1,64})\): (?:error, (?:(?P<function>\w{1,64}): )?|(?P<ro>Filesystem has been set read-only))",
    _FLAGS,
)


def _fat(text: str) -> Reading | None:
    if (found := _FAT.match(text)) is None:
        return None
    fields = found_fields({"device": found["device"], "function": found["function"]})
    return "fs_remount_ro" if found["ro"] else "fs_error", {"fs": "fat"} | fields


def _remount(text: str) -> Reading | None:
    """ext2 and ext3 until 2.6.30 said so without naming the device (fs/ext3/super.c)."""
    return ("fs_remount_ro", {}) if text.startswith("Remounting filesystem read-only") else None


_Reader = Callable[[str], Reading | None]
_SPECIAL: tuple[tuple[str, _Reader], ...] = (
    ("rI", _rcu),
    ("E", _ext),
    ("XxF", _xfs),
    ("B", _btrfs),
    ("F", _fat),
    ("R", _remount),
)


def _simple(name: str, pattern: "re.Pattern[str]") -> _Reader:
    def read(text: str) -> Reading | None:
        found = pattern.match(text)
        return None if found is None else (name, found_fields(found.groupdict(), _NUMBERS))

    return read


def _by_letter() -> tuple[dict[str, tuple[_Reader, ...]], tuple[_Reader, ...]]:
    """The readers of messages that begin with a letter, and those of messages that may begin with any.

    No two of them recognise the same message, so their order does not matter.
    """
    readers = [(letters, _simple(name, pattern)) for letters, name, pattern in _SIMPLE] + list(_SPECIAL)
    known = {letter for letters, _ in readers for letter in letters}
    by_letter = {letter: tuple(read for letters, read in readers if letter in letters) for letter in known}
    return by_letter, tuple(read for letters, read in readers if not letters)


_READERS, _TABLE_READERS = _by_letter()


def read_kernel(text: str) -> Reading | None:
    """The problem that this message alone reports, None when it reports none."""
    for read in _READERS.get(text[:1], ()):
        if (reading := read(text)) is not None:
            return reading
    if " table overflow" in text:  # the neighbour tables: their messages begin with a name
        for read in _TABLE_READERS:
            if (reading := read(text)) is not None:
                return reading
    return None
