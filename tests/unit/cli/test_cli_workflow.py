"""`runplane workflow validate`: every problem with its place, and exit codes for scripts."""

import json
from pathlib import Path

from click.testing import CliRunner

from services.cli.main import main

EXAMPLES = Path(__file__).parents[3] / "examples" / "workflows"
WRONG = """\
name: x
state_machine:
  a: {transitions: [b], validater: approver}
  c: {transitions: [d]}
"""


def run(*arguments: str, given: str = "") -> tuple[int, str]:
    result = CliRunner().invoke(main, ["workflow", "validate", *arguments], input=given)
    return result.exit_code, result.output


def test_the_examples_are_valid() -> None:
    code, said = run(*map(str, sorted(EXAMPLES.glob("*.yaml"))))

    assert code == 0
    assert said.count(" is valid: ") == 3


def test_every_problem_is_a_line_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(WRONG)

    code, said = run(str(path))

    lines = said.splitlines()
    assert code == 1
    assert len(lines) == 2
    assert lines[0].startswith(f"{path}:1:1: has no single state")
    assert lines[1] == (
        f"{path}:3:25: state_machine.a.validater is not known here (did you mean validator?)"
    )


def test_warnings_alone_are_valid() -> None:
    given = "name: x\nstate_machine:\n  a: {on_enter: [{event: e, compensation: {event: f}}]}\n"

    code, said = run("-", given=given)

    assert code == 0
    assert said.splitlines()[0].startswith("<stdin>:3:29: warning: state_machine.a.on_enter[0]")


def test_json_is_read_and_written() -> None:
    code, said = run(
        "--json", "-", given='{"name": "x", "state_machine": {"a": {"on_succes": "b"}}}'
    )

    (report,) = json.loads(said)
    (problem,) = report["problems"]
    assert (code, report["valid"], report["name"]) == (1, False, None)
    assert (problem["severity"], problem["line"], problem["column"]) == ("error", 1, 39)
    assert problem["suggested_fix"] == "did you mean on_success?"


def test_what_would_steer_a_terminal_is_left_out() -> None:
    _, said = run("-", given='name: "\\e[31mred"\nstate_machine: {a: {transitions: [b]}}\n')

    assert "\x1b" not in said


def test_no_file_is_wrong_usage() -> None:
    assert run()[0] == 2
    assert run("/does/not/exist.yaml")[0] == 2


def test_nothing_is_stored_where_one_file_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(WRONG)
    good = str(EXAMPLES / "order_saga.yaml")

    done = CliRunner().invoke(main, ["workflow", "define", "--url", "127.0.0.1:1", good, str(path)])

    assert done.exit_code == 1  # Not 3: nobody was asked.
    assert done.output.startswith(f"{path}:1:1: has no single state")
    assert "order_saga" not in done.output
