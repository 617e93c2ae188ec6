"""CHRPO on TRL: a small subclass of GRPOTrainer.

Every rollout opens with a ratio token that is given, not generated: where the model chooses, each ratio of the ladder
once and then ones drawn from its probabilities (only these, for objectives that sample); elsewhere the one asked for.
TRL generates and computes the loss; this adapter forces the token, judges the rollouts of all processes together, and
hands TRL per-token advantages. Facts, rewards, prices and advantages come from `rollout`, `judge`, `objective` and
`core`; what TRL must offer is checked in `seams`; running a whole job from the shell is left to `train`.

    trainer = CHRPOTrainer("checkpoints/sft", CHRPOConfig("out", max_steps=40), prompts=rows, control_tokens=tokens)
    trainer.train()
"""

import math
from collections.abc import Sequence
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR
from trl.trainer.grpo_trainer import GRPOTrainer

from ._shared.control_tokens import ControlTokens
from ._shared.records import Row, parse_json, write_json
from .config import CHRPOConfig
from .core.constraint import AccuracyConstraint
from .core.rewards import ConstrainedReward, Reward
from .core.schedule import BudgetSchedule
from .errors import ChrpoError, DataError
from .grader import Grader, grade
from .judge import Judgement, Prompts, Table, judge
from .metrics import METRICS_FILE, append_metrics, forget_after
from .objective import Objective, choose
from .rollout import RolloutReader, control_ids
from .seams import IMPORTANCE_FIELD, LOG_PROB_FIELDS, check_batch, check_methods

__all__ = ["STATE_FILE", "CHRPOConfig", "CHRPOTrainer"]

STATE_FILE = "chrpo_state.json"

check_methods()


def chrpo(**_: Any) -> list[float | None]:
    """Stands in TRL's list of rewards, whose columns it names; `_calculate_rewards` never calls it."""
    raise ChrpoError("rewards are computed from the rollouts of all processes, in CHRPOTrainer._calculate_rewards")


class CHRPOTrainer(GRPOTrainer):
    """GRPO whose ratio is chosen under an accuracy constraint.

    Prices move once per generation step, after their use: the rewards of a step see the price that the steps before it
    set. Every process computes them from the same gathered table.

    Args:
        model: folder or loaded model, as for GRPOTrainer.
        args: settings.
        prompts: rows of an RL prompts file (`chrpo prepare` writes them).
        control_tokens: the checkpoint's ladder.
        processing_class: its tokenizer.
        grader: (completion, reference answer) -> right; by default `grader.grade`.
        reward: by default that of the objective.
        **options: `callbacks`, `optimizers`, `peft_config` of GRPOTrainer.

    Raises:
        DataError: prompts, ladder or tokenizer do not fit each other.
    """

    def __init__(
        self,
        model: Any,
        args: CHRPOConfig,
        *,
        prompts: Sequence[Row],
        control_tokens: ControlTokens,
        processing_class: Any = None,
        grader: Grader = grade,
        reward: Reward | None = None,
        **options: Any,
    ) -> None:
        self.rows = list(prompts)
        self.prompts = Prompts.of(self.rows, control_tokens, args.constraint_by_difficulty)
        self.settings = args
        self._group_size = int(args.num_generations or 0)
        ratios = len(control_tokens.ratios)
        self.objective = choose(
            args.objective,
            without=args.without,
            length_weight=args.length_weight,
            control_weight=args.control_weight,
            shortest=min(control_tokens.ratios.values()),
        )
        if reward is not None:
            self.objective = replace(self.objective, reward=reward)
        if self.objective.stratified and self._group_size < 2 * ratios:
            raise DataError(
                f"num_generations (--rollouts) is {self._group_size}; the ladder has {ratios} ratios, and a prompt is "
                f"rolled out once at each and as often again as its policy draws: take {2 * ratios} or more"
            )
        args.shuffle_dataset = False
        super().__init__(
            model,
            reward_funcs=[chrpo],
            args=args,
            train_dataset=_schedule(self.rows, args),
            processing_class=processing_class,
            **options,
        )
        if not self._tokenizer.chat_template:
            raise DataError("the tokenizer has no chat template; use the checkpoint folder that ratio-sft wrote")
        ids = control_ids(self._tokenizer, control_tokens)
        self._network: Any = self.model
        self._pad_id: Any = self._tokenizer.pad_token_id
        self._ladder_ids = [ids[token] for token in control_tokens.ratios]
        self._reader = RolloutReader(self._tokenizer, control_tokens, self.eos_token_ids, grader)
        self.constraint = AccuracyConstraint(self.prompts.floors(args.eps), args.gains)
        self._policy_groups = sorted(
            {group for group, chooses in zip(self.prompts.group, self.prompts.policy, strict=True) if chooses}
        )
        self.schedule = self._schedule_of(args)
        self._generations = 0
        self._rows: list[int] = []
        self._rungs: list[int] = []
        self._pending: dict[str, Any] = {}

    def _schedule_of(self, args: CHRPOConfig) -> BudgetSchedule | None:
        if args.budget_step is None:
            return None
        if not (self.objective.constrained and isinstance(self.objective.reward, ConstrainedReward)):
            raise DataError(f"budget_step needs the constrained reward and its prices; {args.objective} goes without")
        if not self.objective.reward.mode:
            raise DataError("budget_step says how short a chosen ratio must be to pay, and without mode none pays")
        if not self._policy_groups:
            raise DataError("budget_step needs prompts in which the model chooses; every prompt asks for a ratio")
        return BudgetSchedule(step=args.budget_step, hold=args.budget_hold)

    def _send_telemetry(self) -> None:
        """Training reads and writes local files only."""

    # --- rollouts ----------------------------------------------------------------------------------------------------

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        if not self._network.training:
            raise ChrpoError("CHRPOTrainer does not evaluate, so that only training moves a price; use math-eval")
        self._rows = [row["row"] for row in inputs]
        batch = super()._generate_and_score_completions(inputs)
        check_batch(batch)
        return self._with_control_token(batch, self._judgement)

    def _tokenize_prompts(self, prompts: list[Any]) -> Any:
        prompt_ids, images, fields = super()._tokenize_prompts(prompts)
        self._log_probs = self._ladder_log_probs(prompt_ids)
        self._rungs = self._chosen_rungs()
        forced = [[*ids, self._ladder_ids[rung]] for ids, rung in zip(prompt_ids, self._rungs, strict=True)]
        return forced, images, fields

    def _generate_single_turn(
        self, prompt_ids: Any, images: Any, multimodal_fields: Any, num_generations: int, has_tool_images: bool = False
    ) -> Any:
        # A vLLM server would be sent the first prompt of each group only, but ours differ in their forced token.
        return super()._generate_single_turn(prompt_ids, images, multimodal_fields, 1, has_tool_images)

    def _chosen_rungs(self) -> list[int]:
        """The rung forced on each rollout, by its place among those of all processes, since groups straddle them."""
        first, count = self.accelerator.process_index * len(self._rows), len(self._rows)
        asked = self.prompts.asked[self._rows]
        self._generations += 1
        # Drawn by generation and place, so that neither a resume nor another number of processes changes them.
        generator = np.random.default_rng([self.args.seed, self._generations])
        drawn = generator.random((count * self.accelerator.num_processes, 1))[first : first + count]
        rising = torch.softmax(self._log_probs, dim=1).cumsum(dim=1).numpy()
        own = (drawn >= rising[:, :-1]).sum(axis=1)
        if self.objective.stratified:
            place = np.arange(first, first + count) % self._group_size
            own = np.where(place < len(self._ladder_ids), place, own)
        return np.where(asked >= 0, asked, own).tolist()

    def _with_control_token(self, batch: dict[str, Any], judgement: Judgement) -> dict[str, Any]:
        """Move the forced token from the prompt's end to the answer's start, and set per-token advantages."""
        device = batch["completion_ids"].device
        rows = len(batch["completion_ids"])
        here = slice(self.accelerator.process_index * rows, (self.accelerator.process_index + 1) * rows)
        answer_mask = batch["completion_mask"]
        control = torch.tensor(judgement.control[here], dtype=torch.float32, device=device)
        response = torch.tensor(judgement.response[here], dtype=torch.float32, device=device)
        signal = torch.tensor(~judgement.dead[here], device=device)

        # Responses are normalised by the tokens that carry signal, so that dead groups do not dilute them. Control
        # tokens with credit of their own are normalised by all tokens, so that they weigh `control_weight` response
        # tokens of a step in which every group is alive; decoupled ones by the rollouts that carry signal.
        counts = torch.stack([answer_mask[signal].sum(), answer_mask.sum(), signal.sum()]).double()
        alive, total, rollouts = self._gathered(counts[None]).sum(dim=0).clamp(min=1).tolist()
        over = {"split": total, "whole": alive, "decoupled": rollouts}[self.objective.credit]
        # The KL term counts in dead groups too, so with it the loss is over all tokens and the advantages make up.
        tokens = total if self.beta else alive
        control = control * self.objective.control_weight * alive / over * (tokens / alive)
        response = response * (tokens / alive)

        batch["advantages"] = torch.cat([control[:, None], response[:, None] * answer_mask], dim=1)
        batch["num_items_in_batch"] = torch.tensor(tokens, device=device)
        batch["completion_ids"] = torch.cat([batch["prompt_ids"][:, -1:], batch["completion_ids"]], dim=1)
        batch["completion_mask"] = torch.cat([batch["prompt_mask"][:, -1:].to(answer_mask.dtype), answer_mask], dim=1)
        batch["prompt_ids"] = batch["prompt_ids"][:, :-1]
        batch["prompt_mask"] = batch["prompt_mask"][:, :-1]
        # The forced token was drawn by us: no sampler's probability to correct, and no KL, as the ratio is to move.
        forced = self._forced_log_probs.to(device)[:, None]
        for name in LOG_PROB_FIELDS & batch.keys():
            batch[name] = torch.cat([forced, batch[name]], dim=1)
        if IMPORTANCE_FIELD in batch:
            ratios = batch[IMPORTANCE_FIELD].expand(answer_mask.shape)
            batch[IMPORTANCE_FIELD] = torch.cat([torch.ones_like(forced), ratios], dim=1)
        return batch

    def _gathered(self, local: torch.Tensor) -> torch.Tensor:
        """The rows of every process, in their order."""
        return self.accelerator.gather(local)  # type: ignore[return-value]

    # --- judging -----------------------------------------------------------------------------------------------------

    def _calculate_rewards(
        self, inputs: list[dict[str, Any]], prompts: Any, completions: Any, completion_ids_list: list[list[int]]
    ) -> torch.Tensor:
        rungs = torch.tensor(self._rungs)
        self._forced_log_probs = self._log_probs.gather(1, rungs[:, None])[:, 0].float()
        columns = []
        for row, rung, ids in zip(inputs, self._rungs, completion_ids_list, strict=True):
            facts = self._reader.read(ids, self.rows[row["row"]]["answer"])
            columns.append([row["row"], rung, *astuple(facts)])
        local = torch.cat([torch.tensor(columns, dtype=torch.float64), self._log_probs], dim=1)
        table = Table.of(self._gathered(local.to(self.accelerator.device)).cpu().numpy())
        priced = self.objective.constrained
        prices = {group: self.constraint.price(group) if priced else 0.0 for group in self.constraint.floors}
        self._judgement = judge(
            table,
            self.prompts,
            self._present_objective(),
            group_size=self._group_size,
            prices=prices,
            mix=self.settings.response_policy_mix,
            floor=self.settings.control_floor,
        )
        self.constraint.update(self._judgement.measured, self._judgement.attainable)
        self._report(prices)
        if self.schedule is not None:
            self.schedule.update(max(map(self._lacking, self._policy_groups)))
        return torch.tensor(self._judgement.reward, dtype=torch.float32, device=self.accelerator.device)[:, None]

    def _present_objective(self) -> Objective:
        """The objective, with its budget as it is."""
        reward = self.objective.reward
        if self.schedule is None or not isinstance(reward, ConstrainedReward):
            return self.objective
        return replace(self.objective, reward=replace(reward, budget=self.schedule.budget))

    def _lacking(self, group: str) -> float:
        """How far a group is under its floor; beyond any tolerance before it was measured."""
        return math.inf if self.constraint.accuracy(group) is None else self.constraint.violation(group)

    @torch.no_grad()
    def _ladder_log_probs(self, prompt_ids: list[list[int]]) -> torch.Tensor:
        """Log-probability of each ratio token after each prompt, over the whole vocabulary, [rollouts, ratios]."""
        distinct = list(dict.fromkeys(map(tuple, prompt_ids)))
        # Sharded models need as many forward passes on every process, whatever each one holds.
        most = int(self._gathered(torch.tensor([len(distinct)], device=self.accelerator.device)).max())
        padded = [*distinct, *[distinct[-1]] * (most - len(distinct))]
        chunk = self.args.per_device_train_batch_size
        found = [self._next_token_log_probs(padded[start : start + chunk]) for start in range(0, most, chunk)]
        by_prompt = dict(zip(distinct, torch.cat(found), strict=False))
        return torch.stack([by_prompt[tuple(ids)] for ids in prompt_ids])

    def _next_token_log_probs(self, prompt_ids: list[tuple[int, ...]]) -> torch.Tensor:
        width = max(map(len, prompt_ids))
        ids = torch.full((len(prompt_ids), width), self._pad_id, device=self.accelerator.device)
        mask = torch.zeros_like(ids)
        for row, prompt in enumerate(prompt_ids):
            ids[row, width - len(prompt) :] = torch.tensor(prompt)
            mask[row, width - len(prompt) :] = 1
        with self.accelerator.autocast():
            logits = self._network(input_ids=ids, attention_mask=mask, use_cache=False, logits_to_keep=1).logits[:, -1]
        return torch.log_softmax(logits.double() / self.temperature, dim=-1)[:, self._ladder_ids].cpu()

    @property
    def infeasible(self) -> list[str]:
        """Groups whose floor is out of reach; none where no price is at work."""
        return self.constraint.infeasible if self.objective.constrained else []

    # --- reports -----------------------------------------------------------------------------------------------------

    def _report(self, used: dict[str, float]) -> None:
        metrics = dict(self._judgement.metrics)
        for group, floor in self.constraint.floors.items():
            metrics[f"lambda/{group}"] = used[group]
            metrics[f"violation/{group}"] = self.constraint.violation(group)
            metrics[f"floor/{group}"] = floor
            metrics[f"infeasible/{group}"] = float(group in self.infeasible)
        if self.schedule is not None:
            metrics["budget"] = self.schedule.budget
        for name, value in metrics.items():
            self._metrics["train"][f"chrpo/{name}"].append(value)
        self._pending = metrics

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log as TRL does, and add a line to `metrics.jsonl`."""
        super().log(logs, start_time)
        if self._pending and "loss" in logs and self.accelerator.is_main_process:
            names = ("loss", "grad_norm", "learning_rate")
            line = {"step": self.state.global_step, **{name: float(logs[name]) for name in names if name in logs}}
            append_metrics(self._metrics_path, {**line, **self._pending})
            self._pending = {}

    @property
    def _metrics_path(self) -> Path:
        return Path(self.args.output_dir or ".") / METRICS_FILE

    # --- state -------------------------------------------------------------------------------------------------------

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        # Written last, after every process has written its part: its presence says that the checkpoint is whole.
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            folder = Path(self._get_output_dir(trial=trial)) / f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
            write_json(
                folder / STATE_FILE,
                {
                    "format": 1,
                    "step": self.state.global_step,
                    "generations": self._generations,
                    "constraint": self.constraint.state_dict(),
                    "schedule": self.schedule and self.schedule.state_dict(),
                },
            )

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        step = 0
        if checkpoint is not None:
            path = Path(checkpoint) / STATE_FILE
            if not path.is_file():
                raise DataError(f"{path}: no such file, so the prices are lost; resume from a checkpoint that has it")
            state = parse_json(path.read_text("utf-8"), str(path))
            self.constraint.load_state_dict(state["constraint"])
            self._generations = state["generations"]
            if self.schedule is not None:
                self.schedule.load_state_dict(state["schedule"] or {})
            step = state["step"]
        if self.accelerator.is_main_process and self._metrics_path.exists():
            forget_after(self._metrics_path, step)


def _schedule(rows: Sequence[Row], args: CHRPOConfig) -> Dataset:
    """The prompts of every step in order: epoch after epoch, each shuffled anew, cut to whole steps.

    TRL's own sampler would start again from its first shuffle on resume.
    """
    each = int(args.generation_batch_size or 0) // int(args.num_generations or 1)
    if len(rows) < each:
        raise DataError(f"{len(rows)} prompts are too few for {each} per step; add prompts or lower prompts per step")
    passes = int(args.steps_per_generation or 1) * args.num_iterations
    wanted = each * math.ceil(args.max_steps * args.gradient_accumulation_steps / passes)
    generator = np.random.default_rng(args.seed)
    epochs = [generator.permutation(len(rows)) for _ in range(math.ceil(wanted / len(rows)))]
    order = np.concatenate(epochs)[:wanted]
    return Dataset.from_list([{"prompt": row["prompt"], "row": index} for index, row in enumerate(rows)]).select(order)
