"""Random definitions, valid by the language's own checks."""

from typing import Any

from hypothesis import assume
from hypothesis import strategies as st

from services.workflow.domain.definition import Definition
from services.workflow.domain.language import outcome

RETRIES = st.fixed_dictionaries(
    {"attempts": st.integers(1, 3)}, optional={"initial": st.sampled_from(["1ms", "1m"])}
)
COMPENSATIONS = st.fixed_dictionaries({"tool": st.just("undo"), "retry": RETRIES})
GUARDS = st.sampled_from(
    [
        "approver",
        {"cel": "target != 's1'"},
        {"cel": "has(data.n) && data.n > 1"},
        {"tool": "check", "retry": {"attempts": 1}},
    ]
)


@st.composite
def actions(draw: st.DrawFn) -> dict[str, Any]:
    """One action."""
    action: dict[str, Any] = {
        draw(st.sampled_from(["tool", "agent", "workflow", "event"])): "x",
        "retry": draw(RETRIES),
    }
    if draw(st.integers(0, 3)):
        action["compensation"] = draw(COMPENSATIONS)
    if draw(st.booleans()):
        action["save_as"] = draw(st.sampled_from(["n", "m"]))
    return action


@st.composite
def states(draw: st.DrawFn, number: int, count: int) -> dict[str, Any]:
    """A state that leads on to the next one, and perhaps elsewhere."""
    ahead = [f"s{n}" for n in range(number + 1, count)] + ["ok", "bad"]
    others = st.lists(st.sampled_from([f"s{n}" for n in range(count)] + ["bad"]), max_size=2)
    state: dict[str, Any] = {"transitions": sorted({ahead[0], *draw(others)})}
    if on_enter := draw(st.lists(actions(), max_size=3)):
        state["on_enter"] = on_enter
        if draw(st.booleans()):
            state["on_failure"] = draw(st.sampled_from(ahead))
    if draw(st.booleans()):
        state["validator"] = draw(GUARDS)
    if state.get("validator") != "approver" and draw(st.booleans()):
        state["on_success"] = draw(st.sampled_from(ahead))
    if draw(st.booleans()):
        state["timeout"] = {
            "after": draw(st.sampled_from(["1s", "1h"])),
            "target": draw(st.sampled_from([*ahead, "s0"])),
        }
    if draw(st.booleans()):
        state["on"] = {"go": draw(st.sampled_from(ahead))}
    return state


@st.composite
def definitions(draw: st.DrawFn) -> Definition:
    """A definition of one to four states, `ok` and `bad`."""
    count = draw(st.integers(1, 4))
    machine = {f"s{n}": draw(states(n, count)) for n in range(count)}
    machine["s0"]["transitions"] = sorted({*machine["s0"]["transitions"], "bad"})
    machine |= {"ok": {"terminal": "success"}, "bad": {"terminal": "failure"}}
    found = outcome({"name": "d", "initial": "s0", "state_machine": machine}).definition
    assume(found is not None)
    assert found is not None
    return found
