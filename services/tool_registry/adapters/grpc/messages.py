"""JSON to a method's request and back, within bounds; what strangers send is not believed."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final, NoReturn, cast

from google.protobuf import json_format
from google.protobuf.message import DecodeError, EncodeError, Message
from google.protobuf.message_factory import GetMessageClass

from services.chassis.egress.secrets import NO_SECRETS, Scrub
from services.chassis.errors import Violation, invalid
from services.tool_registry.adapters.grpc.faults import MORE_BYTES
from services.tool_registry.adapters.grpc.forms import is_object
from services.tool_registry.adapters.grpc.methods import Method
from services.tool_registry.adapters.grpc.schema import VALUE
from services.tool_registry.domain.refusals import too_large
from services.tool_registry.domain.result import MAX_VALUES
from services.tool_registry.domain.size import is_large
from services.tool_registry.domain.texts import cut
from services.tool_registry.domain.tool import ToolFailure

_REFUSED: Final = (json_format.Error, EncodeError, ValueError, TypeError, LookupError)
_BROKEN: Final = (json_format.Error, ValueError, TypeError, LookupError, RecursionError)
_NO_FORM: Final = "one that has no JSON form, such as an Any of a type that is not described"
_SHOWN: Final = 300
_LARGE_BYTES: Final = 16 * 1024


class Messages:
    """What goes to a method and what comes from it."""

    def __init__(self, method: Method, *, max_bytes: int) -> None:
        """`max_bytes` of an answer, as the server sends it."""
        self._method = method
        self._max_bytes = max_bytes
        self._request = GetMessageClass(method.request)
        self._response = GetMessageClass(method.response)
        self._is_wrapped = not is_object(method.request)

    async def encoded(self, arguments: Mapping[str, object]) -> bytes:
        """The request.

        Raises:
            InvalidArgument: `TOOL_INPUT_INVALID`; that is no such message.
        """
        if is_large(arguments, most_bytes=_LARGE_BYTES):  # The loop is not to wait for it.
            return await asyncio.to_thread(self._encoded, arguments)
        return self._encoded(arguments)

    async def decoded(self, raw: bytes | None, tool: str, scrub: Scrub = NO_SECRETS) -> object:
        """The answer as JSON, without secrets.

        None is what grpc gives when a server says OK and nothing else.

        Raises:
            ToolFailure: `TOOL_OUTPUT_INVALID`, or `TOOL_RESULT_TOO_LARGE`.
        """
        if raw is None:
            self._refuse(tool, "nothing")
        if len(raw) > self._max_bytes:
            raise too_large(tool, MORE_BYTES)
        if len(raw) > _LARGE_BYTES:
            return await asyncio.to_thread(self._decoded, raw, tool, scrub)
        return self._decoded(raw, tool, scrub)

    def _encoded(self, arguments: Mapping[str, object]) -> bytes:
        message = self._request()
        try:
            value = arguments[VALUE] if self._is_wrapped else dict(arguments)
            json_format.ParseDict(cast("Any", value), message, descriptor_pool=self._method.pool)
            return message.SerializeToString()
        except _REFUSED as error:
            told = f"is no {self._method.request.full_name}: {_first_line(error)}"
            fix = "send the message's JSON form, as input_schema describes it"
            raise invalid(Violation("input", told, fix), reason="TOOL_INPUT_INVALID") from None

    def _decoded(self, raw: bytes, tool: str, scrub: Scrub) -> object:
        try:
            message = self._response.FromString(raw)
        except DecodeError:
            self._refuse(tool, "bytes that are none")
        if not _is_countable(message):
            raise too_large(tool, f"more than {MAX_VALUES:,} values")
        try:
            value = json_format.MessageToDict(
                message,
                preserving_proto_field_name=True,
                always_print_fields_with_no_presence=True,
                descriptor_pool=self._method.pool,
            )
        except (*_BROKEN, DecodeError):
            self._refuse(tool, _NO_FORM)
        try:
            return scrub.value(value)
        except ValueError:
            self._refuse(tool, "one that is nested too deep")

    def _refuse(self, tool: str, what: str) -> NoReturn:
        told = f"{tool} was to return a {self._method.response.full_name}, and returned {what}"
        raise ToolFailure("TOOL_OUTPUT_INVALID", told, is_targets=True)


def _is_countable(message: Message) -> bool:
    """Whether its JSON form has a bounded number of values. Two bytes can stand for hundreds."""
    left, waiting = MAX_VALUES, [message]
    while waiting:
        each = waiting.pop()
        left -= len(each.DESCRIPTOR.fields)
        for field, value in each.ListFields():
            is_many = field.is_repeated
            left -= len(value) if is_many else 0
            if left < 0:
                return False
            if field.message_type is None:
                continue
            if not is_many:
                waiting.append(value)
            elif not field.message_type.GetOptions().map_entry:
                waiting.extend(value)
            elif field.message_type.fields_by_name["value"].message_type is not None:
                waiting.extend(value.values())
    return left >= 0


def _first_line(error: BaseException) -> str:
    return cut(str(error).partition("\n")[0], _SHOWN)
