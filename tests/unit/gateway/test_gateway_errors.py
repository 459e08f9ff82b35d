"""Errors as callers see them."""

import json
from datetime import timedelta

import grpc
import pytest
from google.rpc.error_details_pb2 import DebugInfo, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc.aio import AioRpcError, Metadata

from gateway import errors
from services.chassis.context import local_context
from services.chassis.errors import InvalidArgument, ResourceExhausted, Violation, invalid
from services.chassis.status import DETAILS_KEY, to_status

CONTEXT = local_context()


def failed(code: grpc.StatusCode, text: str = "", status: Status | None = None) -> AioRpcError:
    trailing = Metadata((DETAILS_KEY, status.SerializeToString())) if status else Metadata()
    return AioRpcError(code, Metadata(), trailing, details=text)


@pytest.mark.parametrize(
    ("code", "http"),
    [
        ("CANCELLED", 499),
        ("UNKNOWN", 500),
        ("INVALID_ARGUMENT", 400),
        ("DEADLINE_EXCEEDED", 504),
        ("NOT_FOUND", 404),
        ("ALREADY_EXISTS", 409),
        ("PERMISSION_DENIED", 403),
        ("RESOURCE_EXHAUSTED", 429),
        ("FAILED_PRECONDITION", 400),
        ("ABORTED", 409),
        ("OUT_OF_RANGE", 400),
        ("UNIMPLEMENTED", 501),
        ("INTERNAL", 500),
        ("UNAVAILABLE", 503),
        ("DATA_LOSS", 500),
        ("UNAUTHENTICATED", 401),
    ],
)
def test_every_code_has_its_number(code: str, http: int) -> None:
    failure = errors.from_rpc(failed(grpc.StatusCode[code]), "orchestrator", CONTEXT)

    shown = json.loads(failure.body)
    assert (failure.http, shown["code"]) == (http, http)
    assert shown["error_code"]
    assert shown["request_id"] == CONTEXT.request_id
    assert shown["trace_id"] == CONTEXT.trace_id


def test_an_error_has_reason_path_fix_and_details() -> None:
    violation = Violation(
        "input.location", "is no string", "send a string", "/properties/a~1b/type"
    )
    status = to_status(invalid(violation, reason="TOOL_INPUT_INVALID"), domain="x.runplane.dev")

    failure = errors.from_rpc(
        failed(grpc.StatusCode.INVALID_ARGUMENT, status=status), "tool_registry", CONTEXT
    )

    shown = json.loads(failure.body)
    assert shown["status"] == "error"
    assert shown["grpc_status"] == "INVALID_ARGUMENT"
    assert shown["error_code"] == "TOOL_INPUT_INVALID"
    assert shown["schema_path"] == ["properties", "a/b", "type"]
    assert shown["suggested_fix"] == "send a string"
    assert [each["@type"].rpartition(".")[2] for each in shown["details"]] == [
        "ErrorInfo",
        "BadRequest",
    ]


@pytest.mark.parametrize("code", ["INTERNAL", "UNKNOWN", "DATA_LOSS"])
def test_a_services_own_failure_shows_nothing_of_it(code: str) -> None:
    status = Status(code=grpc.StatusCode[code].value[0], message="secret")
    status.details.add().Pack(ErrorInfo(reason="SECRET", domain="secret"))

    failure = errors.from_rpc(
        failed(grpc.StatusCode[code], "secret", status), "orchestrator", CONTEXT
    )

    assert b"secret" not in failure.body.lower()


def test_a_failure_that_a_service_explains_is_shown() -> None:
    status = Status(code=grpc.StatusCode.INTERNAL.value[0], message="internal error")
    info = ErrorInfo(reason="INTERNAL", domain="orchestrator.runplane.dev")
    info.metadata["task_id"] = "task_1"
    status.details.add().Pack(info)

    failure = errors.from_rpc(
        failed(grpc.StatusCode.INTERNAL, "internal error", status), "orchestrator", CONTEXT
    )

    assert failure.http == 500
    assert b"task_1" in failure.body


def test_grpcs_own_words_do_not_show_addresses() -> None:
    text = "failed to connect to all addresses; last error: ipv4:10.0.0.1:50051"

    failure = errors.from_rpc(failed(grpc.StatusCode.UNAVAILABLE, text), "tool_registry", CONTEXT)

    assert b"10.0.0.1" not in failure.body
    assert json.loads(failure.body)["error_code"] == "SERVICE_UNAVAILABLE"
    assert b"tool_registry" in failure.body
    assert (b"retry-after", b"1") in failure.headers


def test_debug_info_stays_inside_and_unknown_details_show_their_type() -> None:
    status = Status(code=5, message="m")
    status.details.add().Pack(ErrorInfo(reason="X_NOT_FOUND"))
    status.details.add().Pack(DebugInfo(detail="stack"))
    status.details.add(type_url="type.googleapis.com/a.B", value=b"\xff")

    failure = errors.from_rpc(failed(grpc.StatusCode.NOT_FOUND, "m", status), "x", CONTEXT)

    assert b"stack" not in failure.body
    assert json.loads(failure.body)["details"][-1] == {"@type": "type.googleapis.com/a.B"}


def test_a_code_that_grpc_does_not_have_is_a_failure_of_ours() -> None:
    status = Status(code=99, message="m")
    status.details.add().Pack(ErrorInfo(reason="X"))

    failure = errors.from_rpc(failed(grpc.StatusCode.UNKNOWN, "m", status), "x", CONTEXT)

    assert failure.http == 500


@pytest.mark.parametrize(
    ("milliseconds", "seconds"), [(1, b"1"), (1000, b"1"), (1001, b"2"), (0, b"1")]
)
def test_retry_after_is_whole_seconds_rounded_up(milliseconds: int, seconds: bytes) -> None:
    error = ResourceExhausted("BUSY", "later").after(timedelta(milliseconds=milliseconds))

    assert (b"retry-after", seconds) in errors.from_error(error, CONTEXT).headers


def test_the_edges_own_refusals_have_https_numbers() -> None:
    error = InvalidArgument("METHOD_NOT_ALLOWED", "no", allow="GET, HEAD")

    failure = errors.from_error(error, CONTEXT)

    assert failure.http == 405
    assert (b"allow", b"GET, HEAD") in failure.headers


def test_a_retry_without_end_is_still_a_number() -> None:
    status = Status(code=14, message="m")
    status.details.add().Pack(ErrorInfo(reason="X"))
    retry = RetryInfo()
    retry.retry_delay.seconds = 10
    status.details.add().Pack(retry)

    failure = errors.from_rpc(failed(grpc.StatusCode.UNAVAILABLE, "m", status), "x", CONTEXT)

    assert (b"retry-after", b"10") in failure.headers
