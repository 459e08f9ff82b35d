from pathlib import Path

from services.chassis.documents.problem import Problem
from services.chassis.documents.report import MOST, report

FILE = Path("folder/models.yaml")


def test_faults_stand_a_line_each_in_the_order_of_the_file() -> None:
    problems = [Problem("b", "is odd", "use 2", 2, 4), Problem("a", "is missing", "", 1, 1)]

    assert report("models", FILE, problems).split("\n") == [
        "the models of folder/models.yaml cannot be used:",
        "  models.yaml:1:1: a is missing",
        "  models.yaml:2:4: b is odd (use 2)",
    ]


def test_faults_beyond_the_most_are_counted() -> None:
    problems = [Problem("", "is odd", "", n + 1, 1) for n in range(MOST + 3)]
    said = report("models", FILE, problems).split("\n")

    assert (len(said), said[-1]) == (MOST + 2, "  and 3 more")


def test_a_fault_without_a_place_names_the_file() -> None:
    assert report("models", FILE, [Problem("", "is empty")]).endswith("\n  models.yaml: is empty")
