"""Page sizes and page tokens."""

import base64
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.chassis.context import Principal, current, local_context
from services.chassis.errors import InvalidArgument
from services.chassis.paging import PAGE_BYTES, Pager

PAGER = Pager(bytes(32), "things")


@pytest.fixture(autouse=True)
def request_of_acme() -> Iterator[None]:
    token = current.set(local_context(Principal("acme")))
    yield
    current.reset(token)


def refused(token: str, **request: str) -> bool:
    with pytest.raises(InvalidArgument) as caught:
        PAGER.after(token, **request)
    return caught.value.reason == "PAGE_TOKEN_INVALID"


@pytest.mark.parametrize(
    ("asked", "given_"), [(0, 50), (1, 1), (1000, 1000), (1001, 1000), (2**31 - 1, 1000)]
)
def test_a_size_is_coerced_into_bounds(asked: int, given_: int) -> None:
    assert PAGER.size(asked) == given_


def test_a_negative_size_is_refused() -> None:
    with pytest.raises(InvalidArgument) as caught:
        PAGER.size(-1)

    assert caught.value.reason == "PAGE_SIZE_INVALID"
    assert caught.value.violations[0].field == "page_size"


class Things:
    """A list of things of these sizes."""

    def __init__(self, sizes: Sequence[int]) -> None:
        self._things = [(str(number), b"x" * size) for number, size in enumerate(sizes)]
        self.parts: list[int] = []

    async def read(self, *, after: str, limit: int) -> Sequence[tuple[str, bytes]]:
        """See `Read`."""
        start = int(after) + 1 if after else 0
        part = self._things[start : start + limit]
        self.parts.append(len(part))
        return part


async def test_a_long_page_is_read_whole_and_no_further() -> None:
    things = Things([1] * 2000)

    bodies, token = await PAGER.page(things.read, "9", 1000)

    assert (len(bodies), PAGER.after(token)) == (1000, "1009")
    assert sum(things.parts) == 1001


async def test_a_short_list_is_read_once() -> None:
    things = Things([1] * 50)

    assert len((await PAGER.page(things.read, "", 50))[0]) == 50
    assert things.parts == [50]


async def test_no_more_of_a_list_is_held_than_may_fit() -> None:
    things = Things([PAGE_BYTES // 10] * 1000)

    bodies, token = await PAGER.page(things.read, "", 1000)

    assert (len(bodies), PAGER.after(token)) == (10, "9")
    assert things.parts == [64]


@pytest.mark.parametrize(
    ("sizes", "shown"),
    [
        ([], 0),
        ([1, 1, 1], 2),
        ([PAGE_BYTES, 1, 1], 1),
        ([PAGE_BYTES - 1, 1, 1], 2),
        ([PAGE_BYTES + 1, 1, 1], 1),
    ],
)
async def test_a_page_shows_what_fits_and_something_at_any_rate(
    sizes: list[int], shown: int
) -> None:
    things = Things(sizes)

    bodies, token = await PAGER.page(things.read, "", 2)

    assert [len(each) for each in bodies] == sizes[:shown]
    assert (PAGER.after(token) if token else "") == (str(shown - 1) if len(sizes) > shown else "")


def test_the_first_page_comes_after_nothing() -> None:
    assert PAGER.after("") == ""


@given(
    after=st.text(st.characters(exclude_categories=["Cs"]), max_size=200),
    request=st.dictionaries(st.sampled_from(["filter", "parent", "order_by"]), st.text()),
)
def test_a_token_says_where_the_page_ended(after: str, request: dict[str, str]) -> None:
    assert PAGER.after(PAGER.token(after, **request), **request) == after


def test_a_token_does_not_show_what_it_says() -> None:
    token = PAGER.token("the-last-name")

    assert b"the-last-name" not in base64.urlsafe_b64decode(token)
    assert token != PAGER.token("the-last-name")


def test_a_token_of_another_request_is_refused() -> None:
    token = PAGER.token("a", filter="x")

    assert refused(token, filter="y")
    assert refused(token)


def test_a_token_of_another_tenant_is_refused() -> None:
    token = PAGER.token("a")
    current.set(local_context(Principal("other")))

    assert refused(token)


def test_a_token_of_another_key_is_refused() -> None:
    assert refused(Pager(b"\x01" * 32, "things").token("a"))


@given(token=st.text(min_size=1, max_size=100))
def test_any_text_that_is_no_token_is_refused(token: str) -> None:
    assert refused(token)


@pytest.mark.parametrize("token", ["x" * 10_000_000, "%%%", "AAAA", "\ud800"])
def test_odd_texts_are_refused(token: str) -> None:
    assert refused(token)


@given(at=st.integers(0, 40), bit=st.integers(0, 7))
def test_a_token_with_one_bit_changed_is_refused(at: int, bit: int) -> None:
    raw = bytearray(base64.urlsafe_b64decode(PAGER.token("abcdefghijklm")))
    raw[at] ^= 1 << bit

    assert refused(base64.urlsafe_b64encode(raw).decode())


def test_a_token_of_another_list_is_refused() -> None:
    assert refused(Pager(bytes(32), "other things").token("a"))
