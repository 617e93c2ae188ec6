"""The training loop: fits a token classifier to annotated rows, and stops early.

Questions, not rows, are held out, and training stops when the macro-F1 on their tokens no longer rises. The state after
each epoch is on disk, so a new `Trainer` continues where a killed one ended. Several processes
(`accelerate launch -m cot_compressor train …`) share each batch and end with the weights of one process, up to
rounding; therefore no random number is drawn in training, and there is no dropout. Files and folders around the loop
are written in `train.py`.

    trainer = Trainer("annotated.jsonl", TrainSettings(encoder="models/encoder"), Path("runs/.compressor.partial"))
    report = trainer.train()
"""

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForTokenClassification

from cot_compressor import distributed
from cot_compressor._shared import checkpoint_loader
from cot_compressor._shared.checkpoint_files import has_weights
from cot_compressor._shared.file_record import check_files, record_files
from cot_compressor._shared.progress import progress_bar
from cot_compressor._shared.records import read_object, write_json
from cot_compressor.budget.counting import load_tokenizer
from cot_compressor.errors import DataError
from cot_compressor.scorers.card import TrainReport
from cot_compressor.scorers.classifier import FORMAT, LABELS, encoder_length, model_inputs
from cot_compressor.scorers.hub import SETTINGS_FILE
from cot_compressor.scorers.windows import WindowMaker

from .dataset import IGNORED, Example, batches, class_weights, read_dataset
from .metrics import hits_at, macro_f1
from .settings import TrainSettings

_WARM_UP_SHARE = 0.1
_PATIENCE = 2
_DEFAULT_MAX_LENGTH = 4096
_PRETRAINED_RATE, _SCRATCH_RATE = 3e-5, 1e-3
_PROGRESS_FILE = "progress.json"
_RATIOS = (0.1, 0.2, 0.4, 0.6, 0.8)


class Trainer:
    """One training run: its model, its data and the folder with its progress."""

    def __init__(self, source: str | Path, settings: TrainSettings, partial: Path) -> None:
        """Load encoder and data.

        Args:
            source: Path of an `annotated` file.
            settings: Settings of the training.
            partial: Folder in which the state after each epoch is stored.

        Raises:
            DataError: encoder or data are bad, or the window is longer than the encoder accepts.
        """
        self.settings, self.partial = settings, partial
        self.tokenizer = load_tokenizer(settings.encoder)
        self.device = distributed.device()
        with torch.random.fork_rng():
            torch.manual_seed(settings.seed)
            model, self.from_scratch = _load_encoder(Path(settings.encoder))
        self.model = model.to(self.device).eval()
        longest = encoder_length(self.model.config, self.tokenizer)
        if settings.max_length is not None and settings.max_length > longest:
            raise DataError(f"max length {settings.max_length} is more than the encoder accepts ({longest})")
        self.max_length = settings.max_length or min(longest, _DEFAULT_MAX_LENGTH)
        self.data = read_dataset(source, WindowMaker(self.tokenizer, self.max_length), seed=settings.seed)
        self.keep_share, self.weights = class_weights(self.data.training)
        self.rate = settings.learning_rate or (_SCRATCH_RATE if self.from_scratch else _PRETRAINED_RATE)
        self.steps_per_epoch = math.ceil(len(self.data.training) / settings.batch_size)

    def train(self) -> TrainReport:
        """Run the epochs that are missing; afterwards the model has the weights of the best epoch."""
        optimiser = torch.optim.AdamW(self.model.parameters(), lr=self.rate, weight_decay=0.01)
        history = self._restore(optimiser)
        while len(history) < self.settings.epochs and len(history) - _best(history) <= _PATIENCE:
            self._epoch(optimiser, len(history))
            history.append(self._evaluate())
            if distributed.rank() == 0:
                self._save(optimiser, history)
            distributed.wait()
        self.model.load_state_dict(load_file(self.partial / _best_file(history)))
        return TrainReport(
            train_rows=self.data.training_rows,
            held_out_rows=self.data.held_out_rows,
            held_out_questions=self.data.held_out_questions,
            keep_share=self.keep_share,
            class_weights=self.weights,
            from_scratch=self.from_scratch,
            learning_rate=self.rate,
            max_length=self.max_length,
            epochs=len(history),
            best_epoch=_best(history),
            macro_f1=tuple(history),
            ranking=self._ranking(),
        )

    def _logits(self, batch: Sequence[Example]) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits `[batch, seq, 2]` and labels `[batch, seq]`; the label of padding is `IGNORED`."""
        inputs = model_inputs([window for window, _ in batch], self.tokenizer, self.model.config)
        labels = torch.full_like(inputs["input_ids"], IGNORED)
        for row, (_, values) in enumerate(batch):
            labels[row, : len(values)] = torch.tensor(values)
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.device.type == "cuda"):
            logits = self.model(**{name: tensor.to(self.device) for name, tensor in inputs.items()}).logits
        return logits.float(), labels.to(self.device)

    def _epoch(self, optimiser: torch.optim.Optimizer, epoch: int) -> None:
        weights = torch.tensor(self.weights, device=self.device)
        total = self.steps_per_epoch * self.settings.epochs
        order = batches(self.data.training, self.settings.batch_size, f"{self.settings.seed} {epoch}")
        quiet = distributed.rank() > 0
        with progress_bar(order, desc=f"epoch {epoch + 1}", unit="step", leave=False, disable=quiet) as progress:
            for step, batch in enumerate(progress, epoch * self.steps_per_epoch):
                whole = sum(self.weights[label] for _, labels in batch for label in labels if label != IGNORED)
                if not whole:
                    continue
                for group in optimiser.param_groups:
                    group["lr"] = self.rate * _schedule(step, total)
                optimiser.zero_grad()
                share = batch[distributed.rank() :: distributed.count()]
                if share:
                    logits, labels = self._logits(share)
                    summed = torch.nn.functional.cross_entropy(
                        logits.flatten(0, 1), labels.flatten(), weight=weights, ignore_index=IGNORED, reduction="sum"
                    )
                    (summed / whole).backward()
                self._add_gradients()
                torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
                optimiser.step()

    def _add_gradients(self) -> None:
        """Sum the gradients over all processes, so that each has those of the whole batch."""
        if distributed.count() == 1:
            return
        parameters = list(self.model.parameters())
        gradients = [torch.zeros_like(each) if each.grad is None else each.grad for each in parameters]
        flat = distributed.total(torch.cat([gradient.flatten() for gradient in gradients]))
        for parameter, part in zip(parameters, flat.split([each.numel() for each in parameters]), strict=True):
            parameter.grad = part.view_as(parameter)

    def _held_out_logits(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """The logits and labels of this process's share of the held-out batches."""
        share = batches(self.data.held_out, self.settings.batch_size)[distributed.rank() :: distributed.count()]
        for batch in share:
            with torch.inference_mode():
                found = self._logits(batch)
            yield found

    def _evaluate(self) -> float:
        counts = torch.zeros(4, dtype=torch.long, device=self.device)
        for logits, labels in self._held_out_logits():
            real = labels != IGNORED
            counts += torch.bincount(2 * labels[real] + logits[real].argmax(-1), minlength=4)
        return macro_f1(distributed.total(counts).view(2, 2).tolist())

    def _ranking(self) -> dict[str, float]:
        # The last entry is the number of windows.
        hits = torch.zeros(len(_RATIOS) + 1, dtype=torch.float64)
        for logits, labels in self._held_out_logits():
            for margins, targets in zip((logits[..., 1] - logits[..., 0]).cpu(), labels.cpu(), strict=True):
                wanted = targets[targets != IGNORED].tolist()
                if 1 in wanted:
                    values = margins[targets != IGNORED].tolist()
                    hits += torch.tensor([*(hits_at(ratio, values, wanted) for ratio in _RATIOS), 1.0])
        *sums, windows = distributed.total(hits.to(self.device)).tolist()
        return {f"{ratio:g}": value / windows for ratio, value in zip(_RATIOS, sums, strict=True) if windows}

    def _save(self, optimiser: torch.optim.Optimizer, history: list[float]) -> None:
        """Write the state after an epoch; `progress.json` is written last and records the files that it needs."""
        weights = _weights(self.model)
        if _best(history) == len(history):
            _replace(weights, self.partial / _best_file(history))
        states = optimiser.state_dict()["state"]
        moments = {f"{at}.{name}": value.contiguous() for at, state in states.items() for name, value in state.items()}
        state = _state_file(history)
        _replace(
            {f"model.{k}": v for k, v in weights.items()} | {f"optimiser.{k}": v for k, v in moments.items()},
            self.partial / state,
        )
        files = record_files(self.partial, (state, _best_file(history)))
        write_json(self.partial / _PROGRESS_FILE, {"macro_f1": history, "files": files})
        for old in self.partial.glob("*.safetensors"):
            if old.name not in files:
                old.unlink()

    def _restore(self, optimiser: torch.optim.Optimizer) -> list[float]:
        """The macro-F1 of each finished epoch; model and optimiser get the state they had after the last one."""
        file = self.partial / _PROGRESS_FILE
        if not file.is_file():
            return []
        history = self._sound_history(file)
        tensors = load_file(self.partial / _state_file(history))
        self.model.load_state_dict(
            {name.removeprefix("model."): value for name, value in tensors.items() if name.startswith("model.")}
        )
        states: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in tensors.items():
            if name.startswith("optimiser."):
                _, at, key = name.split(".", 2)
                states.setdefault(int(at), {})[key] = value
        optimiser.load_state_dict({"state": states, "param_groups": optimiser.state_dict()["param_groups"]})
        return history

    def _sound_history(self, file: Path) -> list[float]:
        """The macro-F1 of each finished epoch, if the files that belong to it are whole."""
        progress, remedy = read_object(file), f"remove {self.partial}, and the training starts again"
        history, files = progress.get("macro_f1"), progress.get("files")
        if not (history and isinstance(history, list) and all(isinstance(value, float) for value in history)):
            raise DataError(f"{file}: no macro-F1 of each epoch; {remedy}")
        if not isinstance(files, dict) or {*files} != {_state_file(history), _best_file(history)}:
            raise DataError(f"{file}: no record of the files; {remedy}")
        check_files(self.partial, files, remedy)
        return history

    def save(self, folder: Path, report: TrainReport) -> None:
        """Write weights, tokenizer, settings and report into a model folder."""
        self.model.save_pretrained(folder, safe_serialization=True)
        self.tokenizer.save_pretrained(folder)
        labels = {str(label): name for label, name in LABELS.items()}
        settings = {"format": FORMAT, "max_length": self.max_length, "labels": labels, "training": asdict(report)}
        write_json(folder / SETTINGS_FILE, settings)


def _load_encoder(folder: Path) -> tuple[Any, bool]:
    """A token-classification model on the encoder, and True if its weights are random."""
    pretrained = has_weights(folder)
    config = checkpoint_loader.load_config(folder)
    config.num_labels = len(LABELS)
    config.id2label, config.label2id = dict(LABELS), {name: label for label, name in LABELS.items()}
    if pretrained:
        options = {"auto_class": "AutoModelForTokenClassification", "config": config}
        return checkpoint_loader.load_model(folder, torch.float32, **options), False
    checkpoint_loader.check_building(folder, config, "AutoModelForTokenClassification")
    return AutoModelForTokenClassification.from_config(config, trust_remote_code=False).float(), True


def _state_file(history: Sequence[float]) -> str:
    """Name of the file with weights and optimiser after the last epoch."""
    return f"epoch_{len(history)}.safetensors"


def _best_file(history: Sequence[float]) -> str:
    """Name of the file with the weights of the best epoch."""
    return f"best_{_best(history)}.safetensors"


def _best(history: Sequence[float]) -> int:
    """The number of the epoch, from 1, with the highest macro-F1, the first of equals; 0 before the first epoch."""
    return max(range(len(history)), key=lambda at: (history[at], -at)) + 1 if history else 0


def _schedule(step: int, total: int) -> float:
    """The learning rate divided by its peak: rises linearly over the first tenth of the steps, then falls to zero."""
    warm_up = max(1, int(_WARM_UP_SHARE * total))
    return min((step + 1) / warm_up, (total - step) / max(1, total - warm_up))


def _weights(model: Any) -> dict[str, torch.Tensor]:
    """A copy of the weights without shared memory, which safetensors refuses (tied weights share theirs)."""
    return {name: value.detach().cpu().clone().contiguous() for name, value in model.state_dict().items()}


def _replace(tensors: dict[str, torch.Tensor], path: Path) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    save_file(tensors, temporary)
    os.replace(temporary, path)
