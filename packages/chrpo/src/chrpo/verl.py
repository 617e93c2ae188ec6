"""CHRPO on verl: the parts that verl 0.9 looks up by name, for runs on one node or many.

VERL_USE_EXTERNAL_MODULES=chrpo.verl makes every process of a run import this module, which registers under "chrpo"

- an agent loop: each rollout opens with a given ratio token, every ratio in turn where the model chooses;
- a reward manager: reads format, answer and token counts off the token ids, in the reward workers;
- a trainer: verl's synchronous one, which judges the rollouts of all nodes on the driver and keeps the prices;
- an advantage estimator: spreads the judgement over tokens.

`PromptDataset` reads a prompts file as `chrpo prepare` wrote it. Rollouts, sharding, weights and the loss are verl's;
the judging itself is left to `driver`. A configuration with every name in its place is examples/verl.

    VERL_USE_EXTERNAL_MODULES=chrpo.verl python -m verl.trainer.main_ppo --config-name qwen3_1p7b …
"""
# verl has an environment of its own, with other versions than the type checker's.
# pyright: reportMissingImports=false

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import asdict
from functools import cache
from importlib.metadata import version
from inspect import iscoroutinefunction
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
import transfer_queue
from datasets import Dataset
from omegaconf import DictConfig, OmegaConf
from tensordict import TensorDict
from transformers import GenerationConfig
from verl.experimental.agent_loop.agent_loop import AgentLoopOutput
from verl.experimental.agent_loop.agent_loop import register as register_agent_loop
from verl.experimental.agent_loop.single_turn_agent_loop import SingleTurnAgentLoop
from verl.experimental.reward_loop.reward_manager import register as register_reward_manager
from verl.experimental.reward_loop.reward_manager.base import RewardManagerBase
from verl.trainer.ppo.core_algos import get_adv_estimator_fn, register_adv_est
from verl.trainer.ppo.v1 import PPOTrainerSync, register_trainer
from verl.utils.dataset.rl_dataset import RLHFDataset
from verl.utils.fs import copy_to_local

from ._shared.control_tokens import ControlTokens
from ._shared.records import Row, parse_json, read_records, write_json
from .driver import Driver, Rollout, Settings
from .errors import ChrpoError, DataError
from .grader import grade
from .rollout import Facts, RolloutReader, control_ids

NAME = "chrpo"
STATE_FILE = "chrpo_state.json"


def read_prompts(files: str | Sequence[str]) -> list[Row]:
    """The rows of one prompts file or several, in order."""
    names = [files] if isinstance(files, str) else list(files)
    return [row for name in names for row in read_records(copy_to_local(name), "rl_prompts")]


@cache
def _control_tokens(folder: str) -> ControlTokens:
    return ControlTokens.load(copy_to_local(folder))


class PromptDataset(RLHFDataset):
    """Every prompt of the files, in their order, with its row number as `index`; none is dropped.

    Raises:
        DataError: a prompt longer than `data.max_prompt_length`, or a subset was asked for.
    """

    def _read_files_and_tokenize(self) -> None:
        if self.max_samples > 0:
            raise DataError(f"data.train_max_samples is {self.max_samples}; shorten the prompts file instead")
        rows = read_prompts(self.original_data_files)
        self.dataframe = Dataset.from_list(
            [
                {self.prompt_key: row["prompt"], "answer": row["answer"], "extra_info": {"index": index}}
                for index, row in enumerate(rows)
            ]
        )
        for row in rows:
            text = self.tokenizer.apply_chat_template(row["prompt"], add_generation_prompt=True, tokenize=False)
            length = len(self.tokenizer.encode(text, add_special_tokens=False))
            if length > self.max_prompt_length:
                raise DataError(
                    f"id {row['id']!r}: the prompt has {length} tokens; raise data.max_prompt_length "
                    f"({self.max_prompt_length}) or drop the row"
                )


@register_agent_loop(NAME)
class RatioAgentLoop(SingleTurnAgentLoop):
    """One answer after a given ratio token, which counts as the first token of the response."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._ladder = _control_tokens(self.config.actor_rollout_ref.model.path)
        self._forced = 0

    async def run(self, sampling_params: dict[str, Any], **row: Any) -> AgentLoopOutput:
        """Generate one rollout; `session_id` is its number among those of its prompt."""
        names = list(self._ladder.ratios)
        asked = row["raw_prompt"][-1]["content"].split()[-1]
        own = int(row["session_id"]) * len(names) // self.rollout_config.n
        self._forced = self.tokenizer.convert_tokens_to_ids(asked if asked in names else names[own])
        output = await super().run({**sampling_params, "max_tokens": self.response_length - 1}, **row)
        output.response_ids = [output.prompt_ids[-1], *output.response_ids]
        output.response_mask = [1, *output.response_mask]
        output.prompt_ids = output.prompt_ids[:-1]
        return output

    async def ct_build_initial_tokens(self, *args: Any, **options: Any) -> list[int]:
        """The rendered prompt, then the ratio token."""
        return [*await super().ct_build_initial_tokens(*args, **options), self._forced]


@register_reward_manager(NAME)
class FactsManager(RewardManagerBase):
    """Reads what each rollout did; what that is worth depends on the price, which the driver knows.

    `reward.custom_reward_function` names a grader of your own, (completion, reference answer) -> right.
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
        self._rungs = {ids[name]: rung for rung, name in enumerate(ladder.ratios)}
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
        """The facts of one rollout; the score is 1 for a right answer in the right format, and only shown."""
        item = data[-1]
        responses = item.batch["responses"]
        ids = responses[: int(item.batch["attention_mask"][-len(responses) :].sum())].tolist()
        answer = item.non_tensor_batch["answer"]
        loop = asyncio.get_running_loop()
        facts = await loop.run_in_executor(self._reading, self._reader.read, ids[1:], answer)
        where = {"row": int(item.non_tensor_batch["index"]), "rung": self._rungs[ids[0]]}
        right = facts.correct and facts.format_ok
        return {"reward_score": float(right), "reward_extra_info": {"acc": right, **where, **asdict(facts)}}


def _end_ids(folder: str, tokenizer: Any) -> list[int]:
    """Every id that ends a turn: the tokenizer's and those of generation_config.json."""
    ends = {tokenizer.eos_token_id}
    if (Path(folder) / "generation_config.json").is_file():
        found = GenerationConfig.from_pretrained(folder).eos_token_id
        ends.update(found if isinstance(found, list) else [found])
    return sorted(ends - {None})


@register_adv_est(NAME)
def token_advantages(
    token_level_rewards: torch.Tensor,
    response_mask: torch.Tensor,
    control: torch.Tensor | None = None,
    response: torch.Tensor | None = None,
    **_: Any,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The control advantage on each rollout's first token and the response advantage on the others.

    Args:
        token_level_rewards: not used; the judgement was made from the facts.
        response_mask: True at tokens of the response, the control token included, [rollouts, tokens].
        control: [rollouts].
        response: [rollouts].

    Raises:
        ChrpoError: verl's own trainers call an estimator without the facts.
    """
    if control is None or response is None:
        raise ChrpoError("algorithm.adv_estimator=chrpo needs chrpo's trainer: set trainer.v1.trainer_mode=chrpo")
    advantages = response[:, None] * response_mask
    advantages[:, 0] = control * response_mask[:, 0]
    return advantages, advantages


@register_trainer(NAME)
class CHRPOTrainer(PPOTrainerSync):
    """verl's synchronous trainer, its ratio chosen under an accuracy constraint.

    The `chrpo` section of the configuration holds `driver.Settings`. The prices live in this one process. They are
    saved beside actor, optimizer and data order, before verl marks a checkpoint as the latest, and come back bit for
    bit; rollouts after a resume are drawn anew, since verl saves no sampler state of its servers.

    Raises:
        DataError: a setting of verl that CHRPO cannot honour, or prompts, ladder and settings that do not fit.
    """

    def __init__(self, config: DictConfig) -> None:
        check(config)
        # verl takes any other name for an asynchronous trainer.
        config.trainer.v1.trainer_mode = "sync"
        super().__init__(config)
        section = OmegaConf.to_container(OmegaConf.create(config.get(NAME) or {}), resolve=True)
        tokens = _control_tokens(config.actor_rollout_ref.model.path)
        settings = Settings.of(section)  # type: ignore[arg-type]
        rows = read_prompts(config.data.train_files)
        self.driver = Driver(rows, tokens, config.actor_rollout_ref.rollout.n, settings)

    def _compute_advantage(self, batch: Any, metrics: dict[str, Any]) -> Any:
        fields = ["uid", "extra_fields", "rm_scores", "old_log_probs", "response_mask"]
        data = transfer_queue.kv_batch_get(keys=batch.keys, partition_id=batch.partition_id, select_fields=fields)
        mask = data["response_mask"]
        first = data["old_log_probs"].values()[mask.offsets()[:-1]].double().tolist()
        # verl fills the last mini-batch up with rollouts that have no prompt.
        real = [place for place, tag in enumerate(batch.tags) if not tag.get("is_padding")]
        facts = [data["extra_fields"][place]["reward_extra_info"] for place in real]
        rollouts = [_rollout(seen, first[place]) for place, seen in zip(real, facts, strict=True)]
        step = self.driver.judge(rollouts, [data["uid"][place] for place in real])
        metrics.update({f"{NAME}/{name}": value for name, value in step.metrics.items()})

        control, response = torch.zeros(2, len(batch))
        control[real], response[real] = torch.tensor(step.control).float(), torch.tensor(step.response).float()
        estimate = get_adv_estimator_fn(self.config.algorithm.adv_estimator)
        padded = mask.to_padded_tensor(0)
        advantages, returns = estimate(
            token_level_rewards=data["rm_scores"].to_padded_tensor(0),
            response_mask=padded,
            index=data["uid"],
            config=self.config.algorithm,
            control=control,
            response=response,
        )
        lengths = mask.offsets().diff().tolist()
        out = {"advantages": _nested(advantages, lengths), "returns": _nested(returns, lengths)}
        return transfer_queue.kv_batch_put(
            keys=batch.keys, partition_id=batch.partition_id, fields=TensorDict(out, batch_size=len(batch))
        )

    def _save_checkpoint(self) -> None:
        folder = Path(self.config.trainer.default_local_dir) / f"global_step_{self.global_steps}"
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / STATE_FILE, self.driver.state_dict())
        super()._save_checkpoint()

    def _load_checkpoint(self) -> None:
        super()._load_checkpoint()
        if not self.global_steps:
            return
        trainer = self.config.trainer
        folder = Path(trainer.default_local_dir) / f"global_step_{self.global_steps}"
        if trainer.resume_mode == "resume_path":
            folder = Path(trainer.resume_from_path)
        path = folder / STATE_FILE
        if not path.is_file():
            raise DataError(f"{path}: no such file, so the prices are lost; resume from a checkpoint that has it")
        self.driver.load_state_dict(parse_json(path.read_text("utf-8"), str(path)))


def _rollout(seen: Mapping[str, Any], log_prob: float) -> Rollout:
    facts = Facts(**{name: seen[name] for name in Facts.__dataclass_fields__})
    return Rollout(seen["row"], seen["rung"], facts, log_prob)


def _nested(padded: torch.Tensor, lengths: list[int]) -> torch.Tensor:
    rows = [row[:length] for row, length in zip(padded, lengths, strict=True)]
    return torch.nested.as_nested_tensor(rows, layout=torch.jagged)


def check(config: DictConfig) -> None:
    """Refuse settings under which the advantages would not mean what they say.

    Raises:
        DataError: with every setting to change.
    """
    wanted: dict[str, Any] = {
        "algorithm.adv_estimator": NAME,
        "algorithm.use_kl_in_reward": False,
        "algorithm.filter_groups.enable": False,
        "algorithm.rollout_correction.rollout_is": None,
        "algorithm.rollout_correction.rollout_rs": None,
        "algorithm.rollout_correction.bypass_mode": False,
        "actor_rollout_ref.rollout.agent.default_agent_loop": NAME,
        "actor_rollout_ref.rollout.calculate_log_probs": False,
        "actor_rollout_ref.actor.loss_agg_mode": "token-mean",
        "actor_rollout_ref.actor.policy_loss.loss_mode": "vanilla",
        "data.custom_cls.name": PromptDataset.__name__,
        "reward.reward_manager.name": NAME,
        "reward.reward_model.enable": False,
        "trainer.test_freq": -1,
        "trainer.val_before_train": False,
    }
    found = {name: OmegaConf.select(config, name) for name in wanted}
    wrong = [f"{name}={wanted[name]} (is {value})" for name, value in found.items() if value != wanted[name]]
    if wrong:
        raise DataError(f"CHRPO on verl {version('verl')} needs {', '.join(wrong)}")
