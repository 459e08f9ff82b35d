"""The API reference: all of the contracts is in it, and its links lead somewhere."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGES = sorted((ROOT / "docs/api").glob("*.md"))
LINK = re.compile(r"\]\(([^)#]*)(?:#([^)]*))?\)")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
DECLARED = re.compile(r"^ *(?:service|rpc|message|enum) (\w+)", re.MULTILINE)


def headings(page: Path) -> set[str]:
    """A page's headings, as links name them."""
    found = HEADING.findall(page.read_text())
    return {re.sub(r"[^a-z0-9_ -]", "", each.lower()).replace(" ", "-") for each in found}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_of_a_page_lead_somewhere(page: Path) -> None:
    links = LINK.findall(page.read_text())

    lost = [
        (path, anchor)
        for path, anchor in links
        if not (target := page.parent / path).exists()
        or (anchor and anchor not in headings(target))
    ]
    assert links
    assert lost == []


@pytest.mark.parametrize(
    "proto", sorted(ROOT.glob("protos/runplane/*/v1/*.proto")), ids=lambda proto: proto.stem
)
def test_all_that_a_contract_declares_is_in_its_page(proto: Path) -> None:
    page = ROOT / f"docs/api/{proto.parts[-3]}_v1_{proto.stem}.md"

    declared = DECLARED.findall(proto.read_text())
    shown = {each.split(".")[-1] for each in HEADING.findall(page.read_text())}
    assert declared
    assert [each for each in declared if each not in shown] == []
