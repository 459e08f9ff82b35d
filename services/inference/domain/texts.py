"""Texts that models read without answering: what is taken of them."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from services.chassis.errors import InvalidArgument, Violation, invalid

MAX_INPUTS: Final = 128
MAX_ANSWER_BYTES: Final = 3 * 1024 * 1024
"""Of the texts or numbers of an answer; a message has at most 4 MiB."""


def text_faults(
    inputs: Sequence[str], others: Sequence[str] = (), *, field: str = "inputs", max_bytes: int
) -> Iterator[Violation]:
    """What is wrong with all of the texts together; `others` count towards their size.

    Raises:
        InvalidArgument: `INVALID_REQUEST`; one of them is not text.
    """
    if not 1 <= len(inputs) <= MAX_INPUTS:
        fault = f"has {len(inputs)} texts; 1 to {MAX_INPUTS} are taken"
        yield Violation(field, fault, f"send 1 to {MAX_INPUTS} texts at a time")
    size = sum(size_of(text, field) for text in (*inputs, *others))
    if size > max_bytes:
        fault = f"makes {size} bytes with all other texts; at most {max_bytes} are taken"
        yield Violation(field, fault, "send less text at a time")


def too_large(inputs: int, each_bytes: int) -> Iterator[Violation]:
    """What is wrong where each of the texts makes so many bytes of the answer."""
    if inputs * each_bytes > MAX_ANSWER_BYTES:
        most = MAX_ANSWER_BYTES // each_bytes
        fault = f"has {inputs} texts, whose answer has more than {MAX_ANSWER_BYTES} bytes"
        yield Violation("inputs", fault, f"send at most {most} texts at a time")


def empty(field: str) -> InvalidArgument:
    """A text that has nothing in it."""
    return invalid(Violation(field, "is empty", "send a text"))


def at(error: InvalidArgument, field: str) -> InvalidArgument:
    """The same error about the field that the caller knows."""
    fix = "send a shorter text, or fewer and shorter labels and examples"
    found = [replace(each, field=field, suggested_fix=fix) for each in error.violations]
    renamed = invalid(*found, reason=error.reason)
    renamed.metadata = {**error.metadata, **renamed.metadata}
    return renamed


def size_of(text: str, field: str) -> int:
    """A text's bytes.

    Raises:
        InvalidArgument: `INVALID_REQUEST`; it is not text.
    """
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        fix = "send valid UTF-8, without lone surrogates"
        raise invalid(Violation(field, "is not valid text", fix)) from None
