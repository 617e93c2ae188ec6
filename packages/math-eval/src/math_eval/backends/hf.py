"""The transformers backend: a Hugging Face causal language model in this process.

Left padding, one cache for the batch; finished rows leave it, so a few long answers do not hold up the others.
Weights are safetensors only, and code shipped with a checkpoint is never run. fp32 on a CPU, bf16 on a GPU.

    model = HFModel("checkpoints/sft")
    model.complete([model.render("Add 2 and 3.")], Sampling(max_tokens=256), seed=0)[0].text
"""

import inspect
from collections.abc import Callable
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache

from math_eval.errors import DataError

from . import Completion, Sampling

_SHRINK_BELOW = 0.75


def check_folder(folder: str | Path) -> Path:
    """`folder` as a path, if it is a checkpoint that is safe to load.

    Raises:
        DataError: no such folder, no config.json, or no safetensors weights.
    """
    path = Path(folder)
    if not path.is_dir():
        raise DataError(f"{folder}: no such model folder; check --model")
    if not (path / "config.json").is_file():
        raise DataError(f"{folder}: no config.json, so this is not a model folder; check --model")
    if not any(path.glob("*.safetensors")):
        pickled = next((file.name for pattern in ("*.bin", "*.pt", "*.pth") for file in path.glob(pattern)), None)
        found = f"only pickle weights ({pickled}), which can run code" if pickled else "no weights"
        raise DataError(f"{folder}: {found}; save the model as safetensors, as save_pretrained does")
    return path


class HFModel:
    """A checkpoint folder, loaded.

    Args:
        folder: a model folder with safetensors weights and a tokenizer.

    Raises:
        DataError: the folder cannot be loaded safely.
    """

    def __init__(self, folder: str | Path) -> None:
        path = check_folder(folder)
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._dtype = torch.float32 if self._device.type == "cpu" else torch.bfloat16
        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(path, local_files_only=True, trust_remote_code=False)
            model: Any = AutoModelForCausalLM.from_pretrained(
                path, dtype=self._dtype, use_safetensors=True, local_files_only=True, trust_remote_code=False
            )
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            raise DataError(f"{folder}: cannot be loaded ({' '.join(str(error).split())[:300]})") from error
        self._model = model.to(self._device).eval()
        self._ends = self._end_ids()
        keeps = "logits_to_keep" in inspect.signature(self._model.forward).parameters
        self._only_last = {"logits_to_keep": 1} if keeps else {}
        self._encode = lru_cache(maxsize=65536)(self._encode_uncached)

    def _end_ids(self) -> torch.Tensor:
        config = self._model.generation_config.eos_token_id
        ids = set(config if isinstance(config, list) else [config]) | {self._tokenizer.eos_token_id}
        known = sorted(number for number in ids if number is not None)
        if not known:
            raise DataError("the model names no end token; set eos_token in its tokenizer or generation_config.json")
        return torch.tensor(known, device=self._device)

    @property
    def environment(self) -> dict[str, str]:
        """Versions, device and number format."""
        return {
            "torch": version("torch"),
            "transformers": version("transformers"),
            "device": self._device.type,
            "dtype": str(self._dtype).removeprefix("torch."),
        }

    def render(self, user_turn: str) -> str:
        """The chat template around one user message; without a template, the message and a new line.

        The template is told `ratio=None`: a control token that is wanted is in the message already.
        """
        if not self._tokenizer.chat_template:
            return user_turn + "\n"
        messages = [{"role": "user", "content": user_turn}]
        return self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, ratio=None)

    def _encode_uncached(self, prompt: str) -> tuple[int, ...]:
        plain = not self._tokenizer.chat_template
        return tuple(self._tokenizer(prompt, add_special_tokens=plain)["input_ids"])

    def length(self, prompt: str) -> int:
        """Tokens of a rendered prompt."""
        return len(self._encode(prompt))

    def count(self, text: str) -> int:
        """Tokens of a text, special tokens not added."""
        return len(self._tokenizer(text, add_special_tokens=False)["input_ids"]) if text else 0

    def check_lengths(self, longest_prompt: int, max_tokens: int) -> None:
        """Refuse what would run past the model's context.

        Raises:
            DataError: prompt and new tokens together do not fit.
        """
        context = getattr(self._model.config.get_text_config(), "max_position_embeddings", None)
        if context and longest_prompt + max_tokens > context:
            raise DataError(
                f"the longest prompt has {longest_prompt} tokens, and with --max-tokens {max_tokens} it passes the "
                f"model's context of {context}; lower --max-tokens to {max(context - longest_prompt, 0)} or less"
            )

    @torch.inference_mode()
    def complete(self, prompts: list[str], sampling: Sampling, seed: int) -> list[Completion]:
        """Complete a batch of rendered prompts."""
        encoded = [self._encode(prompt) for prompt in prompts]
        width = max(len(ids) for ids in encoded)
        tokens = torch.zeros(len(encoded), width, dtype=torch.long)
        mask = torch.zeros_like(tokens)
        for row, ids in enumerate(encoded):
            tokens[row, width - len(ids) :] = torch.tensor(ids)
            mask[row, width - len(ids) :] = 1
        new, lengths, ended = self._decode(
            tokens.to(self._device), mask.to(self._device), sampling, _chooser(sampling, seed, self._device)
        )
        completions: list[Completion] = []
        for ids, length, stopped in zip(new.tolist(), lengths.tolist(), ended.tolist(), strict=True):
            kept = ids[: length - 1] if stopped else ids[:length]
            text = self._tokenizer.decode(kept, skip_special_tokens=False, clean_up_tokenization_spaces=False)
            completions.append(Completion(text, length, "stop" if stopped else "length"))
        return completions

    def _decode(
        self,
        tokens: torch.Tensor,
        mask: torch.Tensor,
        sampling: Sampling,
        choose: Callable[[torch.Tensor], torch.Tensor],
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The generation loop.

        Args:
            tokens: left-padded prompts, `[batch, prompt]`.
            mask: 1 where `tokens` is not padding, `[batch, prompt]`.
            sampling: the token limit.
            choose: logits `[rows, vocabulary]` -> token ids `[rows]`.

        Returns:
            new tokens `[batch, steps]`, how many of each row count `[batch]`, True for rows that ended `[batch]`.
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
            stops = live & torch.isin(chosen, self._ends)
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
    """The rule that turns logits `[rows, vocabulary]` into token ids `[rows]`."""
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
