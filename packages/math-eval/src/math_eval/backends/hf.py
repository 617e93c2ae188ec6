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
from .stopping import Answer, Ask, finish_together, plan, request_seed

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
        inputs = inspect.signature(self._model.forward).parameters
        self._only_last = {"logits_to_keep": 1} if "logits_to_keep" in inputs else {}
        self._cache_name = "cache" if "cache" in inputs else "past_key_values"  # the latter before transformers 5.24

    @property
    def environment(self) -> dict[str, str]:
        """Versions, device and number format."""
        return {
            "torch": version("torch"),
            "transformers": version("transformers"),
            "device": self._device.type,
            "dtype": str(self._dtype).removeprefix("torch."),
        }

    def complete(self, prompts: list[str], sampling: Sampling, seed: int) -> list[Completion]:
        """Complete a batch of rendered prompts."""
        plans = [plan(self, prompt, sampling) for prompt in prompts]
        return finish_together(plans, lambda asks, number: self.extend(asks, sampling, request_seed(seed, number)))

    @torch.inference_mode()
    def extend(self, asks: list[Ask], sampling: Sampling, seed: int) -> list[Answer]:
        """Continue a batch of token ids, all of them trial answers or none."""
        width = max(len(ask.ids) for ask in asks)
        tokens = torch.zeros(len(asks), width, dtype=torch.long)
        mask = torch.zeros_like(tokens)
        for row, ask in enumerate(asks):
            tokens[row, width - len(ask.ids) :] = torch.tensor(ask.ids)
            mask[row, width - len(ask.ids) :] = 1
        limits = torch.tensor([ask.limit for ask in asks], device=self._device)
        greedy = sampling.temperature == 0 or asks[0].trial
        choose = _greedy if greedy else _sampler(sampling, seed, self._device)
        made = self._decode(tokens.to(self._device), mask.to(self._device), limits, choose)
        return [
            Answer(ids[: length - stopped], stopped, log_probabilities[: length - stopped] if ask.trial else ())
            for ask, ids, log_probabilities, length, stopped in zip(asks, *(one.tolist() for one in made), strict=True)
        ]

    def _decode(
        self,
        tokens: torch.Tensor,
        mask: torch.Tensor,
        limits: torch.Tensor,
        choose: Callable[[torch.Tensor], torch.Tensor],
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """The generation loop.

        Args:
            tokens: Left-padded prompts, `[batch, prompt]`.
            mask: 1 where `tokens` is not padding, `[batch, prompt]`.
            limits: Maximum number of new tokens of each row, `[batch]`.
            choose: Function from logits `[rows, vocabulary]` to token ids `[rows]`.

        Returns:
            New tokens and their log probabilities, both `[batch, steps]`, the number of them that belong to each row
            `[batch]`, and whether the row ended (True if its last token is an end token) `[batch]`.
        """
        cache = DynamicCache(config=self._model.config)
        count = len(tokens)
        rows = torch.arange(count, device=self._device)
        live = torch.ones(count, dtype=torch.bool, device=self._device)
        ended = torch.zeros_like(live)
        lengths = torch.zeros(count, dtype=torch.long, device=self._device)
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        steps: list[torch.Tensor] = []
        scores: list[torch.Tensor] = []
        for _ in range(int(limits.max())):
            logits = self._model(
                input_ids=tokens,
                attention_mask=mask,
                position_ids=positions,
                use_cache=True,
                **{self._cache_name: cache, **self._only_last},
            ).logits[:, -1]
            logits = logits.float()
            chosen = choose(logits)
            step = torch.zeros(count, dtype=torch.long, device=self._device)
            step[rows] = chosen
            steps.append(step)
            score = torch.zeros(count, device=self._device)
            score[rows] = logits.gather(-1, chosen[:, None]).squeeze(-1) - logits.logsumexp(-1)
            scores.append(score)
            lengths[rows[live]] += 1
            stops = live & torch.isin(chosen, self._end_ids)
            ended[rows[stops]] = True
            live = live & ~stops & (lengths[rows] < limits[rows])
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
        return torch.stack(steps, dim=1), torch.stack(scores, dim=1), lengths, ended


def _greedy(logits: torch.Tensor) -> torch.Tensor:
    return logits.argmax(-1)


def _sampler(sampling: Sampling, seed: int, device: torch.device) -> Callable[[torch.Tensor], torch.Tensor]:
    """A function that samples token ids `[rows]` from logits `[rows, vocabulary]`."""
    generator = torch.Generator(device).manual_seed(seed)

    def sample(logits: torch.Tensor) -> torch.Tensor:
        probabilities = (logits / sampling.temperature).softmax(-1)
        if sampling.top_p < 1:
            ranked, order = probabilities.sort(-1, descending=True)
            ranked[ranked.cumsum(-1) - ranked >= sampling.top_p] = 0
            probabilities = torch.zeros_like(probabilities).scatter(-1, order, ranked)
        return torch.multinomial(probabilities, 1, generator=generator).squeeze(-1)

    return sample
