"""The documentation: its links lead somewhere, and its index has every page."""

import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[3]
ELSEWHERE: Final = re.compile(r"[a-z][a-z0-9+.-]*:")
BLOCK: Final = re.compile(r"^( *)(```+|~~~+).*?^\1\2 *$", re.MULTILINE | re.DOTALL)
CODE: Final = re.compile(r"(`+)(?!`).*?(?<!`)\1(?!`)", re.DOTALL)
LINK: Final = re.compile(r"\]\(([^()\s]+)\)|^\[[^]]+\]: *(\S+)", re.MULTILINE)
HEADING: Final = re.compile(r"^#{1,6} +(.*?) *#*$", re.MULTILINE)


def pages() -> list[Path]:
    """Every Markdown file that is in the repository."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split("\n")
    return [ROOT / each for each in listed if each and (ROOT / each).is_file()]


def links(text: str) -> list[str]:
    """Where a page's links lead, but for those that are shown as code."""
    return [path or other for path, other in LINK.findall(CODE.sub("", BLOCK.sub("", text)))]


@cache
def anchors(page: Path) -> frozenset[str]:
    """The anchors that GitHub gives a page's headings; the second of a name has a number."""
    seen: dict[str, int] = {}
    found = set()
    for heading in HEADING.findall(BLOCK.sub("", page.read_text())):
        words = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()
        name = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        number = seen[name] = seen.get(name, -1) + 1
        found.add(f"{name}-{number}" if number else name)
    return frozenset(found)


def fault(page: Path, link: str) -> str | None:
    """What is wrong with a link of a page."""
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    if not target.exists():
        return f"{link}: there is no such file"
    if anchor and target.suffix == ".md" and anchor not in anchors(target):
        return f"{link}: there is no such heading; there are {', '.join(sorted(anchors(target)))}"
    return None


def test_every_link_of_a_page_leads_somewhere() -> None:
    found = pages()

    faults = [
        f"{page.relative_to(ROOT)}: {wrong}"
        for page in found
        for each in links(page.read_text())
        if not ELSEWHERE.match(each) and (wrong := fault(page, each))
    ]

    assert ROOT / "README.md" in found
    assert faults == []


def test_a_link_that_leads_nowhere_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# One `two`, three\n## Same\n## Same\n```\n# no heading\n[x](code.md)\n```\n")
    text = "[a](none.md) `[b](code.md)` [c](#one-two-three) [d](#same-1) [e](#no-heading)"

    assert links(text) == ["none.md", "#one-two-three", "#same-1", "#no-heading"]
    assert [fault(page, each) is None for each in links(text)] == [False, True, True, False]
    assert links(page.read_text()) == []


def test_the_index_has_every_page() -> None:
    docs = ROOT / "docs"
    alone = {page for page in docs.glob("*.md") if page.name != "README.md"}
    others = {docs / name / "README.md" for name in ("api", "runbooks")}

    index = links((docs / "README.md").read_text())
    assert (alone | others) - {(docs / each.partition("#")[0]).resolve() for each in index} == set()
