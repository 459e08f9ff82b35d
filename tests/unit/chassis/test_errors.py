"""`ServiceError` and its kinds."""

from datetime import timedelta

import pytest

from services.chassis.errors import InvalidArgument, ServiceError, Unavailable, Violation, invalid


def test_an_error_keeps_its_reason_message_and_metadata() -> None:
    error = Unavailable("MODEL_LOADING", "the model is loading", model="m")

    assert (error.reason, error.message, error.metadata) == (
        "MODEL_LOADING",
        "the model is loading",
        {"model": "m"},
    )
    assert str(error) == "the model is loading"


def test_after_says_when_to_come_again_and_is_the_same_error() -> None:
    error = Unavailable("MODEL_LOADING", "the model is loading")

    assert error.after(timedelta(seconds=3)) is error
    assert error.retry_after == timedelta(seconds=3)


def test_invalid_names_the_first_field_in_metadata_and_all_as_violations() -> None:
    first = Violation("a.b", "is wrong", "send 1", "/properties/a")
    second = Violation("c", "is wrong too")

    error = invalid(first, second)

    assert isinstance(error, InvalidArgument)
    assert error.reason == "INVALID_REQUEST"
    assert error.violations == (first, second)
    assert error.metadata == {
        "field": "a.b",
        "suggested_fix": "send 1",
        "schema_path": "/properties/a",
    }


def test_invalid_leaves_out_what_is_not_known() -> None:
    assert invalid(Violation("a", "is wrong")).metadata == {"field": "a"}


@pytest.mark.parametrize("kind", ServiceError.__subclasses__())
def test_every_kind_can_be_caught_as_a_service_error(kind: type[ServiceError]) -> None:
    with pytest.raises(ServiceError):
        raise kind("REASON", "message")
