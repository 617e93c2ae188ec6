"""TRL's SFTTrainer with our row order, whole checkpoints, a progress bar, and a held-out loss for each ratio.

The loss is TRL's: the mean over all completion tokens of the optimiser step, over processes and accumulated batches.
Imports the trainer libraries, so it is imported inside commands only.

    trainer = build_trainer(model, tokenizer, encoded, settings, folder)
    trainer.train()
    heldout_loss(trainer, heldout)["fixed 0.2"]
"""

import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from datasets import Dataset
from torch.utils.data import DataLoader
from tqdm import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback
from transformers.trainer_callback import PrinterCallback
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from .batches import SimilarLengths
from .checkpoints import mark_complete
from .encoding import Encoded
from .errors import RatioSftError
from .settings import TrainSettings

_SAVES = 10
_MOST_LOGGED_STEPS = 10


class RatioTrainer(SFTTrainer):
    """SFTTrainer whose rows come in the order of `SimilarLengths`; writes no model card and contacts nobody."""

    def _get_train_sampler(self, train_dataset: Any = None) -> SimilarLengths:
        group = self.args.train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size
        lengths = [len(ids) for ids in self.train_dataset["input_ids"]]  # type: ignore[index]
        self.order = SimilarLengths(lengths, group=group, seed=self.args.seed)
        return self.order

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Write none: checkpoints are working files, and the final folder has a manifest."""

    def _send_telemetry(self) -> None:
        """Training reads and writes local files only."""


class _Order(TrainerCallback):
    """Tells the sampler its epoch; the wrappers that a resume puts around it do not always pass it on."""

    def __init__(self) -> None:
        self.trainer: RatioTrainer | None = None

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.trainer is not None:
            self.trainer.order.set_epoch(int(state.epoch or 0))


class _Complete(TrainerCallback):
    """Marks a checkpoint when all processes have written their part."""

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        PartialState().wait_for_everyone()
        if state.is_world_process_zero:
            mark_complete(Path(args.output_dir) / f"checkpoint-{state.global_step}")


class _Progress(TrainerCallback):
    """A bar on stderr with the latest loss; stops a run whose loss is no longer a number."""

    bar: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            self.bar = tqdm(total=state.max_steps, initial=state.global_step, desc="train", unit="step")

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.bar is not None:
            self.bar.update()

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **kwargs: Any) -> None:
        loss = (logs or {}).get("loss")
        if loss is None:
            return
        if not math.isfinite(loss):
            raise RatioSftError(f"the loss is {loss} at step {state.global_step}; lower --learning-rate")
        if self.bar is not None:
            self.bar.set_postfix(loss=f"{loss:.3f}", refresh=False)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.bar is not None:
            self.bar.close()


def total_steps(rows: int, settings: TrainSettings, processes: int) -> int:
    """Optimiser steps of a run over `rows` rows."""
    if settings.max_steps is not None:
        return settings.max_steps
    batches = math.ceil(rows / (settings.batch_size * processes))
    return math.ceil(settings.epochs * math.ceil(batches / settings.gradient_accumulation))


def save_interval(steps: int, settings: TrainSettings) -> tuple[int, int]:
    """Steps between checkpoints, and between log entries.

    The second divides the first, because only then is the log of a resumed run that of an undisturbed one.
    """
    save = settings.save_steps or math.ceil(steps / _SAVES)
    if settings.save_steps is None and save > _MOST_LOGGED_STEPS:
        save = math.ceil(save / _MOST_LOGGED_STEPS) * _MOST_LOGGED_STEPS
    return save, max(count for count in range(1, _MOST_LOGGED_STEPS + 1) if save % count == 0)


def build_trainer(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[Encoded],
    settings: TrainSettings,
    folder: Path,
) -> RatioTrainer:
    """The trainer over encoded rows; checkpoints go to `folder`.

    float32 on CPU; on a GPU float32 weights with bfloat16 arithmetic, since the paper's step size is below what
    bfloat16 weights can add up. Activations are recomputed on a GPU only, where memory is what runs out.
    """
    state = PartialState()
    on_gpu = torch.device(state.device or "cpu").type == "cuda"
    save, log = save_interval(total_steps(len(rows), settings, state.num_processes), settings)
    with warnings.catch_warnings():
        # TRL's default for gradient_checkpointing is deprecated in transformers; users can do nothing about it.
        warnings.simplefilter("ignore", FutureWarning)
        config = _config(settings, folder, save=save, log=log, on_gpu=on_gpu)
    data = Dataset.from_dict({"input_ids": [row.input_ids for row in rows], "labels": [row.labels for row in rows]})
    order = _Order()
    callbacks = [order, _Complete(), _Progress()]
    trainer = RatioTrainer(model, args=config, train_dataset=data, processing_class=tokenizer, callbacks=callbacks)
    trainer.remove_callback(PrinterCallback)
    order.trainer = trainer
    return trainer


def _config(settings: TrainSettings, folder: Path, *, save: int, log: int, on_gpu: bool) -> SFTConfig:
    return SFTConfig(
        output_dir=str(folder),
        per_device_train_batch_size=settings.batch_size,
        per_device_eval_batch_size=settings.batch_size,
        gradient_accumulation_steps=settings.gradient_accumulation,
        num_train_epochs=settings.epochs,
        max_steps=settings.max_steps or -1,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=settings.warmup_share,
        weight_decay=settings.weight_decay,
        bf16=on_gpu,
        gradient_checkpointing=on_gpu,
        max_length=None,
        dataset_kwargs={"skip_prepare_dataset": True},
        logging_steps=log,
        logging_nan_inf_filter=False,
        save_strategy="steps",
        save_steps=save,
        save_total_limit=2,
        report_to="none",
        disable_tqdm=True,
        dataloader_num_workers=0,
        ddp_find_unused_parameters=False,
        dataloader_pin_memory=on_gpu,
        seed=settings.seed,
    )


def heldout_loss(trainer: RatioTrainer, rows: Sequence[Encoded]) -> dict[str, float]:
    """Mean loss in nats per completion token over all rows, over each fixed ratio, and over the policy rows."""
    accelerator = trainer.accelerator
    model: Any = trainer.model
    names = sorted({name for row in rows for name in _groups(row)})
    sums = torch.zeros(len(names), 2, dtype=torch.float64, device=accelerator.device)
    mine = sorted(rows, key=lambda row: len(row.input_ids))[accelerator.process_index :: accelerator.num_processes]
    features = [{"input_ids": row.input_ids, "labels": row.labels, "groups": _groups(row)} for row in mine]

    def collate(batch: list[dict[str, Any]]) -> tuple[dict[str, torch.Tensor], list[list[str]]]:
        return trainer.data_collator(batch), [row["groups"] for row in batch]

    loader: Any = DataLoader(features, batch_size=trainer.args.per_device_eval_batch_size, collate_fn=collate)  # type: ignore[arg-type]
    model.eval()
    with torch.no_grad(), accelerator.autocast():
        for batch, groups in loader:
            inputs = {name: tensor.to(accelerator.device) for name, tensor in batch.items()}
            found = model(**inputs, fused_lm_head=True)
            per_row = torch.stack([-found.log_probs.double().sum(dim=1), found.label_mask.double().sum(dim=1)], dim=1)
            for values, row_groups in zip(per_row, groups, strict=True):
                for name in row_groups:
                    sums[names.index(name)] += values
    sums = accelerator.reduce(sums, reduction="sum")
    return {name: (total / count).item() for name, (total, count) in zip(names, sums, strict=True)}


def _groups(row: Encoded) -> list[str]:
    return ["all", f"fixed {row.ratio:g}" if row.mode == "fixed" else row.mode]
