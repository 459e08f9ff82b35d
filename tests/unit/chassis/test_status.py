"""`ServiceError` on the wire and back."""

from datetime import timedelta
from urllib.parse import quote

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from hypothesis import given
from hypothesis import strategies as st

from services.chassis.errors import InvalidArgument, ServiceError, Unavailable, Violation, invalid
from services.chassis.status import CODES, DETAILS_KEY, from_rpc_error, to_status

GRPC_CODES = {code.value[0]: code for code in grpc.StatusCode}


def failed_call(status: Status) -> grpc.aio.AioRpcError:
    """What grpc raises at the caller when the peer answered with `status`."""
    trailing = grpc.aio.Metadata((DETAILS_KEY, status.SerializeToString()))
    return grpc.aio.AioRpcError(
        GRPC_CODES[status.code], grpc.aio.Metadata(), trailing, details=status.message
    )


def bare(code: grpc.StatusCode, details: str = "") -> grpc.aio.AioRpcError:
    """A failure of grpc's own: no details."""
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details=details)


def over_the_wire(error: ServiceError) -> ServiceError:
    return from_rpc_error(failed_call(to_status(error, domain="there.runplane.dev")))


def test_every_kind_has_a_code_of_its_own() -> None:
    assert set(CODES) == set(ServiceError.__subclasses__())
    assert len(set(CODES.values())) == len(CODES)


@pytest.mark.parametrize("kind", CODES)
def test_every_kind_comes_back_as_it_went(kind: type[ServiceError]) -> None:
    there = kind("SOME_REASON", "what happened", thing="t_1").after(timedelta(milliseconds=1500))

    here = over_the_wire(there)

    assert type(here) is kind
    assert (here.reason, here.message, here.metadata) == (
        "SOME_REASON",
        "what happened",
        {"thing": "t_1"},
    )
    assert here.retry_after == timedelta(milliseconds=1500)
    assert here.domain == "there.runplane.dev"


def test_the_details_are_the_ones_that_clients_know() -> None:
    error = invalid(Violation("a", "is wrong", "send 1")).after(timedelta(seconds=2))

    status = to_status(error, domain="here.runplane.dev")

    info, bad, retry = ErrorInfo(), BadRequest(), RetryInfo()
    assert [
        detail.Unpack(into) for detail, into in zip(status.details, (info, bad, retry), strict=True)
    ] == [True, True, True]
    assert (info.reason, info.domain) == ("INVALID_REQUEST", "here.runplane.dev")
    assert info.metadata == {"field": "a", "suggested_fix": "send 1"}
    assert [(each.field, each.description) for each in bad.field_violations] == [("a", "is wrong")]
    assert retry.retry_delay.ToTimedelta() == timedelta(seconds=2)


def test_violations_come_back() -> None:
    here = over_the_wire(invalid(Violation("a", "is wrong"), Violation("b[1]", "is too long")))

    assert list(here.violations) == [Violation("a", "is wrong"), Violation("b[1]", "is too long")]


def test_an_error_that_crosses_two_wires_keeps_the_domain_it_came_from() -> None:
    first = over_the_wire(Unavailable("MODEL_LOADING", "the model is loading"))

    second = from_rpc_error(failed_call(to_status(first, domain="between.runplane.dev")))

    assert second.domain == "there.runplane.dev"


@pytest.mark.parametrize(
    ("code", "kind", "reason"),
    [
        (grpc.StatusCode.UNAVAILABLE, "Unavailable", "PEER_UNAVAILABLE"),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "DeadlineExceeded", "DEADLINE_EXCEEDED"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "ResourceExhausted", "PEER_OVERLOADED"),
        (grpc.StatusCode.INTERNAL, "Internal", "PEER_FAILED"),
        (grpc.StatusCode.UNKNOWN, "Internal", "PEER_FAILED"),
        (grpc.StatusCode.UNIMPLEMENTED, "Internal", "PEER_FAILED"),
        (grpc.StatusCode.CANCELLED, "Unavailable", "PEER_FAILED"),
    ],
)
def test_a_failure_of_grpcs_own_has_a_reason_too(
    code: grpc.StatusCode, kind: str, reason: str
) -> None:
    error = from_rpc_error(bare(code, "connection refused"))

    assert (type(error).__name__, error.reason) == (kind, reason)


def test_details_that_are_not_a_status_count_as_none() -> None:
    trailing = grpc.aio.Metadata((DETAILS_KEY, b"\xff\xff\xff"))
    error = grpc.aio.AioRpcError(
        grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), trailing, details="?"
    )

    assert from_rpc_error(error).reason == "PEER_UNAVAILABLE"


@pytest.mark.parametrize("key", ["self", "reason", "message", "domain"])
def test_metadata_may_have_any_key(key: str) -> None:
    there = Unavailable("SOME_REASON", "what happened")
    there.metadata = {key: "value"}

    here = over_the_wire(there)

    assert (here.reason, here.message, here.metadata) == (
        "SOME_REASON",
        "what happened",
        {key: "value"},
    )


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)  # What is long is cut.


@given(
    message=text,
    metadata=st.dictionaries(st.from_regex(r"[a-z][a-z_]{0,20}", fullmatch=True), text, max_size=4),
    fields=st.lists(st.tuples(text, text), max_size=4),
)
def test_any_text_survives_the_way(
    message: str, metadata: dict[str, str], fields: list[tuple[str, str]]
) -> None:
    there = InvalidArgument("SOME_REASON", message)
    there.metadata = metadata
    there.violations = [Violation(*each) for each in fields]

    here = over_the_wire(there)

    assert (here.message, here.metadata, list(here.violations)) == (
        message,
        metadata,
        list(there.violations),
    )


@pytest.mark.parametrize("character", ["x", "ü", "😀", "%"])
def test_a_status_always_fits_into_a_trailer(character: str) -> None:
    error = invalid(
        *(Violation(f"field[{n}]", character * 3_000, character * 3_000) for n in range(500))
    )
    error.metadata["more"] = character * 10_000

    status = to_status(error, domain="here.runplane.dev")

    # grpc refuses more than 8 KiB of metadata: the status in base64, and the message in per cents.
    trailer = len(status.SerializeToString()) * 4 / 3 + len(quote(status.message))
    assert trailer < 8 * 1024 - 512
    assert over_the_wire(error).reason == "INVALID_REQUEST"
    assert over_the_wire(error).violations[0].field == "field[0]"
