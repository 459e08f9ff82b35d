"""The context of a call, as metadata and back."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.chassis.context import (
    CACHE_CONTROL,
    IDEMPOTENCY_KEY,
    Principal,
    RequestContext,
    child,
    from_metadata,
    local_context,
    negotiate,
    new_span_id,
    new_trace_id,
)
from services.chassis.errors import FailedPrecondition, InvalidArgument

identifiers = st.from_regex(r"[A-Za-z0-9._:@/-]{1,128}", fullmatch=True)
principals = st.builds(
    Principal, identifiers, identifiers, st.lists(identifiers, max_size=3).map(tuple)
)


@given(principal=principals, request_id=identifiers)
def test_what_is_sent_along_is_what_the_peer_reads(principal: Principal, request_id: str) -> None:
    sent = RequestContext(principal, request_id, new_trace_id(), new_span_id())

    read = from_metadata(sent.metadata())

    assert (read.principal, read.request_id, read.trace_id) == (
        principal,
        request_id,
        sent.trace_id,
    )
    assert read.span_id != sent.span_id


def test_an_idempotency_key_is_read_and_not_sent_along() -> None:
    read = from_metadata([(IDEMPOTENCY_KEY, "key 1")])

    assert read.idempotency_key == "key 1"
    assert IDEMPOTENCY_KEY not in dict(read.metadata())
    assert from_metadata([]).idempotency_key == ""


def test_what_is_said_of_cached_answers_is_read_and_not_sent_along() -> None:
    read = from_metadata([(CACHE_CONTROL, "no-store")])

    assert read.cache_control == "no-store"
    assert CACHE_CONTROL not in dict(read.metadata())


@pytest.mark.parametrize("metadata", [None, ()])
def test_without_metadata_the_caller_is_the_local_user(metadata: tuple[()] | None) -> None:
    context = from_metadata(metadata)

    assert context.principal == Principal("default", "local", ())
    assert re.fullmatch(r"req_[0-9a-f]{16}", context.request_id)
    assert re.fullmatch(r"[0-9a-f]{32}", context.trace_id)
    assert re.fullmatch(r"[0-9a-f]{16}", context.span_id)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "nonsense",
        "00-" + "0" * 32 + "-1234567890abcdef-01",
        "00-" + "a" * 32 + "-" + "0" * 16 + "-01",
        "00-" + "A" * 32 + "-1234567890abcdef-01",
        "00-" + "a" * 31 + "-1234567890abcdef-01",
    ],
)
def test_a_trace_that_is_not_one_is_replaced(header: str) -> None:
    context = from_metadata([("traceparent", header)])

    assert re.fullmatch(r"(?!0{32}|a+$)[0-9a-f]{32}", context.trace_id)


@pytest.mark.parametrize("key", ["runplane-tenant", "runplane-subject", "runplane-roles"])
@pytest.mark.parametrize("value", ["a b", "x" * 129, "a\x00", "ü", "a\nb"])
def test_an_identifier_with_other_characters_is_refused(key: str, value: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        from_metadata([(key, value)])

    assert caught.value.violations[0].field == key
    assert caught.value.violations[0].suggested_fix


@pytest.mark.parametrize("value", ["a b", "x" * 129])
def test_a_request_id_with_other_characters_is_refused(value: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        from_metadata([("x-request-id", value)])

    assert caught.value.violations[0].field == "x-request-id"


def test_binary_metadata_is_passed_over() -> None:
    assert from_metadata([("runplane-tenant", b"acme")]).principal.tenant == "default"


@pytest.mark.parametrize("version", ["1.0", ""])
def test_a_spoken_version_is_agreed_on(version: str) -> None:
    assert negotiate(version) == "1.0"
    from_metadata([("runplane-version", version)])


@pytest.mark.parametrize("version", ["2.0", "1", "v1.0", "x" * 10_000])
def test_another_version_is_refused_with_the_spoken_ones(version: str) -> None:
    with pytest.raises(FailedPrecondition) as caught:
        from_metadata([("runplane-version", version)])

    assert caught.value.reason == "PROTOCOL_VERSION_UNSUPPORTED"
    assert caught.value.metadata["supported"] == "1.0"
    assert len(caught.value.metadata["version"]) <= 32


def test_a_child_is_the_same_request_in_a_span_of_its_own() -> None:
    parent = local_context(Principal("acme"))

    mine = child(parent)

    assert (mine.principal, mine.request_id, mine.trace_id) == (
        parent.principal,
        parent.request_id,
        parent.trace_id,
    )
    assert mine.span_id != parent.span_id
