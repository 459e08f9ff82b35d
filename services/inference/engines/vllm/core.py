"""What is used of vLLM. The only module that imports it, which takes seconds: so it is imported
late, and in a thread."""

import itertools
import os
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, fields
from typing import Any, Final

from vllm.config import PoolerConfig
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.exceptions import VLLMClientError, VLLMError
from vllm.lora.request import LoRARequest
from vllm.pooling_params import PoolingParams
from vllm.renderers.params import ChatParams, TokenizeParams
from vllm.sampling_params import RequestOutputKind, SamplingParams, StructuredOutputsParams
from vllm.usage.usage_lib import UsageContext
from vllm.v1.engine.async_llm import AsyncLLM

from services.chassis.errors import FailedPrecondition, ServiceError, Violation, invalid
from services.inference.domain.request import Message, Priority, Request, Sampling
from services.inference.engines import chat, failures
from services.inference.engines.vllm.options import Options
from services.inference.engines.vocabulary import taming

_WHOLE: Final = ChatParams(
    chat_template_kwargs={"add_generation_prompt": True, "tokenize": False},
    chat_template_content_format="auto",
)
_RARELY: Final = 1_000_000  # Tokens between two pieces of somebody who wants no pieces.
_MAX_SEED: Final = 0x7FFF_FFFF_FFFF_FFFF
_STOP_SECONDS: Final = 1.0  # Nothing runs by then. Left alone, it takes five.
MOST_CHOICES: Final = 128
"""Tokens whose probability vLLM tells for one position."""

# What vLLM takes from the environment alone, and what has to be so in a process like ours: it has
# threads, so that children must not be forked from it, and logs of its own.
_ENVIRONMENT: Final = {
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
    "VLLM_CONFIGURE_LOGGING": "0",
    "VLLM_NO_USAGE_STATS": "1",
}
# Arguments that follow from others, or that this adapter rests on.
_OWN: Final = frozenset(
    {
        "model",
        "served_model_name",
        "max_model_len",
        "max_num_seqs",
        "runner",
        "convert",
        "pooler_config",
        "enable_lora",
        "max_loras",
        "max_cpu_loras",
        "max_lora_rank",
        "lora_modules",
        "scheduling_policy",
        "structured_outputs_config",
        "logprobs_mode",
        "disable_log_stats",
        "enable_log_requests",
        "skip_tokenizer_init",
    }
)


class _Engine(AsyncLLM):  # type: ignore[misc] # vLLM is not there where types are checked.
    """One that is shut down by who started it, and not once more when the interpreter ends, with
    half of what that needs gone."""

    def __del__(self) -> None:
        pass


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt as tokens."""

    inputs: Mapping[str, Any]

    @property
    def tokens(self) -> Sequence[int]:
        """All of them."""
        tokens: Sequence[int] = self.inputs["prompt_token_ids"]
        return tokens


def started(options: Options) -> "Core":
    """A running engine. Blocks for as long as the model takes to load.

    Raises:
        FailedPrecondition: `ENGINE_MISCONFIGURED`.
        Unavailable: `ENGINE_FAILED`.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        # As its own server is started, whose sizes for a GPU's batches are not the library's.
        context = UsageContext.OPENAI_API_SERVER
        return Core(_Engine.from_engine_args(_arguments(options), usage_context=context), options)
    except (VLLMError, ValueError, TypeError, RuntimeError, OSError) as error:
        raise failures.engine_failed(f"{options.model} cannot be loaded: {error}") from error


def _arguments(options: Options) -> AsyncEngineArgs:
    known = {each.name for each in fields(AsyncEngineArgs)} - _OWN
    if unknown := sorted(set(options.arguments) - known):
        message = f"{options.variable}ARGUMENTS: has {unknown[0]!r}, which is no argument of vLLM's"
        if unknown[0] in _OWN:
            message += " that can be set so: a setting or the engine itself says it"
        raise FailedPrecondition("ENGINE_MISCONFIGURED", message, argument=unknown[0])
    return AsyncEngineArgs(
        model=options.model,
        served_model_name=[options.name],
        max_model_len=options.context_tokens,
        max_num_seqs=options.slots,
        scheduling_policy="priority",
        structured_outputs_config={"backend": "guidance"},
        disable_log_stats=not options.is_measured,
        **_pooling(options),
        **_adapters(options),
        **options.arguments,
    )


def _pooling(options: Options) -> dict[str, Any]:
    if options.pooling is None:
        return {"runner": "generate"}
    how = "MEAN" if options.pooling == "mean" else None
    return {
        "runner": "pooling",
        "convert": "embed",
        "pooler_config": PoolerConfig(pooling_type=how, use_activation=True),
    }


def _adapters(options: Options) -> dict[str, Any]:
    count = len(options.adapters)
    if not count:
        return {}
    return {
        "enable_lora": True,
        "max_loras": min(count, 8, options.slots),
        "max_cpu_loras": count,  # None is ever read again: a folder that is gone would kill it.
        "max_lora_rank": options.rank,
    }


class Core:
    """A vLLM engine in this process; its model runs in processes of its own."""

    def __init__(self, engine: AsyncLLM, options: Options) -> None:
        self._engine = engine
        self._options = options
        self._numbers = itertools.count(1)
        tokenizer = engine.renderer.get_tokenizer()
        spelled = {token.strip() for token in tokenizer.get_added_vocab()}
        self.tame = taming([token for token in spelled if len(token) >= 3])
        self.end: int = tokenizer.eos_token_id
        self.context_tokens: int = engine.model_config.max_model_len
        self._advised: dict[str, Any] = engine.model_config.get_diff_sampling_param()
        self._advised.pop("max_tokens", None)
        self._adapters: dict[str, LoRARequest] = {}

    @property
    def commit(self) -> str | None:
        """Which one of a model's versions on a hub it is."""
        return getattr(self._engine.model_config.hf_config, "_commit_hash", None)

    async def prepare(self) -> None:
        """Load the adapters, and see that the model can be talked to.

        Raises:
            Unavailable: `ENGINE_FAILED`; says what is wrong.
        """
        if self._options.pooling is not None:
            return
        try:
            await self.prompt([Message("user", "Hello")])
        except VLLMError as error:
            raise failures.engine_failed(f"the chat template does not work: {error}") from None
        for number, (name, path) in enumerate(self._options.adapters.items(), start=1):
            adapter = LoRARequest(name, number, str(path))
            try:
                await self._engine.add_lora(adapter)
            except Exception as error:  # noqa: BLE001 - it raises no narrower one
                raise failures.engine_failed(f"adapter {name} cannot be loaded: {error}") from None
            self._adapters[name] = adapter

    async def prompt(self, messages: Sequence[Message], prefix: str = "") -> Prompt:
        """What the model reads: the messages by its own template, and the start of its turn.

        Raises:
            InvalidArgument: `INVALID_REQUEST`; the template refuses the messages.
        """
        turns: Any = chat.turns(messages, prefix)
        begun = turns.pop()["content"] if prefix else ""
        try:
            renderer = self._engine.renderer
            _, rendered = await renderer.render_messages_async(turns or [_NOTHING], _WHOLE)
        except VLLMClientError as error:
            fault = f"is nothing that the model's template takes: {error}"
            raise invalid(Violation("messages", fault[:500], "send other roles")) from None
        return await self._tokenized(rendered["prompt"] + begun, add_special_tokens=False)

    async def text(self, text: str) -> Prompt:
        """A text as it is, with what the model wants around it."""
        return await self._tokenized(text, add_special_tokens=True)

    async def spelled(self, text: str) -> Sequence[int]:
        """The tokens of a text."""
        return (await self._tokenized(text, add_special_tokens=False)).tokens

    async def _tokenized(self, text: str, *, add_special_tokens: bool) -> Prompt:
        renderer = self._engine.renderer
        params = TokenizeParams(max_total_tokens=None, add_special_tokens=add_special_tokens)
        tokens = await renderer.tokenize_prompt_async({"prompt": text}, params)
        return Prompt(await renderer.process_for_engine_async(tokens, time.time()))

    async def generate(
        self, request: Request, prompt: Prompt, limit: int, *, is_whole: bool
    ) -> AsyncGenerator[Any, None]:
        """vLLM's outputs: what is new of the text, until it is finished.

        Raises:
            InvalidArgument: `SCHEMA_INVALID`.
            Unavailable: `ENGINE_FAILED`.
        """
        try:
            params = self._sampling(request, limit, is_whole=is_whole)
            async with aclosing(self._run(prompt.inputs, params, request)) as outputs:
                async for output in outputs:
                    yield output
        except VLLMClientError as error:
            raise _refused(request, str(error)) from None
        except VLLMError as error:
            raise failures.engine_failed(_words(error)) from error

    def _run(
        self, inputs: Mapping[str, Any], params: SamplingParams, request: Request
    ) -> AsyncGenerator[Any, None]:
        outputs: AsyncGenerator[Any, None] = self._engine.generate(
            dict(inputs),
            params,
            str(next(self._numbers)),
            lora_request=self._adapters.get(request.model),
            priority=int(request.priority),
        )
        return outputs

    def _sampling(self, request: Request, limit: int, *, is_whole: bool) -> SamplingParams:
        sampling = request.sampling
        asked = self._advised | _told(self._options) | _told(sampling)
        return SamplingParams(
            **asked,
            max_tokens=limit,
            stop=list(sampling.stop),
            seed=None if sampling.seed is None else sampling.seed & _MAX_SEED,
            output_kind=RequestOutputKind.DELTA,
            stream_interval=_RARELY if is_whole else None,
            structured_outputs=_bound(request),
        )

    async def chances(
        self, prompt: Prompt, said: Sequence[int], tokens: Sequence[int], asked: Request
    ) -> Mapping[int, float]:
        """The log-probability of each of the tokens, at most `MOST_CHOICES`, behind what was said.

        Raises:
            Unavailable: `ENGINE_FAILED`.
        """
        params = SamplingParams(
            temperature=0.0,
            max_tokens=1,
            logprob_token_ids=list(tokens),
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        inputs = {"type": "token", "prompt_token_ids": [*prompt.tokens, *said]}
        try:
            async with aclosing(self._run(inputs, params, asked)) as outputs:
                async for output in outputs:
                    found = output.outputs[0].logprobs[0]
        except VLLMError as error:
            raise failures.engine_failed(_words(error)) from error
        return {token: float(found[token].logprob) for token in tokens}

    async def vector(self, prompt: Prompt, priority: Priority) -> Sequence[float]:
        """A text as numbers.

        Raises:
            Unavailable: `ENGINE_FAILED`.
        """
        number = str(next(self._numbers))
        encoding = self._engine.encode(
            dict(prompt.inputs), PoolingParams(task="embed"), number, priority=int(priority)
        )
        try:
            async with aclosing(encoding) as outputs:
                async for output in outputs:
                    vector: Sequence[float] = output.outputs.data.tolist()
        except VLLMError as error:
            raise failures.engine_failed(_words(error)) from error
        return vector

    async def check(self) -> None:
        """Whether the processes of the model live.

        Raises:
            Unavailable: `ENGINE_FAILED`; they do not.
        """
        try:
            await self._engine.check_health()
        except VLLMError as error:
            raise failures.engine_failed(_words(error)) from None

    def close(self) -> None:
        """Stop the processes of the model. Blocks."""
        self._engine.shutdown(timeout=_STOP_SECONDS)


_NOTHING: Final = {"role": "user", "content": ""}


def _bound(request: Request) -> StructuredOutputsParams | None:
    """What binds the output."""
    if request.schema is not None:
        return StructuredOutputsParams(grammar=chat.grammar(request.schema.document))
    constraint = request.constraint
    if not constraint.fields:
        return None
    return StructuredOutputsParams(
        choice=list(constraint.choice) or None,
        regex=constraint.regex or None,
        grammar=constraint.grammar or None,
    )


def _refused(request: Request, why: str) -> ServiceError:
    """What vLLM does not take of a request. All but what binds the output was looked at before."""
    if request.schema is not None:
        return failures.schema_refused(why)
    for field in request.constraint.fields:
        return failures.constraint_refused(field, why)
    return failures.engine_failed(why)


def _told(where: Options | Sampling) -> dict[str, Any]:
    """What is said of how to choose tokens."""
    told = {"temperature": where.temperature, "top_p": where.top_p}
    return {name: value for name, value in told.items() if value is not None}


def _words(error: VLLMError) -> str:
    """What it says, or what it is."""
    return str(error) or type(error).__name__
