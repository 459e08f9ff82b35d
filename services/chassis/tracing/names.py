"""Every name that traces use, in one table: they still move, so nothing else spells them out.

The names are those of OpenTelemetry's `semantic-conventions-genai`, and of its conventions for rpc,
http and messaging; what it has no word for begins with `runplane.`. `RENAMED` has what collectors
of an older set expect instead.
"""

from collections.abc import Mapping
from typing import Final

OPERATION: Final = "gen_ai.operation.name"
PROVIDER: Final = "gen_ai.provider.name"
MODEL: Final = "gen_ai.request.model"
ANSWERED_BY: Final = "gen_ai.response.model"
FINISH: Final = "gen_ai.response.finish_reasons"
MAX_TOKENS: Final = "gen_ai.request.max_tokens"
INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
CACHED_TOKENS: Final = "gen_ai.usage.cache_read.input_tokens"
AGENT: Final = "gen_ai.agent.name"
AGENT_ID: Final = "gen_ai.agent.id"
CONVERSATION: Final = "gen_ai.conversation.id"
TOOL: Final = "gen_ai.tool.name"
TOOL_CALL: Final = "gen_ai.tool.call.id"
TOOL_INPUT: Final = "gen_ai.tool.call.arguments"
TOOL_RESULT: Final = "gen_ai.tool.call.result"
WORKFLOW: Final = "gen_ai.workflow.name"
INPUT: Final = "gen_ai.input.messages"
OUTPUT: Final = "gen_ai.output.messages"

ERROR: Final = "error.type"
RPC_SYSTEM: Final = "rpc.system"
RPC_SERVICE: Final = "rpc.service"
RPC_METHOD: Final = "rpc.method"
HTTP_METHOD: Final = "http.request.method"
HTTP_STATUS: Final = "http.response.status_code"
HTTP_ROUTE: Final = "http.route"
URL_PATH: Final = "url.path"
MESSAGING: Final = "messaging.system"
DESTINATION: Final = "messaging.destination.name"
MESSAGE: Final = "messaging.message.id"

TASK: Final = "runplane.task_id"
WORKFLOW_ID: Final = "runplane.workflow_id"
TENANT: Final = "runplane.tenant"
STATUS: Final = "runplane.grpc_status"
STATE: Final = "runplane.state"
COST: Final = "runplane.cost_usd"
TOKENS: Final = "runplane.tokens"
QUEUE_MS: Final = "runplane.queue_ms"
FIRST_TEXT_MS: Final = "runplane.first_text_ms"
APPENDS: Final = "runplane.appends"
EVENTS: Final = "runplane.events"
APPEND_MS: Final = "runplane.append_ms"
CANCELED: Final = "runplane.canceled"

RENAMED: Final[Mapping[str, Mapping[str, str]]] = {
    "latest": {},
    "1.36": {
        PROVIDER: "gen_ai.system",
        CACHED_TOKENS: "runplane.cached_tokens",
        WORKFLOW: "runplane.workflow",
    },
}
"""By the set of names that a setting chooses: what is called something else in it."""
