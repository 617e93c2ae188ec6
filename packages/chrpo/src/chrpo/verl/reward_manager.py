"""The reward manager: facts about each rollout, read off its token ids in verl's reward workers.

reward.reward_manager.name=chrpo
"""
# verl has an environment of its own, with other versions than the type checker's.
# pyright: reportMissingImports=false

import asyncio
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import asdict
from inspect import iscoroutinefunction
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from transformers import GenerationConfig
from verl.experimental.reward_loop.reward_manager import register as register_reward_manager
from verl.experimental.reward_loop.reward_manager.base import RewardManagerBase
from verl.utils.fs import copy_to_local

from chrpo._shared.control_tokens import ControlTokens
from chrpo.errors import DataError
from chrpo.grader import grade
from chrpo.rollout import RolloutReader, control_ids

from .settings import NAME


@register_reward_manager(NAME)
class RolloutStatsManager(RewardManagerBase):
    """Reads the facts about each rollout; the trainer rewards them, because the reward depends on the price.

    `reward.custom_reward_function` names a grader of your own, a function (completion, reference answer) -> True if
    correct.

    Raises:
        DataError: the grader is asynchronous, or the tokenizer splits a control token.
    """

    def __init__(
        self,
        config: DictConfig,
        tokenizer: Any,
        compute_score: Callable[..., Any],
        reward_router_address: str | None = None,
        reward_model_tokenizer: Any = None,
    ) -> None:
        super().__init__(config, tokenizer, compute_score)
        folder = copy_to_local(config.actor_rollout_ref.model.path)
        ladder = ControlTokens.load(folder)
        ids = control_ids(tokenizer, ladder)
        self._ratio_indices = {ids[name]: index for index, name in enumerate(ladder.ratios)}
        # The time limit of math-verify needs the main thread of its process, and verl calls from others.
        self._grading = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
        own = config.reward.custom_reward_function.path is not None
        if own and iscoroutinefunction(compute_score):
            raise DataError("reward.custom_reward_function is async; a grader is a plain function of two texts")
        grader = compute_score if own else lambda *texts: self._grading.submit(grade, *texts).result()
        self._reader = RolloutReader(tokenizer, ladder, _end_ids(folder, tokenizer), grader)
        # Fast tokenizers may not be used from two threads at once.
        self._reading = ThreadPoolExecutor(1)

    async def run_single(self, data: Any) -> dict[str, Any]:
        """The facts about one rollout; the score, 1 for a correct answer in the right format, is only displayed."""
        item = data[-1]
        responses = item.batch["responses"]
        ids = responses[: int(item.batch["attention_mask"][-len(responses) :].sum())].tolist()
        answer = item.non_tensor_batch["answer"]
        loop = asyncio.get_running_loop()
        stats = await loop.run_in_executor(self._reading, self._reader.read, ids[1:], answer)
        where = {"row": int(item.non_tensor_batch["index"]), "ratio_index": self._ratio_indices[ids[0]]}
        accepted = stats.correct and stats.format_ok
        return {"reward_score": float(accepted), "reward_extra_info": {"acc": accepted, **where, **asdict(stats)}}


def _end_ids(folder: str, tokenizer: Any) -> list[int]:
    """All ids that end a turn: the tokenizer's and those of generation_config.json."""
    ends = {tokenizer.eos_token_id}
    if (Path(folder) / "generation_config.json").is_file():
        found = GenerationConfig.from_pretrained(folder).eos_token_id
        ends.update(found if isinstance(found, list) else [found])
    return sorted(ends - {None})
