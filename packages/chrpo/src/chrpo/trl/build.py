"""A trainer from the settings of `chrpo train`: TRL's configuration, the model, and the trainer itself.

trainer = build_trainer(job)                         # a `Job` with settings, prompts and folders
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig, PrinterCallback
from transformers.utils.logging import disable_progress_bar

from chrpo._shared.checkpoint_loader import end_tokens, load_model, load_tokenizer
from chrpo._shared.control_tokens import ControlTokens
from chrpo._shared.records import Row
from chrpo.answer_format import AnswerFormat
from chrpo.errors import DataError
from chrpo.grader import Grader
from chrpo.settings import CHRPOSettings, TrainSettings

from . import lora
from .config import CHRPOConfig
from .progress import ProgressBar
from .trainer import CHRPOTrainer

_MOST_ROWS_CPU, _MOST_ROWS_GPU = 32, 16


@dataclass(frozen=True)
class Job:
    """Everything that a trainer is built from.

    Args:
        model: Folder of the checkpoint to start from.
        folder: Folder in which the trainer works.
        rows: Rows of the RL prompts file.
        tokens: Control tokens of the checkpoint; None if it has none.
        settings: Settings, with `rollouts` and `max_tokens` set.
        grader: Function (completion, reference answer) -> True if correct.
        answer_format: Form of the answer.
        processes: Number of processes.
        report_to: Trackers besides metrics.jsonl.
        run_name: Name of the run in the trackers.
        log_completions: Number of rollouts of each step to write to `completions/`.
    """

    model: Path
    folder: Path
    rows: list[Row]
    tokens: ControlTokens | None
    settings: TrainSettings
    grader: Grader
    answer_format: AnswerFormat
    processes: int
    report_to: Sequence[str]
    run_name: str | None = None
    log_completions: int = 0


def build_trainer(job: Job) -> CHRPOTrainer:
    """The trainer of a job.

    Raises:
        DataError: settings, prompts, model and number of processes do not fit each other.
    """
    args = _config(job)
    disable_progress_bar()
    tokenizer = load_tokenizer(job.model, padding_side="left")
    trainer = CHRPOTrainer(
        _load_model(job, tokenizer),
        args,
        prompts=job.rows,
        control_tokens=job.tokens,
        processing_class=tokenizer,
        grader=job.grader,
        answer_format=job.answer_format,
        thinking_format=job.settings.thinking_format,
        callbacks=[ProgressBar()],
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def _config(job: Job) -> CHRPOConfig:
    settings, gpu = job.settings, torch.cuda.is_available()
    share, rows_per_pass = _share(job, gpu)
    return CHRPOConfig(
        output_dir=str(job.folder),
        max_steps=settings.max_steps,
        num_generations=settings.rollouts,
        per_device_train_batch_size=rows_per_pass,
        gradient_accumulation_steps=share // rows_per_pass,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="constant_with_warmup" if settings.lr_scheduler == "constant" else settings.lr_scheduler,
        warmup_steps=settings.warmup_steps,
        temperature=settings.temperature,
        top_p=1.0,
        top_k=0,
        max_completion_length=(settings.max_tokens or 0) - (job.tokens is not None),
        beta=settings.beta,
        use_vllm=settings.vllm is not None,
        vllm_mode=settings.vllm or "colocate",
        save_strategy="steps",
        save_steps=min(settings.save_steps, settings.max_steps),
        save_total_limit=2,
        logging_steps=1,
        report_to=list(job.report_to) or "none",
        disable_tqdm=True,
        run_name=job.run_name,
        log_completions=job.log_completions > 0,
        num_completions_to_print=job.log_completions,
        use_cpu=not gpu,
        bf16=gpu if settings.bf16 is None else settings.bf16,
        activation_checkpointing=gpu if settings.gradient_checkpointing is None else settings.gradient_checkpointing,
        seed=settings.seed,
        **{each.name: getattr(settings, each.name) for each in fields(CHRPOSettings)},
    )


def _share(job: Job, gpu: bool) -> tuple[int, int]:
    """Number of rollouts of each process in a step, and in one of its passes."""
    settings = job.settings
    share, rest = divmod(settings.prompts_per_step * int(settings.rollouts or 0), job.processes)
    if rest:
        raise DataError(
            f"{settings.prompts_per_step} prompts x {settings.rollouts} rollouts do not divide among {job.processes} "
            "processes; change one of the three"
        )
    most = _MOST_ROWS_GPU if gpu else _MOST_ROWS_CPU
    rows_per_pass = settings.rows_per_pass or next(size for size in range(min(share, most), 0, -1) if share % size == 0)
    if share % rows_per_pass:
        raise DataError(f"rows_per_pass is {rows_per_pass}; it must divide the {share} rollouts of a process and step")
    return share, rows_per_pass


def _load_model(job: Job, tokenizer: Any) -> Any:
    """The model, without what its generation_config.json would change in rollouts (beams, penalties, forced tokens)."""
    model = load_model(job.model, torch.float32)
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=end_tokens(job.model, tokenizer),
        pad_token_id=tokenizer.pad_token_id,
    )
    if job.settings.lora_rank is not None:
        return lora.wrap(model, job.settings.lora_rank, seed=job.settings.seed)
    return model
