"""What a chain of thought is worth to a reader: a causal language model that then expects the response.

The likelihood of the response is computed after the question and some thinking, so two versions of the thinking can be
compared. Choosing sentences by it is in `training/annotate_reader.py`, measuring short texts in
`evaluation/evaluate.py`.

    reader = Reader.from_folder("models/base")
    whole, nothing = reader.log_likelihoods("Which door?", ["It is locked. So the green one.", ""], "The green door.")
"""

import inspect
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from cot_compressor import distributed
from cot_compressor._shared import checkpoint_loader
from cot_compressor.budget.counting import clean
from cot_compressor.errors import RejectedRow

_BATCH_TOKENS = {"cpu": 4096, "cuda": 32768}
"""Number of padded tokens in a batch."""
_MOST_RESPONSE_TOKENS = 256


class Reader:
    """Gives the likelihood of responses with a causal language model."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        """Move the model to the GPU of this process, if there is one.

        Args:
            model: A causal language model of transformers, in float32 on a CPU and bfloat16 on a GPU.
            tokenizer: The model's tokenizer.
        """
        self.device = distributed.device()
        self.model, self.tokenizer = model.to(self.device).eval(), tokenizer
        self.dtype = str(model.dtype).removeprefix("torch.")
        """Number format of the computation."""
        self._longest = getattr(model.config.get_text_config(), "max_position_embeddings", None)
        keeps = "logits_to_keep" in inspect.signature(model.forward).parameters
        self._last_logits = "logits_to_keep" if keeps else None

    @classmethod
    def from_folder(cls, folder: str | Path) -> "Reader":
        """Load a checkpoint.

        Raises:
            DataError: the folder contains no causal language model that can be loaded.
        """
        dtype = torch.bfloat16 if distributed.device().type == "cuda" else torch.float32
        model = checkpoint_loader.load_model(folder, dtype)
        return cls(model, checkpoint_loader.load_tokenizer(folder))

    def log_likelihoods(self, question: str, thoughts: Sequence[str], response: str) -> list[float]:
        """The log-likelihood of the response, in nats, after the question and each version of the thinking.

        Our choice: the three are separated by blank lines, without a chat template, so every model can read them; and
        only the first 256 tokens of the response are read.

        Args:
            question: The question.
            thoughts: Versions of the thinking; an empty one is none.
            response: What the model wrote after the thinking.

        Raises:
            RejectedRow: the response is blank, or the text is longer than the model reads.
        """
        wanted = self._ids(response.strip())[:_MOST_RESPONSE_TOKENS]
        if not wanted:
            raise RejectedRow("short_response", "the response is blank")
        start = [] if self.tokenizer.bos_token_id is None else [self.tokenizer.bos_token_id]
        prompts = [start + self._ids("\n\n".join([question, *filter(None, [thought]), ""])) for thought in thoughts]
        longest = max(map(len, prompts), default=0) + len(wanted)
        if self._longest is not None and longest > self._longest:
            raise RejectedRow("long_for_reader", f"{longest} tokens; the model reads {self._longest}")
        found = [0.0] * len(thoughts)
        for batch in _batches(prompts, len(wanted), _BATCH_TOKENS[self.device.type]):
            for at, value in zip(batch, self._read([prompts[at] for at in batch], wanted), strict=True):
                found[at] = value
        return found

    def gains(self, question: str, cot: str, texts: Sequence[str], response: str) -> list[float | None]:
        """The share of what the whole thinking adds to the log-likelihood of the response that each text adds.

        Returns:
            One share for each text: 1 for the whole thinking, 0 for none; it may be outside. All are None if the whole
            thinking adds nothing, or the row cannot be read.
        """
        try:
            nothing, whole, *values = self.log_likelihoods(question, ["", cot, *texts], response)
        except RejectedRow:
            return [None] * len(texts)
        return [(value - nothing) / (whole - nothing) if whole > nothing else None for value in values]

    def _ids(self, text: str) -> list[int]:
        return self.tokenizer(clean(text), add_special_tokens=False, verbose=False)["input_ids"]

    @torch.inference_mode()
    def _read(self, prompts: Sequence[list[int]], response: list[int]) -> list[float]:
        """The log-likelihood of the response after each prompt; rows are padded on the left, so all end together."""
        length = max(map(len, prompts)) + len(response)
        ids = torch.zeros((len(prompts), length), dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, prompt in enumerate(prompts):
            ids[row, length - len(prompt) - len(response) :] = torch.tensor(prompt + response)
            mask[row, length - len(prompt) - len(response) :] = 1
        positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
        inputs = {"input_ids": ids, "attention_mask": mask, "position_ids": positions}
        last = {self._last_logits: len(response) + 1} if self._last_logits else {}
        logits = self.model(
            **{name: each.to(self.device) for name, each in inputs.items()}, **last, use_cache=False
        ).logits
        target = torch.tensor(response, device=self.device)
        ends = logits[:, -len(response) - 1 : -1]
        return [-float(cross_entropy(row.float(), target, reduction="sum")) for row in ends]


def _batches(prompts: Sequence[list[int]], response: int, tokens: int) -> Iterator[list[int]]:
    """Indices of prompts by length, in batches of at most `tokens` padded tokens, or of one prompt."""
    batch: list[int] = []
    for at in sorted(range(len(prompts)), key=lambda at: len(prompts[at])):
        if batch and (len(batch) + 1) * (len(prompts[at]) + response) > tokens:
            yield batch
            batch = []
        batch.append(at)
    if batch:
        yield batch
