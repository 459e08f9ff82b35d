"""A document of JSON or YAML, as JSON has it."""

import json
import re
from typing import Any, ClassVar, Final

import click
import yaml

MOST_BYTES: Final = 16 * 1024 * 1024


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """YAML of which JSON has everything: dates are texts, and `on` and `yes` are, too."""

    yaml_implicit_resolvers: ClassVar = {
        first: [
            (tag, pattern)
            for tag, pattern in resolvers
            if tag not in ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:bool")
        ]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[str, Any]:
        """Keys are texts: a response is `200`."""
        found = super().construct_mapping(node, deep=True)
        return {key if isinstance(key, str) else json.dumps(key): found[key] for key in found}


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile("^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)


def document(content: bytes) -> dict[str, Any]:
    """The object that a document is.

    Raises:
        UsageError: it is neither JSON nor YAML, or no object.
    """
    if len(content) > MOST_BYTES:
        raise click.UsageError(f"the document has more than {MOST_BYTES} bytes")
    try:
        found = json.loads(content)
    except ValueError:
        found = _yaml(content)
    if not isinstance(found, dict):
        raise click.UsageError("the document is no object, so no OpenAPI document")
    return found


def _yaml(content: bytes) -> object:
    try:
        found = _Loader(content).get_single_data()
        json.dumps(found, allow_nan=False)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        said = " ".join(str(error).split())
        raise click.UsageError(f"the document is neither JSON nor YAML: {said}") from None
    return found
