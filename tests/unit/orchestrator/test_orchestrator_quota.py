"""Quotas: whose they are, which days count together, and what they leave room for."""

import math
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from pydantic import ValidationError

from services.chassis.errors import InvalidArgument
from services.chassis.eventlog.memory import MemoryEventStore
from services.chassis.eventlog.port import Append, NewEvent
from services.chassis.eventlog.tallies import Tally
from services.orchestrator.adapters import accounts
from services.orchestrator.adapters.ledger import EventStoreLedger
from services.orchestrator.domain import events as ev
from services.orchestrator.domain import quota as qt
from services.orchestrator.domain.quota import Period, Quota, Scope, Usage
from services.orchestrator.settings import QuotaSettings
from tests.unit.orchestrator.fakes import NOW, SPEC

TODAY = date(2026, 2, 14)
QUOTA = Quota("q", Scope.TENANT, "", Period.DAY, 100.0, None)
OF_BOTH = replace(SPEC, agent_id="reviewer", session_id="ses_1")


@pytest.mark.parametrize(
    ("period", "today", "first", "last"),
    [
        (Period.DAY, TODAY, TODAY, TODAY),
        (Period.MONTH, TODAY, date(2026, 2, 1), date(2026, 2, 28)),
        (Period.MONTH, date(2024, 2, 29), date(2024, 2, 1), date(2024, 2, 29)),
        (Period.MONTH, date(2026, 12, 31), date(2026, 12, 1), date(2026, 12, 31)),
        (Period.TOTAL, TODAY, date.min, date.max),
    ],
)
def test_a_period_has_its_first_and_last_day(
    period: Period, today: date, first: date, last: date
) -> None:
    assert qt.days(period, today) == (first, last)


@pytest.mark.parametrize(
    ("scope", "subject", "accounts_of"),
    [
        (Scope.TENANT, "", ["q/"]),
        (Scope.AGENT, "", ["q/reviewer"]),
        (Scope.AGENT, "reviewer", ["q/reviewer"]),
        (Scope.AGENT, "other", []),
        (Scope.SESSION, "", ["q/ses_1"]),
        (Scope.SESSION, "ses_2", []),
    ],
)
def test_a_quota_holds_for_the_tasks_of_its_subject(
    scope: Scope, subject: str, accounts_of: list[str]
) -> None:
    found = qt.bounds(replace(QUOTA, scope=scope, subject=subject), OF_BOTH)

    assert [bound.account for bound in found] == accounts_of


def test_tokens_are_whole() -> None:
    with pytest.raises(InvalidArgument) as caught:
        qt.check(replace(QUOTA, tokens=1.5))

    assert [each.field for each in caught.value.violations] == ["tokens"]


@pytest.mark.parametrize("typo", [{"perod": "day"}, {"tokens": 1.5}])
def test_a_declared_quota_with_a_typo_is_refused(typo: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        QuotaSettings.model_validate({"quota_id": "q", "cost_usd": 5} | typo)


def test_the_default_agent_is_no_agent_that_a_quota_is_of() -> None:
    assert not [*qt.bounds(replace(QUOTA, scope=Scope.AGENT), replace(OF_BOTH, agent_id=""))]


@pytest.mark.parametrize(
    ("tokens", "cost_usd", "output_usd", "left"),
    [
        (100.0, None, 0.01, 50.0),
        (None, 1.0, 0.01, 40.0),
        (100.0, 1.0, 0.01, 40.0),
        (60.0, 1.0, 0.01, 10.0),
        (None, 1.0, 0.0, math.inf),
        (None, 0.5, 0.0, 0.0),
        (40.0, None, 0.0, -10.0),
    ],
)
def test_what_is_left_pays_for_so_many_tokens(
    tokens: float | None, cost_usd: float | None, output_usd: float, left: float
) -> None:
    used, prompt = Usage(30.0, 0.4), Usage(20.0, 0.2)

    room = qt.room(replace(QUOTA, tokens=tokens, cost_usd=cost_usd), used, prompt, output_usd)

    assert room == pytest.approx(left)


def test_the_error_says_whose_quota_is_used_up_and_until_when() -> None:
    bound = qt.Bound(
        replace(QUOTA, scope=Scope.AGENT, period=Period.MONTH, cost_usd=2.5), "reviewer"
    )

    error = qt.exceeded(bound, Usage(90.0, 1.25), 20, TODAY)

    assert error.message == (
        "q allows the agent reviewer 100 tokens and 2.5 USD a month: 90 tokens and 1.25 USD are "
        "used, and the next prompt has 20 tokens"
    )
    assert error.metadata["suggested_fix"] == "raise the quota, or wait until 2026-03-01"


def test_a_turn_counts_for_the_tenant_the_agent_and_the_session_on_its_day() -> None:
    late = datetime(2026, 1, 31, 23, 59, 59, tzinfo=UTC)
    answered = ev.Answered(late, 1, 1, "84", None, ev.Turn(10, 5, cost_usd=0.5))

    tallies = accounts.tallies(OF_BOTH, [ev.TextAdded(NOW, 1, 1, "8"), answered])

    assert [(each.name, each.amounts) for each in tallies] == [
        ("tenant//2026-01-31", (15, 0.5, 10, 1)),
        ("agent/reviewer/2026-01-31", (15, 0.5, 10, 1)),
        ("session/ses_1/2026-01-31", (15, 0.5, 10, 1)),
    ]
    assert accounts.parted(tallies[1]) == ("reviewer", date(2026, 1, 31))


def test_a_call_of_an_agent_counts_with_its_own_task_only() -> None:
    returned = ev.ToolReturned(NOW, 1, 1, "call_1", "agent__x", "1", {}, None, 1.0, 500, 0.2)

    assert not accounts.tallies(OF_BOTH, [returned])


def test_what_a_cancelled_task_held_is_let_go() -> None:
    assert accounts.ends_a_call([ev.Canceled(NOW, "enough")])
    assert not accounts.ends_a_call([ev.TextAdded(NOW, 1, 1, "8")])


async def test_a_quota_that_never_ends_is_shown_with_all_that_was_ever_used() -> None:
    store = MemoryEventStore()
    ledger = EventStoreLedger(store)
    all_days = [TODAY + timedelta(days=n) for n in range(2 * qt.MAX_DAYS)]
    names = [accounts.name(Scope.TENANT, "", each) for each in all_days]
    tallies = [Tally(name, (1.0, 0.0, 0.0, 1.0)) for name in names]
    event = NewEvent("task.started.v1", NOW, b"")
    await store.append(Append("default", "task_1", 0, [event], tallies=tallies))

    found = await ledger.days("default", Scope.TENANT, "", date.min, date.max)

    assert [day for day, _ in found] == all_days
