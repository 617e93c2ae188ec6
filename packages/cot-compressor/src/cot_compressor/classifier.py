"""A trained token classifier as a scorer, loaded from a folder that `cot-compressor train` or `export` wrote.

One forward pass over question and text serves every ratio: a unit's score is the mean, over its tokens, of the keep
logit minus the drop logit. A token in two windows counts where it has more context. Training is in `train.py`.

    TokenClassifier.from_folder("models/compressor").score([Item(question, cot, units)])
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from . import processes
from ._shared.records import parse_json
from .counting import load_tokenizer
from .errors import DataError
from .hub import SETTINGS_FILE, find_folder
from .labels import Encoded, Window, WindowMaker
from .scoring import DTYPES, Item

ONNX_FILE = "model.onnx"
FORMAT = 1
LABELS = {0: "drop", 1: "keep"}
_BATCH_TOKENS = {"cpu": 2048, "cuda": 8192}
"""On a CPU as many as its caches hold: larger batches were a tenth slower."""
_UNLIKE = 1.25
"""Windows that are longer by this factor go into another batch."""
_DECIMALS = 4


def encoder_length(config: Any, tokenizer: Any) -> int:
    """Tokens an encoder can take; offset position tables (RoBERTa, Longformer) lose the padding rows."""
    positions = getattr(config, "max_position_embeddings", None) or 512
    if config.model_type in {"roberta", "xlm-roberta", "camembert", "longformer", "mpnet"}:
        positions -= (config.pad_token_id or 0) + 1
    return int(min(positions, tokenizer.model_max_length))


def model_inputs(windows: Sequence[Window], tokenizer: Any, config: Any) -> dict[str, torch.Tensor]:
    """Padded tensors `[batch, seq]`: ids, attention mask (1 = real token), and what the encoder wants besides."""
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
        # Global attention on the question: every token of the text sees it, whatever the local window.
        inputs["global_attention_mask"] = question
    return inputs


def require_safetensors(folder: Path) -> None:
    """Refuse a folder whose weights are only pickled.

    Raises:
        DataError: there are weights, but none as safetensors.
    """
    if any(folder.glob("*.safetensors")):
        return
    pickled = sorted(path.name for pattern in ("*.bin", "*.pt", "*.pth", "*.ckpt") for path in folder.glob(pattern))
    if pickled:
        raise DataError(f"{folder}: weights only as {pickled[0]}, which may run code; convert them to safetensors")


class TokenClassifier:
    """Scores units with a token-classification model."""

    def __init__(self, model: Any, tokenizer: Any, *, max_length: int, name: str, dtype: str = DTYPES[0]) -> None:
        """Take a transformers model, or an `OnnxModel`."""
        if isinstance(model, torch.nn.Module):
            self.device, self.dtype = processes.device(), dtype
            self.model = model.to(self.device, getattr(torch, dtype)).eval()
        else:
            self.device, self.dtype, self.model = torch.device("cpu"), "int8", model
        self.tokenizer = tokenizer
        self.name = name
        self._maker = WindowMaker(tokenizer, max_length)

    @classmethod
    def from_folder(cls, folder: str | Path, *, dtype: str | None = None) -> "TokenClassifier":
        """Load a trained scorer from its folder, or from a hub by name, in one of `DTYPES` (default: the first).

        Raises:
            DataError: the folder is missing, or holds no trained scorer; no such dtype, or the weights are int8.
        """
        if dtype not in {None, *DTYPES}:
            raise DataError(f"dtype must be {' or '.join(DTYPES)}; got {dtype!r}")
        folder = find_folder(folder)
        settings = read_settings(folder)
        model = load_model(folder)
        if dtype is not None and not isinstance(model, torch.nn.Module):
            raise DataError(f"scorer {folder}: is int8; leave out dtype {dtype}, or give the scorer it was made from")
        return cls(
            model,
            load_tokenizer(folder),
            max_length=int(settings["max_length"]),
            name=folder.absolute().name,
            dtype=dtype or DTYPES[0],
        )

    def score(self, items: Sequence[Item]) -> list[list[float]]:
        """One mean keep-logit margin per unit of each item."""
        encoded = [self._maker.windows(item.question, item.cot, item.units) for item in items]
        jobs = [(at, window) for at, one in enumerate(encoded) for window in one.windows if window.cot_tokens]
        jobs.sort(key=lambda job: len(job[1].ids))
        margins = [[0.0] * len(one.offsets) for one in encoded]
        context = [[-1] * len(one.offsets) for one in encoded]
        for batch in _batches(jobs, _BATCH_TOKENS[self.device.type]):
            for (at, window), values in zip(batch, self._margins([window for _, window in batch]), strict=True):
                last = len(encoded[at].offsets) - 1
                stop = window.cot_start + window.cot_tokens - 1
                for token, value in enumerate(values, window.cot_start):
                    # Beyond the ends of the text there is no context to miss.
                    before = token - window.cot_start if window.cot_start else last
                    behind = stop - token if stop < last else last
                    if min(before, behind) > context[at][token]:
                        context[at][token] = min(before, behind)
                        margins[at][token] = value
        return [_unit_scores(one, values) for one, values in zip(encoded, margins, strict=True)]

    @torch.inference_mode()
    def _margins(self, windows: Sequence[Window]) -> list[list[float]]:
        """Keep minus drop logit of each cot token of each window."""
        inputs = model_inputs(windows, self.tokenizer, self.model.config)
        logits = self.model(**{name: tensor.to(self.device) for name, tensor in inputs.items()}).logits.float()
        margins = (logits[..., 1] - logits[..., 0]).cpu()
        return [
            row[window.question_tokens : window.question_tokens + window.cot_tokens].tolist()
            for row, window in zip(margins, windows, strict=True)
        ]


def read_settings(folder: Path) -> dict[str, Any]:
    """What `train` wrote beside the weights.

    Raises:
        DataError: it did not write this folder, or in another format.
    """
    file = folder / SETTINGS_FILE
    if not file.is_file():
        raise DataError(f"scorer {folder}: has no {SETTINGS_FILE}; give a folder written by cot-compressor train")
    settings = parse_json(file.read_text("utf-8"), str(file))
    if settings.get("format") != FORMAT:
        raise DataError(f"{file}: format {settings.get('format')!r}; this version reads format {FORMAT}")
    return settings


def load_model(folder: Path) -> Any:
    """The model of a scorer's folder, in full precision on the CPU: of transformers, or an `OnnxModel`.

    Raises:
        DataError: it cannot be loaded.
    """
    from transformers import AutoConfig, AutoModelForTokenClassification

    require_safetensors(folder)
    try:
        if (folder / ONNX_FILE).is_file():
            from .onnx_model import OnnxModel

            config = AutoConfig.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
            return OnnxModel(folder / ONNX_FILE, config)
        return AutoModelForTokenClassification.from_pretrained(
            str(folder), local_files_only=True, use_safetensors=True, trust_remote_code=False
        )
    except DataError:
        raise
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise DataError(f"scorer {folder}: the model cannot be loaded ({error})") from error


def _batches(jobs: Sequence[tuple[int, Window]], tokens: int) -> Iterator[list[tuple[int, Window]]]:
    """Runs of jobs (sorted by length) of at most `tokens` padded tokens, little of them padding."""
    batch: list[tuple[int, Window]] = []
    for job in jobs:
        length = len(job[1].ids)
        if batch and ((len(batch) + 1) * length > tokens or length > _UNLIKE * len(batch[0][1].ids)):
            yield batch
            batch = []
        batch.append(job)
    if batch:
        yield batch


def _unit_scores(encoded: Encoded, margins: Sequence[float]) -> list[float]:
    """Mean margin of each unit; a unit without tokens gets the lowest. Rounded, so that padding changes no order."""
    lowest = min(margins, default=0.0)
    return [
        round(sum(margins[low:high]) / (high - low), _DECIMALS) if high > low else round(lowest, _DECIMALS)
        for low, high in encoded.unit_tokens
    ]
