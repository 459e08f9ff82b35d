"""Records histories of workflows from the real service: `python -m tests.histories.workflows`.

It writes those that are not there yet, and never changes one that is. Tools are a registry's over a
real socket, which does as the scenario says.
"""

import asyncio
import base64
import json
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import chain
from pathlib import Path
from typing import Any, Final

import grpc
from google.protobuf.struct_pb2 import Struct
from runplane.tool_registry.v1 import tool_registry_pb2 as tools_pb
from runplane.workflow.v1 import definitions_pb2 as definitions
from runplane.workflow.v1 import definitions_pb2_grpc as definitions_grpc
from runplane.workflow.v1 import workflow_pb2 as pb
from runplane.workflow.v1 import workflow_pb2_grpc as pb_grpc

from services.chassis import structs
from services.chassis.errors import InvalidArgument, Unavailable
from services.chassis.eventlog.times import from_micros
from services.chassis.settings import ClientSettings, ServerSettings, SharedSettings
from services.workflow.app import running
from services.workflow.settings import Settings, VerifySettings
from tests.servers.registry import Answer, Registry, registry, success

FOLDER: Final = Path(__file__).parent
EXAMPLES: Final = FOLDER.parents[1] / "examples" / "workflows"
LOOPBACK: Final = ServerSettings(listen="127.0.0.1:0", admin="127.0.0.1:0", grace=1)
TOOLS: Final = (
    ("reserve_stock", "release_stock"),
    ("charge_card", "refund_card"),
    ("ship_parcel", "recall_parcel"),
    ("look_at",),
)

SLOW = """
name: slow
initial: paying
state_machine:
  paying:
    on_enter:
      - {tool: reserve_stock, save_as: stock, compensation: {tool: release_stock}}
      - {tool: charge_card, save_as: payment, compensation: {tool: refund_card}}
    on_success: paid
  paid: {transitions: [sent, kept], on: {shipped: sent}}
  sent: {terminal: success}
"""
LATE = """
name: late
initial: open
state_machine:
  open: {transitions: [answered], timeout: {after: 200ms, target: forgotten}}
  forgotten: {terminal: failure}
"""
PARENT = """
name: parent
initial: asking
state_machine:
  asking:
    on_enter: [{workflow: child, input: {order: "${data.order}"}, save_as: child}]
    on_success: asked
"""
CHILD = """
name: child
initial: looking
state_machine:
  looking: {on_enter: [{tool: look_at, input: {order: "${data.order}"}}], on_success: seen}
"""
GUARDED = """
name: guarded
initial: open
state_machine:
  open:
    transitions: [closed]
    validator: {tool: look_at, input: {note: "${payload.note}"}}
"""
STUCK = """
name: stuck
initial: paying
state_machine:
  paying:
    on_enter:
      - tool: charge_card
        compensation: {tool: refund_card, retry: {attempts: 2, initial: 10ms}}
    on_success: paid
  paid: {transitions: [failed]}
  failed: {terminal: failure}
"""


@dataclass
class Client:
    """The service as a scenario sees it."""

    stub: "pb_grpc.WorkflowServiceAsyncStub"
    tools: Registry
    store: Path
    workflow_id: str = ""
    gates: dict[str, asyncio.Event] = field(default_factory=dict)

    async def start(self, definition: str, **data: object) -> None:
        """Start the workflow that is recorded."""
        asked = pb.StartWorkflowRequest(
            definition=definition, data=object_of(data), labels={"b": "2", "a": "1"}
        )
        self.workflow_id = (await self.stub.StartWorkflow(asked, timeout=5)).workflow_id

    async def signal(self, target: str = "", event: str = "", **payload: object) -> None:
        """Tell it something."""
        asked = pb.SignalWorkflowRequest(
            workflow_id=self.workflow_id, target=target, event=event, payload=object_of(payload)
        )
        await self.stub.SignalWorkflow(asked, timeout=5)

    async def until(self, *types: str) -> None:
        """Wait until its newest events are of these types."""
        asked = pb.WatchWorkflowRequest(workflow_id=self.workflow_id)
        seen: list[str] = []
        async with asyncio.timeout(40):
            async for event in self.stub.WatchWorkflow(asked):
                seen.append(event.type)
                if tuple(seen[-len(types) :]) == types:
                    return
        raise RuntimeError(f"{types} never came, but {seen}")

    def gate(self, name: str) -> Answer:
        """A tool that waits until it may go on."""
        self.gates[name] = asyncio.Event()

        async def answer(request: Any, tell: Any) -> tools_pb.CallToolResponse:
            await self.gates[name].wait()
            return success({"id": f"{name}_1"})

        return answer


def object_of(members: dict[str, object]) -> Struct:
    """As JSON goes over the wire."""
    return structs.from_dict(members, Struct())


def says(*answers: object) -> Answer:
    """A tool that answers these, one after another, and the last for ever."""
    left = list(answers)

    async def answer(request: Any, tell: Any) -> tools_pb.CallToolResponse:
        each = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(each, Exception):
            raise each
        return success(each)

    return answer


DOWN: Final = Unavailable("TOOL_DOWN", "it is down")
REFUSED: Final = InvalidArgument("CARD_REFUSED", "the card was refused")


async def approved(client: Client) -> None:
    await client.start("document_processing", title="Über uns", pages=12, share=0.25, tags=[])
    await client.signal("review", doc_id="doc_1", nested={"a": [1, None, True, {}]})
    asked = pb.ApproveTransitionRequest(workflow_id=client.workflow_id, comment="fine")
    await client.stub.ApproveTransition(asked, timeout=5)


async def rejected(client: Client) -> None:
    await client.start("document_processing")
    await client.signal("review")
    asked = pb.RejectTransitionRequest(
        workflow_id=client.workflow_id, comment="no", payload=object_of({"by": "law"})
    )
    await client.stub.RejectTransition(asked, timeout=5)


async def saga(client: Client) -> None:
    answers = client.tools.answers
    answers["reserve_stock"] = says(DOWN, {"reservation_id": "r1"})
    answers["charge_card"] = says(REFUSED)
    items = [{"sku": "s1", "count": 2, "price": 9.99}]
    await client.start("order_saga", order_id="o1", card="c1", items=items)
    await client.until("workflow_ended")


async def canceled(client: Client) -> None:
    client.tools.answers["charge_card"] = client.gate("charge_card")
    await client.start("slow")
    await client.until("workflow_started", "action_completed")
    asked = pb.CancelWorkflowRequest(workflow_id=client.workflow_id, reason="not wanted")
    await client.stub.CancelWorkflow(asked, timeout=5)
    await client.until("workflow_ended")


async def timed_out(client: Client) -> None:
    await client.start("late")
    await client.until("workflow_ended")


async def with_child(client: Client) -> None:
    await client.start("parent", order=7)
    await client.until("workflow_ended")


async def validated(client: Client) -> None:
    no = {"valid": False, "reason": "it is empty"}
    client.tools.answers["look_at"] = says(no, {"valid": True})
    await client.start("guarded")
    await client.signal("closed", note="")
    await client.until("validation_rejected")
    await client.signal("closed", note="all is well")
    await client.until("workflow_ended")


async def deferred(client: Client) -> None:
    client.tools.answers["charge_card"] = client.gate("charge_card")
    await client.start("slow")
    await client.until("workflow_started", "action_completed")
    await client.signal(event="shipped", tracking="t1")
    await client.until("signal_deferred")
    client.gates["charge_card"].set()
    await client.until("workflow_ended")


async def dropped(client: Client) -> None:
    client.tools.answers["charge_card"] = client.gate("charge_card")
    await client.start("slow")
    await client.until("workflow_started", "action_completed")
    await client.signal("paid", why="it leads there now")
    await client.signal("paid", why="and nowhere from there")
    await client.until("signal_deferred", "signal_deferred")
    client.gates["charge_card"].set()
    await client.until("signal_dropped")


async def resumed(client: Client) -> None:
    client.tools.answers["refund_card"] = says(DOWN, REFUSED, {"refund_id": "f1"})
    await client.start("stuck")
    await client.until("transition")
    await client.signal("failed")
    await client.until("compensation_failed")
    asked = pb.CompensateWorkflowRequest(workflow_id=client.workflow_id, reason="card works now")
    await client.stub.CompensateWorkflow(asked, timeout=5)
    await client.until("workflow_ended")


async def repaired(client: Client) -> None:
    await client.start("document_processing")
    with closing(sqlite3.connect(client.store)) as db, db:
        db.execute("update records set body = x'ff' where id = ?", (client.workflow_id,))
    asked = pb.VerifyWorkflowRequest(workflow_id=client.workflow_id)
    await client.stub.VerifyWorkflow(asked, timeout=5)
    await client.until("projection_repaired")


SCENARIOS: Final[dict[str, Callable[[Client], Awaitable[None]]]] = {
    "approved": approved,
    "rejected": rejected,
    "saga": saga,
    "canceled": canceled,
    "timed_out": timed_out,
    "child": with_child,
    "validated": validated,
    "deferred": deferred,
    "dropped": dropped,
    "resumed": resumed,
    "repaired": repaired,
}


@asynccontextmanager
async def clients(folder: Path) -> AsyncIterator[Client]:
    """The real service, with all definitions."""
    async with registry() as tools:
        for name in chain(*TOOLS):
            tools.add(name)
            tools.answers[name] = says({"id": f"{name}_1"})
        settings = Settings(
            server=LOOPBACK,
            tool_registry=ClientSettings(target=tools.address),
            verify=VerifySettings(interval=timedelta(0)),
        )
        shared = SharedSettings(page_token_key="00" * 32, event_store=f"sqlite:///{folder}")
        async with (
            running(settings, shared) as server,
            grpc.aio.insecure_channel(server.address) as channel,
        ):
            of_definitions = definitions_grpc.DefinitionServiceStub(channel)
            examples = [path.read_text() for path in sorted(EXAMPLES.glob("*.yaml"))]
            for text in (*examples, SLOW, LATE, CHILD, PARENT, GUARDED, STUCK):
                asked = definitions.CreateDefinitionRequest(yaml=text)
                await of_definitions.CreateDefinition(asked, timeout=5)
            yield Client(pb_grpc.WorkflowServiceStub(channel), tools, folder / "workflow.db")


async def recorded(client: Client) -> dict[str, Any]:
    """What is stored of a workflow, and its definition."""
    stub, workflow_id = client.stub, client.workflow_id
    shown = await stub.GetWorkflow(pb.GetWorkflowRequest(workflow_id=workflow_id), timeout=5)
    with closing(sqlite3.connect(client.store)) as db:
        (document,) = db.execute(
            "select body from records where kind = ? and id = ?",
            ("definition", shown.definition),
        ).fetchone()
        head, body = db.execute(
            "select json_extract(attributes, '$.head'), body from records"
            " where kind = 'workflow' and id = ?",
            (workflow_id,),
        ).fetchone()
        rows = db.execute(
            "select type, time, body from events where stream_id = ? order by sequence",
            (workflow_id,),
        ).fetchall()
    definition = definitions.Definition.FromString(document)
    return {
        "definition": structs.to_dict(definition.definition),
        "version": shown.version,
        "adds_up_to": {
            "status": shown.status,
            "state": shown.current_state,
            "sequence": shown.last_sequence,
            "head": head,
            "shown": base64.b64encode(body).decode(),
        },
        "events": [
            {
                "type": type_,
                "time": from_micros(time).isoformat(),
                "body": base64.b64encode(event).decode(),
            }
            for type_, time, event in rows
        ],
    }


async def main() -> None:
    """Record what is not there."""
    for name, scenario in SCENARIOS.items():
        path = FOLDER / f"workflow_{name}.json"
        if path.exists():
            continue
        with tempfile.TemporaryDirectory(prefix="runplane-history-") as folder:
            async with clients(Path(folder)) as client:
                await scenario(client)
                document = await recorded(client)
        path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    asyncio.run(main())
