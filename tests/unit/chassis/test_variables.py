"""Which variables are known."""

from collections.abc import Mapping
from functools import partial

import pytest
from pydantic import BaseModel, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from gateway.settings import Settings as GatewaySettings
from services.chassis.egress.settings import of_environment
from services.chassis.inspection.variables import unknown, variables
from services.chassis.settings import SharedSettings
from services.inference.settings import Settings as InferenceSettings


class Echo(BaseModel, frozen=True):
    delay: int = 0


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="TESTER_", env_nested_delimiter="__")

    echo: Echo = Echo()
    maybe: Echo | None = None
    names: Mapping[str, str] = {}
    secrets: Mapping[str, SecretStr] = Field(
        default_factory=partial(of_environment, "TESTER_SECRET_")
    )


@pytest.mark.parametrize(
    "name",
    [
        "TESTER_ECHO",
        "TESTER_ECHO__DELAY",
        "tester_echo__delay",
        "TESTER_MAYBE__DELAY",
        "TESTER_NAMES__ANYTHING",
        "TESTER_SECRET_WEATHER",
        "TESTER_PORT_8082_TCP_ADDR",  # As Kubernetes has it for a service `tester`.
        "TESTER_SERVICE_HOST",
        "OTHER_ECHO",
    ],
)
def test_what_settings_read_and_what_is_not_ours_is_not_unknown(name: str) -> None:
    assert unknown([name], [Settings]) == []


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("TESTER_ECHO_DELAY", "TESTER_ECHO__DELAY"),
        ("TESTER_ECHO__DELEY", "TESTER_ECHO__DELAY"),
        ("TESTER_EHCO", "TESTER_ECHO"),
        ("TESTER_SOMETHING_ELSE_ENTIRELY", None),
    ],
)
def test_what_no_setting_reads_is_told_with_the_nearest(name: str, nearest: str | None) -> None:
    found = unknown([name], [Settings])

    assert [(each.name, each.nearest) for each in found] == [(name, nearest)]


def test_settings_within_settings_are_read_from_their_own_variables() -> None:
    names = {each.name for each in variables(SharedSettings)}

    assert {"RUNPLANE_KAFKA_PASSWORD", "RUNPLANE_LOG__LEVEL", "AWS_REGION"} <= names


def test_each_of_several_names_of_a_setting_is_known() -> None:
    names = {each.name for each in variables(SharedSettings)}

    assert {"RUNPLANE_TELEMETRY_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"} <= names
    assert unknown(["RUNPLANE_TELEMETRY_ENDPOINT"], [SharedSettings]) == []


def test_variables_of_other_programs_for_s3_are_left_alone() -> None:
    assert unknown(["AWS_PROFILE"], [SharedSettings]) == []


def test_a_variable_that_stands_by_another_name_is_known() -> None:
    names = {each.name for each in variables(GatewaySettings)}

    assert "RUNPLANE_PAGE_TOKEN_KEY" in names
    assert "GATEWAY_PAGE_TOKEN_KEY" not in names


def test_a_real_slip_is_told_as_it_is_made() -> None:
    found = unknown(["INFERENCE_LLAMACPP_SLOTS"], [InferenceSettings])

    assert [each.nearest for each in found] == ["INFERENCE_LLAMACPP__SLOTS"]
