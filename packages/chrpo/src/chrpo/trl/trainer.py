"""The trainer: a small subclass of TRL's GRPOTrainer.

Every rollout opens with a ratio token that is forced, not generated, if the model has ratio tokens. TRL generates the
rest and computes the loss; this adapter forces the token, collects the rollouts of all processes, and gives TRL the
advantage of each token.
`step.CHRPOController` computes the advantages and moves the prices; `compat` checks that TRL has the methods used here;
a whole run from the shell is left to `train`.

    trainer = CHRPOTrainer("checkpoints/sft", CHRPOConfig("out", max_steps=40), prompts=rows, control_tokens=tokens)
    trainer.train()
"""

import math
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers.generation.configuration_utils import GenerationMode
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR
from trl.trainer.grpo_trainer import GRPOTrainer

from chrpo._shared.checkpoint_loader import load_model, load_tokenizer
from chrpo._shared.control_tokens import ControlTokens
from chrpo._shared.lock import locked
from chrpo._shared.records import Row, read_object, write_json
from chrpo._shared.thinking_formats import save_format
from chrpo._shared.training_checkpoints import check_sound, mark_complete, newest_complete, remove_older, tensors_only
from chrpo.answer_format import AnswerFormat
from chrpo.batch import RolloutBatch, stat_columns
from chrpo.core.rewards import Reward
from chrpo.errors import ChrpoError, DataError
from chrpo.grader import Grader
from chrpo.metrics import METRICS_FILE, append_metrics, remove_after
from chrpo.prompts import completion_limit, reference_answers
from chrpo.rendering import prompt_ids, render_prompts
from chrpo.rollout import RolloutReader, control_ids
from chrpo.step import CHRPOController, TokenAdvantages

from .compat import (
    IMPORTANCE_FIELD,
    LOG_PROB_FIELDS,
    check_batch,
    check_methods,
    check_options,
    check_reference,
    generate_once,
    set_end_ids,
    step_share,
    sums_over_tokens,
    tokenizer_of,
)
from .completions import write_completions
from .config import CHRPOConfig
from .decoding import compact_decoding
from .gathering import gathered_columns
from .order import scheduled
from .passes import cut_passes
from .positions import count_from_first_token

STATE_FILE = "chrpo_state.json"

check_methods()


def chrpo(**_: Any) -> list[float | None]:
    """Placeholder in TRL's list of rewards, whose columns it names; it is never called."""
    raise ChrpoError("rewards are computed from the rollouts of all processes, in CHRPOTrainer._calculate_rewards")


def _loaded(model: Any, args: CHRPOConfig, tokenizer: Any) -> tuple[Any, Any]:
    """The model and its tokenizer; a folder is loaded here, since TRL would ask whether to run code of its parts."""
    if isinstance(model, str | Path):
        if args.model_init_kwargs:
            raise DataError("model_init_kwargs: a folder is loaded in float32; load the model and pass it instead")
        tokenizer = tokenizer or load_tokenizer(model, padding_side="left", truncation_side="left")
        model = load_model(model, torch.float32)
    if tokenizer is None:
        raise DataError("processing_class: a loaded model needs its tokenizer; pass it, or pass the folder")
    return model, tokenizer


class CHRPOTrainer(GRPOTrainer):
    """GRPO whose ratio, or whose length without control tokens, is chosen under an accuracy constraint.

    Every process has a controller and gives it the rollouts of all processes, so that all prices agree.

    Args:
        model: Checkpoint folder, which is loaded in float32 without running anything of it, or a loaded model.
        args: Settings of TRL and of CHRPO.
        prompts: Rows of an RL prompts file, which `chrpo prepare` writes.
        control_tokens: Control tokens of the checkpoint; None if it has none.
        processing_class: Tokenizer of the checkpoint; by default that of the folder.
        grader: Function (completion, reference answer) -> True if correct; see `RolloutReader`.
        reward: Reward in place of the objective's own.
        answer_format: Form of the answer; see `RolloutReader`.
        thinking_format: Name of the thinking format, or a file of it; see `RolloutReader`.
        **options: `callbacks`, `optimizers` and `peft_config` of GRPOTrainer.

    Attributes:
        controller: Objective, prices and budget.
        reader: Reader of rollouts.
        ladder_ids: Token id of each ratio, in rising order; empty without control tokens.
        result: Rewards and advantages of the latest step.
        token_advantages: Advantages of its tokens.

    Raises:
        DataError: prompts, ladder, tokenizer and settings do not fit each other, or the folder cannot be loaded.
    """

    def __init__(
        self,
        model: Any,
        args: CHRPOConfig,
        *,
        prompts: Sequence[Row],
        control_tokens: ControlTokens | None = None,
        processing_class: Any = None,
        grader: Grader | None = None,
        reward: Reward | None = None,
        answer_format: AnswerFormat = "boxed",
        thinking_format: str | None = None,
        **options: Any,
    ) -> None:
        self.rows = list(prompts)
        self.controller = CHRPOController(
            self.rows, control_tokens, group_size=int(args.num_generations or 0), settings=args, reward=reward
        )
        self._answers = reference_answers(self.rows)
        check_options(options)
        args.shuffle_dataset = False
        if args.max_completion_length is None:
            args.max_completion_length = completion_limit(self.rows) - (control_tokens is not None)
        model, processing_class = _loaded(model, args, processing_class)
        if args.beta and not (options.get("peft_config") or hasattr(model, "peft_config")):
            check_reference(model)
        variables: Any = args.chat_template_kwargs or {}
        texts = render_prompts(processing_class, self.rows, variables)
        self._prompt_ids = prompt_ids(processing_class, texts)
        super().__init__(
            model,
            reward_funcs=[chrpo],
            args=args,
            train_dataset=scheduled(texts, args),
            processing_class=processing_class,
            **options,
        )
        tokenizer = tokenizer_of(self)
        self._network: Any = self.model
        self._pad_id: Any = tokenizer.pad_token_id
        for each in filter(None, (self.model, self.ref_model)):
            count_from_first_token(each)
        # TRL's own log has neither the control token nor the advantages that are trained.
        self._logs_completions, self.log_completions = args.log_completions, False
        self._control_tokens = control_tokens
        ids = control_ids(tokenizer, control_tokens) if control_tokens else {}
        self.ladder_ids = [ids[token] for token in control_tokens.ratios] if control_tokens else []
        self.reader = RolloutReader(
            tokenizer,
            control_tokens,
            set_end_ids(self),
            grader,
            template_variables=variables,
            thinking_format=thinking_format,
            answer_format=answer_format,
        )
        self._generations = 0
        self._rows: list[int] = []
        self._ratios: list[int] = []
        self._pending: dict[str, float] = {}

    def _send_telemetry(self) -> None:
        """Do nothing: training reads and writes local files only."""

    # --- rollouts ----------------------------------------------------------------------------------------------------

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        if not self._network.training:
            raise ChrpoError("CHRPOTrainer does not evaluate, because only training may move a price; use math-eval")
        self._rows = [row["row"] for row in inputs]
        batch = super()._generate_and_score_completions(inputs)
        check_batch(batch)
        return self.with_control_token(batch, self.token_advantages)

    def _tokenize_prompts(self, prompts: list[Any]) -> Any:
        drawn = [self._prompt_ids[row] for row in self._rows]
        self._generations += 1
        if not self.ladder_ids:
            self._ratios, self._log_probs = [0] * len(drawn), torch.zeros(len(drawn), 1)
            return drawn, None, {}
        self._log_probs = self.ladder_log_probs(drawn)
        self._ratios = self.chosen_ratios(self._rows, self._log_probs, self._generations)
        return [[*ids, self.ladder_ids[index]] for ids, index in zip(drawn, self._ratios, strict=True)], None, {}

    def _generate_single_turn(self, prompt_ids: Any, images: Any, multimodal_fields: Any, *_: Any, **__: Any) -> Any:
        with compact_decoding(self._network) if self._decodes_compactly else nullcontext():
            return generate_once(self, super()._generate_single_turn, prompt_ids, images, multimodal_fields)

    @property
    def _decodes_compactly(self) -> bool:
        """Whether this process has a whole model, and a rollout is one path of single tokens."""
        if self.use_vllm or self.is_fsdp_enabled or self.is_deepspeed_enabled:
            return False
        return self.generation_config.get_generation_mode() in {GenerationMode.SAMPLE, GenerationMode.GREEDY_SEARCH}

    def _prepare_inputs(self, generation_batch: Any) -> Any:
        before = self._buffered_inputs
        inputs = super()._prepare_inputs(generation_batch)
        if self._buffered_inputs is before:
            return inputs
        every = len(self._buffered_inputs)
        step = math.gcd(every, self.args.gradient_accumulation_steps) if sums_over_tokens(self) else 1
        tails = sums_over_tokens(self) and not self.beta
        self._buffered_inputs = cut_passes(self._buffered_inputs, step=step, tails=tails)
        return self._buffered_inputs[self._step % every]

    def chosen_ratios(self, rows: Sequence[int], log_probs: torch.Tensor, generation: int) -> list[int]:
        """Index of the ratio that is forced on each rollout of this process.

        Rollouts are numbered over all processes, because a group may be split between two of them.

        Args:
            rows: Index of each rollout's prompt, [rollouts].
            log_probs: Log-probability of each ratio token, [rollouts, ratios].
            generation: Number of the generation in the run.
        """
        first, count = self.accelerator.process_index * len(rows), len(rows)
        # Drawn by generation and place, so that neither a resume nor another number of processes changes them.
        generator = np.random.default_rng([self.args.seed, generation])
        uniform = generator.random((count * self.accelerator.num_processes, 1))[first : first + count]
        places = np.arange(first, first + count) % self.controller.group_size
        policy = torch.softmax(log_probs, dim=1).numpy()
        return self.controller.choose_ratios(rows, places, policy, uniform).tolist()

    def with_control_token(self, batch: dict[str, Any], advantages: TokenAdvantages) -> dict[str, Any]:
        """Set per-token advantages, and move a forced token from the prompt's end to the answer's start."""
        device = batch["completion_ids"].device
        rows = len(batch["completion_ids"])
        here = slice(self.accelerator.process_index * rows, (self.accelerator.process_index + 1) * rows)
        answer_mask = batch["completion_mask"]
        control = torch.from_numpy(advantages.control[here]).to(device)
        response = torch.from_numpy(advantages.response[here]).to(device)

        tokens = advantages.tokens * step_share(self.args)  # type: ignore[arg-type]
        batch["num_items_in_batch"] = torch.tensor(tokens, device=device)
        batch["advantages"] = response[:, None] * answer_mask
        if not self.ladder_ids:
            return batch
        batch["advantages"] = torch.cat([control[:, None], batch["advantages"]], dim=1)
        batch["completion_ids"] = torch.cat([batch["prompt_ids"][:, -1:], batch["completion_ids"]], dim=1)
        batch["completion_mask"] = torch.cat([batch["prompt_mask"][:, -1:].to(answer_mask.dtype), answer_mask], dim=1)
        batch["prompt_ids"] = batch["prompt_ids"][:, :-1]
        batch["prompt_mask"] = batch["prompt_mask"][:, :-1]
        # The forced token has no sampler whose probability needs correction, and no KL term, because it is to change.
        forced = self._forced_log_probs.to(device)[:, None]
        for name in LOG_PROB_FIELDS & batch.keys():
            batch[name] = torch.cat([forced, batch[name]], dim=1)
        if IMPORTANCE_FIELD in batch:
            ratios = batch[IMPORTANCE_FIELD].expand(answer_mask.shape)
            batch[IMPORTANCE_FIELD] = torch.cat([torch.ones_like(forced), ratios], dim=1)
        return batch

    def _gathered(self, local: torch.Tensor) -> torch.Tensor:
        """Rows of every process, in the order of the processes."""
        return self.accelerator.gather(local)  # type: ignore[return-value]

    # --- the step ----------------------------------------------------------------------------------------------------

    def _calculate_rewards(
        self, inputs: list[dict[str, Any]], prompts: Any, completions: Any, completion_ids_list: list[list[int]]
    ) -> torch.Tensor:
        ratio_index = torch.tensor(self._ratios)
        self._forced_log_probs = self._log_probs.gather(1, ratio_index[:, None])[:, 0].float()
        rows = [row["row"] for row in inputs]
        answers = [self._answers[row] for row in rows]
        stats = self.reader.read_all(completion_ids_list, answers)
        columns = gathered_columns({"row": rows, "ratio_index": ratio_index, **stat_columns(stats)})
        if not columns["format_ok"].any():
            self.reader.refuse_step(len(columns["row"]), completion_ids_list)
        log_probs = self._gathered(self._log_probs.to(self.accelerator.device)).cpu().numpy()
        batch = RolloutBatch.of(columns, log_probs)
        self.result = self.controller.update(batch)
        over = "responses" if self.beta else "signal"
        self.token_advantages = self.controller.token_advantages(self.result, batch, over=over, dtype=np.float32)
        for name, value in self.result.metrics.items():
            self._metrics["train"][f"chrpo/{name}"].append(value)
        self._pending = self.result.metrics
        if self._logs_completions:
            columns |= {"reward": self.result.reward}
            ladder = list(self._control_tokens.ratios) if self._control_tokens else []
            write_completions(self, ladder, completion_ids_list, columns)
        return torch.tensor(self.result.reward, dtype=torch.float32, device=self.accelerator.device)[:, None]

    @torch.no_grad()
    def ladder_log_probs(self, prompt_ids: list[list[int]]) -> torch.Tensor:
        """Log-probability of each ratio token after each prompt, over the whole vocabulary, [rollouts, ratios]."""
        distinct = list(dict.fromkeys(map(tuple, prompt_ids)))
        # Sharded models need the same number of forward passes on every process.
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
        return torch.log_softmax(logits.double() / self.temperature, dim=-1)[:, self.ladder_ids].cpu()

    # --- reports -----------------------------------------------------------------------------------------------------

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log as TRL does, and write a line to `metrics.jsonl`."""
        super().log(logs, start_time)
        if self._pending and "loss" in logs and self.accelerator.is_main_process:
            names = ("loss", "grad_norm", "learning_rate")
            line = {"step": self.state.global_step, **{name: float(logs[name]) for name in names if name in logs}}
            append_metrics(self._metrics_path, {**line, **self._pending})
            self._pending = {}

    @property
    def _folder(self) -> Path:
        return Path(self.args.output_dir or ".")

    @property
    def _metrics_path(self) -> Path:
        return self._folder / METRICS_FILE

    # --- state -------------------------------------------------------------------------------------------------------

    def train(self, resume_from_checkpoint: str | Path | bool | None = None, *more: Any, **options: Any) -> Any:
        """Train as TRL does; a checkpoint to continue from must be complete, and as it was saved.

        Args:
            resume_from_checkpoint: Its folder, or True for the newest complete one in the output folder.
            *more: Further arguments of Trainer.train.
            **options: Further options of Trainer.train.

        Raises:
            DataError: a file of the checkpoint is missing or damaged, there is no checkpoint, or another process is
                writing the output folder.
        """
        named = newest_complete(self._folder) if resume_from_checkpoint is True else resume_from_checkpoint
        if resume_from_checkpoint is True and named is None:
            raise DataError(f"{self._folder}: no complete checkpoint; train without resume_from_checkpoint")
        checkpoint = Path(named) if named else None
        if checkpoint is not None:
            check_sound(checkpoint)
        with locked(self._folder, self.accelerator.process_index), tensors_only(checkpoint):
            if checkpoint is None and self.accelerator.is_main_process:  # the steps that are logged are taken again
                self._metrics_path.unlink(missing_ok=True)
            return super().train(str(checkpoint) if checkpoint else None, *more, **options)

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        super()._save(output_dir, state_dict)
        self.save_beside(output_dir or self.args.output_dir or ".")

    def save_beside(self, folder: str | Path) -> None:
        """Write what chrpo needs beside weights and tokenizer: control tokens, thinking format, prices."""
        if self._control_tokens:
            self._control_tokens.save(folder)
        save_format(self.reader.thinking_format, folder)
        state = {"generations": self._generations, **self.controller.state_dict()}
        write_json(Path(folder) / STATE_FILE, state)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        limit, self.args.save_total_limit = self.args.save_total_limit, None  # see `remove_older`
        super()._save_checkpoint(model, trial)
        self.args.save_total_limit = limit
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            folder = Path(self._get_output_dir(trial=trial)) / f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
            mark_complete(folder)
            if limit is not None:
                remove_older(folder.parent, keep=limit)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None:
            path = Path(checkpoint) / STATE_FILE
            state = read_object(path)
            if not isinstance(state.get("generations"), int):
                raise DataError(f"{path}: no number of generations; resume from a checkpoint that CHRPOTrainer wrote")
            self._generations = state["generations"]
            self.controller.load_state_dict(state)
        if self.accelerator.is_main_process and self._metrics_path.exists():
            remove_after(self._metrics_path, self.state.global_step)
