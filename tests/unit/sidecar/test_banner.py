"""What `run` shows at its start."""

from pathlib import Path

import pytest

from engine.settings import Settings, load_settings
from engine.sidecar.banner import modes, not_read


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Everything off or missing but a kernel log."""
    log = tmp_path / "kern.log"
    log.touch()
    return Settings(state=tmp_path, kernel_log=str(log), dockerd_log="off", kubelet_log=str(tmp_path / "none.log"))


def test_what_is_not_read_has_its_reason(settings: Settings, tmp_path: Path) -> None:
    """Docker without a socket, a log that is off with its setting, a log that is not there; not what is read."""
    address = f"unix://{tmp_path}/none.sock"
    assert list(not_read(settings, address)) == [
        f"Docker at {address}: not there; it is tried again and again",
        "dockerd log: off; DOCKWARDEN_DOCKERD_LOG takes a file or journald",
        f"kubelet log: {tmp_path}/none.log: not there",
    ]
    assert len(list(not_read(settings, "tcp://10.0.0.1:2375"))) == 2


def test_a_kernel_log_that_may_not_be_opened_is_not_read(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mode of /dev/kmsg lets everybody read; the kernel refuses those without CAP_SYSLOG when they open it."""

    def refuse(*_: object) -> int:
        raise PermissionError(1, "Operation not permitted")

    device = settings.model_copy(update={"kernel_log": "/dev/null"})
    assert not any(line.startswith("kernel log") for line in not_read(device, "tcp://10.0.0.1:2375"))
    monkeypatch.setattr("os.open", refuse)
    assert "kernel log: /dev/null: no permission" in list(not_read(device, "tcp://10.0.0.1:2375"))


def test_each_action_has_its_mode(settings: Settings, tmp_path: Path) -> None:
    """Once, under what becomes of it; a mode of its own counts over the general one."""
    assert next(modes(settings)).startswith("only reported: remove_container, unmount")
    config = tmp_path / "config.yaml"
    config.write_text("policy: {actions: {remove_container: {mode: act}}}")
    carried, reported, looks = modes(load_settings(config))
    assert carried == "carried out: remove_container"
    assert "remove_container" not in reported
    assert looks == "always, as they only look: inspect_mounts"
