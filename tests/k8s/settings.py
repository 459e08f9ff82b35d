"""What the pods of the manifests are told: variables and files, as the services' settings."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from pydantic_settings import BaseSettings

import gateway.settings
import services.inference.settings
import services.orchestrator.settings
import services.tool_registry.settings
import services.workflow.settings
from services.chassis.inspection.variables import unknown as inspected
from services.chassis.settings import AwsSettings, ProcessSettings, SharedSettings
from tests.k8s.manifests import Object

READ: Final[Mapping[str, tuple[type[BaseSettings], ...]]] = {
    "gateway": (ProcessSettings, gateway.settings.Settings),
    "inference": (SharedSettings, services.inference.settings.Settings),
    "orchestrator": (SharedSettings, AwsSettings, services.orchestrator.settings.Settings),
    "tool-registry": (SharedSettings, services.tool_registry.settings.Settings),
    "workflow": (SharedSettings, services.workflow.settings.Settings),
}
"""What each service's process reads, by the name of its Deployment."""

SECRETS: Final = {
    "runplane_page_token_key": "0" * 64,
    "orchestrator_mark_key": "1" * 64,
    "runplane_event_store": "postgresql://somebody:secret@postgres.example/runplane",
    "runplane_hot_store": "redis://:secret@redis.example:6379/0",
    "runplane_event_bus": "kafka://kafka.example:9092",
    "runplane_object_store": "s3://values/runplane",
    "aws_access_key_id": "somebody",
    "aws_secret_access_key": "secret",
    "aws_region": "eu-north-1",
    "aws_endpoint_url": "https://s3.example",
}
"""What Secrets may hold, by the file that a pod finds it in."""


def deployments(things: Sequence[Object]) -> dict[str, Object]:
    """The suite's services, by name."""
    return {
        each["metadata"]["name"]: each
        for each in things
        if each["kind"] == "Deployment" and each["metadata"]["name"] in READ
    }


def environment(things: Sequence[Object], deployment: Object) -> dict[str, str]:
    """The variables of the one container of a Deployment."""
    maps = {each["metadata"]["name"]: each for each in things if each["kind"] == "ConfigMap"}
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    found: dict[str, str] = {}
    for source in container["envFrom"]:
        found |= maps[source["configMapRef"]["name"]]["data"]
    return found | {
        each["name"]: each["value"] for each in container.get("env", []) if "value" in each
    }


def files(deployment: Object) -> list[str]:
    """What there is in /run/secrets."""
    pod = deployment["spec"]["template"]["spec"]
    volume = next(each for each in pod["volumes"] if each["name"] == "secrets")
    return [
        item["path"]
        for source in volume["projected"]["sources"]
        for item in source["secret"]["items"]
    ]


def loaded(kind: type[BaseSettings], folder: Path) -> Any:
    """The settings, from `os.environ` and the folder."""
    return kind() if kind is ProcessSettings else kind(_secrets_dir=folder)


def unknown(name: str, variables: Sequence[str]) -> list[str]:
    """Variables with a prefix of ours that no settings of a service read."""
    return [each.name for each in inspected(variables, READ[name])]
