"""Distributions and counts, as `/metrics` shows them."""

import asyncio

from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_families
from prometheus_client.parser import text_string_to_metric_families as families

from services.chassis.histograms import MOST, OTHER, Histogram, Tally
from services.chassis.metrics import CONTENT_TYPE, OPEN_CONTENT_TYPE, Figure, Metrics

TRACE = "0af7651916cd43dd8448eb211c80319c"
OPEN = "application/openmetrics-text; version=1.0.0, text/plain;q=0.5"


def shown(*figures: Histogram | Tally) -> Metrics:
    metrics = Metrics()
    metrics.show(*figures)
    return metrics


async def page(metrics: Metrics) -> str:
    _, text = await metrics.written("")
    return text.decode()


async def test_buckets_count_all_that_were_at_most_their_bound() -> None:
    histogram = Histogram("took_seconds", "What it took.", ["kind"], (1.0, 5.0))
    for value in (0.5, 1.0, 3.0, 10.0):
        histogram.observe(value, "read")

    (family,) = families(await page(shown(histogram)))

    counts = {each.labels["le"]: each.value for each in family.samples if "le" in each.labels}
    assert counts == {"1.0": 2, "5.0": 3, "+Inf": 4}
    assert [each.value for each in family.samples if each.name == "took_seconds_sum"] == [14.5]


def test_more_label_values_than_are_kept_apart_are_all_others() -> None:
    histogram, tally = Histogram("took_seconds", "t", ["a"]), Tally("done", "d", ["a"])
    for number in range(MOST + 50):
        histogram.observe(1.0, f"tool{number}")
        tally.add(1, f"tool{number}")

    assert len(histogram.series) == MOST + 1
    assert len(tally.counts) == MOST + 1
    assert histogram.series[OTHER,].total == 50
    assert tally.counts[OTHER,] == 50


def test_a_flood_does_not_hide_how_things_end() -> None:
    histogram, tally = Histogram("took_seconds", "t", ["a", "b"]), Tally("done", "d", ["a", "b"])
    for number in range(MOST):
        histogram.observe(1.0, f"route{number}", "404")
        tally.add(1, f"route{number}", "404")

    histogram.observe(1.0, "/v1/agent/invoke", "500")
    tally.add(1, "/v1/agent/invoke", "500")

    assert histogram.series[OTHER, "500"].total == 1
    assert tally.counts[OTHER, "500"] == 1


def test_a_flood_of_all_labels_is_bounded_too() -> None:
    histogram, tally = Histogram("took_seconds", "t", ["a", "b"]), Tally("done", "d", ["a", "b"])
    for number in range(3 * MOST):
        histogram.observe(1.0, f"a{number}", f"b{number}")
        tally.add(1, f"a{number}", f"b{number}")

    assert len(histogram.series) == len(tally.counts) == 2 * MOST + 1
    assert histogram.series[OTHER, OTHER].total == tally.counts[OTHER, OTHER] == MOST


async def test_a_bucket_shows_its_last_trace_to_those_who_ask_for_open_metrics() -> None:
    histogram = Histogram("took_seconds", "What it took.", (), (1.0, 5.0))
    histogram.observe(0.25, trace_id=TRACE)
    histogram.observe(3.0)

    media_type, text = await shown(histogram).written(OPEN)

    (family,) = open_families(text.decode())
    examples = {each.labels["le"]: each.exemplar for each in family.samples if each.exemplar}
    assert media_type == OPEN_CONTENT_TYPE
    assert {le: (each.labels, each.value) for le, each in examples.items()} == {
        "1.0": ({"trace_id": TRACE}, 0.25)
    }


async def test_the_plain_format_has_no_traces() -> None:
    histogram = Histogram("took_seconds", "What it took.")
    histogram.observe(0.25, trace_id=TRACE)

    media_type, text = await shown(histogram).written("text/plain")

    assert media_type == CONTENT_TYPE
    assert TRACE not in text.decode()


async def test_a_figure_of_too_many_values_shows_the_largest_and_the_rest_as_one() -> None:
    read = {f"topic{number}": float(number) for number in range(10 * MOST)}
    metrics = Metrics([Figure("waiting", "What waits.", lambda: read, label="topic")])

    (family,) = families(await page(metrics))

    shown = {each.labels["topic"]: each.value for each in family.samples}
    assert len(shown) == MOST + 1
    assert shown[f"topic{10 * MOST - 1}"] == 10 * MOST - 1
    assert sum(shown.values()) == sum(read.values())


async def test_others_are_served_while_a_large_page_is_written() -> None:
    histogram = Histogram("took_seconds", "What it took.", ["a"])
    for number in range(MOST):
        histogram.observe(1.0, f"route{number}")
    metrics = shown(histogram)

    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        writing = group.create_task(metrics.written(""))
        turns = 0
        while not writing.done():
            await asyncio.sleep(0)
            turns += 1

    assert turns > 2
    assert writing.result()[1].count(b"\ntook_seconds_count{") == MOST
