"""Models of a file: loaded at the start, everybody's, and not the API's to change."""

import asyncio
from pathlib import Path

import grpc
import pytest
from google.longrunning import operations_pb2
from runplane.inference.v1 import entries_pb2, models_pb2

from services.chassis.errors import FailedPrecondition
from services.chassis.settings import SharedSettings
from services.inference.settings import Settings
from tests.integration.inference.models import LOOPBACK, failure, service
from tests.integration.inference.upstreams import WHOLE, Server, answer, saying, silence, streaming
from tests.integration.tool_registry.hosts import listening
from tests.servers.ports import free
from tests.servers.postgres import postgres

OTHER = (("runplane-tenant", "other"), ("runplane-subject", "somebody"))
TWO = """
models:
  - name: fast
    aliases: [quick]
    size_class: small
    input_price_usd: 0.5
    echo: {}
  - name: later
    load: false
    echo: {}
"""


def declared(tmp_path: Path, text: str, **more: object) -> Settings:
    file = tmp_path / "models.yaml"
    file.write_text(text)
    return Settings(models=file, server=LOOPBACK, **more)


async def test_declared_models_are_loaded_and_the_first_is_the_default(tmp_path: Path) -> None:
    async with service(declared(tmp_path, TWO)) as running:
        fast, later = await running.get("fast"), await running.get("later", metadata=OTHER)
        said = [await running.said(name) for name in ("", "fast", "quick")]

    assert (fast.state, fast.source, fast.is_default) == (
        entries_pb2.MODEL_STATE_READY,
        "file",
        True,
    )
    assert (fast.input_price_usd, fast.size_class) == (0.5, "small")
    assert later.state == entries_pb2.MODEL_STATE_UNLOADED
    assert said == ["hello there"] * 3


async def test_an_engine_that_is_set_beside_a_file_is_the_default(tmp_path: Path) -> None:
    async with service(declared(tmp_path, TWO, engine="echo")) as running:
        defaults = [(await running.get(name)).is_default for name in ("echo", "fast")]

    assert defaults == [True, False]


async def test_declared_models_are_not_changed_by_the_api(tmp_path: Path) -> None:
    async with service(declared(tmp_path, TWO)) as running:
        update = models_pb2.UpdateModelRequest(name="fast", model={"slots": 2})
        calls = [
            running.models.UpdateModel(update),
            running.models.DeleteModel(models_pb2.DeleteModelRequest(name="fast")),
            running.create({"name": "fast", "echo": {}}),
            running.models.UnloadModel(models_pb2.UnloadModelRequest(name="fast"), metadata=OTHER),
        ]
        failures = [await failure(call) for call in calls]
        said = await running.said("fast")

    assert [info.reason for _, info, _ in failures] == [
        "MODEL_NOT_CHANGEABLE",
        "MODEL_NOT_CHANGEABLE",
        "MODEL_ALREADY_EXISTS",
        "MODEL_NOT_YOURS",
    ]
    assert failures[3][0] == grpc.StatusCode.PERMISSION_DENIED
    assert said == "hello there"


async def test_what_was_said_of_loading_outlives_the_process(tmp_path: Path) -> None:
    shared = SharedSettings(page_token_key="ab" * 32, event_store=f"sqlite:///{tmp_path}")
    settings = declared(tmp_path, TWO)
    async with service(settings, shared) as running:
        await running.unloaded("fast")
        await running.loaded("later")
    async with service(settings, shared) as running:
        states = [(await running.get(name)).state for name in ("fast", "later")]

    assert states == [entries_pb2.MODEL_STATE_UNLOADED, entries_pb2.MODEL_STATE_READY]


async def test_every_fault_of_a_file_is_told_at_once_with_its_place(tmp_path: Path) -> None:
    text = """models:
  - name: a b
    echo: {}
  - name: two
    slots: 0
    llamacpp: {file: /etc/passwd}
    sise_class: small
  - name: two
    echo: {}
"""
    with pytest.raises(FailedPrecondition) as caught:
        async with service(declared(tmp_path, text)):
            pass

    assert caught.value.reason == "MODELS_FILE_INVALID"
    places = ["yaml:2:11", "yaml:5:12", "yaml:6:22", "yaml:7:5", "did you mean size_class?"]
    assert [place for place in places if place not in caught.value.message] == []


async def test_a_file_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    settings = Settings(models=tmp_path / "none.yaml", server=LOOPBACK)
    with pytest.raises(FailedPrecondition) as caught:
        async with service(settings):
            pass

    assert "none.yaml" in caught.value.message


async def test_one_that_cannot_be_loaded_keeps_nobody_from_starting(tmp_path: Path) -> None:
    text = f"{TWO}  - name: gone\n    llamacpp: {{file: gone.gguf}}\n"
    async with service(declared(tmp_path, text, models_dir=tmp_path)) as running:
        gone, said = await running.get("gone"), await running.said("fast")

    assert gone.state == entries_pb2.MODEL_STATE_FAILED
    assert gone.failure.reason == "MODEL_FILE_MISSING"
    assert said == "hello there"


async def test_an_upstream_may_be_declared_wherever_it_is(tmp_path: Path) -> None:
    async with listening(Server(streaming(*WHOLE), lists_models=True)) as port:
        text = f"""
models:
  - name: far
    context_tokens: 2048
    openai: {{url: "http://127.0.0.1:{port}/v1", model: big}}
"""
        async with service(declared(tmp_path, text)) as running:
            model = await running.get("far")
            said = await running.said("far", "Hi")

    assert (model.engine, model.state) == ("openai", entries_pb2.MODEL_STATE_READY)
    assert said == "Hello there"


async def test_an_upstream_that_refuses_the_key_names_the_entrys_own_member(
    tmp_path: Path,
) -> None:
    refused = saying(answer(b"{}", "401 Unauthorized"))
    async with listening(Server(refused, lists_models=False)) as port:
        text = f"""
models:
  - name: far
    context_tokens: 2048
    openai: {{url: "http://127.0.0.1:{port}/v1", model: big}}
"""
        async with service(declared(tmp_path, text)) as running:
            failure = (await running.get("far")).failure

    assert failure.reason == "ENGINE_FAILED"
    assert "openai.secret" in failure.message


async def test_an_upstream_that_was_away_is_asked_again(tmp_path: Path) -> None:
    port = free()
    text = f"""
models:
  - name: far
    context_tokens: 2048
    openai: {{url: "http://127.0.0.1:{port}/v1", model: big}}
"""
    settings = declared(tmp_path, text, catalogue={"look": 0.05}, engine="echo")
    async with service(settings) as running:
        before = await running.get("far")
        server = Server(streaming(*WHOLE), lists_models=True)
        async with listening(server, port=port), asyncio.timeout(20):
            while (await running.get("far")).state != entries_pb2.MODEL_STATE_READY:
                pass
            said = await running.said("far", "Hi")

    assert before.failure.reason == "ENGINE_FAILED"
    assert said == "Hello there"


async def test_a_load_that_is_cancelled_is_wanted_no_more(tmp_path: Path) -> None:
    async with listening(Server(silence, lists_models=False)) as port:
        text = f"""
models:
  - name: far
    load: false
    openai: {{url: "http://127.0.0.1:{port}/v1", model: big}}
"""
        async with service(declared(tmp_path, text, engine="echo")) as running:
            request = models_pb2.LoadModelRequest(name="far")
            started = await running.models.LoadModel(request)
            while not (await running.get("far")).is_wanted:
                pass
            cancel = operations_pb2.CancelOperationRequest(name=started.name)
            await running.operations.CancelOperation(cancel)
            done = await running.done(started)
            model = await running.get("far")

    assert done.error.code == grpc.StatusCode.CANCELLED.value[0]
    assert not model.is_wanted


async def test_processes_follow_what_each_other_stores() -> None:
    with postgres() as store:
        shared = SharedSettings(page_token_key="ab" * 32, event_store=store.url)
        settings = Settings(engine="echo", server=LOOPBACK, catalogue={"look": 0.05})
        async with service(settings, shared) as one, service(settings, shared) as two:
            await one.create({"name": "mine", "echo": {"delay_ms": 1}})
            created = (await two.get("mine")).name
            await two.loaded("mine")
            said = [await each.said("mine") for each in (one, two)]
            unloading = models_pb2.UnloadModelRequest(name="mine")
            started = await two.models.UnloadModel(unloading)
            done = await one.done(started)

    assert created == "mine"
    assert said == ["hello there"] * 2
    assert done.HasField("response")
