"""A service in a process of its own, for `test_chassis_process`."""

from contextlib import AbstractAsyncContextManager

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.chassis.process import serve
from services.chassis.server import Running
from services.chassis.settings import ProcessSettings, ServerSettings, SharedSettings
from tests.integration.chassis.fakes import serving_tools


class Settings(BaseSettings):
    """`TESTER_…`."""

    model_config = SettingsConfigDict(env_prefix="TESTER_", env_nested_delimiter="__", frozen=True)

    server: ServerSettings = ServerSettings()
    slots: int = Field(1, ge=1, le=4)


def load() -> tuple[ProcessSettings, AbstractAsyncContextManager[Running]]:
    """Read the settings."""
    return SharedSettings(), serving_tools(settings=Settings().server)


if __name__ == "__main__":
    serve("tester", load)
