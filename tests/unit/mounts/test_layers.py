"""Which directories belong to which container."""

from pathlib import Path

import pytest

from connectors.mounts.layers import Layers, Mark, mark_of_file_system, mark_of_path

ID, OTHER = "a1" * 32, "b2" * 32
CONTAINER, LAYER = Mark(ID, layer=False), Mark(ID, layer=True)


@pytest.mark.parametrize(
    ("path", "mark"),
    [
        ("/var/lib/docker/containers/ID/mounts/shm", CONTAINER),
        ("/var/lib/docker/containers/ID/shm", CONTAINER),
        ("/rootfs/var/lib/docker/containers/ID", CONTAINER),
        ("/var/lib/docker/rootfs/overlayfs/ID", CONTAINER),
        ("/x/overlay2/ID/merged", LAYER),
        ("/x/overlay2/ID-init/merged", LAYER),
        ("/x/overlay/ID/merged", LAYER),
        ("/overlay2/ID", LAYER),
        ("/x/devicemapper/mnt/ID", LAYER),
        ("/x/devicemapper/mnt/ID/rootfs", LAYER),
        ("/x/aufs/mnt/ID", LAYER),
        ("/x/zfs/graph/ID", LAYER),
        ("/x/fuse-overlayfs/ID/merged", LAYER),
        ("/var/lib/docker/containers/ID/hosts", None),
        ("/var/lib/docker/containers/ID/resolv.conf", None),
        ("/var/lib/docker/containers/ID/hostname", None),
        ("/var/lib/docker/containers", None),
        ("/x/overlay2/ID/merged/proc", None),
        ("/x/overlay2/ID7/merged", None),
        ("/x/volumes/ID/_data", None),
        ("/docker/ID", None),
        ("/", None),
    ],
)
def test_marks_of_paths(path: str, mark: Mark | None) -> None:
    """Shm and layers of all storage drivers are marks, under any prefix; lent files, volumes and what lies below are none."""
    assert mark_of_path(path.replace("ID", ID).encode()) == mark


@pytest.mark.parametrize(
    ("source", "options", "mark"),
    [
        ("overlay", "rw,lowerdir=/d/l/A:/d/l/B,upperdir=/d/overlay2/ID/diff,workdir=/d/overlay2/ID/work", LAYER),
        ("overlay", "rw,lowerdir=l/A,upperdir=ID/diff,workdir=ID/work", LAYER),
        ("overlay", "rw,lowerdir=/d/overlay2/ID/diff", None),
        ("/dev/mapper/docker-8:1-262145-ID", "rw", LAYER),
        ("/dev/mapper/docker-8:1-262145-pool", "rw", None),
        ("/dev/mapper/vg-ID", "rw", None),
    ],
)
def test_marks_of_file_systems(source: str, options: str, mark: Mark | None) -> None:
    """Overlay's writable directories and a thin device name the layer; lower directories are the image's."""
    assert mark_of_file_system(source.replace("ID", ID).encode(), options.replace("ID", ID).encode()) == mark


def layer_of(root: Path, container: str, text: str, driver: str = "overlay2") -> None:
    """Write a mount-id as Docker does."""
    folder = root / "image" / driver / "layerdb" / "mounts" / container
    folder.mkdir(parents=True)
    (folder / "mount-id").write_text(text)


def test_mount_ids_lead_to_containers(tmp_path: Path) -> None:
    """Each container's mount id is found, whatever the driver; nonsense is left out."""
    layer_of(tmp_path, ID, "c3" * 32)
    layer_of(tmp_path, OTHER, "d4" * 32 + "\n", driver="devicemapper")
    layer_of(tmp_path, "e5" * 32, "../../../etc/passwd")
    layer_of(tmp_path, "not-an-id", "f6" * 32)
    layers = Layers(tmp_path)
    layers.refresh()
    assert layers.owner_of(Mark("c3" * 32, layer=True)) == ID
    assert layers.owner_of(Mark("d4" * 32, layer=True)) == OTHER
    assert layers.owner_of(Mark("f6" * 32, layer=True)) is None
    assert layers.knows(ID)
    assert not layers.knows("e5" * 32)


def test_containers_come_and_go(tmp_path: Path) -> None:
    """A new one is learnt of, one that is gone is forgotten, and no file is read twice."""
    layers = Layers(tmp_path)
    layers.refresh()
    layer_of(tmp_path, ID, "c3" * 32)
    layers.refresh()
    (tmp_path / "image/overlay2/layerdb/mounts" / ID / "mount-id").write_text("d4" * 32)
    layers.refresh()
    assert layers.owner_of(Mark("c3" * 32, layer=True)) == ID
    (tmp_path / "image/overlay2/layerdb/mounts" / ID / "mount-id").unlink()
    (tmp_path / "image/overlay2/layerdb/mounts" / ID).rmdir()
    layers.refresh()
    assert not layers.knows(ID)
    assert layers.owner_of(Mark("c3" * 32, layer=True)) is None


def test_a_container_mark_is_its_own_owner(tmp_path: Path) -> None:
    """A path that names the container needs no index: also of one that is gone."""
    assert Layers(tmp_path).owner_of(CONTAINER) == ID
