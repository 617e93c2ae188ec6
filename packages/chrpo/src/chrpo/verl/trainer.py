"""The trainer and the advantage estimator.

algorithm.adv_estimator=chrpo trainer.v1.trainer_mode=chrpo
"""
# verl has an environment of its own, with other versions than the type checker's.
# pyright: reportMissingImports=false

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import transfer_queue
from omegaconf import DictConfig, OmegaConf
from tensordict import TensorDict
from verl.trainer.ppo.core_algos import get_adv_estimator_fn, register_adv_est
from verl.trainer.ppo.v1 import PPOTrainerSync, register_trainer

from chrpo._shared.records import read_object, write_json
from chrpo.batch import Rollout
from chrpo.errors import ChrpoError, DataError
from chrpo.rollout import RolloutStats
from chrpo.step import CHRPOController

from .dataset import PromptDataset, control_tokens, prompt_rows
from .reader import custom_grader, rollout_reader
from .settings import NAME, section_settings

STATE_FILE = "chrpo_state.json"


@register_adv_est(NAME)
def token_advantages(
    token_level_rewards: torch.Tensor,
    response_mask: torch.Tensor,
    control: torch.Tensor | None = None,
    response: torch.Tensor | None = None,
    **_: Any,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The control advantage on each rollout's first token and the response advantage on the others, [rollouts, tokens].

    Args:
        token_level_rewards: Rewards of verl, which are not used.
        response_mask: True at tokens of the response, the control token included, [rollouts, tokens].
        control: Advantage of each rollout's first token, [rollouts].
        response: Advantage of each rollout's other tokens, [rollouts].

    Returns:
        The advantages, twice: verl also asks for the returns.

    Raises:
        ChrpoError: `control` and `response` are missing, because the trainer is one of verl's own.
    """
    if control is None or response is None:
        raise ChrpoError("algorithm.adv_estimator=chrpo needs chrpo's trainer: set trainer.v1.trainer_mode=chrpo")
    advantages = response[:, None] * response_mask
    advantages[:, 0] = control * response_mask[:, 0]
    return advantages, advantages


@register_trainer(NAME)
class CHRPOTrainer(PPOTrainerSync):
    """verl's synchronous trainer; ratio, or length without control tokens, is chosen under an accuracy constraint.

    The `chrpo` section of the configuration has the names of `SectionSettings`. The prices are in this one process.
    They are saved beside actor, optimizer and data order, before verl marks a checkpoint as the newest, and are
    restored bit for bit. Rollouts after a resume are drawn anew, because verl saves no sampler state of its servers.

    Args:
        config: Configuration of the run.

    Attributes:
        controller: Objective, prices and budget.

    Raises:
        DataError: CHRPO does not support a setting of verl; prompts, ladder and settings do not fit each other; or the
            form of the answers needs a grader.
        ChrpoError: raised by a step of which no rollout has the right form.
    """

    def __init__(self, config: DictConfig) -> None:
        check_config(config)
        custom_grader(config)  # here, before workers are started
        # verl takes every other name for an asynchronous trainer.
        config.trainer.v1.trainer_mode = "sync"
        super().__init__(config)
        self.controller = CHRPOController(
            prompt_rows(config.data.train_files),
            control_tokens(config.actor_rollout_ref.model.path),
            group_size=config.actor_rollout_ref.rollout.n,
            settings=section_settings(config),
        )

    def _compute_advantage(self, batch: Any, metrics: dict[str, Any]) -> Any:
        fields = ["uid", "extra_fields", "rm_scores", "old_log_probs", "response_mask"]
        data = transfer_queue.kv_batch_get(keys=batch.keys, partition_id=batch.partition_id, select_fields=fields)
        mask = data["response_mask"]
        first = data["old_log_probs"].values()[mask.offsets()[:-1]].double().tolist()
        # verl completes the last mini-batch with rollouts that have no prompt.
        real = [place for place, tag in enumerate(batch.tags) if not tag.get("is_padding")]
        found = [data["extra_fields"][place]["reward_extra_info"] for place in real]
        rollouts = [_rollout(info, first[place]) for place, info in zip(real, found, strict=True)]
        if not any(rollout.stats.format_ok for rollout in rollouts):
            self._refuse_step([batch.keys[place] for place in real], batch.partition_id)
        step = self.controller.step(rollouts, [data["uid"][place] for place in real])
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

    def _refuse_step(self, keys: list[str], partition: str) -> None:
        reader = rollout_reader(self.config, self.tokenizer, custom_grader(self.config))
        found = transfer_queue.kv_batch_get(keys=keys, partition_id=partition, select_fields=["responses"])
        forced = int(self.controller.prompts.control)
        reader.refuse_step(len(keys), [ids[forced:].tolist() for ids in found["responses"].unbind()])

    def _save_checkpoint(self) -> None:
        folder = Path(self.config.trainer.default_local_dir) / f"global_step_{self.global_steps}"
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / STATE_FILE, self.controller.state_dict())
        super()._save_checkpoint()

    def _load_checkpoint(self) -> None:
        super()._load_checkpoint()
        if not self.global_steps:
            return
        trainer = self.config.trainer
        folder = Path(trainer.default_local_dir) / f"global_step_{self.global_steps}"
        if trainer.resume_mode == "resume_path":
            folder = Path(trainer.resume_from_path)
        self.controller.load_state_dict(read_object(folder / STATE_FILE))


def _rollout(info: Mapping[str, Any], log_prob: float) -> Rollout:
    stats = RolloutStats(**{name: info[name] for name in RolloutStats.__dataclass_fields__})
    return Rollout(row=info["row"], ratio_index=info["ratio_index"], stats=stats, log_prob=log_prob)


def _nested(padded: torch.Tensor, lengths: list[int]) -> torch.Tensor:
    rows = [row[:length] for row, length in zip(padded, lengths, strict=True)]
    return torch.nested.as_nested_tensor(rows, layout=torch.jagged)


def check_config(config: DictConfig) -> None:
    """Refuse settings of verl with which the advantages would have another meaning.

    Args:
        config: Configuration of the run.

    Raises:
        DataError: some settings must change; the message names all of them.
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
        "actor_rollout_ref.rollout.top_k": -1,
        "actor_rollout_ref.rollout.top_p": 1,
        "actor_rollout_ref.actor.loss_agg_mode": "token-mean",
        "actor_rollout_ref.actor.policy_loss.loss_mode": "vanilla",
        "data.custom_cls.name": PromptDataset.__name__,
        "reward.reward_manager.name": NAME,
        "reward.reward_model.enable": False,
        "trainer.test_freq": -1,
        "trainer.val_before_train": False,
    }
    found = {name: OmegaConf.select(config, name) for name in wanted}
    changes = [f"{name}={wanted[name]} (is {value})" for name, value in found.items() if value != wanted[name]]
    if changes:
        raise DataError(f"CHRPO on verl {version('verl')} needs {', '.join(changes)}")
