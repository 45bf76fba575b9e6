from pathlib import Path

import pytest

from connectors.mqtt.settings import BrokerSettings
from engine.errors import SettingsError


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("mqtt://broker", ("broker", 1883, False, None)),
        ("mqtts://broker", ("broker", 8883, True, None)),
        ("mqtt://user@broker:1884/", ("broker", 1884, False, "user")),
        ("mqtts://us%40er@[::1]:9", ("::1", 9, True, "us@er")),
        ("MQTT://Broker", ("broker", 1883, False, None)),
    ],
)
def test_urls_are_read(url: str, expected: tuple[object, ...]) -> None:
    """Scheme, host, port and user; percent-encoding is undone."""
    settings = BrokerSettings.from_url(url)
    assert (settings.host, settings.port, settings.tls, settings.username) == expected


def test_a_cluster_is_several_hosts() -> None:
    """Separated by commas; user and password stand before the first and go for all."""
    settings = BrokerSettings.from_url("mqtts://user:pw@one,two:9,[::1]")
    assert [(one.host, one.port, one.username, one.tls) for one in settings.servers] == [
        ("one", 8883, "user", True),
        ("two", 9, "user", True),
        ("::1", 8883, "user", True),
    ]
    for bad in ("mqtt://one,", "mqtt://one,two:port", "mqtt://,two", "mqtt://one,two:0"):
        with pytest.raises(SettingsError):
            BrokerSettings.from_url(bad)


def test_what_goes_over_the_wire_in_the_clear_is_known() -> None:
    """Without TLS to another host; a password with it is named when the publisher starts."""
    for url in ("mqtts://far", "mqtt://127.0.0.2", "mqtt://localhost", "mqtt://[::1]"):
        assert BrokerSettings.from_url(url).encrypted
    assert not BrokerSettings.from_url("mqtt://far").encrypted
    assert BrokerSettings.from_url("mqtt://u:p@far").has_password


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "must begin with mqtt://"),
        ("broker:1883", "must begin with mqtt://"),
        ("http://broker", "must begin with mqtt://"),
        ("mqtt://", "names no host"),
        ("mqtt://user@:1883", "names no host"),
        ("mqtt://broker:port", "port must be a number"),
        ("mqtt://broker:99999", "port must be a number"),
        ("mqtt://broker:0", "port: "),
        ("mqtt://broker/topic", "ends after the port"),
        ("mqtt://[::1", "not well-formed"),
    ],
)
def test_what_is_no_url_of_a_broker_is_refused(url: str, said: str) -> None:
    """The message says what is wrong and does not repeat the URL, which may hold a password."""
    with pytest.raises(SettingsError, match=said):
        BrokerSettings.from_url(url)


def test_a_password_stands_in_no_message() -> None:
    """Not in the settings' text, not in `where`, not in an error."""
    settings = BrokerSettings.from_url("mqtt://user:hidden%3Aword@broker")
    assert settings.password is not None
    assert settings.password.get_secret_value() == "hidden:word"
    assert "hidden" not in repr(settings) + str(settings) + settings.where + settings.model_dump_json()
    with pytest.raises(SettingsError) as error:
        BrokerSettings.from_url("mqtt://user:hidden@broker:hidden")
    assert "hidden" not in str(error.value)
    assert error.value.__suppress_context__


def test_other_settings_count_more_than_the_url_and_none_is_not_given() -> None:
    """As they come from a settings file, with what is not set there as None."""
    settings = BrokerSettings.from_url(
        "mqtt://user:one@broker", password="two", username=None, ca_file=Path("/ca"), keepalive_s=30
    )
    assert settings.password is not None
    assert (settings.username, settings.password.get_secret_value(), settings.keepalive_s) == ("user", "two", 30)
    with pytest.raises(SettingsError, match="keepalive_s"):
        BrokerSettings.from_url("mqtt://broker", keepalive_s=0)
    with pytest.raises(SettingsError, match="colour"):
        BrokerSettings.from_url("mqtt://broker", colour="red")
