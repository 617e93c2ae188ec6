"""Decoding of rollouts: each distinct prompt is read once, and a finished rollout leaves the batch at once.

Everything else is `generate` of transformers: it makes the cache, the processors of logits (temperature, top-p, …) and
the criteria that stop. Left to its own loop: caches of another kind, processors that know the rows (repetition
penalty), and adapters that change the prompt.

    with compact_decoding(model):
        model.generate(input_ids, attention_mask=mask, do_sample=True, max_new_tokens=64)
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer
from transformers.generation.logits_process import (
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

_PER_ROW = ("attention_mask", "position_ids")
"""Inputs of a model that have a row for each rollout, in the last dimension but one."""

_CACHE_NAMES = ("cache", "past_key_values")
"""Names of the input that is the cache: from transformers 5.24 on, and before."""

_ROW_BY_ROW = {MinPLogitsWarper, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper}


@contextmanager
def compact_decoding(model: Any) -> Iterator[None]:
    """Within this context, `model.generate` greedily decodes or samples with `decode`.

    Args:
        model: Model of transformers, or of peft.
    """
    adapters = getattr(model, "active_peft_config", None)
    if adapters and (adapters.is_prompt_learning or getattr(adapters, "alora_invocation_tokens", None)):
        yield
        return
    model.generate = partial(model.generate, custom_generate=decode)
    try:
        yield
    finally:
        del model.generate


@torch.no_grad()
def decode(
    model: Any,
    input_ids: torch.Tensor,
    logits_processor: Any,
    stopping_criteria: Callable[[torch.Tensor, None], torch.Tensor],
    generation_config: Any,
    **model_kwargs: Any,
) -> torch.Tensor:
    """Decoding method for the option `custom_generate` of `generate`.

    A row's distribution does not depend on the others; but rows share a stream of random numbers, so a row that leaves
    changes what the rest draw.

    Args:
        model: Model of transformers.
        input_ids: Prompts, padded on the left, [rows, prompt].
        logits_processor: Processors of the logits, a function (token ids, logits) -> logits.
        stopping_criteria: Function (token ids, None) -> True where a row ends, [rows].
        generation_config: Settings of `generate`.
        model_kwargs: Further inputs of the model: mask, positions, empty cache.

    Returns:
        Prompts and completions, padded on the right, [rows, prompt + longest completion].
    """
    cache: Any = _cache(model_kwargs)
    if not (_is_plain(cache) and {type(each) for each in logits_processor} <= _ROW_BY_ROW):
        settings = {"stopping_criteria": stopping_criteria, "generation_config": generation_config}
        return model._sample(input_ids, logits_processor, **settings, **model_kwargs)
    rows = torch.arange(len(input_ids), device=input_ids.device)
    whole = input_ids.new_full((len(rows), generation_config.max_length), generation_config.pad_token_id)
    width = input_ids.shape[1]
    _read_prompts(model, input_ids[:, :-1], model_kwargs)
    with model._optimize_model_for_decode():
        while len(rows):
            inputs = model.prepare_inputs_for_generation(input_ids, next_sequence_length=1, **model_kwargs)
            outputs = model(**inputs, return_dict=True)
            model_kwargs = model._update_model_kwargs_for_generation(outputs, model_kwargs)
            logits = logits_processor(input_ids, outputs.logits[:, -1].float())
            if generation_config.do_sample:
                chosen = torch.multinomial(logits.softmax(-1), 1)
            else:
                chosen = logits.argmax(-1, keepdim=True)
            input_ids = torch.cat([input_ids, chosen], dim=1)
            ended = stopping_criteria(input_ids, None)
            if ended.any():
                width = input_ids.shape[1]
                whole[rows[ended], :width] = input_ids[ended]
                left = (~ended).nonzero()[:, 0]
                rows, input_ids = rows[left], input_ids[left]
                model_kwargs |= _rows_of(model_kwargs, left)
                cache.batch_select_indices(left)
    return whole[:, :width]


def _cache(model_kwargs: dict[str, Any]) -> Any:
    """The cache among the inputs of a model; None if there is none, or it has another name."""
    return next((model_kwargs[name] for name in _CACHE_NAMES if name in model_kwargs), None)


def _is_plain(cache: Any) -> bool:
    """Whether a cache holds keys and values of each row and token, on the model's device."""
    plain = {DynamicLayer, DynamicSlidingWindowLayer}
    return type(cache) is DynamicCache and not cache.offloading and {type(layer) for layer in cache.layers} <= plain


def _read_prompts(model: Any, prompts: torch.Tensor, model_kwargs: dict[str, Any]) -> None:
    """Fill the cache with the prompt of every row, [rows, prompt], in one pass over the distinct ones."""
    mask = model_kwargs.get("attention_mask")
    keys = prompts if mask is None else torch.cat([prompts, mask[:, :-1]], dim=1)
    numbers: dict[tuple[int, ...], int] = {}
    number = [numbers.setdefault(tuple(key), len(numbers)) for key in keys.tolist()]
    first = torch.tensor([number.index(each) for each in range(len(numbers))], device=prompts.device)
    once = {name: value[..., :-1] for name, value in _rows_of(model_kwargs, first).items()}
    inputs = {**model_kwargs, **once}
    model(**model.prepare_inputs_for_generation(prompts[first], is_first_iteration=True, **inputs), return_dict=True)
    _cache(model_kwargs).batch_select_indices(torch.tensor(number, device=prompts.device))


def _rows_of(model_kwargs: dict[str, Any], rows: torch.Tensor) -> dict[str, torch.Tensor]:
    return {name: model_kwargs[name].index_select(-2, rows) for name in _PER_ROW if model_kwargs.get(name) is not None}
