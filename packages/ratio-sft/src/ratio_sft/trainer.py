"""TRL's SFTTrainer with our row order, whole checkpoints, a progress bar, and a held-out loss for each ratio.

The loss is TRL's: the mean over all completion tokens of the optimiser step, over processes and accumulated batches.
Imports the trainer libraries, so it is imported inside commands only.

    trainer = build_trainer(model, tokenizer, encoded, settings, folder)
    trainer.train()
    heldout_loss(trainer, heldout)["fixed 0.2"]
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
from torch.utils.data import DataLoader
from tqdm import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback
from transformers.trainer_callback import PrinterCallback
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from . import encoded_file
from .batches import SimilarLengths
from .checkpoints import mark_complete
from .encoding import IGNORED
from .errors import DataError, RatioSftError
from .packing import Collator, leaks
from .settings import TrainSettings

_SAVES = 10
_MOST_LOGGED_STEPS = 10
FOLLOWING = "following "
_WHOLE_REPLICAS = ("NO", "MULTI_CPU", "MULTI_GPU", "MULTI_XPU", "MULTI_NPU")


class RatioTrainer(SFTTrainer):
    """SFTTrainer whose rows come in the order of `SimilarLengths`; writes no model card and contacts nobody."""

    padded: Any
    """The collator that pads, one row to a line, whatever training uses."""
    lengths: Sequence[int]
    """Tokens of each row, without the blank one that may follow them in the dataset."""

    def _get_train_sampler(self, train_dataset: Any = None) -> SimilarLengths:
        processes, batch = self.args.world_size, self.args.train_batch_size
        group = batch * self.args.gradient_accumulation_steps * processes
        round_of = batch * processes if processes > 1 else 1
        self.order = SimilarLengths(self.lengths, group=group, seed=self.args.seed, round_of=round_of)
        return self.order

    def _set_signature_columns_if_needed(self) -> None:
        self._signature_columns = ["input_ids", "labels", "weight"]

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """TRL's loss, each token's term times its weight."""
        weights = inputs.pop("weights", None)
        if weights is None:
            return super().compute_loss(model, inputs, *args, **kwargs)

        def weigh(**inner: Any) -> Any:
            found = model(**inner)
            found.log_probs = found.log_probs * weights[:, 1:]
            return found

        weighted: Any = weigh
        return super().compute_loss(weighted, inputs, *args, **kwargs)

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


class _Follow(TrainerCallback):
    """Samples the held-out questions at each checkpoint, before it is written, so that a resumed log has them too."""

    def __init__(self, sample: Callable[[], dict[str, float]], interval: int) -> None:
        self.sample = sample
        self.interval = interval
        self.trainer: RatioTrainer | None = None

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        if self.trainer is None or (state.global_step % self.interval and state.global_step < state.max_steps):
            return
        due = control.should_log
        model.eval()
        self.trainer.log({f"{FOLLOWING}{name}": figure for name, figure in self.sample().items()})
        model.train()
        control.should_log = due  # a log entry of the loss that this one would have been taken for


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
    data: Dataset,
    settings: TrainSettings,
    folder: Path,
    sample: Callable[[RatioTrainer], dict[str, float]] | None = None,
) -> RatioTrainer:
    """The trainer over the rows of an `encoded_file`.

    Checkpoints go to `folder`, and `sample` is asked for figures at each of them. Packing is tried on the model once,
    before it is wrapped.

    float32 on CPU; on a GPU float32 weights with bfloat16 arithmetic, since the paper's step size is below what
    bfloat16 weights can add up. Activations are recomputed on a GPU only, where memory is what runs out.

    Raises:
        DataError: an option does not fit the model, the rows or the processes.
    """
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
        end = tokenizer.eos_token_id
        blank = {"input_ids": [end] * 2, "labels": [IGNORED] * 2, "ratio": 1.0, "mode": "blank", "weight": 1.0}
        row = Dataset.from_list([{name: blank[name] for name in data.column_names}], features=data.features)
        data = concatenate_datasets([data, row])
    order = _Order()
    callbacks = [order, _Complete(), _Progress()]
    trainer = RatioTrainer(model, args=config, train_dataset=data, processing_class=tokenizer, callbacks=callbacks)
    trainer.remove_callback(PrinterCallback)
    order.trainer = trainer
    trainer.padded = trainer.data_collator
    trainer.lengths = lengths
    if settings.packing or settings.ratio_weights:
        flash = "flash" in str(getattr(model.config, "_attn_implementation", ""))
        pad: Any = tokenizer.pad_token_id
        trainer.data_collator = Collator(pad, pack=settings.packing, one_line=flash)
    if trainer.accelerator.distributed_type.value not in _WHOLE_REPLICAS:
        for option, given in (("--follow", sample is not None), ("--lora-rank", settings.lora_rank is not None)):
            if given:
                raise DataError(f"{option} needs the whole model on every process (one process, or DDP); leave it out")
    if settings.packing:
        _check_packing(trainer)
    if sample is not None:
        following = _Follow(lambda: sample(trainer), save)
        following.trainer = trainer
        trainer.add_callback(following)
    return trainer


def _check_packing(trainer: RatioTrainer) -> None:
    """Refuse a model whose packed rows see each other: tried in the main process, which has the weights if any has."""
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
    """Each row's loss weight, with a mean of 1 over all completion tokens."""
    ratios: list[float] = list(data["ratio"])
    unknown = sorted(set(weights) - set(ratios))
    if unknown:
        raise DataError(f"--ratio-weight names ratio {unknown[0]:g}, of which there is no row to train on")
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
        lr_scheduler_type="cosine",
        warmup_steps=settings.warmup_share,
        weight_decay=settings.weight_decay,
        use_cpu=device == "cpu",
        bf16=on_gpu,
        gradient_checkpointing=on_gpu,
        max_length=None,
        dataset_kwargs={"skip_prepare_dataset": True},
        logging_steps=log,
        logging_nan_inf_filter=False,
        save_strategy="steps",
        save_steps=save,
        save_total_limit=2,
        report_to=settings.report_to or "none",
        disable_tqdm=True,
        dataloader_num_workers=0,
        ddp_find_unused_parameters=False,
        dataloader_pin_memory=on_gpu,
        seed=settings.seed,
    )


def heldout_loss(trainer: RatioTrainer, data: Dataset) -> dict[str, float]:
    """Mean loss in nats per completion token over all rows, over each fixed ratio, and over the policy rows."""
    accelerator = trainer.accelerator
    model: Any = trainer.model
    names = sorted({name for kind in zip(data["ratio"], data["mode"], strict=True) for name in _groups(*kind)})
    sums = torch.zeros(len(names), 2, dtype=torch.float64, device=accelerator.device)
    lengths = encoded_file.lengths(data)
    order = sorted(range(len(data)), key=lengths.__getitem__)
    mine = [(index, True) for index in order[accelerator.process_index :: accelerator.num_processes]]
    if len(mine) < math.ceil(len(data) / accelerator.num_processes):
        # A sharded model computes on all processes at once or not at all, so none may have a batch less.
        mine.append((order[0], False))

    def collate(batch: list[tuple[int, bool]]) -> tuple[dict[str, torch.Tensor], list[list[str]]]:
        rows = [data[index] for index, _ in batch]
        groups = [_groups(row["ratio"], row["mode"]) for row in rows]
        return trainer.padded(rows), [
            found if counted else [] for found, (_, counted) in zip(groups, batch, strict=True)
        ]

    loader: Any = DataLoader(mine, batch_size=trainer.args.per_device_eval_batch_size, collate_fn=collate)  # type: ignore[arg-type]
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


def _groups(ratio: float, mode: str) -> list[str]:
    return ["all", f"fixed {ratio:g}" if mode == "fixed" else mode]
