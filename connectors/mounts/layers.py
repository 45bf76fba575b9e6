"""Which directories of Docker's data root belong to which container. Reads that folder; knows nothing of namespaces.

A container's root file system is kept under a name of the storage driver's own, the mount id, which stands in
`<root>/image/<driver>/layerdb/mounts/<container id>/mount-id` (moby: layer/filestore.go).
"""

import re
from dataclasses import dataclass
from pathlib import Path

from connectors.sources.proc import read

_ID = re.compile(r"[0-9a-f]{64}")

FOLDERS_OF_CONTAINERS = (b"/containers/", b"/rootfs/")
"""Where, below the data root, a folder is named by a container's id."""

_HEX64 = rb"([0-9a-f]{64})"
_OF_CONTAINER = re.compile(rb"(?:^|/)(?:containers|rootfs/[^/]+)/" + _HEX64 + rb"(?:/(.*))?$", re.DOTALL)
"""`containers/ID/mounts/shm` and `containers/ID/shm` (Docker up to 17.x); `rootfs/overlayfs/ID` of the containerd image store."""
_OF_LAYER = re.compile(
    rb"(?:^|/)(?:overlay2?/" + _HEX64 + rb"|fuse-overlayfs/" + _HEX64 + rb"|(?:devicemapper|aufs)/mnt/" + _HEX64
    + rb"|zfs/graph/" + _HEX64 + rb")(?:-init)?(?:/(?:merged|rootfs|diff|work))?$"
)  # fmt: skip
"""Where the storage drivers mount a container's layer."""
_UPPER = re.compile(rb"(?:^|,)(?:upperdir|workdir)=(?:[^,]*/)?" + _HEX64 + rb"(?:-init)?/(?:diff|work|upper)(?=,|$)")
"""The writable directories in overlay's options: one container's own. (Lower ones are the image's, which many share.)"""
_THIN = re.compile(rb"^/dev/mapper/docker-[^/]*-" + _HEX64 + rb"(?:-init)?$")
"""The thin device of a layer (devicemapper)."""

FILES_LENT = frozenset({b"hosts", b"hostname", b"resolv.conf"})
"""Files of a container that others mount on purpose: those that share its network (`--network container:`, every pod)."""

_MOUNT_ID_LIMIT = 256
"""Bytes of a mount-id file: 64 digits, `-init` at most behind them."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What a path or an option names: a container itself, or a layer by its mount id."""

    id: str
    layer: bool


def mark_of_path(path: bytes) -> Mark | None:
    """Whose directory this is, by its path; None when it is no container's, or only a file that it lends."""
    found = _OF_CONTAINER.search(path)
    if found is not None:
        rest: bytes | None = found.group(2)
        return None if rest in FILES_LENT else Mark(found.group(1).decode("ascii"), layer=False)
    found = _OF_LAYER.search(path)
    if found is None:
        return None
    return Mark(next(group for group in found.groups() if group).decode("ascii"), layer=True)


def mark_of_file_system(source: bytes, options: bytes) -> Mark | None:
    """Whose layer a file system is, by its device or by overlay's options."""
    found = _THIN.search(source) or _UPPER.search(options)
    return None if found is None else Mark(found.group(1).decode("ascii"), layer=True)


class Layers:
    """Mount ids and containers of one data root. A container's mount id never changes, so each is read once."""

    def __init__(self, root: Path) -> None:
        """An empty index of the data root at `root` (as this process sees it)."""
        self._root = root
        self._mount_id: dict[str, str] = {}
        self._container: dict[str, str] = {}

    @property
    def root(self) -> Path:
        """The data root."""
        return self._root

    def refresh(self) -> None:
        """Learn of new containers and forget those that are gone: one listing, one small file for each new one."""
        folders = {folder.name: folder for base in self._bases() for folder in _listed(base)}
        for container in self._mount_id.keys() - folders.keys():
            self._container.pop(self._mount_id.pop(container), None)
        for container, folder in folders.items():
            if container not in self._mount_id:
                self._learn(container, folder)

    def owner_of(self, mark: Mark) -> str | None:
        """The container that a mark names; None for a layer that no container of this data root has."""
        return self._container.get(mark.id) if mark.layer else mark.id

    def knows(self, container: str) -> bool:
        """True for a container that this data root had when last looked at."""
        return container in self._mount_id

    def _bases(self) -> list[Path]:
        try:
            return [driver / "layerdb" / "mounts" for driver in (self._root / "image").iterdir()]
        except OSError:
            return []

    def _learn(self, container: str, folder: Path) -> None:
        raw = read(folder / "mount-id", _MOUNT_ID_LIMIT)
        mount_id = (raw or b"").decode("ascii", "replace").strip().removesuffix("-init")
        if _ID.fullmatch(mount_id):
            self._mount_id[container] = mount_id
            self._container[mount_id] = container


def _listed(base: Path) -> list[Path]:
    try:
        return [folder for folder in base.iterdir() if _ID.fullmatch(folder.name)]
    except OSError:
        return []
