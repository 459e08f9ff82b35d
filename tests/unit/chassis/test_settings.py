from datetime import timedelta

import pytest
from pydantic import TypeAdapter, ValidationError

from services.chassis.settings import Duration

DURATION: TypeAdapter[timedelta] = TypeAdapter(Duration)


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("20", 20),
        ("1.5", 1.5),
        ("20s", 20),
        ("500ms", 0.5),
        ("5m", 300),
        ("1h", 3600),
        ("PT20S", 20),
    ],
)
def test_a_duration_is_written_as_people_write_it(written: str, seconds: float) -> None:
    assert DURATION.validate_python(written) == timedelta(seconds=seconds)


@pytest.mark.parametrize("written", ["soon", "", "20 parsecs", "-5x"])
def test_what_is_no_duration_is_refused(written: str) -> None:
    with pytest.raises(ValidationError):
        DURATION.validate_python(written)
