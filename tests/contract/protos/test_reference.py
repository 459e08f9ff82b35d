"""The API reference: all of the contracts is in it."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
DECLARED = re.compile(r"^ *(?:service|rpc|message|enum) (\w+)", re.MULTILINE)


@pytest.mark.parametrize(
    "proto", sorted(ROOT.glob("protos/runplane/*/v1/*.proto")), ids=lambda proto: proto.stem
)
def test_all_that_a_contract_declares_is_in_its_page(proto: Path) -> None:
    page = ROOT / f"docs/api/{proto.parts[-3]}_v1_{proto.stem}.md"

    declared = DECLARED.findall(proto.read_text())
    shown = {each.split(".")[-1] for each in HEADING.findall(page.read_text())}
    assert declared
    assert [each for each in declared if each not in shown] == []
