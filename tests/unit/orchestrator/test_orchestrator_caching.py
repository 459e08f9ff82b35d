"""What callers say of cached answers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.chassis.errors import InvalidArgument
from services.orchestrator.domain import caching
from services.orchestrator.domain.caching import CacheControl


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", CacheControl()),
        ("allow", CacheControl(is_allowed=True)),
        (" No-Cache ", CacheControl(is_asked=False)),
        ("no-store", CacheControl(is_kept=False)),
        ("max-age=60", CacheControl(max_age_seconds=60)),
        ('max-age="5", max-age=7', CacheControl(max_age_seconds=7)),
        ("only-if-cached", CacheControl(is_only=True)),
        (",allow,,max-age=0,", CacheControl(is_allowed=True, max_age_seconds=0)),
    ],
)
def test_words_say_what_they_say_to_any_cache(text: str, says: CacheControl) -> None:
    assert not [*caching.faults(text)]
    assert caching.control(text) == says


@pytest.mark.parametrize(
    "text",
    [
        "please",
        "max-age",
        "max-age=",
        "max-age=-1",
        "max-age=1.5",
        "max-age=1234567890",
        "max-age=\u0661",
        "no-store=1",
        "allow=yes",
        "=",
        "only-if-cached, no-store",
        "no-cache, only-if-cached",
        "allow," * 60,
    ],
)
def test_a_field_that_says_nothing_to_the_cache_is_refused(text: str) -> None:
    (fault, *_) = caching.faults(text)

    assert fault.field == "cache"
    assert fault.suggested_fix


@pytest.mark.parametrize(
    ("header", "field"),
    [
        ("no-cache", "no-cache"),
        ("private, max-stale=5, MAX-AGE=060", "max-age=60"),
        ('no-transform, private="a, b"', ""),
        ("", ""),
    ],
)
def test_of_a_header_only_words_for_this_cache_count(header: str, field: str) -> None:
    assert caching.of_header(header) == field


@pytest.mark.parametrize(
    "header", ["max-age=soon", "no-store=1", "only-if-cached, no-cache", "x" * 257]
)
def test_a_header_that_says_a_word_of_ours_wrongly_is_refused(header: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        caching.of_header(header)

    assert caught.value.metadata["field"] == "cache-control"
    assert caught.value.metadata["suggested_fix"]


@pytest.mark.parametrize(
    ("text", "temperature", "covers"),
    [
        ("", 0.0, True),
        ("", None, False),
        ("", 0.7, False),
        ("allow", None, True),
        ("allow", 0.7, True),
        ("no-store", 0.0, False),
        ("allow, no-store", 0.0, False),
        ("no-cache", 0.0, True),
    ],
)
def test_only_what_is_always_the_same_is_cached_unless_the_caller_allows_more(
    text: str, temperature: float | None, covers: bool
) -> None:
    assert caching.control(text).covers(temperature) is covers


WORDS = st.sampled_from(["allow", "no-cache", "NO-STORE", "max-age=5", "max-age", "only-if-cached"])


@given(st.lists(WORDS | st.text(max_size=8), max_size=60).map(",".join) | st.text(max_size=300))
def test_whatever_a_header_says_it_is_refused_or_means_the_same_in_the_log(header: str) -> None:
    try:
        kept = caching.of_header(header)
    except InvalidArgument:
        assert (
            len(header) > 256 or "=" in header or "only-if-cached" in header or "max-age" in header
        )
        return

    assert not [*caching.faults(kept)]
    assert caching.control(kept) == caching.control(header)
