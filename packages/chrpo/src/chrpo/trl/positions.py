"""Positions of prompts that are padded on the left, for models with a learned embedding of each position.

TRL passes the mask and no positions, and a model such as GPT-2 then counts the padding: the same prompt has other
probabilities beside a longer one. Models with rotary positions depend on differences only and are left alone.

    count_from_first_token(GPT2LMHeadModel.from_pretrained("checkpoints/sft"))
"""

from typing import Any

from torch import nn


def count_from_first_token(model: Any) -> None:
    """Have every forward pass without positions count them from the first token that is not padding.

    Args:
        model: Model of transformers, or of peft; changed only if it has an embedding of positions.
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    if _has_position_embedding(base):
        base.register_forward_pre_hook(_add_positions, with_kwargs=True)


def _has_position_embedding(model: Any) -> bool:
    words, longest = model.get_input_embeddings(), getattr(model.config, "max_position_embeddings", None)
    tables = [module for module in model.modules() if isinstance(module, nn.Embedding) and module is not words]
    return longest is not None and any(table.num_embeddings >= longest for table in tables)


def _add_positions(_module: Any, inputs: tuple[Any, ...], options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    ids, mask = options.get("input_ids"), options.get("attention_mask")
    if options.get("position_ids") is None and mask is not None and ids is not None and mask.shape == ids.shape:
        options["position_ids"] = (mask.long().cumsum(dim=-1) - 1).clamp(min=0)
    return inputs, options
