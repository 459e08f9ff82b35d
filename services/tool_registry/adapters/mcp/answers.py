"""What a tool of a server answered, as tools answer here."""

import json
from collections.abc import Mapping, Sequence
from typing import Final

from mcp_types import CallToolResult, InputRequiredResult, TextContent
from pydantic import BaseModel

from services.tool_registry.adapters.mcp.bounds import cut
from services.tool_registry.domain.tool import ToolFailure
from services.tool_registry.ports import Answer, Requests

_SHOWN: Final = 2000


def answer(result: CallToolResult, *, name: str, has_output: bool) -> Answer:
    """The result's value, and its content where that says more.

    Raises:
        ToolFailure: `MCP_TOOL_ERROR`; the tool could not do it.
    """
    if result.is_error:
        raise ToolFailure("MCP_TOOL_ERROR", _error(result) or f"{name} failed and says nothing")
    blocks = [_json(block) for block in result.content]
    if result.structured_content is not None:
        value = result.structured_content
        return Answer(value, () if _says_no_more(blocks, value) else blocks)
    if len(result.content) == 1 and isinstance(text := result.content[0], TextContent):
        return Answer(_parsed(text.text) if has_output else text.text)
    return Answer({"content": blocks})


def requests(result: InputRequiredResult) -> Requests:
    """What the tool asks first. Whether it may is for others to say."""
    asked = {key: _json(each) for key, each in (result.input_requests or {}).items()}
    return Requests(asked, result.request_state or "")


def _json(model: BaseModel) -> dict[str, object]:
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)


def _error(result: CallToolResult) -> str:
    texts = [block.text for block in result.content if isinstance(block, TextContent)]
    if not any(texts) and result.structured_content is not None:
        texts = [json.dumps(result.structured_content, ensure_ascii=False)]
    return cut("\n".join(texts), _SHOWN)


def _says_no_more(blocks: Sequence[Mapping[str, object]], value: object) -> bool:
    """Whether text beside a value is that value again, as servers write it for old clients."""
    inner = value.get("result") if isinstance(value, dict) and len(value) == 1 else value
    return all(
        block.get("type") == "text"
        and (block.get("text") == inner or _parsed(str(block.get("text"))) in (value, inner))
        for block in blocks
    )


def _parsed(text: str) -> object:
    """JSON, if it is; else the text."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
