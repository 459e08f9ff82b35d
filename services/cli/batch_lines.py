"""Batches and their items as lines: what people read, and JSONL in and out. Pure.

A line of what is sent is a JSON string (what the user says), an item as `POST /v1/batches` has it,
or a line as OpenAI's batch files have it.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

Json = Mapping[str, Any]

MAX_ITEMS: Final = 1_000
MAX_BYTES: Final = 1_500_000
"""Of one batch: the edge takes 2 MiB."""
MAX_FAULTS: Final = 20
CHAT: Final = "/v1/chat/completions"
_ITEM: Final = frozenset({"key", "messages", "model", "sampling", "response_schema", "prefix"})
_SAMPLING: Final = {"temperature": "temperature", "top_p": "top_p", "seed": "seed"}
_IGNORED: Final = frozenset({"user", "metadata", "store", "service_tier", "safety_identifier"})
_WHY: Final = {"canceled": "batch_cancelled", "expired": "batch_expired"}


class Unusable(ValueError):
    """Lines are no items. Says which, and why."""


def items(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """The items that lines are. Empty lines are none.

    Raises:
        Unusable: behind the last line, with the first of those that are none.
    """
    faults: list[str] = []
    for number, line in enumerate(lines, 1):
        if line.strip() and len(faults) < MAX_FAULTS:
            try:
                yield _item(json.loads(line))
            except (ValueError, RecursionError) as error:
                faults.append(f"line {number}: {error}")
    if faults:
        raise Unusable("\n  ".join(["lines are no items:", *faults]))


def batches(found: Iterable[dict[str, Any]]) -> Iterator[Sequence[dict[str, Any]]]:
    """Items in portions that one batch takes."""
    portion: list[dict[str, Any]] = []
    size = 0
    for each in found:
        length = len(json.dumps(each, ensure_ascii=False).encode())
        if portion and (len(portion) == MAX_ITEMS or size + length > MAX_BYTES):
            yield portion
            portion, size = [], 0
        portion.append(each)
        size += length
    if portion:
        yield portion


def batch(found: Json) -> str:
    """Where a batch stands."""
    counts = found.get("counts") or {}
    total = counts.get("total") or 0
    ended = total - (counts.get("pending") or 0)
    failed = f", {counts['failed']} failed" if counts.get("failed") else ""
    cost = f"  ${found['cost_usd']:.6f}" if found.get("cost_usd") else ""
    return f"{found.get('batch_id')}  {found.get('status')}  {ended} of {total}{failed}{cost}"


def event(said: Json) -> str:
    """What happened, with its sequence and its time."""
    counts, item = said.get("counts") or {}, said.get("item") or {}
    total = counts.get("total") or 0
    ended = total - (counts.get("pending") or 0)
    about = str(said.get("type")).replace("_", " ")
    if item:
        about = f"{item.get('key')} {item.get('status')}"
        if error := item.get("error"):
            about += f": {error.get('reason')}: {error.get('message')}"
    time = str(said.get("time"))[11:19]
    return f"{said.get('sequence'):>5}  {time}  {ended:>4} of {total}  {about}"


def openai(item: Json) -> dict[str, Any] | None:
    """An item as OpenAI's result files have it; None while it has not ended."""
    status = item.get("status")
    if status == "pending":
        return None
    name = f"batch_req_{item.get('batch_id')}_{item.get('index') or 0}"
    line: dict[str, Any] = {"id": name, "custom_id": item.get("key")}
    if status == "completed":
        answer = {"status_code": 200, "request_id": name, "body": _completion(name, item)}
        return {**line, "response": answer, "error": None}
    error = item.get("error") or {}
    code = error.get("reason") or _WHY.get(str(status), str(status))
    message = error.get("message") or f"the item was {status}"
    return {**line, "response": None, "error": {"code": code, "message": message}}


def _item(line: object) -> dict[str, Any]:
    if isinstance(line, str):
        return {"messages": [{"role": "user", "content": line}]}
    if not isinstance(line, dict):
        raise Unusable("is no item: send a JSON string or object")
    if "custom_id" in line or "body" in line:
        return _from_openai(line)
    if unknown := line.keys() - _ITEM:
        raise Unusable(f"{min(unknown)} is not known; use {', '.join(sorted(_ITEM))}")
    return line


def _from_openai(line: Json) -> dict[str, Any]:
    if line.get("url", CHAT) != CHAT or line.get("method", "POST") != "POST":
        raise Unusable(f"asks for {line.get('url')}; only POST {CHAT} is taken")
    body = line.get("body")
    if not isinstance(body, dict):
        raise Unusable("body is no JSON object")
    body = dict(body)
    sampling = {ours: body.pop(name) for name, ours in _SAMPLING.items() if name in body}
    for name in ("max_tokens", "max_completion_tokens"):
        if (most := body.pop(name, None)) is not None:
            sampling["max_tokens"] = most
    if (stop := body.pop("stop", None)) is not None:
        sampling["stop"] = [stop] if isinstance(stop, str) else stop
    item = {
        "key": line.get("custom_id"),
        "messages": [_message(each) for each in body.pop("messages", None) or ()],
        "model": body.pop("model", None),
        "sampling": sampling,
        "response_schema": _schema(body.pop("response_format", None)),
    }
    _check_rest(body)
    return {name: value for name, value in item.items() if value}


def _check_rest(body: Json) -> None:
    """Refuse what would be passed over, but for what changes no answer."""
    for name, value in body.items():
        is_nothing = value in (None, False, 0, [], {}) or (name, value) == ("n", 1)
        if not is_nothing and name not in _IGNORED:
            raise Unusable(f"body.{name} is not taken; leave it out")


def _message(said: object) -> dict[str, Any]:
    if not isinstance(said, dict):
        raise Unusable("body.messages has what is no message")
    role = said.get("role")
    content = said.get("content")
    if isinstance(content, list):
        content = "".join(map(_text, content))
    return {"role": "system" if role == "developer" else role, "content": content or ""}


def _text(part: object) -> str:
    if not isinstance(part, dict) or part.get("type") != "text":
        raise Unusable("body.messages has a part that is no text")
    return str(part.get("text"))


def _schema(wanted: object) -> object:
    if not isinstance(wanted, dict) or wanted.get("type") == "text":
        return None
    if wanted.get("type") == "json_object":
        return {"type": "object"}
    named = wanted.get("json_schema")
    schema = named.get("schema") if isinstance(named, dict) else None
    if not isinstance(schema, dict):
        raise Unusable("body.response_format has no json_schema.schema")
    return schema


def _completion(name: str, item: Json) -> dict[str, Any]:
    metadata, usage = item.get("metadata") or {}, item.get("usage") or {}
    message = {"role": "assistant", "content": item.get("text") or ""}
    counts = ("prompt_tokens", "completion_tokens", "total_tokens")
    return {
        "id": name,
        "object": "chat.completion",
        "model": metadata.get("model"),
        "choices": [{"index": 0, "message": message, "finish_reason": item.get("finish_reason")}],
        "usage": {each: usage.get(each) or 0 for each in counts},
    }
