"""Lines about requests that were answered."""

import logging
from datetime import timedelta

import pytest

from gateway.access import A_SECOND, Access
from gateway.outcomes import Outcome
from tests.conftest import FakeClock

READ = Outcome("/v1/tasks/{task_id}", "GET", 200)


def told(access: Access, times: int = 1) -> None:
    for _ in range(times):
        access.answered(READ, 0.0123)


@pytest.fixture(autouse=True)
def _level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "gateway.access")


def test_a_line_says_route_status_and_how_long_it_took(caplog: pytest.LogCaptureFixture) -> None:
    told(Access())

    said = vars(caplog.records[0])
    assert (said["method"], said["route"], said["status"], said["ms"]) == (
        "GET",
        "/v1/tasks/{task_id}",
        200,
        12.3,
    )


def test_a_flood_of_requests_is_no_flood_of_lines(
    caplog: pytest.LogCaptureFixture, clock: FakeClock
) -> None:
    access = Access(clock.monotonic)
    told(access, 1_000)
    clock.advance(timedelta(seconds=1))
    told(access, 2)

    assert len(caplog.records) == A_SECOND + 2
    assert vars(caplog.records[A_SECOND])["left_out"] == 1_000 - A_SECOND
    assert "left_out" not in vars(caplog.records[A_SECOND + 1])


def test_at_level_debug_every_request_has_its_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "gateway.access")
    told(Access(), 1_000)

    assert len(caplog.records) == 1_000
