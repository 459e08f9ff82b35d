"""`runplane tools` as a process, against a running suite."""

import json
from pathlib import Path

import pytest

from services.cli.document import document
from tests.e2e.running import Suite, outcome
from tests.servers.ports import free

DOCUMENT = """
openapi: 3.1.0
info: {title: Pets, version: "1"}
servers: [{url: http://127.0.0.1:1}]
paths:
  /pets:
    get:
      operationId: listPets
      description: Lists pets.
      responses: {200: {description: All., content: {application/json: {schema: {type: array}}}}}
  /photo:
    post:
      requestBody: {required: true, content: {image/png: {schema: {type: string}}}}
      responses: {204: {description: Kept.}}
"""


def tools(echo: Suite, command: str, *arguments: str, given: str = "") -> tuple[int, str, str]:
    """`runplane tools` of that suite, found by its folder."""
    return outcome("tools", command, "--state", str(echo.state), *arguments, given=given)


def test_list_shows_names_versions_kinds_and_what_they_do(echo: Suite) -> None:
    code, out, err = tools(echo, "list", "--filter", "kind = builtin")

    names = [line.split()[:3] for line in out.splitlines()]
    assert (code, err) == (0, "")
    assert ["calculator", "1.0.0", "builtin"] in names


def test_a_list_of_nothing_is_empty(echo: Suite) -> None:
    assert tools(echo, "list", "--filter", "tags.none = true") == (0, "", "")


def test_a_filter_that_is_wrong_is_refused_in_one_line(echo: Suite) -> None:
    code, out, err = tools(echo, "list", "--filter", "color = red")

    assert (code, out) == (1, "")
    assert err.startswith("refused: ")
    assert len(err.splitlines()) == 1


def test_show_prints_the_version_that_a_range_allows(echo: Suite) -> None:
    code, out, _ = tools(echo, "show", "calculator@^1")

    assert code == 0
    assert json.loads(out)["version"] == "1.0.0"


def test_show_refuses_a_range_that_no_version_is_in(echo: Suite) -> None:
    code, out, err = tools(echo, "show", "calculator@^7")

    assert (code, out) == (1, "")
    assert err.startswith("refused: ")


@pytest.mark.parametrize("name", ["calculator", "calculator@^1"])
def test_call_prints_the_result(echo: Suite, name: str) -> None:
    assert tools(echo, "call", name, '{"expression": "12*7"}') == (0, '{"value": 84}\n', "")


def test_call_reads_the_input_from_standard_input(echo: Suite) -> None:
    code, out, _ = tools(echo, "call", "calculator", "-", given='{"expression": "2+2"}')

    assert (code, json.loads(out)) == (0, {"value": 4})


def test_a_tool_that_could_not_do_it_says_why(echo: Suite) -> None:
    code, out, err = tools(echo, "call", "calculator", '{"expression": "1/0"}')

    assert (code, out) == (1, "")
    assert err.startswith("DIVISION_BY_ZERO: ")


def test_an_input_that_does_not_fit_is_refused_with_the_fix(echo: Suite) -> None:
    code, _, err = tools(echo, "call", "calculator", '{"sum": 5}')

    assert code == 1
    assert err.startswith("refused: ")
    assert err.rstrip().endswith(")")


def test_an_input_that_is_no_json_is_a_usage_error(echo: Suite) -> None:
    code, _, err = tools(echo, "call", "calculator", "{12*7}")

    assert code == 2
    assert "not JSON" in err


@pytest.mark.parametrize("form", ["yaml", "json"])
def test_import_prints_a_line_for_each_operation(echo: Suite, tmp_path: Path, form: str) -> None:
    path = tmp_path / f"pets.{form}"
    path.write_text(DOCUMENT if form == "yaml" else json.dumps(document(DOCUMENT.encode())))
    space = f"pets-{form}"

    code, out, err = tools(echo, "import", str(path), "--namespace", space)
    again = tools(echo, "import", str(path), "--namespace", space, "--base-url", "http://127.0.0.1")

    assert (code, err) == (0, "")
    first, second = out.splitlines()
    assert first.split() == ["registered", "listPets", f"{space}__listPets", "1.0.0"]
    assert second.startswith("skipped     POST /photo: ")
    assert again[1].startswith("updated ")


def test_a_document_that_is_none_registers_nothing(echo: Suite, tmp_path: Path) -> None:
    path = tmp_path / "none.yaml"
    path.write_text("a: [1")

    code, out, err = tools(echo, "import", str(path), "--namespace", "none")

    assert (code, out) == (2, "")
    assert "neither JSON nor YAML" in err


def test_without_a_suite_it_says_how_to_start_one() -> None:
    port = free()

    code, _, err = outcome("tools", "list", "--url", f"http://127.0.0.1:{port}")

    assert code == 3
    assert "runplane up" in err


def test_help_shows_how_each_is_used() -> None:
    code, out, _ = outcome("tools", "--help")

    assert code == 0
    assert "runplane tools call calculator '" in out
