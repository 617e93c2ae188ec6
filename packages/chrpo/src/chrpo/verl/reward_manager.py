"""The reward manager: facts about each rollout, read off its token ids in verl's reward workers.

reward.reward_manager.name=chrpo
"""
# verl has an environment of its own, with other versions than the type checker's.
# pyright: reportMissingImports=false

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from omegaconf import DictConfig
from verl.experimental.reward_loop.reward_manager import register as register_reward_manager
from verl.experimental.reward_loop.reward_manager.base import RewardManagerBase

from chrpo.gathered import GatheredCalls
from chrpo.rollout import RolloutStats, control_ids

from .dataset import control_tokens
from .reader import custom_grader, rollout_reader
from .settings import NAME


@register_reward_manager(NAME)
class RolloutStatsManager(RewardManagerBase):
    """Reads the facts about each rollout; the trainer rewards them, because the reward depends on the price.

    `reward.custom_reward_function` names a grader of your own, of any kind that `RolloutReader` takes; a batched or
    async one gets the rollouts that arrived in this worker while it graded those before. `chrpo.answer_format` and
    `chrpo.thinking_format` are the form of the answer and the tags of the thinking.

    Raises:
        DataError: the form of the answer needs a grader, or see `RolloutReader`.
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
        ladder = control_tokens(config.actor_rollout_ref.model.path)
        ids = control_ids(tokenizer, ladder) if ladder else {}
        self._ratio_indices = {ids[name]: index for index, name in enumerate(ladder.ratios)} if ladder else {}
        self._reader = rollout_reader(config, tokenizer, custom_grader(config))
        self._read = GatheredCalls(self._read_all)

    def _read_all(self, rollouts: Sequence[tuple[list[int], str]]) -> list[RolloutStats]:
        return self._reader.read_all([ids for ids, _ in rollouts], [answer for _, answer in rollouts])

    async def run_single(self, data: Any) -> dict[str, Any]:
        """The facts about one rollout; the score, 1 for a correct answer in the right format, is only displayed."""
        item = data[-1]
        responses = item.batch["responses"]
        ids = responses[: int(item.batch["attention_mask"][-len(responses) :].sum())].tolist()
        forced = len(self._ratio_indices) > 0
        stats = await self._read((ids[forced:], item.non_tensor_batch["answer"]))
        ratio_index = self._ratio_indices[ids[0]] if forced else 0
        where = {"row": int(item.non_tensor_batch["index"]), "ratio_index": ratio_index}
        accepted = stats.correct and stats.format_ok
        return {"reward_score": float(accepted), "reward_extra_info": {"acc": accepted, **where, **asdict(stats)}}
