"""Models of the catalogue, as tasks ask for them."""

import grpc
from runplane.orchestrator.v1 import orchestrator_pb2 as pb

from tests.integration.inference.models import failure, service
from tests.integration.orchestrator.conftest import started
from tests.servers.models import Mind, serving_models

OTHER = (("runplane-tenant", "other"), ("runplane-subject", "somebody"))


def asking(model: str) -> pb.InvokeRequest:
    return pb.InvokeRequest(query="hello there", model=model)


async def test_a_model_is_asked_by_any_of_its_names_once_it_is_there() -> None:
    async with service() as models, started(inference_target=models.address) as suite:
        before = await failure(suite.stub.Invoke(asking("my"), timeout=10))
        await models.create({"name": "mine", "aliases": ["my"], "echo": {}})
        await models.loaded("mine")
        answered = await suite.stub.Invoke(asking("my"), timeout=10)

    assert before[1].reason == "MODEL_NOT_FOUND"
    assert (answered.result, answered.metadata.model) == ("hello there", "mine")


async def test_a_model_that_is_not_loaded_is_refused_before_there_is_a_task() -> None:
    async with service() as models, started(inference_target=models.address) as suite:
        await models.create({"name": "mine", "echo": {}})
        await models.loaded("mine")
        await models.unloaded("mine")
        code, info, _ = await failure(suite.stub.Invoke(asking("mine"), timeout=10))

    assert (code, info.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "MODEL_NOT_LOADED")
    assert ":load" in info.metadata["suggested_fix"]


async def test_a_tenants_models_are_not_anothers() -> None:
    async with service() as models, started(inference_target=models.address) as suite:
        await models.create({"name": "theirs", "echo": {}}, metadata=OTHER)
        request = asking("theirs")
        answered = await suite.stub.Invoke(request, timeout=10, metadata=OTHER)
        code, info, _ = await failure(suite.stub.Invoke(request, timeout=10))

    assert answered.result == "hello there"
    assert (code, info.reason) == (grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND")


async def test_where_only_vectors_are_served_nobody_is_told_to_leave_the_model_out() -> None:
    vectors = Mind(facts={"is_default": False, "capabilities": ["embed"]})
    async with (
        serving_models({"vectors": vectors}) as target,
        started(inference_target=target) as suite,
    ):
        code, info, _ = await failure(suite.stub.Invoke(asking(""), timeout=10))

    assert (code, info.reason) == (grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND")
    assert "generate" in info.metadata["suggested_fix"]
