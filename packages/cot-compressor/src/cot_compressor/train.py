"""Fit a token classifier to an annotated file.

Questions, not rows, are held out, and training stops when the macro-F1 on their tokens no longer rises. The result is a
model folder that `--scorer` takes, with a model card. A killed run goes on from its last epoch and ends with the same
weights. Several processes (`accelerate launch -m cot_compressor train …`) share each batch and end with the weights of
one, up to rounding; so nothing is drawn while training: there is no dropout.

    train_file("annotated.jsonl", "models/compressor", TrainSettings(encoder="models/encoder"))
"""

import json
import math
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from tqdm import tqdm

from . import processes
from ._shared.records import parse_json, write_json
from .card import model_card
from .classifier import FORMAT, LABELS, encoder_length, model_inputs, require_safetensors
from .counting import load_tokenizer
from .errors import DataError
from .examples import Example, batches, class_weights, read_examples
from .hub import SETTINGS_FILE
from .labels import IGNORED, WindowMaker
from .resume import differing_keys, file_digest, folder_digest, is_finished, only_writer, write_manifest

_WARM_UP_SHARE = 0.1
_PATIENCE = 2
_DEFAULT_MAX_LENGTH = 4096
_PRETRAINED_RATE, _SCRATCH_RATE = 3e-5, 1e-3
_PROGRESS_FILE = "progress.json"
_RATIOS = (0.1, 0.2, 0.4, 0.6, 0.8)


@dataclass(frozen=True)
class TrainSettings:
    """How to train."""

    encoder: str | Path
    """Folder with a config and a fast tokenizer; without weights the encoder starts from random ones."""
    epochs: int = 5
    """At most; early stopping may end sooner."""
    batch_size: int = 16
    """Windows per step, of all processes together."""
    learning_rate: float | None = None
    """Peak rate; by default 3e-5 for pretrained weights, 1e-3 for an encoder without weights."""
    max_length: int | None = None
    """Tokens per window; by default what encoder and tokenizer take, at most 4096."""
    seed: int = 0
    """Of the split, the order and random weights."""

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1:
            raise DataError(f"epochs and batch size must be at least 1; got {self.epochs} and {self.batch_size}")
        if self.learning_rate is not None and not 0 < self.learning_rate < 1:
            raise DataError(f"learning rate must be in (0, 1); got {self.learning_rate:g}")


@dataclass(frozen=True)
class TrainReport:
    """How training went."""

    train_rows: int
    held_out_rows: int
    held_out_questions: int
    keep_share: float
    """Share of labelled training tokens that are to be kept."""
    class_weights: tuple[float, float]
    """Loss weight of drop and of keep: inverse to their shares, mean 1 over the tokens, at most 10."""
    from_scratch: bool
    """True if the encoder folder had no weights."""
    learning_rate: float
    max_length: int
    epochs: int
    """Epochs run."""
    best_epoch: int
    """The one whose weights were kept, from 1."""
    macro_f1: tuple[float, ...]
    """On held-out tokens after each epoch."""
    ranking: dict[str, float]
    """`hits_at` each ratio with the kept weights, mean over held-out windows that keep something."""

    def summary(self) -> str:
        """A few words for the terminal."""
        start = "random weights (the encoder folder has none)" if self.from_scratch else "pretrained weights"
        ranking = ", ".join(f"{value:.3f} at {ratio}" for ratio, value in self.ranking.items()) or "nothing to rank"
        return (
            f"{self.train_rows} rows trained on, {self.held_out_rows} held out ({self.held_out_questions} questions); "
            f"from {start} at learning rate {self.learning_rate:g}, windows of {self.max_length} tokens; "
            f"{self.keep_share:.0%} of tokens to keep, loss weights drop {self.class_weights[0]:.2f} "
            f"keep {self.class_weights[1]:.2f}; held-out macro-F1 {max(self.macro_f1):.3f} "
            f"after epoch {self.best_epoch} of {self.epochs}; hits among the first tokens {ranking}"
        )


def macro_f1(counts: Sequence[Sequence[int]]) -> float:
    """Mean F1 of the two classes from `counts[true][predicted]`; a class that never occurs counts 0."""
    scores: list[float] = []
    for label in (0, 1):
        right = counts[label][label]
        wrong = counts[label][1 - label] + counts[1 - label][label]
        scores.append(2 * right / (2 * right + wrong) if right else 0.0)
    return sum(scores) / 2


def hits_at(ratio: float, margins: Sequence[float], labels: Sequence[int]) -> float:
    """Tokens to keep among the `ratio` with the highest margins, of as many as could be there.

    Args:
        ratio: Share of the tokens that is taken, in (0, 1].
        margins: One per token, higher is kept sooner.
        labels: 1 keep, 0 drop; at least one 1.
    """
    taken = math.ceil(ratio * len(labels))
    order = sorted(range(len(labels)), key=lambda at: -margins[at])
    return sum(labels[at] for at in order[:taken]) / min(taken, sum(labels))


def train_file(
    source: str | Path, out: str | Path, settings: TrainSettings, *, overwrite: bool = False
) -> TrainReport | None:
    """Train and write the model folder; returns how it went, or None if it was there already.

    Args:
        source: An `annotated` file.
        out: The model folder; what is in it goes when it is replaced.
        settings: How to train.
        overwrite: Replace a model that was trained with other settings.

    Raises:
        DataError: bad input, `out` was made with other settings or is not a model that was trained here, or another
            run is writing it.
    """
    out, encoder = Path(out).resolve(), Path(settings.encoder)
    if not encoder.is_dir():
        raise DataError(f"encoder {encoder}: no such folder; give one with config.json and tokenizer.json")
    recorded = {
        **{key: value for key, value in asdict(settings).items() if key != "encoder"},
        "input": file_digest(source),
        "encoder": folder_digest(encoder),
    }
    with only_writer(out):
        if is_finished(out, "train", recorded, sources=(source, encoder), overwrite=overwrite):
            return None
        run = _Run(source, out, settings, recorded)
        report = run.train()
        if processes.rank() == 0:
            run.publish(report)
        processes.wait()
    return report


class _Run:
    """One training run: its model, data and the folder that holds its progress."""

    def __init__(self, source: str | Path, out: Path, settings: TrainSettings, recorded: dict[str, Any]) -> None:
        self.out, self.settings, self.recorded = out, settings, recorded
        self.partial = out.with_name(f".{out.name}.partial")
        self.tokenizer = load_tokenizer(settings.encoder)
        self.device = processes.device()
        with torch.random.fork_rng():
            torch.manual_seed(settings.seed)
            model, self.from_scratch = _load_encoder(Path(settings.encoder))
        self.model = model.to(self.device).eval()
        longest = encoder_length(self.model.config, self.tokenizer)
        if settings.max_length is not None and settings.max_length > longest:
            raise DataError(f"max length {settings.max_length} is more than the encoder takes ({longest})")
        self.max_length = settings.max_length or min(longest, _DEFAULT_MAX_LENGTH)
        self.examples = read_examples(source, WindowMaker(self.tokenizer, self.max_length), seed=settings.seed)
        self.keep_share, self.weights = class_weights(self.examples.training)
        self.rate = settings.learning_rate or (_SCRATCH_RATE if self.from_scratch else _PRETRAINED_RATE)
        self.steps_per_epoch = math.ceil(len(self.examples.training) / settings.batch_size)

    def train(self) -> TrainReport:
        """Run the epochs that are missing; the best weights end in the model."""
        optimiser = torch.optim.AdamW(self.model.parameters(), lr=self.rate, weight_decay=0.01)
        history = self._restore(optimiser)
        while len(history) < self.settings.epochs and len(history) - _best(history) <= _PATIENCE:
            self._epoch(optimiser, len(history))
            history.append(self._evaluate())
            if processes.rank() == 0:
                self._save(optimiser, history)
            processes.wait()
        self.model.load_state_dict(load_file(self.partial / "best.safetensors"))
        return TrainReport(
            train_rows=self.examples.training_rows,
            held_out_rows=self.examples.held_out_rows,
            held_out_questions=self.examples.held_out_questions,
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
        """Logits `[batch, seq, 2]` and labels `[batch, seq]`, padding labelled `IGNORED`."""
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
        order = batches(self.examples.training, self.settings.batch_size, f"{self.settings.seed} {epoch}")
        quiet = processes.rank() > 0
        with tqdm(order, desc=f"epoch {epoch + 1}", unit="step", leave=False, disable=quiet) as progress:
            for step, batch in enumerate(progress, epoch * self.steps_per_epoch):
                whole = sum(self.weights[label] for _, labels in batch for label in labels if label != IGNORED)
                if not whole:
                    continue
                for group in optimiser.param_groups:
                    group["lr"] = self.rate * _schedule(step, total)
                optimiser.zero_grad()
                share = batch[processes.rank() :: processes.count()]
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
        """Give every process the gradients of the whole batch."""
        if processes.count() == 1:
            return
        parameters = list(self.model.parameters())
        gradients = [torch.zeros_like(one) if one.grad is None else one.grad for one in parameters]
        flat = processes.total(torch.cat([gradient.flatten() for gradient in gradients]))
        for parameter, part in zip(parameters, flat.split([one.numel() for one in parameters]), strict=True):
            parameter.grad = part.view_as(parameter)

    def _held_out_logits(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """`_logits` of this process's share of the held-out batches."""
        share = batches(self.examples.held_out, self.settings.batch_size)[processes.rank() :: processes.count()]
        for batch in share:
            with torch.inference_mode():
                found = self._logits(batch)
            yield found

    def _evaluate(self) -> float:
        counts = torch.zeros(4, dtype=torch.long, device=self.device)
        for logits, labels in self._held_out_logits():
            real = labels != IGNORED
            counts += torch.bincount(2 * labels[real] + logits[real].argmax(-1), minlength=4)
        return macro_f1(processes.total(counts).view(2, 2).tolist())

    def _ranking(self) -> dict[str, float]:
        # The last entry counts the windows.
        hits = torch.zeros(len(_RATIOS) + 1, dtype=torch.float64)
        for logits, labels in self._held_out_logits():
            for margins, targets in zip((logits[..., 1] - logits[..., 0]).cpu(), labels.cpu(), strict=True):
                wanted = targets[targets != IGNORED].tolist()
                if 1 in wanted:
                    values = margins[targets != IGNORED].tolist()
                    hits += torch.tensor([*(hits_at(ratio, values, wanted) for ratio in _RATIOS), 1.0])
        *sums, windows = processes.total(hits.to(self.device)).tolist()
        return {f"{ratio:g}": value / windows for ratio, value in zip(_RATIOS, sums, strict=True) if windows}

    def _save(self, optimiser: torch.optim.Optimizer, history: list[float]) -> None:
        """Write the state after an epoch; `progress.json` comes last and names the file it goes with."""
        self.partial.mkdir(parents=True, exist_ok=True)
        weights = _weights(self.model)
        if _best(history) == len(history):
            _replace(weights, self.partial / "best.safetensors")
        states = optimiser.state_dict()["state"]
        moments = {f"{at}.{name}": value.contiguous() for at, state in states.items() for name, value in state.items()}
        state = f"epoch_{len(history)}.safetensors"
        _replace(
            {f"model.{k}": v for k, v in weights.items()} | {f"optimiser.{k}": v for k, v in moments.items()},
            self.partial / state,
        )
        write_json(self.partial / _PROGRESS_FILE, {"settings": self.recorded, "macro_f1": history, "state": state})
        for old in self.partial.glob("epoch_*.safetensors"):
            if old.name != state:
                old.unlink()

    def _restore(self, optimiser: torch.optim.Optimizer) -> list[float]:
        """Macro-F1 of the epochs already done, with model and optimiser as they were after them."""
        file = self.partial / _PROGRESS_FILE
        if not file.is_file():
            return []
        progress = parse_json(file.read_text("utf-8"), str(file))
        if differing_keys(progress["settings"], self.recorded):
            return []
        tensors = load_file(self.partial / progress["state"])
        self.model.load_state_dict(
            {name.removeprefix("model."): value for name, value in tensors.items() if name.startswith("model.")}
        )
        states: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in tensors.items():
            if name.startswith("optimiser."):
                _, at, key = name.split(".", 2)
                states.setdefault(int(at), {})[key] = value
        optimiser.load_state_dict({"state": states, "param_groups": optimiser.state_dict()["param_groups"]})
        return progress["macro_f1"]

    def publish(self, report: TrainReport) -> None:
        """Write the model folder and put it under its final name."""
        folder = self.partial / "model"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        self.model.save_pretrained(folder, safe_serialization=True)
        self.tokenizer.save_pretrained(folder)
        settings = {"format": FORMAT, "max_length": self.max_length, "labels": {str(k): v for k, v in LABELS.items()}}
        write_json(folder / SETTINGS_FILE, {**settings, "training": json.loads(json.dumps(asdict(report)))})
        card = model_card(report, self.examples.annotators, Path(self.settings.encoder))
        (folder / "README.md").write_text(card, encoding="utf-8")
        write_manifest(folder / "manifest.json", "train", self.recorded)
        if self.out.exists():
            shutil.rmtree(self.out)
        self.out.parent.mkdir(parents=True, exist_ok=True)
        os.replace(folder, self.out)
        shutil.rmtree(self.partial)


def _load_encoder(folder: Path) -> tuple[Any, bool]:
    """A token-classification model on the encoder, and whether its weights are random."""
    from transformers import AutoConfig, AutoModelForTokenClassification

    require_safetensors(folder)
    labels = {"num_labels": 2, "id2label": LABELS, "label2id": {name: at for at, name in LABELS.items()}}
    try:
        config = AutoConfig.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False, **labels)
        if not any(folder.glob("*.safetensors")):
            return AutoModelForTokenClassification.from_config(config).float(), True
        model = AutoModelForTokenClassification.from_pretrained(
            str(folder), config=config, local_files_only=True, use_safetensors=True, dtype=torch.float32
        )
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise DataError(f"encoder {folder}: cannot be loaded ({error}); is it an encoder's model folder?") from error
    return model, False


def _best(history: Sequence[float]) -> int:
    """The epoch, from 1, with the highest macro-F1, the first of equals; 0 before any."""
    return max(range(len(history)), key=lambda at: (history[at], -at)) + 1 if history else 0


def _schedule(step: int, total: int) -> float:
    """Share of the peak rate: up over the first tenth of the steps, then down to zero, both linear."""
    warm_up = max(1, int(_WARM_UP_SHARE * total))
    return min((step + 1) / warm_up, (total - step) / max(1, total - warm_up))


def _weights(model: Any) -> dict[str, torch.Tensor]:
    """A copy of the weights, each tensor on its own (tied ones may share memory, which safetensors refuses)."""
    return {name: value.detach().cpu().clone().contiguous() for name, value in model.state_dict().items()}


def _replace(tensors: dict[str, torch.Tensor], path: Path) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    save_file(tensors, temporary)
    os.replace(temporary, path)
