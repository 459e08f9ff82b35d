"""The catalogue over gRPC: created, changed, loaded, unloaded, deleted."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import grpc
import pytest
from google.longrunning import operations_pb2
from google.protobuf.message import Message
from runplane.inference.v1 import entries_pb2, inference_pb2, models_pb2

from services.chassis.context import current, local_context
from services.chassis.eventlog.open import event_store
from services.chassis.hotstore.open import hot_store
from services.chassis.operations.kept import Order
from services.chassis.operations.runner import Handler, Setup, operating
from services.chassis.settings import SharedSettings
from services.inference.rpc.models import LOAD
from services.inference.settings import CatalogueSettings
from tests.integration.inference.models import Service, failure, reason, service

READY = entries_pb2.MODEL_STATE_READY
OTHER = (("runplane-tenant", "other"), ("runplane-subject", "somebody"))


@pytest.fixture
async def echo() -> AsyncIterator[Service]:
    async with service() as running:
        yield running


async def test_a_created_model_answers_by_its_name_and_its_aliases(echo: Service) -> None:
    made = await echo.create(
        {"name": "mine", "aliases": ["my"], "size_class": "small", "echo": {}, "slots": 3}
    )
    model = inference_pb2.Model()
    (await echo.loaded("mine")).response.Unpack(model)

    assert (made.revision, made.source, made.owner) == (1, "api", "local")
    assert (model.name, model.engine, model.state, model.slots) == ("mine", "echo", READY, 3)
    assert await echo.said("mine") == await echo.said("my") == "hello there"
    assert (await echo.get("my")).size_class == "small"


async def test_every_fault_of_a_model_is_told_at_once(echo: Service) -> None:
    bad = {
        "name": "a/b",
        "size_class": "huge",
        "slots": -1,
        "llamacpp": {"file": "../../etc/passwd", "threads": -2},
    }

    code, info, violations = await failure(echo.create(bad))

    assert (code, info.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "MODEL_INVALID")
    assert {each.field for each in violations} == {
        "model.name",
        "model.size_class",
        "model.slots",
        "model.llamacpp.file",
        "model.llamacpp.threads",
    }


@pytest.mark.parametrize(
    "model",
    [
        {"name": "x"},
        {"name": "x", "llamacpp": {}},
        {"name": "x", "llamacpp": {"file": "a.gguf", "package": "b"}},
        {"name": "x", "llamacpp": {"file": "/etc/a.gguf"}},
        {"name": "x", "openai": {"url": "ftp://a"}},
        {"name": "x", "openai": {"url": "http://user:key@host/v1"}},
        {"name": "x", "aliases": ["x"], "echo": {}},
        {"echo": {}},
    ],
)
async def test_a_model_that_cannot_be_is_refused(echo: Service, model: dict[str, object]) -> None:
    code, info, _ = await failure(echo.create(model))

    assert (code, info.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "MODEL_INVALID")
    assert len((await echo.models.ListModels(inference_pb2.ListModelsRequest())).models) == 1


@pytest.mark.parametrize("taken", [{"name": "echo"}, {"name": "x", "aliases": ["echo"]}])
async def test_a_name_that_is_taken_is_refused(echo: Service, taken: dict[str, object]) -> None:
    code, info, _ = await failure(echo.create({**taken, "echo": {}}))

    assert (code, info.reason) == (grpc.StatusCode.ALREADY_EXISTS, "MODEL_ALREADY_EXISTS")


async def test_models_are_their_tenants_own(echo: Service) -> None:
    await echo.create({"name": "theirs", "echo": {}}, metadata=OTHER)

    code, info, _ = await failure(echo.get("theirs"))
    unasked = await failure(echo.said("theirs"))

    assert (code, info.reason) == (grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND")
    assert unasked[1].reason == "MODEL_NOT_FOUND"
    assert (await echo.get("theirs", metadata=OTHER)).name == "theirs"


async def test_the_same_key_creates_once(echo: Service) -> None:
    request = models_pb2.CreateModelRequest(
        model={"name": "mine", "echo": {}}, idempotency_key="one"
    )
    first = await echo.models.CreateModel(request)
    second = await echo.models.CreateModel(request)
    request.model.slots = 2

    _, info, _ = await failure(echo.models.CreateModel(request))

    assert (first.name, first.revision) == (second.name, second.revision)
    assert info.reason == "IDEMPOTENCY_KEY_REUSED"


async def test_an_update_replaces_what_it_names(echo: Service) -> None:
    await echo.create({"name": "mine", "aliases": ["a"], "size_class": "small", "echo": {}})
    request = models_pb2.UpdateModelRequest(
        name="mine",
        model={"input_price_usd": 2.0, "revision": 1},
        update_mask=["aliases", "input_price_usd"],
    )

    changed = await echo.models.UpdateModel(request)
    stale = await failure(echo.models.UpdateModel(request))

    assert (changed.revision, list(changed.aliases), changed.size_class) == (2, [], "small")
    assert changed.input_price_usd == 2.0
    assert stale[1].reason == "MODEL_CONFLICT"


async def test_an_update_may_change_what_runs_it(echo: Service) -> None:
    await echo.create({"name": "mine", "echo": {"delay_ms": 1}})
    await echo.loaded("mine")
    update = models_pb2.UpdateModelRequest(name="mine", model={"slots": 7})

    await echo.models.UpdateModel(update)
    await echo.loaded("mine")

    assert (await echo.get("mine")).slots == 7
    assert await echo.said("mine") == "hello there"


@pytest.mark.parametrize("mask", [["name"], ["state"], ["nonsense"]])
async def test_an_update_of_what_cannot_change_is_refused(echo: Service, mask: list[str]) -> None:
    await echo.create({"name": "mine", "echo": {}})
    request = models_pb2.UpdateModelRequest(name="mine", model={}, update_mask=mask)

    code, _, violations = await failure(echo.models.UpdateModel(request))

    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert violations[0].field == "update_mask[0]"


async def test_the_settings_own_model_is_not_the_apis_to_change(echo: Service) -> None:
    calls = [
        echo.models.UpdateModel(models_pb2.UpdateModelRequest(name="echo", model={"slots": 2})),
        echo.models.DeleteModel(models_pb2.DeleteModelRequest(name="echo")),
        echo.models.UnloadModel(models_pb2.UnloadModelRequest(name="echo")),
    ]

    reasons = [(await failure(call))[1].reason for call in calls]

    assert reasons == ["MODEL_NOT_CHANGEABLE"] * 3
    assert await echo.said("echo") == "hello there"


async def test_an_unloaded_model_says_how_to_load_it(echo: Service) -> None:
    await echo.create({"name": "mine", "echo": {}})
    await echo.loaded("mine")
    await echo.unloaded("mine")

    code, info, _ = await failure(echo.said("mine"))
    again = await echo.loaded("mine")

    assert (code, info.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "MODEL_NOT_LOADED")
    assert ":load" in info.metadata["suggested_fix"]
    assert again.HasField("response")
    assert await echo.said("mine") == "hello there"


async def test_unloading_lets_a_stream_end_first(echo: Service) -> None:
    await echo.create({"name": "slow", "echo": {"delay_ms": 20}})
    await echo.loaded("slow")
    messages = [{"role": "user", "content": "one two three four five six"}]
    request = inference_pb2.GenerateRequest(model="slow", messages=messages)
    stream = echo.inference.StreamGenerate(request, timeout=20)
    first = await stream.read()

    unloading = await echo.models.UnloadModel(models_pb2.UnloadModelRequest(name="slow"))
    rest = []
    while (piece := await stream.read()) is not grpc.aio.EOF:
        rest.append(piece)
    done = await echo.done(unloading)

    assert (first.text + "".join(each.text for each in rest)).split()[-1] == "six"
    assert rest[-1].type == "complete"
    assert done.HasField("response")


async def test_a_deleted_model_is_gone_and_its_name_is_free(echo: Service) -> None:
    await echo.create({"name": "mine", "echo": {}})
    await echo.models.DeleteModel(models_pb2.DeleteModelRequest(name="mine"))

    code, info, _ = await failure(echo.get("mine"))
    again = await failure(echo.models.DeleteModel(models_pb2.DeleteModelRequest(name="mine")))
    made = await echo.create({"name": "mine", "echo": {}})

    assert (code, info.reason) == (grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND")
    assert again[1].reason == "MODEL_NOT_FOUND"
    assert made.revision == 1


async def test_a_tenant_has_so_many_models() -> None:
    async with service(catalogue=CatalogueSettings(most=1)) as running:
        await running.create({"name": "one", "echo": {}})
        code, info, _ = await failure(running.create({"name": "two", "echo": {}}))
        await running.create({"name": "two", "echo": {}}, metadata=OTHER)

    assert (code, info.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_MODELS")


async def test_a_model_without_its_file_fails_and_says_why(tmp_path: Path) -> None:
    async with service(models_dir=tmp_path) as running:
        await running.create({"name": "gone", "llamacpp": {"file": "gone.gguf"}})
        done = await running.loaded("gone")
        model = await running.get("gone")
        code, info, _ = await failure(running.said("gone"))
        other = await running.said("echo")

    assert reason(done) == model.failure.reason == info.metadata["cause"] == "MODEL_FILE_MISSING"
    assert (code, info.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "MODEL_NOT_LOADED")
    assert other == "hello there"


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/v1", "http://[::1]/v1", "http://10.1.2.3/v1"])
async def test_an_upstream_inside_is_not_for_tenants_to_name(echo: Service, url: str) -> None:
    code, info, _ = await failure(echo.create({"name": "inside", "openai": {"url": url}}))

    assert (code, info.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "TARGET_REFUSED")
    assert info.metadata["field"] == "model.openai.url"


async def test_models_are_listed_by_pages(echo: Service) -> None:
    for name in ("c", "a", "b"):
        await echo.create({"name": name, "echo": {}})
    names, token = [], ""
    while True:
        request = inference_pb2.ListModelsRequest(page_size=2, page_token=token)
        page = await echo.models.ListModels(request)
        names += [model.name for model in page.models]
        if not (token := page.next_page_token):
            break

    assert names == ["a", "b", "c", "echo"]


async def test_operations_can_be_listed_and_deleted(echo: Service) -> None:
    await echo.create({"name": "mine", "echo": {}})
    done = await echo.loaded("mine")
    request = operations_pb2.ListOperationsRequest(name="operations")
    listed = await echo.operations.ListOperations(request)
    await echo.operations.DeleteOperation(operations_pb2.DeleteOperationRequest(name=done.name))

    code, info, _ = await failure(
        echo.operations.GetOperation(operations_pb2.GetOperationRequest(name=done.name))
    )

    assert list(listed.operations) == [done]
    assert (code, info.reason) == (grpc.StatusCode.NOT_FOUND, "OPERATION_NOT_FOUND")


async def test_what_was_created_and_loaded_is_there_after_a_restart(tmp_path: Path) -> None:
    shared = SharedSettings(page_token_key="ab" * 32, event_store=f"sqlite:///{tmp_path}")
    async with service(shared=shared) as running:
        await running.create({"name": "mine", "aliases": ["my"], "echo": {}})
        await running.loaded("mine")
    async with service(shared=shared) as running, asyncio.timeout(10):
        await running.loaded("mine")
        said = await running.said("my")

    assert said == "hello there"


async def test_an_order_that_a_process_left_behind_is_done_by_the_next(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}"
    shared = SharedSettings(page_token_key="ab" * 32, event_store=url)

    async def never(order: Order) -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async with service(shared=shared) as running:
        await running.create({"name": "mine", "echo": {}})
        await running.unloaded("mine")
    async with event_store(url, service="inference") as store, hot_store("memory:") as hot:
        setup = Setup("dead", "test", lambda: datetime.now(UTC), lambda: "op_1")
        async with operating(store, hot, {LOAD: Handler(never)}, setup) as operations:
            current.set(local_context())
            started = await operations.start(LOAD, "mine", models_pb2.ModelOperation())
    slow = {"context_tokens": 512, "slots": 1}  # So the order is there before the models are known.
    async with service(shared=shared, engine="llamacpp", llamacpp=slow) as running:
        done = await running.done(started)
        said = await running.said("mine")

    assert done.HasField("response"), done.error
    assert said == "hello there"
