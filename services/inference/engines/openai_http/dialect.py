"""What servers make of OpenAI's API, as data: which of it they have, and what they have beside it.

Another kind of server is another row. What a row says of schemas and tools can be overruled for one
upstream, for it depends on how that was started.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from services.inference.domain.request import JSON

SchemaMode: TypeAlias = Literal["json_schema", "json_object", "none"]
Extra: TypeAlias = Literal["vllm", "llamacpp"]


@dataclass(frozen=True, slots=True)
class Dialect:
    """One kind of server."""

    schema: SchemaMode = "json_schema"
    """How an output is bound: by the schema, to any JSON object, or not at all."""
    has_tools: bool = True
    going_on: Mapping[str, JSON] | None = None
    """What a body says beside an assistant's turn to go on from; None: it cannot go on."""
    extra: Extra | None = None
    """Whose endpoints there are beside OpenAI's: for tokens, windows and log-probabilities."""
    has_scores: bool = False
    """Whether it tells how likely labels are, by the endpoints of `extra`."""
    texts_at_once: int = 256
    """How many texts it makes vectors of in one request."""
    max_stops: int = 8
    lists_window: str = ""
    """The member of a model in the list of models that has its window, if one does."""


DIALECTS: Final[Mapping[str, Dialect]] = {
    "openai": Dialect(max_stops=4),
    "vllm": Dialect(
        has_tools=False,  # Until it is started with a parser for its model's calls.
        going_on={"add_generation_prompt": False, "continue_final_message": True},
        extra="vllm",
        has_scores=True,
        lists_window="max_model_len",
    ),
    "llamacpp": Dialect(
        has_tools=False,  # Most templates of small models know no tools.
        going_on={},
        extra="llamacpp",
        has_scores=True,
        texts_at_once=1,  # It cuts texts of different lengths, unless it was started to share.
    ),
}
