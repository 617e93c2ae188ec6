"""The vLLM backend: a Hugging Face checkpoint run by vLLM's offline engine, which starts its own processes.

Requests run concurrently, each with its own seed, and completions arrive as they finish. Prompts with a common prefix
share its cache, so thinking that is stopped and continued is read once. vLLM's own `thinking_token_budget` is not used,
so that a budget means the same everywhere: in 0.32 its two model runners differ, and for the first one, which runs on
CPUs, only the whole closing sentence ends the thinking (vllm/v1/sample/thinking_budget_state.py). The number format is
fp32 on a CPU and bf16 on a GPU. Existing servers are left to `openai`.

    model = VLLMModel("checkpoints/sft", concurrency=256)
    model.prepare(longest_prompt=512, max_tokens=4096)
    for index, completion, seconds in model.stream(model.render(["Add 2 and 3."]), Sampling(64), seeds=[0]): ...
"""

# vLLM needs an environment of its own, which the type checker does not see.
# pyright: reportMissingImports=false

import asyncio
import os
import time
from collections.abc import Generator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from math_eval.errors import DataError, MathEvalError

from . import Arrival, Completion, Sampling
from .background import Background
from .checkpoint import Checkpoint
from .stopping import Answer, Ask, finish_alone, plan, request_seed

os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")

import vllm
from vllm import AsyncEngineArgs, AsyncLLMEngine, SamplingParams
from vllm.platforms import current_platform
from vllm.sampling_params import RequestOutputKind
from vllm.v1.engine.exceptions import EngineDeadError


class VLLMModel(Checkpoint):
    """A checkpoint; the engine starts in `prepare`, which is given the size of the requests.

    Args:
        folder: A model folder with safetensors weights and a tokenizer.
        concurrency: Maximum number of requests in flight.
        tensor_parallel: Number of devices that the model is split over.
        data_parallel: Number of copies of the model.
        tokenizer: The tokenizer of the folder, if it is loaded.

    Raises:
        DataError: The folder cannot be loaded safely.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        concurrency: int = 32,
        tensor_parallel: int = 1,
        data_parallel: int = 1,
        tokenizer: Any = None,
    ) -> None:
        super().__init__(folder, tokenizer=tokenizer)
        self._concurrency = concurrency
        self._parallel = {"tensor_parallel_size": tensor_parallel, "data_parallel_size": data_parallel}
        self._on_cpu = current_platform.is_cpu()
        self._dtype = "float32" if self._on_cpu else "bfloat16"
        self._background = Background()
        self._engine: AsyncLLMEngine | None = None
        self._length = 0

    @property
    def environment(self) -> dict[str, str]:
        """Versions, device and number format."""
        return {
            "backend": "vllm",
            "vllm": vllm.__version__,
            "torch": version("torch"),
            "transformers": version("transformers"),
            "device": current_platform.device_type,
            "dtype": self._dtype,
        }

    def prepare(self, longest_prompt: int, max_tokens: int) -> None:
        """Start the engine for requests up to this size; one that takes such requests goes on.

        Raises:
            DataError: Such a request exceeds the model's context, or vLLM cannot run this checkpoint.
        """
        super().prepare(longest_prompt, max_tokens)
        if self._engine is not None and longest_prompt + max_tokens <= self._length:
            return
        self._end_engine()
        self._length = longest_prompt + max_tokens
        try:
            self._engine = AsyncLLMEngine.from_engine_args(
                AsyncEngineArgs(
                    str(self.path),
                    dtype=self._dtype,
                    max_model_len=self._length,
                    max_num_seqs=self._concurrency,
                    enable_prefix_caching=True,
                    enforce_eager=self._on_cpu,  # on a CPU, compiling takes longer than most runs
                    skip_tokenizer_init=True,
                    load_format="safetensors",
                    generation_config="vllm",  # nothing of generation_config.json; `ends` has its end tokens
                    trust_remote_code=False,
                    disable_log_stats=True,
                    **self._parallel,
                )
            )
        except (OSError, ValueError, RuntimeError) as error:
            raise DataError(f"{self.path}: vLLM cannot run it ({' '.join(str(error).split())[:300]})") from error

    def stream(
        self, prompts: Sequence[str], sampling: Sampling, seeds: Sequence[int]
    ) -> Generator[Arrival, None, None]:
        """Complete prompts concurrently.

        Raises:
            MathEvalError: The engine died.
        """

        async def ask(index: int) -> Arrival:
            start = time.perf_counter()
            completion = await self._complete(index, prompts[index], sampling, seeds[index])
            return index, completion, time.perf_counter() - start

        return self._background.stream(ask, len(prompts), self._concurrency)

    async def _complete(self, index: int, prompt: str, sampling: Sampling, seed: int) -> Completion:
        async def extend(ask: Ask, number: int) -> Answer:
            return await self._extend(ask, sampling, request_seed(seed, number), f"{index}-{number}")

        return await finish_alone(plan(self, prompt, sampling), extend)

    async def _extend(self, ask: Ask, sampling: Sampling, seed: int, name: str) -> Answer:
        assert self._engine is not None, "call prepare() first"
        how = SamplingParams(
            max_tokens=ask.limit,
            temperature=0 if ask.trial else sampling.temperature,
            top_p=1 if ask.trial else sampling.top_p,
            seed=seed,
            logprobs=0 if ask.trial else None,
            stop_token_ids=self.ends,
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        try:
            async for answer in self._engine.generate({"prompt_token_ids": ask.ids}, how, request_id=name):
                if answer.finished:
                    return _answer(answer.outputs[0])
        except EngineDeadError as error:
            raise MathEvalError(
                "vLLM's engine died; read its messages, and repeat the command to resume the run"
            ) from error
        raise MathEvalError("vLLM's engine ended a request without an answer; repeat the command to resume the run")

    def close(self) -> None:
        """End the engine's processes."""
        self._end_engine()
        self._background.close()

    def _end_engine(self) -> None:
        if self._engine is not None:
            self._background.run(_quieten(self._engine))
            self._engine.shutdown()
            self._engine = None


def _answer(output: Any) -> Answer:
    """The answer in vLLM's output, whose tokens contain the end token."""
    ended = output.finish_reason == "stop"
    ids = list(output.token_ids)[: -1 if ended else None]
    scores = [step[token].logprob for token, step in zip(ids, output.logprobs or (), strict=False)]
    return Answer(ids, ended, scores)


async def _quieten(engine: AsyncLLMEngine) -> None:
    """Cancel the task that would report the end of the engine as a failure."""
    if engine.output_handler is not None:
        engine.output_handler.cancel()
        await asyncio.wait([engine.output_handler])
