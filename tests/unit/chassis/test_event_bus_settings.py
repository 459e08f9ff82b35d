import pytest
from pydantic import SecretStr, ValidationError

from services.chassis.settings import KafkaSettings, SharedSettings

KEY = SecretStr("00" * 32)


def test_the_bus_and_its_aliases_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNPLANE_EVENT_BUS", "kafka://a:9092?tls=on")
    monkeypatch.setenv("RUNPLANE_EVENT_BUSES", '{"billing": "kafka://b:9092"}')
    monkeypatch.setenv("RUNPLANE_KAFKA_USERNAME", "us")
    monkeypatch.setenv("RUNPLANE_KAFKA_PASSWORD", "hunter2")

    settings = SharedSettings(page_token_key=KEY)

    assert settings.event_bus == "kafka://a:9092?tls=on"
    assert settings.event_buses == {"billing": "kafka://b:9092"}
    assert settings.kafka.username == "us"
    assert settings.kafka.password.get_secret_value() == "hunter2"
    assert "hunter2" not in repr(settings)


def test_without_settings_events_stay_in_the_process() -> None:
    assert SharedSettings(page_token_key=KEY).event_bus == "memory:"
    assert KafkaSettings().username == ""


@pytest.mark.parametrize("url", ["amqp://a", "kafka://", "memory"])
def test_a_bus_of_another_kind_is_refused_at_start(url: str) -> None:
    with pytest.raises(ValidationError):
        SharedSettings(page_token_key=KEY, event_bus=url)
    with pytest.raises(ValidationError):
        SharedSettings(page_token_key=KEY, event_buses={"x": url})
