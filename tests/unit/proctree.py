"""A folder that looks like /proc, for what reads it."""

from pathlib import Path

from connectors.sources.proc import CLOCK_TICKS_PER_S

LIMITS = """\
Limit                     Soft Limit           Hard Limit           Units     
Max processes             95000                95000                processes 
Max open files            {soft:<20} {hard:<20} files     
"""  # noqa: W291 - the kernel pads its lines


class ProcTree:
    """Processes that exist on paper only. Time since boot is 1,000 s."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        (root / "uptime").write_text("1000.00 3000.00\n")

    def add(
        self,
        pid: int,
        *,
        comm: str = "sleep",
        state: str = "S",
        parent: int = 1,
        age_s: float = 100,
        cgroup: str = "0::/\n",
        mnt: int | None = None,
        net: int | None = None,
        mountinfo: bytes | None = None,
        argv: tuple[str, ...] = (),
        limits: tuple[int, int] | None = None,
        files: int = 0,
        fd_size: int = 64,
    ) -> Path:
        """One process; what is given again replaces what was there."""
        folder = self.root / str(pid)
        (folder / "ns").mkdir(parents=True, exist_ok=True)
        started = int((1000 - age_s) * CLOCK_TICKS_PER_S)
        middle = " ".join("0" for _ in range(17))
        (folder / "stat").write_text(f"{pid} ({comm}) {state} {parent} {middle} {started} 0 0\n")
        (folder / "cgroup").write_text(cgroup)
        (folder / "cmdline").write_bytes(b"".join(word.encode() + b"\0" for word in argv))
        (folder / "status").write_text(f"Name:\t{comm}\nFDSize:\t{fd_size}\n")
        for kind, number in (("mnt", mnt), ("net", net)):
            if number is not None:
                link = folder / "ns" / kind
                link.unlink(missing_ok=True)
                link.symlink_to(f"{kind}:[{number}]")
        if mountinfo is not None:
            (folder / "mountinfo").write_bytes(mountinfo)
        if limits is not None:
            (folder / "limits").write_text(LIMITS.format(soft=limits[0], hard=limits[1]))
        fds = folder / "fd"
        fds.mkdir(exist_ok=True)
        for old in fds.iterdir():
            old.unlink()
        for number in range(files):
            (fds / str(number)).touch()
        return folder

    def end(self, pid: int) -> None:
        """The process ends."""
        (self.root / str(pid)).rename(self.root / f"ended-{pid}")
