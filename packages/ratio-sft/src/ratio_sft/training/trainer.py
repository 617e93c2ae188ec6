"""TRL's SFTTrainer with the length-grouped sampler, complete checkpoints, a progress bar and weights for each ratio.

The loss is TRL's: the mean over all completion tokens of the optimiser step, over processes and accumulated batches.
This module imports the trainer libraries, so commands import it only when they train.

    trainer = build_trainer(model, tokenizer, encoded, settings, folder)
    trainer.train()
"""

import math
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from datasets import Dataset, concatenate_datasets
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.trainer_callback import PrinterCallback
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from ratio_sft.errors import DataError
from ratio_sft.settings import TrainSettings

from . import encoded_file
from .callbacks import CompleteCheckpoints, EpochOrder, FollowCheck, Progress
from .collator import Collator, leaks
from .compat import check_version, loss_options, weigh
from .encoding import IGNORED
from .sampler import LengthGroupedSampler

_SAVES = 10
_MOST_LOGGED_STEPS = 10
_WHOLE_REPLICAS = ("NO", "MULTI_CPU", "MULTI_GPU", "MULTI_XPU", "MULTI_NPU")


class RatioTrainer(SFTTrainer):
    """SFTTrainer with the order of `LengthGroupedSampler`; it writes no model card and makes no network access."""

    padded: Any
    """The collator that pads, one row on each line, whatever collator training uses."""
    lengths: Sequence[int]
    """Number of tokens of each row, without the blank row that may be the last of the dataset."""

    def _get_train_sampler(self, train_dataset: Any = None) -> LengthGroupedSampler:
        processes, batch = self.args.world_size, self.args.train_batch_size
        group = batch * self.args.gradient_accumulation_steps * processes
        round_of = batch * processes if processes > 1 else 1
        self.order = LengthGroupedSampler(self.lengths, group=group, seed=self.args.seed, round_of=round_of)
        return self.order

    def _set_signature_columns_if_needed(self) -> None:
        self._signature_columns = ["input_ids", "labels", "weight"]

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """TRL's loss with the term of each token multiplied by its weight."""
        weights = inputs.pop("weights", None)
        if weights is None:
            return super().compute_loss(model, inputs, *args, **kwargs)

        weighted: Any = lambda **inner: weigh(model(**inner), inner, weights)  # noqa: E731
        return super().compute_loss(weighted, inputs, *args, **kwargs)

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Write no model card: checkpoints are working files, and the final folder has a manifest."""

    def _send_telemetry(self) -> None:
        """Send nothing: training reads and writes local files only."""


def total_steps(rows: int, settings: TrainSettings, processes: int) -> int:
    """Number of optimiser steps of a run over `rows` rows."""
    if settings.max_steps is not None:
        return settings.max_steps
    batches = math.ceil(rows / (settings.batch_size * processes))
    return math.ceil(settings.epochs * math.ceil(batches / settings.gradient_accumulation))


def save_interval(steps: int, settings: TrainSettings) -> tuple[int, int]:
    """Number of steps between checkpoints, and between log entries.

    The second divides the first. Otherwise the log of a resumed run would differ from that of an uninterrupted one.
    """
    save = settings.save_steps or math.ceil(steps / _SAVES)
    if settings.save_steps is None and save > _MOST_LOGGED_STEPS:
        save = math.ceil(save / _MOST_LOGGED_STEPS) * _MOST_LOGGED_STEPS
    return save, max(count for count in range(1, _MOST_LOGGED_STEPS + 1) if save % count == 0)


def build_trainer(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    data: Dataset,
    settings: TrainSettings,
    folder: Path,
    check: Callable[[RatioTrainer], dict[str, float]] | None = None,
) -> RatioTrainer:
    """Build the trainer.

    The weights are float32. On a GPU the arithmetic is bfloat16: the paper's learning rate is too small for updates
    of bfloat16 weights. Activations are recomputed on a GPU only, where memory is the limit. Packing is tried on the
    model once, before it is wrapped for several devices.

    Args:
        model: The model to train.
        tokenizer: Its tokenizer.
        data: Rows of an `encoded_file`.
        settings: Settings of the run.
        folder: Folder of the checkpoints.
        check: Function that computes figures at each checkpoint, to be logged.

    Raises:
        DataError: a setting does not fit the model, the rows or the processes.
        RatioSftError: TRL is of another release.
    """
    check_version()
    state = PartialState()
    device = torch.device(state.device or "cpu").type
    save, log = save_interval(total_steps(len(data), settings, state.num_processes), settings)
    with warnings.catch_warnings():
        # TRL's default for gradient_checkpointing is deprecated in transformers; users can do nothing about it.
        warnings.simplefilter("ignore", FutureWarning)
        config = _config(settings, folder, save=save, log=log, device=device)
    lengths = encoded_file.lengths(data)
    if settings.ratio_weights:
        data = data.add_column("weight", _weights(data, dict(settings.ratio_weights)))  # type: ignore[arg-type]
    if state.num_processes > 1:
        data = _with_blank_row(data, tokenizer)
    order = EpochOrder()
    callbacks = [order, CompleteCheckpoints(), Progress()]
    trainer = RatioTrainer(model, args=config, train_dataset=data, processing_class=tokenizer, callbacks=callbacks)
    trainer.remove_callback(PrinterCallback)
    order.trainer = trainer
    trainer.padded = trainer.data_collator
    trainer.lengths = lengths
    if settings.packing or settings.ratio_weights:
        flash = "flash" in str(getattr(model.config, "_attn_implementation", ""))
        pad: Any = tokenizer.pad_token_id
        trainer.data_collator = Collator(pad, pack=settings.packing, one_line=flash)
    _check_processes(trainer, settings, following=check is not None)
    if settings.packing:
        _check_packing(trainer)
    if check is not None:
        trainer.add_callback(FollowCheck(trainer, lambda: check(trainer), save))
    return trainer


def _with_blank_row(data: Dataset, tokenizer: PreTrainedTokenizerBase) -> Dataset:
    """The rows and, after them, one that the loss does not count; the sampler fills incomplete batches with it."""
    end = tokenizer.eos_token_id
    blank = {"input_ids": [end] * 2, "labels": [IGNORED] * 2, "ratio": 1.0, "mode": "blank", "weight": 1.0}
    row = Dataset.from_list([{name: blank[name] for name in data.column_names}], features=data.features)
    return concatenate_datasets([data, row])


def _check_processes(trainer: RatioTrainer, settings: TrainSettings, *, following: bool) -> None:
    """Refuse options that need the whole model on every process if it is sharded."""
    if trainer.accelerator.distributed_type.value in _WHOLE_REPLICAS:
        return
    for option, given in (("--follow", following), ("--lora-rank", settings.lora_rank is not None)):
        if given:
            raise DataError(f"{option} needs the whole model on every process (one process, or DDP); leave it out")


def _check_packing(trainer: RatioTrainer) -> None:
    """Refuse a model whose packed rows see each other; the main process tries it, which has the weights if any has."""
    model: Any = trainer.model
    collator: Any = trainer.data_collator
    found = False
    if trainer.accelerator.is_main_process:
        whole = all(weight.numel() and not weight.is_meta for weight in model.parameters())
        runs = model.device.type != "cpu" or not collator.one_line  # a model to be sharded is still on the CPU
        found = whole and runs and leaks(model, collator)
    if broadcast_object_list([found])[0]:
        raise DataError(
            f"--packing: a model of type {model.config.model_type} lets a packed row see the row before it; "
            "leave out --packing"
        )


def _weights(data: Dataset, weights: dict[float, float]) -> list[float]:
    """Loss weight of each row, with a mean of 1 over all completion tokens."""
    ratios: list[float] = list(data["ratio"])
    unknown = sorted(set(weights) - set(ratios))
    if unknown:
        raise DataError(f"--ratio-weight names ratio {unknown[0]:g}, but no row to train on has it; leave it out")
    raw = [weights.get(ratio, 1.0) for ratio in ratios]
    counts = [sum(label != IGNORED for label in labels) for labels in data["labels"]]
    total = sum(weight * count for weight, count in zip(raw, counts, strict=True))
    if not total > 0:
        raise DataError("--ratio-weight: all rows weigh 0; give some ratio a weight")
    return [weight * sum(counts) / total for weight in raw]


def _config(settings: TrainSettings, folder: Path, *, save: int, log: int, device: str) -> SFTConfig:
    on_gpu = device == "cuda"
    return SFTConfig(
        output_dir=str(folder),
        per_device_train_batch_size=settings.batch_size,
        per_device_eval_batch_size=settings.batch_size,
        gradient_accumulation_steps=settings.gradient_accumulation,
        num_train_epochs=settings.epochs,
        max_steps=settings.max_steps or -1,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="constant_with_warmup" if settings.lr_scheduler == "constant" else settings.lr_scheduler,
        warmup_steps=settings.warmup_share,
        weight_decay=settings.weight_decay,
        use_cpu=device == "cpu",
        bf16=on_gpu if settings.bf16 is None else settings.bf16,
        gradient_checkpointing=on_gpu if settings.gradient_checkpointing is None else settings.gradient_checkpointing,
        max_length=None,
        dataset_kwargs={"skip_prepare_dataset": True},
        logging_steps=log,
        logging_nan_inf_filter=False,
        save_strategy="steps",
        save_steps=save,
        report_to=list(settings.report_to) or "none",
        run_name=settings.run_name,
        disable_tqdm=True,
        dataloader_num_workers=0,
        ddp_find_unused_parameters=False,
        dataloader_pin_memory=on_gpu,
        seed=settings.seed,
        **loss_options(weighted=bool(settings.ratio_weights)),
    )
