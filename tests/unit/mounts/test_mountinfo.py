"""Lines of /proc/PID/mountinfo."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.mounts.mountinfo import Mount, holding, parse, parse_line, place
from connectors.sources.text import shown

SHM = b"133 131 0:41 / /a\\040b/mounts/shm rw,nosuid shared:7 master:3 propagate_from:2 - tmpfs shm rw,size=65536k"


def mount(line: str) -> Mount:
    """A line that has to be one."""
    found = parse_line(line.encode())
    assert found is not None
    return found


def test_every_field() -> None:
    """Ids, device, root, point with its escapes, tags, type, source and options are read."""
    assert parse_line(SHM) == Mount(133, 131, b"0:41", b"/", b"/a b/mounts/shm", 7, 3, b"tmpfs", b"shm", b"rw,size=65536k")


@pytest.mark.parametrize(
    ("line", "shared", "master"),
    [
        ("22 27 0:21 / /proc rw - proc proc rw", None, None),
        ("22 27 0:21 / /proc rw shared:12 - proc proc rw", 12, None),
        ("22 27 0:21 / /proc rw master:4 - proc proc rw", None, 4),
        ("22 27 0:21 / /proc rw unbindable - proc proc rw", None, None),
    ],
)
def test_optional_tags(line: str, shared: int | None, master: int | None) -> None:
    """There may be none, one or several; unknown ones are skipped."""
    assert (mount(line).shared, mount(line).master) == (shared, master)


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        (rb"/\134040", rb"/\040"),
        (rb"/a\011b\012c", b"/a\tb\nc"),
        (rb"/\043x", b"/#x"),
        (b"/\xff\xfe", b"/\xff\xfe"),
        (rb"/\9", rb"/\9"),
    ],
)
def test_escapes(raw: bytes, name: bytes) -> None:
    """Octal escapes are undone once; bytes that are no UTF-8 stay as they are."""
    found = parse_line(b"1 2 0:1 / " + raw + b" rw - tmpfs t rw")
    assert found is not None
    assert found.point == name


def test_a_deleted_root_is_named_without_the_mark() -> None:
    """The kernel marks the root of a bind mount whose directory is gone."""
    assert mount("1 2 8:1 /x//deleted /y rw - ext4 /dev/sda rw").root == b"/x"


@pytest.mark.parametrize(
    "line", [b"", b"x", b"1 2 3", b"1 2 0:1 / / rw shared:1 tmpfs t rw", b"a b 0:1 / / rw - t t rw", b"1 2 0:1 / / rw -"]
)
def test_what_is_no_line_is_none(line: bytes) -> None:
    """Cut and foreign lines are left out."""
    assert parse_line(line) is None


def test_names_are_shown_without_harm() -> None:
    """Control characters and broken UTF-8 become visible, and the text is valid Unicode."""
    assert shown(b"/a\nb\x1b[0m\xff\xc3\xa9") == "/a\\x0ab\\x1b[0m\\xff\u00e9"


TABLE = parse(
    b"""1 0 8:1 / / rw - ext4 /dev/sda rw
2 1 8:1 /srv/docker /lib/docker rw - ext4 /dev/sda rw
3 2 0:5 / /lib/docker/containers/x/shm rw - tmpfs shm rw
4 1 8:2 / /rootfs rw - xfs /dev/sdb rw
5 4 0:6 / /rootfs/d/overlay2/y/merged rw - overlay overlay rw
6 5 0:7 / /rootfs/d/overlay2/y/merged rw - tmpfs over rw
"""
)


@pytest.mark.parametrize(
    ("number", "where"),
    [
        (1, None),
        (2, (b"8:1", b"/lib/docker")),
        (3, (b"8:1", b"/srv/docker/containers/x/shm")),
        (5, (b"8:2", b"/d/overlay2/y/merged")),
        (6, (b"0:6", b"/")),
    ],
)
def test_the_directory_a_mount_lies_on(number: int, where: tuple[bytes, bytes] | None) -> None:
    """It is named by device and path there, whatever way leads to it; the namespace's root lies on none."""
    assert place(TABLE[number], TABLE) == where


def test_where_a_path_lies() -> None:
    """By the deepest mount above it, and of several on one point by the last."""
    assert holding(b"/lib/docker/image", TABLE) == (b"8:1", b"/srv/docker/image")
    assert holding(b"/lib/dockers", TABLE) == (b"8:1", b"/lib/dockers")
    assert holding(b"/rootfs/d/overlay2/y/merged/etc", TABLE) == (b"0:7", b"/etc")
    assert holding(b"/", {}) is None


def test_the_kernels_own_file() -> None:
    """Every line of this machine's table is understood."""
    raw = Path("/proc/self/mountinfo").read_bytes()
    assert len(parse(raw)) == raw.count(b"\n")


@given(st.binary(max_size=400))
def test_any_bytes(raw: bytes) -> None:
    """Whatever stands there: no exception, and names that can be shown and sent."""
    table = parse(raw)
    for each in table.values():
        place(each, table)
        shown(each.point).encode()
    holding(raw, table)
