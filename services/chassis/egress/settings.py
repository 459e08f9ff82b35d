"""What services can be told of the way out."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, SecretStr

from services.chassis.egress.addresses import Allowed, Denied


def _allowed(text: str) -> str:
    Allowed.parsed(text)
    return text


def _denied(text: str) -> str:
    Denied.parsed(text)
    return text


class EgressSettings(BaseModel, frozen=True):
    """Where what tenants name may be, beside the public internet."""

    # Ranges and host names, between commas: `10.1.0.0/16,*.intern.example`.
    allow: Annotated[str, AfterValidator(_allowed)] = ""
    # Where it may not be all the same, such as Runplane's own ports: `10.1.0.7:8081,[::1]:443`.
    deny: Annotated[str, AfterValidator(_denied)] = ""


class StoredSecretSettings(BaseModel, frozen=True):
    """Where the secrets are that tenants name. Each service says which variables are some."""

    folder: Path | None = None  # Files TENANT/NAME. They may change while the service runs.
    environment: Mapping[str, SecretStr] = {}  # Of the tenant `default`.

    @property
    def values(self) -> Mapping[str, str]:
        """Those of the environment, by name."""
        return {name: value.get_secret_value() for name, value in self.environment.items()}


def of_environment(prefix: str) -> Mapping[str, SecretStr]:
    """The secrets that variables hold, by what their names say behind a prefix."""
    return {
        name.removeprefix(prefix).upper(): SecretStr(value)
        for name, value in os.environ.items()
        if name.startswith(prefix)
    }
