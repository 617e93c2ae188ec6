"""The transformers backend: a Hugging Face causal language model in this process.

Prompts are padded on the left and share one cache. Finished rows are removed from the batch, so that a few long answers
cost no more than they need. Weights are safetensors only, and code in a checkpoint is never run. The number format is
fp32 on a CPU and bf16 on a GPU.

    model = HFModel("checkpoints/sft")
    model.complete(model.render(["Add 2 and 3."]), Sampling(max_tokens=256), seed=0)[0].text
"""

import inspect
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from transformers import DynamicCache

from math_eval._shared.checkpoint_loader import load_model

from . import Completion, Sampling
from .checkpoint import Checkpoint

_SHRINK_BELOW = 0.75


class HFModel(Checkpoint):
    """A checkpoint, loaded with transformers.

    Args:
        folder: A model folder with safetensors weights and a tokenizer.
        tokenizer: Its tokenizer, if it is loaded.

    Raises:
        DataError: The folder cannot be loaded safely.
    """

    def __init__(self, folder: str | Path, *, tokenizer: Any = None) -> None:
        super().__init__(folder, tokenizer=tokenizer)
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._dtype = torch.float32 if self._device.type == "cpu" else torch.bfloat16
        self._model: Any = load_model(folder, self._dtype).to(self._device).eval()
        self._end_ids = torch.tensor(self.ends, device=self._device)
        keeps = "logits_to_keep" in inspect.signature(self._model.forward).parameters
        self._only_last = {"logits_to_keep": 1} if keeps else {}

    @property
    def environment(self) -> dict[str, str]:
        """Versions, device and number format."""
        return {
            "torch": version("torch"),
            "transformers": version("transformers"),
            "device": self._device.type,
            "dtype": str(self._dtype).removeprefix("torch."),
        }

    @torch.inference_mode()
    def complete(self, prompts: list[str], sampling: Sampling, seed: int) -> list[Completion]:
        """Complete a batch of rendered prompts."""
        encoded = [self.encode(prompt) for prompt in prompts]
        width = max(len(ids) for ids in encoded)
        tokens = torch.zeros(len(encoded), width, dtype=torch.long)
        mask = torch.zeros_like(tokens)
        for row, ids in enumerate(encoded):
            tokens[row, width - len(ids) :] = torch.tensor(ids)
            mask[row, width - len(ids) :] = 1
        new, lengths, ended = self._decode(
            tokens.to(self._device), mask.to(self._device), sampling, _chooser(sampling, seed, self._device)
        )
        return [
            self.completion(ids[:length], stopped)
            for ids, length, stopped in zip(new.tolist(), lengths.tolist(), ended.tolist(), strict=True)
        ]

    def _decode(
        self,
        tokens: torch.Tensor,
        mask: torch.Tensor,
        sampling: Sampling,
        choose: Callable[[torch.Tensor], torch.Tensor],
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The generation loop.

        Args:
            tokens: Left-padded prompts, `[batch, prompt]`.
            mask: 1 where `tokens` is not padding, `[batch, prompt]`.
            sampling: The token limit.
            choose: Function from logits `[rows, vocabulary]` to token ids `[rows]`.

        Returns:
            New tokens `[batch, steps]`, the number of them that belong to each row `[batch]`, and whether the row ended
            (True if its last token is an end token) `[batch]`.
        """
        cache = DynamicCache(config=self._model.config)
        count = len(tokens)
        rows = torch.arange(count, device=self._device)
        live = torch.ones(count, dtype=torch.bool, device=self._device)
        ended = torch.zeros_like(live)
        lengths = torch.zeros(count, dtype=torch.long, device=self._device)
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        steps: list[torch.Tensor] = []
        for _ in range(sampling.max_tokens):
            logits = self._model(
                input_ids=tokens,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
                **self._only_last,
            ).logits[:, -1]
            chosen = choose(logits.float())
            step = torch.zeros(count, dtype=torch.long, device=self._device)
            step[rows] = chosen
            steps.append(step)
            lengths[rows[live]] += 1
            stops = live & torch.isin(chosen, self._end_ids)
            ended[rows[stops]] = True
            live = live & ~stops
            left = int(live.sum())
            if not left:
                break
            positions = positions[:, -1:] + 1
            if left <= _SHRINK_BELOW * len(live):
                cache.batch_select_indices(live.nonzero().squeeze(-1))
                rows, chosen, mask, positions = rows[live], chosen[live], mask[live], positions[live]
                live = torch.ones(left, dtype=torch.bool, device=self._device)
            tokens = chosen[:, None]
            mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
        return torch.stack(steps, dim=1), lengths, ended


def _chooser(sampling: Sampling, seed: int, device: torch.device) -> Callable[[torch.Tensor], torch.Tensor]:
    """The function from logits `[rows, vocabulary]` to token ids `[rows]`."""
    if sampling.temperature == 0:
        return lambda logits: logits.argmax(-1)
    generator = torch.Generator(device).manual_seed(seed)

    def sample(logits: torch.Tensor) -> torch.Tensor:
        probabilities = (logits / sampling.temperature).softmax(-1)
        if sampling.top_p < 1:
            ranked, order = probabilities.sort(-1, descending=True)
            ranked[ranked.cumsum(-1) - ranked >= sampling.top_p] = 0
            probabilities = torch.zeros_like(probabilities).scatter(-1, order, ranked)
        return torch.multinomial(probabilities, 1, generator=generator).squeeze(-1)

    return sample
