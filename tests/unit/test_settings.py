"""Settings: file, environment and command line, and every fault of them by name."""

import os
from pathlib import Path

import pytest

from engine.errors import SettingsError
from engine.settings import Settings, load_settings


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting comes from the environment in which the tests run."""
    for name in list(os.environ):
        if name.upper().startswith("DOCKWARDEN_") or name == "DOCKER_HOST":
            monkeypatch.delenv(name)


def write(folder: Path, text: str) -> Path:
    """A settings file with this text."""
    file = folder / "config.yaml"
    file.write_text(text)
    return file


def fault(file: Path | None) -> str:
    """What is said of these settings, which must be refused."""
    with pytest.raises(SettingsError) as caught:
        load_settings(file)
    return str(caught.value)


class TestWhereSettingsComeFrom:
    def test_the_defaults_observe_and_find_everything_by_themselves(self) -> None:
        """Without a file and an environment it observes, uses the usual socket, the shipped rules and a broker of its own."""
        settings = load_settings(None)
        assert settings.effective_policy.mode == "observe"
        assert (settings.docker_host, settings.rules, settings.mqtt_url) == ("", None, "")
        assert settings.kernel_log == "/dev/kmsg"

    def test_the_environment_is_over_the_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """What the environment says counts, what it does not say is the file's."""
        file = write(tmp_path, "mode: observe\nhost: from-file\ndocker_host: tcp://file:1\n")
        monkeypatch.setenv("DOCKWARDEN_MODE", "act")
        monkeypatch.setenv("DOCKER_HOST", "unix:///from/environment.sock")
        settings = load_settings(file)
        assert (settings.mode, settings.host, settings.docker_host) == ("act", "from-file", "unix:///from/environment.sock")

    def test_the_command_line_is_over_both(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """`--act`, `--rules` and `--state` count whatever the environment and the file say."""
        file = write(tmp_path, "mode: observe\nstate: /from/file\n")
        monkeypatch.setenv("DOCKWARDEN_MODE", "observe")
        monkeypatch.setenv("DOCKWARDEN_RULES", "/from/environment")
        settings = load_settings(file, {"mode": "act", "rules": Path("/from/line"), "state": Path("/line")})
        assert (settings.mode, settings.rules, settings.state) == ("act", Path("/from/line"), Path("/line"))
        assert settings.effective_policy.mode == "act"

    def test_a_variable_of_a_group_leaves_the_rest_of_the_group_to_the_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """`DOCKWARDEN_PROBES__LIST_S` changes one interval, not the others that the file sets."""
        file = write(tmp_path, "probes: {disk_s: 5, list_s: 90}\n")
        monkeypatch.setenv("DOCKWARDEN_PROBES__LIST_S", "30")
        probes = load_settings(file).probes
        assert (probes.list_s, probes.disk_s, probes.daemon_s) == (30.0, 5.0, 10.0)

    def test_an_empty_variable_says_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A variable that a unit file sets to nothing leaves the default."""
        monkeypatch.setenv("DOCKWARDEN_MODE", "")
        assert load_settings(None).mode is None

    @pytest.mark.parametrize("text", ["", "# nothing\n", "---\n"])
    def test_an_empty_file_says_nothing(self, tmp_path: Path, text: str) -> None:
        """A file without content is no fault."""
        assert load_settings(write(tmp_path, text)) == load_settings(None)

    def test_the_mode_of_one_action_stands_beside_the_general_one(self, tmp_path: Path) -> None:
        """The general mode does not reach an action that has its own."""
        file = write(tmp_path, "mode: act\npolicy: {actions: {prune_images: {mode: observe}}}\n")
        policy = load_settings(file).effective_policy
        assert policy.mode_of("prune_images") == "observe"
        assert policy.mode_of("remove_container") == "act"

    def test_a_password_does_not_show(self, tmp_path: Path) -> None:
        """Settings that are printed or logged do not tell the password."""
        settings = load_settings(write(tmp_path, "mqtt: {password: geheim}\n"))
        assert "geheim" not in repr(settings)
        assert settings.mqtt.password is not None
        assert settings.mqtt.password.get_secret_value() == "geheim"


class TestFaults:
    def test_every_fault_is_named_at_once(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Unknown names, wrong values, in file and environment, are one message with a line for each."""
        file = write(tmp_path, "mod: act\nmode: sometimes\nprobes: {disk_s: 0, lists: 3}\npolicy: {actions: {remove: {}}}\n")
        monkeypatch.setenv("DOCKWARDEN_OUTBOX_ROWS", "3")
        monkeypatch.setenv("DOCKWARDEN_HOSTT", "a")
        lines = fault(file).splitlines()
        assert any(line.startswith(f"{file}: unknown setting `mod`") and "mode?" in line for line in lines)
        assert any(
            line.startswith("unknown setting `DOCKWARDEN_HOSTT` in the environment; did you mean DOCKWARDEN_HOST")
            for line in lines
        )
        assert any(line.startswith(f"{file}: mode: ") for line in lines)
        assert any(line.startswith(f"{file}: probes.disk_s: ") for line in lines)
        assert any(line.startswith(f"{file}: unknown setting `probes.lists`") for line in lines)
        assert any(line.startswith("DOCKWARDEN_OUTBOX_ROWS (environment): ") for line in lines)

    def test_an_unknown_action_in_the_policy_is_told_with_the_nearest_one(self, tmp_path: Path) -> None:
        """A limit on an action that does not exist would limit nothing."""
        assert "did you mean remove_container?" in fault(write(tmp_path, "policy: {actions: {remove_containers: {}}}\n"))

    def test_an_unknown_fact_kind_is_told_with_the_nearest_one(self, tmp_path: Path) -> None:
        """A kind to publish that does not exist would publish nothing."""
        assert "did you mean container?" in fault(write(tmp_path, "mqtt: {facts: [contaner]}\n"))

    @pytest.mark.parametrize(
        ("name", "value"),
        [("DOCKWARDEN_POLICY", "{bad"), ("DOCKWARDEN_MQTT__FACTS", "container"), ("DOCKWARDEN_PROTECT__NAMES", "[")],
    )
    def test_a_list_that_is_no_json_names_its_variable(self, monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
        """pydantic-settings' own error is none that the command line knows: it must not end in a traceback."""
        monkeypatch.setenv(name, value)
        assert fault(None).startswith(f"{name} (environment): ")

    @pytest.mark.parametrize(
        "content",
        [
            b"a: [",
            b"\xff\xfe\xfa",
            b"a: 2026-13-45",  # a date that YAML reads and datetime refuses with a ValueError
            b"a: !!python/object/apply:os.system [true]",
            b"? {a: b}\n: c",
            b"\x00",
        ],
    )
    def test_a_file_that_is_no_yaml_is_a_fault_with_its_name(self, tmp_path: Path, content: bytes) -> None:
        """Whatever the bytes: one sentence, no traceback."""
        file = tmp_path / "config.yaml"
        file.write_bytes(content)
        assert fault(file).startswith(f"{file}: not valid YAML: ")

    @pytest.mark.parametrize("content", ["- a\n", "text\n", "7\n"])
    def test_a_file_that_is_no_map_is_a_fault(self, tmp_path: Path, content: str) -> None:
        """Settings are a map."""
        assert "settings are a map" in fault(write(tmp_path, content))

    def test_a_missing_file_and_a_folder_are_faults(self, tmp_path: Path) -> None:
        """What was named and cannot be read is said."""
        assert "cannot be read" in fault(tmp_path / "none.yaml")
        assert "cannot be read" in fault(tmp_path)

    @pytest.mark.parametrize("host", ["a/b", "a+b", "#", "", "a\nb", "x" * 256])
    def test_a_host_that_fits_no_topic_is_refused(self, tmp_path: Path, host: str) -> None:
        """The name stands in topics, where these characters have a meaning."""
        file = tmp_path / "config.yaml"
        file.write_text(f"host: {host!r}\n".replace("\\n", "\n\n"))
        assert "stands in topics" in fault(file)


def test_every_setting_says_what_it_means() -> None:
    """No setting without a description, but the groups, which describe themselves."""
    groups = {"mqtt", "probes", "protect", "memory", "policy", "repo", "fleet"}
    bare = [name for name, field in Settings.model_fields.items() if not field.description and name not in groups]
    assert bare == []
