"""New tokens in a tokenizer and a model: add the control tokens, initialise their embeddings, check that they fit.

The names of the tokens are those of `ControlTokens`; the content of the chat template is left to `template`.

    tokens = ControlTokens.ladder((0.2, 0.4, 0.6, 0.8, 1.0))
    add_control_tokens(model, tokenizer, tokens)
    tokenizer.convert_tokens_to_ids(tokens.token(0.4))     # the id of <COMP_40>
"""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ratio_sft._shared.control_tokens import FILE_NAME, ControlTokens
from ratio_sft.errors import DataError

from . import template

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

NOISE = 1.0
"""Standard deviation of new rows around the mean, in units of each dimension's own."""


def add_control_tokens(
    model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", tokens: ControlTokens, *, seed: int = 0
) -> None:
    """Add control tokens to a tokenizer as special tokens, to its chat template, and to a model's embeddings.

    The model is resized only if a token's id is beyond its rows. Spare rows, as Qwen3 has them, are initialised too,
    because they were never trained. Call this before the model is wrapped for several devices.

    Args:
        model: Model without these tokens; changed in place.
        tokenizer: Tokenizer of the model; changed in place.
        tokens: The ladder.
        seed: Random seed for the new embedding rows.

    Raises:
        DataError: the tokenizer already has one of the tokens or splits one, the chat template closes a thinking
            block itself, or the embeddings are not on this process.
    """
    add_to_tokenizer(tokenizer, tokens)
    template.install(tokenizer, tokens)
    ids = token_ids(tokenizer, tokens)
    needed = max(ids) + 1
    embeddings: Any = model.get_input_embeddings()
    if not embeddings.weight.numel():
        raise DataError(
            "the model's embeddings are divided among processes (DeepSpeed ZeRO-3), so no tokens can be added; set "
            "zero3_init_flag to false, as the configuration of `ratio-sft accelerate-config zero3` does"
        )
    if needed > embeddings.weight.shape[0]:
        model.resize_token_embeddings(needed, mean_resizing=False)
    initialise_rows(model, ids, seed=seed)


def installed(folder: str | Path, tokenizer: "PreTrainedTokenizerBase") -> ControlTokens | None:
    """The ladder of a checkpoint, or None for a model without control tokens.

    Args:
        folder: Folder of the model.
        tokenizer: Tokenizer of that folder.

    Raises:
        DataError: the tokenizer lacks a token of the folder's `control_tokens.json`, or splits one.
    """
    if not (Path(folder) / FILE_NAME).is_file():
        return None
    tokens = ControlTokens.load(folder)
    vocabulary = tokenizer.get_vocab()
    missing = [token for token in tokens.all_tokens if token not in vocabulary]
    if missing:
        raise DataError(
            f"{folder}: its tokenizer lacks {', '.join(missing)} of {FILE_NAME}; copy the whole checkpoint again"
        )
    _refuse_split(tokenizer, tokens)
    return tokens


def add_to_tokenizer(tokenizer: "PreTrainedTokenizerBase", tokens: ControlTokens) -> None:
    """Add the tokens as special tokens that are matched verbatim; the tokenizer keeps its own.

    Raises:
        DataError: the vocabulary already has one of the tokens, or the tokenizer splits one.
    """
    from tokenizers import AddedToken

    vocabulary = tokenizer.get_vocab()
    taken = [token for token in tokens.all_tokens if token in vocabulary]
    if taken:
        raise DataError(
            f"the tokenizer already has {', '.join(taken)} (id {vocabulary[taken[0]]}) and no {FILE_NAME} defines "
            "it; start from a model without it, or add that file if it follows ratios"
        )
    added: list[Any] = [AddedToken(token, special=True, normalized=False) for token in tokens.all_tokens]
    tokenizer.add_special_tokens({"extra_special_tokens": added}, replace_extra_special_tokens=False)
    _refuse_split(tokenizer, tokens)


def token_ids(tokenizer: "PreTrainedTokenizerBase", tokens: ControlTokens) -> list[int]:
    """The ids of `tokens.all_tokens`, in that order."""
    vocabulary = tokenizer.get_vocab()
    return [vocabulary[token] for token in tokens.all_tokens]


def _refuse_split(tokenizer: "PreTrainedTokenizerBase", tokens: ControlTokens) -> None:
    """Refuse a tokenizer that splits a token where a row has it: after a space, or before a line break."""
    for token, token_id in zip(tokens.all_tokens, token_ids(tokenizer, tokens), strict=True):
        for text in (f"a {token}", f"{token}\n<think>"):
            found: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]  # type: ignore[assignment]
            if found.count(token_id) != 1:
                parts = tokenizer.convert_ids_to_tokens(found)
                raise DataError(
                    f"the tokenizer splits {token} in {text!r} into {parts}; use a model whose tokenizer keeps it whole"
                )


def initialise_rows(model: "PreTrainedModel", ids: list[int], *, seed: int = 0) -> None:
    """Draw the input and output rows of new tokens from the distribution of the model's trained rows.

    row = mean + NOISE · std · z, where mean and std are those of the rows below the first new id in each dimension,
    and z is standard normal. Starting from the mean bounds how far new tokens shift the next-token distribution
    (Hewitt 2021, "Initializing New Word Embeddings for Pretrained Language Models"). Our choice: NOISE = 1, because
    rows that start alike stay alike: with 0.1 the quickstart's model followed no ratio after SFT. Our choice: only
    the rows below the first new id, because the spare rows above were never trained. Tied embeddings are one matrix,
    which is set once.

    Args:
        model: The model; changed in place.
        ids: Ids of the new tokens.
        seed: Random seed for the noise, which has a generator of its own.

    Raises:
        DataError: the trained rows contain a value that is not finite.
    """
    import torch

    generator = torch.Generator().manual_seed(seed)
    inputs: Any = model.get_input_embeddings()
    head: Any = model.get_output_embeddings()
    with torch.no_grad():
        _fill(inputs.weight, ids, generator)
        if head.weight is not inputs.weight:
            _fill(head.weight, ids, generator)
        bias = getattr(head, "bias", None)
        if bias is not None:
            bias[ids] = bias[: min(ids)].mean()


def _fill(weight: "torch.Tensor", ids: list[int], generator: "torch.Generator") -> None:
    """Fill rows `ids` of `weight` [vocabulary, hidden] in place."""
    import torch

    known = weight[: min(ids)].float()
    spread = known.std(dim=0, correction=0)
    noise = torch.randn(len(ids), weight.shape[1], generator=generator).to(weight.device)
    rows = known.mean(dim=0) + NOISE * spread * noise
    if not math.isfinite(rows.sum().item()):
        raise DataError("the model's embeddings contain values that are not finite; use an intact checkpoint")
    weight[ids] = rows.to(weight.dtype)
