"""What becomes of a tool that is changed: which fields, which version, and whom it breaks. Pure."""

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from services.chassis.errors import FailedPrecondition, Violation, invalid
from services.tool_registry.domain import version as ver
from services.tool_registry.domain.compatibility import Break, breaks_of_input, breaks_of_output
from services.tool_registry.domain.compatibility.sent import as_sent
from services.tool_registry.domain.targets import Client, Grpc, Http
from services.tool_registry.domain.tool import Definition, Entry

MAX_MASK: Final = 32
_SHOWN: Final = 8

FIELDS: Final = (
    "description",
    "title",
    "input_schema",
    "output_schema",
    "examples",
    "timeout",
    "is_idempotent",
    "requires_approval",
    "tags",
    "is_long_running",
    "max_concurrency",
    "default",
)
"""Of a definition, that an update may replace."""
TARGETS: Final = {"http": Http, "grpc": Grpc, "client": Client}
MASKED: Final = {
    **{("timeout_ms" if name == "timeout" else name): name for name in FIELDS},
    **dict.fromkeys(TARGETS, "target"),
}
"""What a mask may name, and what that is here."""
_MARK: Final = "call :deprecate or :undeprecate"
OUTPUT_ONLY: Final = {
    "state": _MARK,
    "deprecation": _MARK,
    **dict.fromkeys(("kind", "owner", "source", "create_time", "circuit", "unavailable"), ""),
    "reports_progress": "",
}
"""What no update replaces, and what does."""


@dataclass(frozen=True, slots=True)
class Broken:
    """A break of one of a tool's schemas."""

    field: str
    """`tool.input_schema` or `tool.output_schema`."""
    where: Break

    def told(self) -> str:
        """For people."""
        is_input = self.field.endswith("input_schema")
        means = "refuses what was accepted" if is_input else "may return what it never did"
        return f"{means}, at {self.where.path or 'the root'}: {self.where.what}"


def updated(entry: Entry, new: Entry, mask: Collection[str]) -> Entry:
    """The entry with these fields of a new one.

    Raises:
        InvalidArgument: `INVALID_REQUEST`; the mask names something else.
    """
    if faults := list(_masked(mask, new)):
        raise invalid(*faults)
    names = {MASKED[name] for name in mask}
    target = new.target if "target" in names else entry.target
    changes: dict[str, Any] = {
        name: getattr(new.definition, name) for name in names if name != "target"
    }
    return replace(entry, definition=replace(entry.definition, **changes), target=target)


def is_same(one: Entry, other: Entry) -> bool:
    """Whether both do the same, and say the same of it."""
    return _content(one) == _content(other)


def broken(old: Definition, new: Definition) -> list[Broken]:
    """What of the schemas may break callers of the old version, by path: in one order wherever a
    schema's parts come in another, as those of a message's map do."""
    given = breaks_of_input(as_sent(old.input_schema.document), new.input_schema.document)
    returned = breaks_of_output(old.output_schema.document, new.output_schema.document)
    found = [
        *(Broken("tool.input_schema", each) for each in given),
        *(Broken("tool.output_schema", each) for each in returned),
    ]
    return sorted(found, key=lambda each: (each.field, each.where.path, each.where.what))


def version_after(old: Entry, new: Entry) -> str:
    """The version that a change makes. It says whether callers break, gain, or need not look."""
    before = old.definition.version
    if broken(old.definition, new.definition):
        return ver.after_break(before)
    is_gain = _schemas(old.definition) != _schemas(new.definition)
    return ver.after_addition(before) if is_gain else ver.after_correction(before)


def breaking(entry: Entry, old: str, breaks: Collection[Broken]) -> FailedPrecondition:
    """That a version breaks callers whom it must not."""
    first = next(iter(breaks))
    name, needed = entry.definition.name, ver.after_break(old)
    error = FailedPrecondition(
        "TOOL_CHANGE_BREAKING",
        f"{name} would break callers of {old}: "
        + "; ".join(f"{each.field} {each.told()}" for each in list(breaks)[:_SHOWN]),
        tool=name,
        version=entry.definition.version,
        compatible_with=old,
        field=first.field,
        schema_path=first.where.path,
        suggested_fix=f"send version {needed}, or a change that takes nothing away",
    )
    error.violations = [Violation(each.field, each.told()) for each in list(breaks)[:_SHOWN]]
    return error


def _masked(mask: Collection[str], new: Entry) -> Iterator[Violation]:
    for index, name in enumerate(list(mask)[:MAX_MASK]):
        if name in OUTPUT_ONLY:
            fix = OUTPUT_ONLY[name] or f"leave it out; use some of {', '.join(MASKED)}"
            yield Violation(f"update_mask[{index}]", f"is {name}, which is output only", fix)
        elif name not in MASKED:
            fix = f"use some of {', '.join(MASKED)}"
            yield Violation(f"update_mask[{index}]", "is no field that can be replaced", fix)
        elif name in TARGETS and not isinstance(new.target, TARGETS[name]):
            yield Violation(f"tool.{name}", "is to be replaced and is not there", f"send {name}")
    if len(mask) > MAX_MASK:
        yield Violation("update_mask", "names fields twice", "name each field once")


def _schemas(of: Definition) -> str:
    return _json([of.input_schema.document, of.output_schema.document])


def _content(of: Entry) -> tuple[object, ...]:
    definition = of.definition
    plain = [
        getattr(definition, name)
        for name in FIELDS
        if name not in {"input_schema", "output_schema", "examples", "default"}
    ]
    examples = [[each.query, each.input, each.output] for each in definition.examples]
    default = definition.default and [definition.default.value]
    free = _json([examples, default])  # As JSON: there, 1 and true are two things.
    return (*plain, definition.reports_progress, _schemas(definition), free, of.target, of.source)


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True)
