"""Headers: what is taken, what is refused, what travels on."""

import pytest

from gateway import head
from services.chassis.errors import FailedPrecondition, InvalidArgument

TRACE = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_ids_and_version_travel_on_and_the_principal_is_the_edges() -> None:
    known = head.read(
        [
            (b"x-request-id", b"mine"),
            (b"traceparent", TRACE),
            (b"runplane-version", b"1.0"),
            (b"runplane-tenant", b"other"),
            (b"runplane-roles", b"admin"),
            (b"x-runplane-subject", b"root"),
        ]
    )

    sent = dict(known.metadata)
    assert sent["x-request-id"] == "mine"
    assert sent["traceparent"].split("-")[1] == "0af7651916cd43dd8448eb211c80319c"
    assert sent["runplane-version"] == "1.0"
    assert sent.get("runplane-tenant", "default") == "default"
    assert "runplane-roles" not in sent
    assert "x-runplane-subject" not in sent


def test_what_is_said_of_cached_answers_travels_on_all_of_it() -> None:
    known = head.read([(b"cache-control", b"no-store"), (b"cache-control", b"max-age=5")])

    assert dict(known.metadata)["cache-control"] == "no-store, max-age=5"


@pytest.mark.parametrize("value", [b"a b", b"a\xff", b"x" * 129, b'"'])
def test_a_request_id_that_is_none_is_refused(value: bytes) -> None:
    with pytest.raises(InvalidArgument) as caught:
        head.read([(b"x-request-id", value)])

    assert caught.value.metadata["field"] == "x-request-id"


def test_an_unspoken_version_is_refused() -> None:
    with pytest.raises(FailedPrecondition) as caught:
        head.read([(b"runplane-version", b"9.9")])

    assert caught.value.reason == "PROTOCOL_VERSION_UNSUPPORTED"


def test_a_traceparent_that_is_none_starts_a_new_trace() -> None:
    assert len(head.read([(b"traceparent", b"nonsense")]).context.trace_id) == 32


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(b"2", 2), (b"2.5", 2.5), (b"2500ms", 2.5), (b"2.5s", 2.5), (b" 1s ", 1), (b"0.001", 0.001)],
)
def test_a_timeout_is_seconds_or_has_a_unit(value: bytes, seconds: float) -> None:
    assert head.timeout(head.read([(b"x-request-timeout", value)])) == seconds


@pytest.mark.parametrize(
    "value",
    [b"0", b"-1", b"x", b"", b"1m", b"NaN", b"inf", b"1e3", b"0ms", b"1 s", b"\xb2", b"9" * 40],
)
def test_a_timeout_that_is_none_is_refused_with_a_fix(value: bytes) -> None:
    with pytest.raises(InvalidArgument) as caught:
        head.timeout(head.read([(b"x-request-timeout", value)]))

    assert caught.value.metadata["field"] == "x-request-timeout"
    assert caught.value.metadata["suggested_fix"]


@pytest.mark.parametrize(
    "value",
    [
        b"application/json",
        b"Application/JSON",
        b"application/json; charset=utf-8",
        b'application/json;charset="UTF-8"',
        b"application/json; profile=x",
    ],
)
def test_json_in_utf_8_is_taken(value: bytes) -> None:
    head.check_json(head.read([(b"content-type", value)]))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"content-type", b"text/plain"),
        (b"content-type", b"application/x-www-form-urlencoded"),
        (b"content-type", b"application/json; charset=latin-1"),
        (b"content-type", b"\xff"),
        (b"content-encoding", b"gzip"),
    ],
)
def test_other_media_are_refused(name: bytes, value: bytes) -> None:
    with pytest.raises(InvalidArgument) as caught:
        head.check_json(head.read([(name, value)]))

    assert caught.value.reason == "MEDIA_TYPE_UNSUPPORTED"
