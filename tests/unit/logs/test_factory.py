"""connectors.logs.factory: from a setting to a source."""

from pathlib import Path

import pytest

from connectors.logs.factory import LogKind, make_log_source
from connectors.logs.journald import Journald
from connectors.logs.kmsg import KernelRing
from connectors.logs.tail import FileTail
from engine.errors import SettingsError
from tests.clocks import SYSTEM


@pytest.mark.parametrize(("kind", "name"), [("kernel", "kernel"), ("dockerd", "dockerd_log"), ("kubelet", "kubelet_log")])
def test_names(kind: LogKind, name: str, tmp_path: Path) -> None:
    """Each log has one name, however it is read."""
    for where in ("journald", str(tmp_path / "file")):
        source = make_log_source(kind, where, clock=SYSTEM)
        assert source is not None
        assert source.name == name


def test_kinds(tmp_path: Path) -> None:
    """`off`, `journald`, a device, a file: also one that is not there yet."""
    assert make_log_source("kernel", "off", clock=SYSTEM) is None
    assert isinstance(make_log_source("kernel", "journald", clock=SYSTEM), Journald)
    assert isinstance(make_log_source("kernel", "/dev/kmsg", clock=SYSTEM), KernelRing)
    assert isinstance(make_log_source("kernel", "/dev/null", clock=SYSTEM), KernelRing)
    assert isinstance(make_log_source("kernel", str(tmp_path / "kern.log"), clock=SYSTEM), FileTail)


@pytest.mark.parametrize(
    ("kind", "where"), [("kernel", ""), ("dockerd", "relative.log"), ("kubelet", "/dev/kmsg"), ("kernel", "On")]
)
def test_refused(kind: LogKind, where: str) -> None:
    """What names no log is an error of the settings, not a source that is lost for ever."""
    with pytest.raises(SettingsError, match=r"kernel|dockerd|kubelet"):
        make_log_source(kind, where, clock=SYSTEM)
