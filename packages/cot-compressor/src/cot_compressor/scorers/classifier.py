"""A trained token classifier as a scorer, loaded from a folder that `cot-compressor train` or `export` wrote.

One forward pass over question and text serves every ratio. The score of a unit is the mean of `keep logit - drop logit`
over the tokens of its sentence; a token in two windows is scored in the window where it has more context. Training is
in `training/trainer.py`.

    scorer = TokenClassifier.from_folder(Path("models/compressor"))
    (scores,) = scorer.score([ScoringInput(question, cot, segment(cot))])
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import torch

from cot_compressor import distributed
from cot_compressor._shared import checkpoint_loader
from cot_compressor._shared.checkpoint_files import check_checkpoint, check_inside
from cot_compressor._shared.records import read_object
from cot_compressor.budget.counting import load_tokenizer
from cot_compressor.errors import DataError
from cot_compressor.text.segment import Unit

from .base import DTYPES, ScoringInput
from .hub import SETTINGS_FILE
from .onnx import ONNX_FILE, OnnxModel
from .windows import Encoded, Window, WindowMaker

FORMAT = 1
LABELS = {0: "drop", 1: "keep"}
_BATCH_TOKENS = {"cpu": 2048, "cuda": 8192}
"""Number of padded tokens in a batch; on a CPU what its caches can hold, because larger batches were slower."""
_MAX_LENGTH_RATIO = 1.25
"""Largest ratio of the lengths of two windows in one batch."""
_DECIMALS = 4


def encoder_length(config: Any, tokenizer: Any) -> int:
    """The number of tokens an encoder accepts; position tables with an offset (RoBERTa, Longformer) lose some rows."""
    positions = getattr(config, "max_position_embeddings", None) or 512
    if config.model_type in {"roberta", "xlm-roberta", "camembert", "longformer", "mpnet"}:
        positions -= (config.pad_token_id or 0) + 1
    return int(min(positions, tokenizer.model_max_length))


def model_inputs(windows: Sequence[Window], tokenizer: Any, config: Any) -> dict[str, torch.Tensor]:
    """Padded tensors `[batch, seq]`: ids, attention mask (1 = real token), and what else the encoder expects."""
    length = max(len(window.ids) for window in windows)
    padding = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
    ids = torch.full((len(windows), length), padding, dtype=torch.long)
    mask = torch.zeros_like(ids)
    types = torch.zeros_like(ids)
    question = torch.zeros_like(ids)
    for row, window in enumerate(windows):
        ids[row, : len(window.ids)] = torch.tensor(window.ids)
        mask[row, : len(window.ids)] = 1
        types[row, window.question_tokens : len(window.ids)] = 1
        question[row, : window.question_tokens] = 1
    inputs = {"input_ids": ids, "attention_mask": mask}
    if "token_type_ids" in tokenizer.model_input_names and getattr(config, "type_vocab_size", 0) > 1:
        inputs["token_type_ids"] = types
    if config.model_type == "longformer":
        # Global attention on the question: every token of the text sees it, also outside its local window.
        inputs["global_attention_mask"] = question
    return inputs


class TokenClassifier:
    """Scores units with a token-classification model."""

    def __init__(self, model: Any, tokenizer: Any, *, max_length: int, name: str, dtype: str = DTYPES[0]) -> None:
        """Move the model to the GPU of this process, if there is one.

        Args:
            model: A transformers model, or an `OnnxModel`, which stays on the CPU.
            tokenizer: The model's fast tokenizer.
            max_length: Largest number of tokens in a window.
            name: Name that is written into results.
            dtype: Number format of the computation, one of `DTYPES`.
        """
        if isinstance(model, OnnxModel):
            self.device, self.dtype, self.model = torch.device("cpu"), "int8", model
        else:
            self.device, self.dtype = distributed.device(), dtype
            self.model = model.to(self.device, getattr(torch, dtype)).eval()
        self.tokenizer = tokenizer
        self.name = name
        self._maker = WindowMaker(tokenizer, max_length)

    @classmethod
    def from_folder(cls, folder: Path, *, dtype: str | None = None) -> "TokenClassifier":
        """Load a trained scorer.

        Args:
            folder: Folder written by `cot-compressor train` or `export`.
            dtype: Number format of the computation, one of `DTYPES`; by default the first.

        Raises:
            DataError: the folder contains no trained scorer, the dtype is unknown, or the weights are int8.
        """
        if dtype not in {None, *DTYPES}:
            raise DataError(f"dtype must be {' or '.join(DTYPES)}; got {dtype!r}")
        max_length = read_settings(folder)["max_length"]
        model, tokenizer = load_model(folder), load_tokenizer(folder)
        if max_length > (most := encoder_length(model.config, tokenizer)):
            raise DataError(f"{folder / SETTINGS_FILE}: max_length is {max_length}, but the model reads {most} tokens")
        if dtype is not None and isinstance(model, OnnxModel):
            raise DataError(f"scorer {folder}: is int8; leave out dtype {dtype}, or give the scorer it was made from")
        return cls(
            model,
            tokenizer,
            max_length=max_length,
            name=folder.absolute().name,
            dtype=dtype or DTYPES[0],
        )

    def score(self, items: Sequence[ScoringInput]) -> list[list[float]]:
        """The mean of `keep logit - drop logit` over the tokens of the sentence of each unit of each item."""
        encoded = [self._maker.encode(item.question, item.cot, item.units) for item in items]
        jobs = [(at, window) for at, text in enumerate(encoded) for window in text.windows if window.cot_tokens]
        jobs.sort(key=lambda job: len(job[1].ids))
        margins = [[0.0] * len(text.offsets) for text in encoded]
        context = [[-1] * len(text.offsets) for text in encoded]
        for batch in _batches(jobs, _BATCH_TOKENS[self.device.type]):
            for (at, window), values in zip(batch, self._margins([window for _, window in batch]), strict=True):
                last = len(encoded[at].offsets) - 1
                stop = window.cot_start + window.cot_tokens - 1
                for token, value in enumerate(values, window.cot_start):
                    # At the ends of the text no context is missing.
                    before = token - window.cot_start if window.cot_start else last
                    behind = stop - token if stop < last else last
                    if min(before, behind) > context[at][token]:
                        context[at][token] = min(before, behind)
                        margins[at][token] = value
        return [
            _unit_scores(item.units, text, values) for item, text, values in zip(items, encoded, margins, strict=True)
        ]

    @torch.inference_mode()
    def _margins(self, windows: Sequence[Window]) -> list[list[float]]:
        """`keep logit - drop logit` of each cot token of each window."""
        inputs = model_inputs(windows, self.tokenizer, self.model.config)
        logits = self.model(**{name: tensor.to(self.device) for name, tensor in inputs.items()}).logits.float()
        margins = (logits[..., 1] - logits[..., 0]).cpu()
        return [
            row[window.question_tokens : window.question_tokens + window.cot_tokens].tolist()
            for row, window in zip(margins, windows, strict=True)
        ]


def read_settings(folder: Path) -> dict[str, Any]:
    """The settings that `train` wrote beside the weights.

    Raises:
        DataError: the folder has no such settings, or settings of another format.
    """
    file = folder / SETTINGS_FILE
    if not file.is_file():
        raise DataError(f"scorer {folder}: has no {SETTINGS_FILE}; give a folder written by cot-compressor train")
    settings = read_object(file)
    if settings.get("format") != FORMAT:
        raise DataError(f"{file}: format {settings.get('format')!r}; this version reads format {FORMAT}")
    length = settings.get("max_length")
    if type(length) is not int or length < 1:
        raise DataError(
            f"{file}: max_length: got {str(length)[:60]}; expected a number of tokens; copy the model again"
        )
    return settings


def load_model(folder: Path) -> Any:
    """The transformers model or `OnnxModel` of a scorer's folder, on the CPU, as it was saved.

    Raises:
        DataError: it cannot be loaded.
    """
    check_inside(folder)
    if (folder / ONNX_FILE).is_file():
        return OnnxModel(folder / ONNX_FILE, checkpoint_loader.load_config(folder))
    check_checkpoint(folder, "--scorer")
    return checkpoint_loader.load_model(folder, "auto", "AutoModelForTokenClassification")


def _batches(jobs: Sequence[tuple[int, Window]], tokens: int) -> Iterator[list[tuple[int, Window]]]:
    """Batches of jobs, which are sorted by length, of at most `tokens` padded tokens with little padding."""
    batch: list[tuple[int, Window]] = []
    for job in jobs:
        length = len(job[1].ids)
        if batch and ((len(batch) + 1) * length > tokens or length > _MAX_LENGTH_RATIO * len(batch[0][1].ids)):
            yield batch
            batch = []
        batch.append(job)
    if batch:
        yield batch


def _unit_scores(units: Sequence[Unit], encoded: Encoded, margins: Sequence[float]) -> list[float]:
    """The mean margin of each unit's sentence, rounded so that padding changes no order.

    Our choice: one score for a sentence, because the selection keeps sentences whole, and the mean over a sentence
    covers more of a response than the scores of single units. A sentence without tokens gets the lowest.
    """
    lowest = min(margins, default=0.0)
    scores: list[float] = []
    for _, group in groupby(zip(units, encoded.unit_tokens, strict=True), key=lambda pair: pair[0].step):
        spans = [span for _, span in group]
        inside = margins[min(low for low, _ in spans) : max(high for _, high in spans)]
        mean = sum(inside) / len(inside) if inside else lowest
        scores += [round(mean, _DECIMALS)] * len(spans)
    return scores
