"""`runplane usage` and `runplane quotas`: what models took in tasks, and what they may take."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import click

from services.cli.edge import Json, answered, at_edge, found
from services.cli.plain import plain

PAGE: Final = 500
EXITS: Final = "Exit codes: 0 done, 1 refused, 2 wrong usage, 3 no connection."
COLUMNS: Final = ("tokens", "prompt_tokens", "completion_tokens", "cost_usd", "turns")
SCOPES: Final = click.Choice(["tenant", "agent", "session"])
PERIODS: Final = click.Choice(["day", "month", "total"])
_TOKENS: Final = click.option(
    "--tokens", type=click.IntRange(min=0), help="At most so many, in and out."
)
_COST: Final = click.option(
    "--cost-usd", type=click.FloatRange(min=0), help="At most so many US dollars."
)


@click.command(short_help="Show what models took in tasks, by day.", epilog=EXITS)
@click.option("--agent", metavar="ID", help="Of this agent; `all` for each of them.")
@click.option("--session", metavar="ID", help="Of this session; `all` for each of them.")
@click.option("--from", "start", metavar="DAY", help="Default: the first of this month.")
@click.option("--to", "end", metavar="DAY", help="Default: today.")
@at_edge
def usage(url: str | None, state: Path | None, **asked: str | None) -> None:
    """Show what models took in tasks, by day: of the tenant, an agent or a session.

    \b
    runplane usage
    runplane usage --agent reviewer --from 2026-11-01
    runplane usage --session all
    """
    if asked["agent"] and asked["session"]:
        raise click.UsageError("name an agent or a session, not both")
    scope = next((each for each in ("agent", "session") if asked[each]), "tenant")
    subject = asked.get(scope) or ""
    days = {"start_date": asked["start"], "end_date": asked["end"]}
    edge = found(url, state)
    if subject == "all":
        if any(days.values()):
            raise click.UsageError("--from and --to are for one agent or session")
        _table([(row["subject"], row["date"], row["figures"]) for row in _rows(edge, scope)])
        return
    query = {"scope": scope, "subject": subject, **days}
    given = {name: value for name, value in query.items() if value}
    said = answered(edge, "GET", "/v1/usage", query=given)
    rows = [(subject, row["date"], row["figures"]) for row in said["days"]]
    _table([*rows, (subject, "in all", said["total"])])


@click.group(short_help="Bound what models take.", epilog=EXITS)
def quotas() -> None:
    """List, create, change and delete quotas: bounds on what models take.

    \b
    runplane quotas create monthly --period month --cost-usd 50
    runplane quotas create each-session --scope session --period total --tokens 200000
    runplane quotas list
    """


@quotas.command("list")
@at_edge
def listed(url: str | None, state: Path | None) -> None:
    """List the quotas that hold, one a line."""
    edge, query = found(url, state), {"page_size": PAGE}
    for each in answered(edge, "GET", "/v1/quotas", query=query).get("quotas") or ():
        click.echo(plain(_line(each)))


@quotas.command()
@click.argument("quota_id")
@at_edge
def show(quota_id: str, url: str | None, state: Path | None) -> None:
    """Show a quota as JSON, with what is used of it."""
    said = answered(found(url, state), "GET", _path(quota_id))
    click.echo(json.dumps(said, indent=2, ensure_ascii=False))


@quotas.command()
@click.argument("quota_id")
@click.option("--scope", type=SCOPES, default="tenant", show_default=True)
@click.option("--subject", default="", help="Of one agent or session. Default: of each of them.")
@click.option("--period", type=PERIODS, default="month", show_default=True)
@_TOKENS
@_COST
@at_edge
def create(quota_id: str, url: str | None, state: Path | None, **wanted: Any) -> None:
    """Create a quota: by --tokens, by --cost-usd, or both."""
    body = {"quota_id": quota_id, **_given(wanted)}
    click.echo(plain(_line(answered(found(url, state), "POST", "/v1/quotas", body=body))))


@quotas.command(short_help="Replace the limits of a quota.")
@click.argument("quota_id")
@_TOKENS
@_COST
@at_edge
def change(quota_id: str, url: str | None, state: Path | None, **wanted: Any) -> None:
    """Replace the limits of a quota: one that is not given is no limit any more."""
    body = _given(wanted)
    click.echo(plain(_line(answered(found(url, state), "PATCH", _path(quota_id), body=body))))


@quotas.command()
@click.argument("quota_id")
@at_edge
def delete(quota_id: str, url: str | None, state: Path | None) -> None:
    """Delete a quota."""
    answered(found(url, state), "DELETE", _path(quota_id))
    click.echo(plain(f"{quota_id} deleted"))


def _rows(edge: str, scope: str) -> Iterator[Json]:
    query: dict[str, Any] = {"page_size": PAGE}
    while True:
        page = answered(edge, "GET", f"/v1/usage/{scope}", query=query)
        yield from page.get("rows") or ()
        if not (token := page.get("next_page_token")):
            return
        query["page_token"] = token


def _table(rows: list[tuple[str, str, Json]]) -> None:
    cells = [["", "", *COLUMNS]]
    for subject, day, of in rows:
        cells.append([subject, day, *(f"{of[name]:.10g}" for name in COLUMNS)])
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        subject, day, *figures = (
            cell.ljust(width) if index < 2 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        click.echo(plain("  ".join([*([subject] if widths[0] else []), day, *figures])))


def _line(of: Json) -> str:
    whose = f"{of['scope']} {of['subject']}" if of.get("subject") else of["scope"]
    if of["scope"] != "tenant" and not of.get("subject"):
        whose = f"each {of['scope']}"
    limits = [
        *([f"{of['tokens']:.15g} tokens"] if of.get("tokens") is not None else []),
        *([f"{of['cost_usd']:.9g} USD"] if of.get("cost_usd") is not None else []),
    ]
    over = "in all" if of["period"] == "total" else f"a {of['period']}"
    declared = "  [settings]" if of.get("is_declared") else ""
    return f"{of['quota_id']}  {whose}: {' and '.join(limits)} {over}{declared}"


def _given(wanted: dict[str, Any]) -> dict[str, Any]:
    if wanted["tokens"] is None and wanted["cost_usd"] is None:
        raise click.UsageError("give --tokens, --cost-usd, or both")
    return {name: value for name, value in wanted.items() if value not in {None, ""}}


def _path(quota_id: str) -> str:
    return f"/v1/quotas/{quote(quota_id, safe='')}"
