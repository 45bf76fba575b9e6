"""Kernel messages of one line, over versions."""

# ruff: noqa: E501 -- log lines are as long as they are

from typing import Any

import pytest

from tests.unit.logparse.support import answer, says

LINES: list[tuple[str, str | None, dict[str, Any]]] = [
    ("INFO: task runc:[2:INIT]:4711 blocked for more than 122 seconds.", "hung_task", {"comm": "runc:[2:INIT]", "pid": 4711, "seconds": 122}),
    ("INFO: task a b:7 blocked in I/O wait for more than 241 seconds.", "hung_task", {"comm": "a b", "pid": 7, "seconds": 241}),
    ("INFO: task sh:9 is blocked on a mutex likely owned by task sh:10.", None, {}),
    ("Future hung task reports are suppressed, see sysctl kernel.hung_task_warnings", None, {}),
    ("BUG: soft lockup - CPU#3 stuck for 61s! [events/3:15]", "soft_lockup", {"cpu": 3, "seconds": 61, "comm": "events/3", "pid": 15}),
    ("BUG: soft lockup detected on CPU#1!", "soft_lockup", {"cpu": 1, "seconds": None}),
    ("Kernel panic - not syncing: softlockup: hung tasks", None, {}),
    ("rcu: INFO: rcu_sched self-detected stall on CPU", "rcu_stall", {"flavor": "rcu_sched", "self": True}),
    ("INFO: rcu_sched self-detected stall on CPU { 5}  (t=2100 jiffies g=1 c=0 q=7)", "rcu_stall", {"self": True}),
    ("rcu: INFO: rcu_preempt detected expedited stalls on CPUs/tasks: { 2-... } 21 jiffies s: 9 root: 0x4/.", "rcu_stall", {"self": False}),
    ("INFO: rcu_bh_state detected stalls on CPUs/tasks: { 1} (detected by 0, t=60002 jiffies)", "rcu_stall", {"flavor": "rcu_bh_state"}),
    ("INFO: rcu_sched_state detected stall on CPU 2 (t=15000 jiffies)", "rcu_stall", {"flavor": "rcu_sched_state", "self": True}),
    ("INFO: RCU detected CPU 0 stall (t=4294676187/1000 jiffies)", "rcu_stall", {"flavor": None, "self": True}),
    ("rcu: INFO: rcu_tasks_trace detected stalls on tasks:", "rcu_stall", {"flavor": "rcu_tasks_trace", "self": False}),
    ("rcu: rcu_sched kthread starved for 2345 jiffies! g77 f0x0", None, {}),
    ("INFO: Stall ended before state dump start", None, {}),
    ("unregister_netdevice: waiting for eth0.100 to become free. Usage count = 2", "netdev_refcount_leak", {"device": "eth0.100", "usage_count": 2}),
    ("ip_conntrack: table full, dropping packet.", "conntrack_full", {}),
    ("nf_conntrack: nf_conntrack: table full in netns 4026532345, dropping packet", "conntrack_full", {}),
    ("nf_conntrack: expectation table full", None, {}),
    ("neighbour: ndisc_cache: neighbor table overflow!", "neigh_overflow", {"table": "ndisc_cache"}),
    ("ipv6: Neighbour table overflow.", "neigh_overflow", {"table": None}),
    ("TCP: TCP: out of memory -- consider tuning tcp_mem", "tcp_out_of_memory", {}),
    ("TCP: too many orphaned sockets", None, {}),
    ("VFS: file-max limit 1631329 reached", "file_max", {"limit": 1631329}),
    ("device-mapper: thin: 253:2: reached low water mark for metadata device: sending event.", "dm_thin_low_water", {"device": "253:2", "which": "metadata"}),
    ("device-mapper: thin: 253:2: reached low water mark, sending event.", "dm_thin_low_water", {"device": "253:2", "which": None}),
    ("device-mapper: thin: 253:2: switching pool to out-of-data-space mode", "dm_thin_out_of_space", {"io_mode": None}),
    ("device-mapper: thin: 253:2: no free metadata space available.", "dm_thin_out_of_space", {"device": "253:2"}),
    ("device-mapper: thin: 253:2: switching pool to write mode", None, {}),
    ("device-mapper: thin: Data device (dm-1) discard unsupported: Disabling discard passdown.", None, {}),
    ("device-mapper: thin: Deletion of thin device 17 failed.", "dm_thin_delete_failed", {"thin_dev": 17}),
    ("device-mapper: ioctl: unable to remove open device docker-253:1-105-994bc8-init", "dm_device_busy", {"device_name": "docker-253:1-105-994bc8-init"}),
    ("EXT4-fs error (device sda1): ext4_find_entry:1456: inode #2: comm ls: reading directory lblock 0", "fs_error", {"fs": "ext4", "device": "sda1", "function": "ext4_find_entry"}),
    ("EXT4-fs error (device dm-2) in ext4_reserve_inode_write:5314: Journal has aborted", "fs_error", {"device": "dm-2", "function": "ext4_reserve_inode_write"}),
    ("EXT3-fs error (device hda1) in start_transaction: Journal has aborted", "fs_error", {"fs": "ext3", "function": "start_transaction"}),
    ("EXT3-fs (sda3): error: remounting filesystem read-only", "fs_remount_ro", {"fs": "ext3", "device": "sda3"}),
    ("EXT4-fs (sda1): re-mounted. Opts: errors=remount-ro", None, {}),
    ("EXT4-fs (sda1): error count since last fsck: 4", "fs_error", {"fs": "ext4", "device": "sda1"}),
    ("EXT4-fs (dm-3): initial error at time 1468438194: dx_probe:740: inode 22288562", "fs_error", {"device": "dm-3", "function": "dx_probe"}),
    ("EXT4-fs (dm-3): last error at time 1468438194: ext4_find_entry:1312: inode 27787279", "fs_error", {"function": "ext4_find_entry"}),
    ("EXT4-fs (vda1): I/O error while writing superblock", "fs_error", {"fs": "ext4", "device": "vda1"}),
    ("EXT4-fs (vda1): previous I/O error to superblock detected", "fs_error", {"device": "vda1"}),
    ("EXT4-fs (dm-0): Delayed block allocation failed for inode 13 at logical offset 0 with max blocks 5 with error 30", "fs_error", {"device": "dm-0"}),
    ("EXT4-fs (dm-0): This should not happen!! Data will be lost", "fs_error", {"device": "dm-0"}),
    ("EXT4-fs (dm-0): ext4_writepages: jbd2_start: 1024 pages, ino 526; err -30", "fs_error", {"function": "ext4_writepages"}),
    ("EXT4-fs (sdb1): ext4_check_descriptors: Checksum for group 0 failed (45678!=0)", "fs_error", {"function": "ext4_check_descriptors"}),
    ("EXT4-fs (sdb1): group descriptors corrupted!", "fs_error", {"device": "sdb1"}),
    ("EXT4-fs (sdb1): error loading journal", "fs_error", {}),
    ("EXT4-fs (device sda1): panic forced after error", "fs_error", {"device": "sda1"}),
    ("EXT4-fs error (device vda2): ext4_mb_generate_buddy:758: group 65, block bitmap and bg descriptor inconsistent: 9 vs 10 free clusters", "fs_error", {"function": "ext4_mb_generate_buddy"}),
    ("EXT4-fs error (device md0): ext4_ext_check_inode:398: inode #98205884: comm updatedb.mlocat: bad header/extent", "fs_error", {"device": "md0"}),
    ("EXT4-fs error (device sda1): __ext4_get_inode_loc:4154: inode #2: block 1057: comm ls: unable to read itable block", "fs_error", {"function": "__ext4_get_inode_loc"}),
    ("EXT2-fs error (device sda1): ext2_lookup: deleted inode referenced: 12", "fs_error", {"fs": "ext2", "function": "ext2_lookup"}),
    ("EXT4-fs warning (device vdb): __ext4_read_dirblock:902: error reading directory block (ino 27787265, block 0)", "fs_warning", {"function": "__ext4_read_dirblock"}),
    ("EXT4-fs (sdb): warning: mounting fs with errors, running e2fsck is recommended", "fs_warning", {"device": "sdb"}),
    ("EXT4-fs (sda1): error count since last fsck: 0", None, {}),
    ("EXT4-fs (nvme0n1p2): unmounting filesystem.", None, {}),
    ("EXT4-fs (sda1): recovery complete", None, {}),
    ("EXT4-fs (sda1): write access will be enabled during recovery", None, {}),
    ("EXT4-fs (dm-0): re-mounted 0ac8319e-1803-4a69-887d-6e3e99ceb4f7 r/w. Quota mode: none.", None, {}),
    ('EXT4-fs (sda1): Unrecognized mount option "error count since last fsck: 3" or missing value', None, {}),
    ("EXT4-fs (sda1): mounted filesystem with ordered data mode. Opts: (null)", None, {}),
    ('XFS (dm-3): metadata I/O error in "xfs_trans_read_buf_map+0xc1/0x130 [xfs]" at daddr 0x1 len 8 error 5', "fs_error", {"device": "dm-3", "function": "xfs_trans_read_buf_map"}),
    ("XFS (dm-3): Metadata corruption detected at xfs_agf_read_verify+0x73/0xf0 [xfs], xfs_agf block 0x1", "fs_error", {"function": "xfs_agf_read_verify"}),
    ("XFS (dm-0): Internal error xfs_trans_cancel at line 954 of file fs/xfs/xfs_trans.c.  Caller xfs_create+0x3c1/0x730 [xfs]", "fs_error", {"fs": "xfs", "device": "dm-0"}),
    ("XFS (dm-0): Corruption of in-memory data (0x8) detected at xfs_trans_cancel+0xff/0x130 (fs/xfs/xfs_trans.c:1015).  Shutting down filesystem.", "fs_shutdown", {"device": "dm-0"}),
    ("XFS (dm-0): xfs_do_force_shutdown(0x8) called from line 955 of file fs/xfs/xfs_trans.c.  Return address = 0xffffffffc0549b9d", "fs_shutdown", {}),
    ("XFS (dm-0): Filesystem has been shut down due to log error (0x2).", "fs_shutdown", {}),
    ("XFS (dm-0): Please unmount the filesystem and rectify the problem(s)", None, {}),
    ("XFS (dm-0): Mounting V5 Filesystem", None, {}),
    ("BTRFS error (device sda2): bdev /dev/sda2 errs: wr 1, rd 0, flush 0, corrupt 0, gen 0", "fs_error", {"fs": "btrfs", "device": "sda2"}),
    ("BTRFS: error (device sdb1: state A) in btrfs_run_delayed_refs:2150: errno=-28 No space left", "fs_error", {"device": "sdb1", "function": "btrfs_run_delayed_refs"}),
    ("BTRFS warning (device sdb1): csum failed root 5 ino 257 off 0 csum 0x1 expected csum 0x2 mirror 1", "fs_warning", {"device": "sdb1"}),
    ("BTRFS info (device sdb1: state EA): forced readonly", "fs_remount_ro", {"fs": "btrfs", "device": "sdb1"}),
    ("BTRFS info (device sdb1): disk space caching is enabled", None, {}),
    ("FAT-fs (sdc1): Filesystem has been set read-only", "fs_remount_ro", {"fs": "fat", "device": "sdc1"}),
    ("SLUB: Unable to allocate memory on CPU 3 (of node 1) on node -1, gfp=0xcc0(GFP_KERNEL)", "slub_alloc_failure", {"node": -1, "gfp": "0xcc0"}),
]  # fmt: skip


@pytest.mark.parametrize(("line", "name", "fields"), LINES, ids=[line[:48] for line, _, _ in LINES])
def test_wording(line: str, name: str | None, fields: dict[str, Any]) -> None:
    """Each wording has its class and fields, and what only looks like one has none."""
    says(answer("kernel", line), name, fields)


def test_quoted_message_is_no_evidence() -> None:
    """An application that prints or quotes a kernel message is not the kernel."""
    message = "Out of memory: Killed process 12 (java)"
    assert answer("kernel", f"Jun  8 03:03:28 host app[17]: {message}") is None
    assert answer("kernel", f"app: {message}") is None
    assert answer("kernel", "java.lang.OutOfMemoryError: Java heap space") is None
