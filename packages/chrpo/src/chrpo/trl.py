"""CHRPO on TRL: a small subclass of GRPOTrainer.

Every rollout opens with a ratio token that is given, not generated: where the model chooses, each ratio of the ladder
once and then ones drawn from its probabilities (only these, for objectives that sample); elsewhere the one asked for.
TRL generates and computes the loss; this adapter forces the token, judges the rollouts of all processes together, and
hands TRL per-token advantages. Facts, rewards, prices and advantages come from `rollout`, `judge`, `objective` and
`core`; running a whole job from the shell is left to `train`.

    trainer = CHRPOTrainer("checkpoints/sft", CHRPOConfig("out", max_steps=40), prompts=rows, control_tokens=tokens)
    trainer.train()
"""

import inspect
import json
import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import trl
from datasets import Dataset
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer

from .control import ControlTokens
from .core.constraint import AccuracyConstraint, Gains
from .core.rewards import Reward
from .errors import ChrpoError, DataError
from .grader import Grader, grade
from .judge import Judgement, Prompts, Table, judge
from .objective import choose
from .plot import METRICS_FILE
from .records import Row, parse_json, write_json
from .rollout import RolloutReader, control_ids

STATE_FILE = "chrpo_state.json"
_SEAMS = {
    "_generate_and_score_completions": ["self", "inputs"],
    "_calculate_rewards": ["self", "inputs", "prompts", "completions", "completion_ids_list"],
    "_tokenize_prompts": ["self", "prompts"],
    "_save_checkpoint": ["self", "model", "trial"],
    "_load_optimizer_and_scheduler": ["self", "checkpoint"],
}
_BATCH_FIELDS = {
    "prompt_ids",
    "prompt_mask",
    "completion_ids",
    "completion_mask",
    "advantages",
    "num_items_in_batch",
}


def _check_seams() -> None:
    for name, expected in _SEAMS.items():
        method = getattr(GRPOTrainer, name, None)
        found = list(inspect.signature(method).parameters) if method else None
        if found != expected:
            raise ChrpoError(
                f"chrpo.trl builds on GRPOTrainer.{name}({', '.join(expected)}), but TRL {trl.__version__} has "
                f"{found}; install trl>=1.16,<1.17"
            )


_check_seams()


@dataclass
class CHRPOConfig(GRPOConfig):
    """GRPOConfig with the settings of CHRPO; TRL's own keep their meaning except where they are refused.

    The loss is TRL's "dapo": a sum over tokens divided by the global count of tokens, never per sequence.

    Raises:
        DataError: a setting of TRL that CHRPO cannot honour.
    """

    num_generations: int | None = field(
        default=10, metadata={"help": "Rollouts per prompt; at least twice as many as ratios."}
    )
    gradient_checkpointing: bool | None = field(  # type: ignore[assignment]
        default=None, metadata={"help": "Deprecated by transformers: set activation_checkpointing."}
    )
    scale_rewards: str = field(default="none", metadata={"help": "Only 'none': no division by a standard deviation."})
    loss_type: str = field(default="dapo", metadata={"help": "Only 'dapo': a global token normaliser."})
    objective: str = field(default="chrpo", metadata={"help": "What is optimised: a name in objective.OBJECTIVES."})
    without: list[str] = field(
        default_factory=list, metadata={"help": "Parts of it to leave out, for an ablation: see objective.PARTS."}
    )
    length_weight: float | None = field(
        default=None, metadata={"help": "Weight of the length penalty of l1 and shortest_correct."}
    )
    control_weight: float | None = field(
        default=None, metadata={"help": "Weight of the control token in the loss, instead of the objective's own."}
    )
    control_floor: float = field(
        default=1e-3, metadata={"help": "Ratios with a smaller probability are not pushed down any further."}
    )
    response_policy_mix: float = field(
        default=0.5, metadata={"help": "Responses count alike at every ratio (0) … as often as chosen (1)."}
    )
    eps: float = field(default=0.0, metadata={"help": "Accuracy that may be given up, below the frozen model's."})
    constraint_by_difficulty: bool = field(
        default=False, metadata={"help": "One constraint per mode and difficulty, instead of one per mode."}
    )
    price_proportional: float = field(default=50.0, metadata={"help": "Gain on the violation."})
    price_integral: float = field(default=Gains.integral, metadata={"help": "Gain on its sum."})
    price_reach: float = field(default=Gains.reach, metadata={"help": "Largest violation that the sum takes in."})
    price_derivative: float = field(default=Gains.derivative, metadata={"help": "Gain on its growth."})
    price_memory: float = field(default=Gains.memory, metadata={"help": "What the running accuracy keeps a step."})
    price_cap: float = field(default=Gains.cap, metadata={"help": "Largest price of accuracy."})
    price_patience: int = field(default=Gains.patience, metadata={"help": "Steps at the cap that mean infeasible."})

    def __post_init__(self) -> None:
        if self.bf16 is None:
            # TRL takes bf16 everywhere, which is some hundred times slower than fp32 on most CPUs.
            self.bf16 = torch.cuda.is_available() and not self.use_cpu
        super().__post_init__()
        refused = {
            "beta": (self.beta == 0, "0 (a KL penalty is not supported yet)"),
            "use_vllm": (not self.use_vllm, "False (vLLM is not supported yet)"),
            "use_transformers_continuous_batching": (not self.use_transformers_continuous_batching, "False"),
            "scale_rewards": (self.scale_rewards == "none", "'none'"),
            "loss_type": (self.loss_type == "dapo", "'dapo'"),
            "importance_sampling_level": (self.importance_sampling_level == "token", "'token'"),
            "mask_truncated_completions": (not self.mask_truncated_completions, "False (they are format failures)"),
            "off_policy_mask_threshold": (self.off_policy_mask_threshold is None, "None"),
            "eval_strategy": (self.eval_strategy == "no", "'no' (evaluate checkpoints with math-eval)"),
            "max_steps": (self.max_steps > 0, "above 0: CHRPO counts steps, not epochs"),
            "logging_strategy": (self.logging_strategy == "steps", "'steps'"),
            "response_policy_mix": (0 <= self.response_policy_mix <= 1, "in [0, 1]"),
        }
        for name, (fine, wanted) in refused.items():
            if not fine:
                raise DataError(f"CHRPOConfig: {name} is {getattr(self, name)!r}; it must be {wanted}")
        every = self.steps_per_rollout
        if self.save_strategy == "steps" and (self.save_steps < 1 or self.save_steps % every):
            raise DataError(
                f"CHRPOConfig: save_steps is {self.save_steps:g}; rollouts are drawn every {every} step(s) and are not "
                f"saved, so an exact resume needs a multiple of {every}"
            )

    @property
    def steps_per_rollout(self) -> int:
        """Optimiser steps from one generation to the next generation boundary that is also a step boundary."""
        passes = int(self.steps_per_generation or 1) * self.num_iterations
        return math.lcm(passes, self.gradient_accumulation_steps) // self.gradient_accumulation_steps

    @property
    def gains(self) -> Gains:
        """Of the dual price."""
        return Gains(
            proportional=self.price_proportional,
            integral=self.price_integral,
            reach=self.price_reach,
            derivative=self.price_derivative,
            memory=self.price_memory,
            cap=self.price_cap,
            patience=self.price_patience,
        )


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
                f"num_generations is {self._group_size}; the ladder has {ratios} ratios, and a prompt is rolled out "
                f"once at each and as often again as its policy draws: take {2 * ratios} or more"
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
        self._generations = 0
        self._rows: list[int] = []
        self._rungs: list[int] = []
        self._judgement: Judgement | None = None
        self._pending: dict[str, Any] = {}

    def _send_telemetry(self) -> None:
        """Training reads and writes local files only."""

    # --- rollouts ----------------------------------------------------------------------------------------------------

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        if not self._network.training:
            raise ChrpoError("CHRPOTrainer does not evaluate, so that only training moves a price; use math-eval")
        self._rows = [row["row"] for row in inputs]
        batch = super()._generate_and_score_completions(inputs)
        missing = _BATCH_FIELDS - batch.keys()
        strange = batch.keys() - _BATCH_FIELDS - {"old_per_token_logps"}
        if missing or strange or self._judgement is None:
            raise ChrpoError(
                f"TRL {trl.__version__} made a batch that chrpo.trl does not know (missing: {sorted(missing)}, "
                f"unknown: {sorted(strange)}); install trl>=1.16,<1.17"
            )
        return self._with_control_token(batch, self._judgement)

    def _tokenize_prompts(self, prompts: list[Any]) -> Any:
        prompt_ids, images, fields = super()._tokenize_prompts(prompts)
        self._log_probs = self._ladder_log_probs(prompt_ids)
        self._rungs = self._chosen_rungs()
        forced = [[*ids, self._ladder_ids[rung]] for ids, rung in zip(prompt_ids, self._rungs, strict=True)]
        return forced, images, fields

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

        # Responses are normalised by the tokens that carry signal, so that dead groups do not dilute them. Control
        # tokens with credit of their own are normalised by all tokens, so that they weigh `control_weight` response
        # tokens of a step in which every group is alive; decoupled ones by the rollouts that carry signal.
        counts = torch.stack([answer_mask[response != 0].sum(), answer_mask.sum(), (response != 0).sum()]).double()
        alive, total, rollouts = self._gathered(counts[None]).sum(dim=0).clamp(min=1).tolist()
        over = {"split": total, "whole": alive, "decoupled": rollouts}[self.objective.credit]
        control = control * self.objective.control_weight * alive / over

        batch["advantages"] = torch.cat([control[:, None], response[:, None] * answer_mask], dim=1)
        batch["num_items_in_batch"] = torch.tensor(alive, device=device)
        batch["completion_ids"] = torch.cat([batch["prompt_ids"][:, -1:], batch["completion_ids"]], dim=1)
        batch["completion_mask"] = torch.cat([batch["prompt_mask"][:, -1:].to(answer_mask.dtype), answer_mask], dim=1)
        batch["prompt_ids"] = batch["prompt_ids"][:, :-1]
        batch["prompt_mask"] = batch["prompt_mask"][:, :-1]
        if "old_per_token_logps" in batch:
            old = self._forced_log_probs.to(device)
            batch["old_per_token_logps"] = torch.cat([old[:, None], batch["old_per_token_logps"]], dim=1)
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
        table = _table(self._gathered(local.to(self.accelerator.device)).cpu().numpy())
        priced = self.objective.constrained
        prices = {group: self.constraint.price(group) if priced else 0.0 for group in self.constraint.floors}
        self._judgement = judge(
            table,
            self.prompts,
            self.objective,
            group_size=self._group_size,
            prices=prices,
            mix=self.settings.response_policy_mix,
            floor=self.settings.control_floor,
        )
        self.constraint.update(self._judgement.measured, self._judgement.attainable)
        self._report(prices)
        return torch.tensor(self._judgement.reward, dtype=torch.float32, device=self.accelerator.device)[:, None]

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
        metrics = dict(self._judgement.metrics) if self._judgement else {}
        for group, floor in self.constraint.floors.items():
            metrics[f"lambda/{group}"] = used[group]
            metrics[f"violation/{group}"] = self.constraint.violation(group)
            metrics[f"floor/{group}"] = floor
            metrics[f"infeasible/{group}"] = float(group in self.infeasible)
        for name, value in metrics.items():
            self._metrics["train"][f"chrpo/{name}"].append(value)
        self._pending = metrics

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log as TRL does, and add a line to `metrics.jsonl`."""
        super().log(logs, start_time)
        if self._pending and "loss" in logs and self.accelerator.is_main_process:
            names = ("loss", "grad_norm", "learning_rate")
            line = {"step": self.state.global_step, **{name: float(logs[name]) for name in names if name in logs}}
            with self._metrics_path.open("a", encoding="utf-8") as out:
                out.write(json.dumps({**line, **self._pending}) + "\n")
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
            step = state["step"]
        if self.accelerator.is_main_process and self._metrics_path.exists():
            _forget_after(self._metrics_path, step)


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


def _table(values: np.ndarray) -> Table:
    log_probs = values[:, 8:]
    probabilities = np.exp(log_probs)
    mass = probabilities.sum(axis=1)
    return Table(
        row=values[:, 0].astype(np.int64),
        rung=values[:, 1].astype(np.int64),
        format_ok=values[:, 2].astype(bool),
        correct=values[:, 3].astype(bool),
        truncated=values[:, 4].astype(bool),
        thinking_tokens=values[:, 5],
        completion_tokens=values[:, 6],
        integrity=values[:, 7],
        policy=probabilities / mass[:, None],
        ladder_mass=mass,
    )


def _forget_after(path: Path, step: int) -> None:
    """Drop the lines of steps that a killed run logged after its checkpoint, and a torn last line."""
    kept = []
    for line in path.read_text("utf-8").splitlines():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line + "\n")
        except ValueError:
            break
    path.write_text("".join(kept), encoding="utf-8")
