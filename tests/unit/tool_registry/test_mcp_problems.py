"""Whose fault it is that a server cannot be reached."""

import anyio
import pytest
from mcp.shared.exceptions import MCPError
from mcp_types import CONNECTION_CLOSED, REQUEST_TIMEOUT

from services.chassis.errors import Unavailable
from services.tool_registry.adapters.mcp.faults import problem
from services.tool_registry.adapters.mcp.session import NotSpoken
from services.tool_registry.adapters.mcp.stdio import ProgramFailed

OURS = [KeyError("x"), RuntimeError("x"), ValueError("x"), OSError(9, "x"), AssertionError("x")]
THEIRS = [
    MCPError(CONNECTION_CLOSED, "Connection closed"),
    MCPError(REQUEST_TIMEOUT, "late"),
    ProgramFailed("exit code 3"),
    NotSpoken("it speaks another"),
    TimeoutError(),
    anyio.ClosedResourceError(),
    Unavailable("TARGET_UNAVAILABLE", "not there"),
]


def kind(error: object) -> str:
    return type(error).__name__


@pytest.mark.parametrize("error", OURS, ids=kind)
def test_what_no_server_brings_about_is_logged_as_ours(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    told = problem(error)

    assert "on the inside" in told
    assert [record.exc_info and record.exc_info[1] for record in caplog.records] == [error]


@pytest.mark.parametrize("error", THEIRS, ids=kind)
def test_what_servers_bring_about_is_told_and_not_logged(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    told = problem(ExceptionGroup("tasks", [error]))

    assert told
    assert "on the inside" not in told
    assert caplog.records == []


def test_a_fault_of_ours_is_not_hidden_by_one_of_the_servers(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told = problem(ExceptionGroup("tasks", [TimeoutError(), KeyError("ours")]))

    assert "on the inside" in told
    assert len(caplog.records) == 1
