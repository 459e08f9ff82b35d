"""`runplane usage` and `runplane quotas` as processes, against a running suite."""

import json
import uuid

from tests.e2e.running import Suite, outcome


def run(echo: Suite, *arguments: str) -> tuple[int, str, str]:
    return outcome(*arguments, "--state", str(echo.state))


def invoked(echo: Suite, query: str) -> tuple[int, str, str]:
    return outcome("invoke", query, "--state", str(echo.state))


def test_usage_is_a_table_that_grows_with_what_is_asked(echo: Suite) -> None:
    invoked(echo, "one two three")
    _, before, _ = run(echo, "usage")
    invoked(echo, "one two three")
    code, after, err = run(echo, "usage")

    whole = [int(text.splitlines()[-1].split()[2]) for text in (before, after)]
    assert (code, err) == (0, "")
    assert after.split()[:5] == [
        "tokens",
        "prompt_tokens",
        "completion_tokens",
        "cost_usd",
        "turns",
    ]
    assert whole[0] < whole[1]


def test_usage_of_each_session_has_a_row_for_it(echo: Suite) -> None:
    invoked(echo, "hello")

    code, out, _ = run(echo, "usage", "--session", "all")

    assert code == 0
    assert out.splitlines()[-1].startswith("session_")


def test_usage_of_agent_and_session_at_once_is_wrong_usage(echo: Suite) -> None:
    code, _, err = run(echo, "usage", "--session", "a", "--agent", "b")

    assert code == 2
    assert "not both" in err


def test_a_quota_is_created_listed_shown_changed_and_deleted(echo: Suite) -> None:
    name = f"q_{uuid.uuid4().hex[:8]}"

    created = run(echo, "quotas", "create", name, "--scope", "agent", "--cost-usd", "50")
    listed = run(echo, "quotas", "list")
    changed = run(echo, "quotas", "change", name, "--tokens", "9")
    shown = run(echo, "quotas", "show", name)
    deleted = run(echo, "quotas", "delete", name)
    gone = run(echo, "quotas", "show", name)

    assert created == (0, f"{name}  each agent: 50 USD a month\n", "")
    assert created[1] in listed[1]
    assert changed == (0, f"{name}  each agent: 9 tokens a month\n", "")
    assert (json.loads(shown[1])["version"], "cost_usd" in json.loads(shown[1])) == (2, False)
    assert deleted == (0, f"{name} deleted\n", "")
    assert (gone[0], gone[2].startswith("refused: there is no quota")) == (1, True)


def test_a_task_that_a_quota_stops_says_which_and_what_to_do(echo: Suite) -> None:
    name = f"q_{uuid.uuid4().hex[:8]}"
    run(echo, "quotas", "create", name, "--period", "day", "--tokens", "0")
    code, out, _ = invoked(echo, "hello")
    run(echo, "quotas", "delete", name)

    assert code == 1
    assert f"failed: {name} allows the tenant 0 tokens a day" in out
    assert "(raise the quota, or wait until 2" in out


def test_a_quota_without_a_limit_is_wrong_usage(echo: Suite) -> None:
    code, _, err = run(echo, "quotas", "create", "x")

    assert code == 2
    assert "give --tokens, --cost-usd, or both" in err
