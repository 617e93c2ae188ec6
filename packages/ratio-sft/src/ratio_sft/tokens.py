"""Control tokens in a tokenizer and a model: add them, give them embeddings, refuse what cannot carry them.

Which tokens there are is said by `control.ControlTokens`; the chat template is left to `template`.

    tokens = install(model, tokenizer, ControlTokens.ladder(DEFAULT_RATIOS), seed=0)
    tokenizer.convert_tokens_to_ids(tokens.token(0.4))     # 151671 on Qwen3
"""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._shared.control_tokens import FILE_NAME, ControlTokens
from .errors import DataError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

DEFAULT_RATIOS = (0.2, 0.4, 0.6, 0.8, 1.0)
NOISE = 1.0


def install(
    model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", tokens: ControlTokens, *, seed: int = 0
) -> ControlTokens:
    """Add the tokens to `tokenizer` as special tokens and initialise their rows in `model`.

    The model is resized only if a token's id lies beyond its rows; spare rows, as in Qwen3, are initialised all the
    same, since they were never trained. Must run before the model is wrapped for several devices.

    Raises:
        DataError: the tokenizer has one of the tokens already, or splits one of them.
    """
    add_to_tokenizer(tokenizer, tokens)
    ids = token_ids(tokenizer, tokens)
    needed = max(ids) + 1
    embeddings: Any = model.get_input_embeddings()
    if needed > embeddings.weight.shape[0]:
        model.resize_token_embeddings(needed, mean_resizing=False)
    initialise_rows(model, ids, seed=seed)
    return tokens


def installed(folder: str | Path, tokenizer: "PreTrainedTokenizerBase") -> ControlTokens | None:
    """The ladder a checkpoint already follows, or None for a model that knows no ratio.

    Raises:
        DataError: its tokenizer lacks a token of its `control_tokens.json`, or splits one.
    """
    if not (Path(folder) / FILE_NAME).is_file():
        return None
    tokens = ControlTokens.load(folder)
    vocabulary = tokenizer.get_vocab()
    missing = [token for token in tokens.all_tokens if token not in vocabulary]
    if missing:
        raise DataError(
            f"{folder}: its tokenizer lacks {', '.join(missing)} of {FILE_NAME}; the folder is inconsistent"
        )
    _refuse_split(tokenizer, tokens)
    return tokens


def add_to_tokenizer(tokenizer: "PreTrainedTokenizerBase", tokens: ControlTokens) -> None:
    """Add the tokens as special tokens that are matched verbatim, and keep those the tokenizer has.

    Raises:
        DataError: one of the tokens is in the vocabulary already, or is split.
    """
    from tokenizers import AddedToken

    vocabulary = tokenizer.get_vocab()
    taken = [token for token in tokens.all_tokens if token in vocabulary]
    if taken:
        raise DataError(
            f"the tokenizer already has {', '.join(taken)} (id {vocabulary[taken[0]]}) and there is no {FILE_NAME} to "
            "say what it means; start from a model without it, or add that file if it follows ratios"
        )
    added: list[Any] = [AddedToken(token, special=True, normalized=False) for token in tokens.all_tokens]
    tokenizer.add_special_tokens({"extra_special_tokens": added}, replace_extra_special_tokens=False)
    _refuse_split(tokenizer, tokens)


def token_ids(tokenizer: "PreTrainedTokenizerBase", tokens: ControlTokens) -> list[int]:
    """The ids of `tokens.all_tokens`, in that order."""
    vocabulary = tokenizer.get_vocab()
    return [vocabulary[token] for token in tokens.all_tokens]


def _refuse_split(tokenizer: "PreTrainedTokenizerBase", tokens: ControlTokens) -> None:
    """Each token must stay one id where the protocol puts it: after a space, and before a line break."""
    for token, token_id in zip(tokens.all_tokens, token_ids(tokenizer, tokens), strict=True):
        for text in (f"a {token}", f"{token}\n<think>"):
            found: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]  # type: ignore[assignment]
            if found.count(token_id) != 1:
                pieces = tokenizer.convert_ids_to_tokens(found)
                raise DataError(f"the tokenizer splits {token} in {text!r} into {pieces}; it cannot carry the token")


def initialise_rows(model: "PreTrainedModel", ids: list[int], *, seed: int = 0) -> None:
    """Draw the input and output rows of new tokens like rows that the model knows.

    The mean of the older rows bounds how far new tokens shift the model's next-token distribution (Hewitt 2021,
    "Initializing New Word Embeddings for Pretrained Language Models"). Our choice: Gaussian noise of each dimension's
    whole spread, from its own generator, because rows that begin alike stay alike (at a tenth of it the quickstart's
    model followed no ratio after its SFT); and the mean is over the rows below the first new id, because the spare
    rows above were never trained. Tied embeddings are one matrix, so set once.
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
        raise DataError("the model's embeddings hold values that are not finite; use an intact checkpoint")
    weight[ids] = rows.to(weight.dtype)
