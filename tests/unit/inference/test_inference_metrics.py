"""How busy engines are, as `/metrics` shows it."""

from services.chassis.errors import Unavailable
from services.chassis.metrics import Metrics
from services.inference.domain.model import Model
from services.inference.engines.echo.engine import EchoEngine
from services.inference.metrics import families


class Loading(EchoEngine):
    """One that is not there yet."""

    def models(self) -> tuple[Model, ...]:
        """None."""
        raise Unavailable("ENGINE_LOADING", "not yet")


async def page(*engines: EchoEngine) -> list[str]:
    metrics = Metrics()
    metrics.include(families(lambda: engines))
    _, text = await metrics.written("")
    return text.decode().splitlines()


async def test_requests_that_run_and_wait_have_the_names_that_autoscalers_know() -> None:
    engine = EchoEngine(slots=2, queue=1)
    await engine._slots.acquire()

    lines = await page(engine)

    labels = '{engine="echo",model_name="echo"}'
    assert f"vllm:num_requests_running{labels} 1.0" in lines
    assert f"vllm:num_requests_waiting{labels} 0.0" in lines
    assert f"runplane_inference_slots{labels} 2.0" in lines


async def test_an_engine_that_is_being_loaded_has_no_figures() -> None:
    lines = [line for line in await page(Loading()) if not line.startswith("#")]

    assert lines == []
