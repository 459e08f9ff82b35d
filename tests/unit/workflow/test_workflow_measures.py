"""What is counted of workflows."""

from services.workflow.measures import Measures
from tests.unit.workflow.flow import ONE, Flow

TWO_DAYS = 172_800.0


def test_a_workflow_counts_what_it_took_when_it_ends() -> None:
    measures, flow = Measures(), Flow(ONE)
    begun = flow.instance
    measures.appended(None, begun)
    before = dict(measures.durations.series)
    flow.do()
    flow.pass_time(TWO_DAYS)
    flow.signal("b")

    measures.appended(begun, flow.instance)

    assert before == {}
    ((labels, series),) = measures.durations.series.items()
    assert (labels, series.total) == (("d", "completed"), TWO_DAYS)
