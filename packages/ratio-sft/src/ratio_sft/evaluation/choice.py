"""The ratio that a model chooses behind the policy token: the probability of each ratio token, without sampling.

A ratio that is never chosen after SFT is hard to bring back in reinforcement learning. Realised ratios and accuracy are
left to `check` and `evaluate`.

    chosen_ratios(model, tokenizer, questions, tokens, device="cpu", batch_size=8)
    # {"0.2": 0.31, "1": 0.66, "other": 0.03}
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import torch

from ratio_sft._shared.control_tokens import POLICY, ControlTokens
from ratio_sft._shared.records import Row
from ratio_sft.model.template import prompt_ids
from ratio_sft.model.tokens import token_ids

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MOST_QUESTIONS = 256
"""Number of questions that are looked at; the probabilities are exact, so their mean needs no more."""

Messages = Sequence[dict[str, str]]


def policy_questions(rows: Iterable[Row], tokens: ControlTokens, most: int = MOST_QUESTIONS) -> list[Messages]:
    """The first distinct questions of the rows, as conversations without a control token.

    Args:
        rows: Rows of the `sft` contract.
        tokens: The ladder.
        most: Number of questions.
    """
    found: dict[str, Messages] = {}
    for row in rows:
        text = row["prompt"][-1]["content"].rstrip()
        for request in tokens.requests:
            text = text.removesuffix(request).rstrip()
        found.setdefault(text, [*row["prompt"][:-1], {**row["prompt"][-1], "content": text}])
        if len(found) == most:
            break
    return list(found.values())


@torch.no_grad()
def chosen_ratios(
    model: Any,
    tokenizer: "PreTrainedTokenizerBase",
    questions: Sequence[Messages],
    tokens: ControlTokens,
    *,
    device: Any,
    batch_size: int,
) -> dict[str, float]:
    """Mean probability of each ratio token as the first token of the response, and of all other tokens.

    Every process computes the same, so that a sharded model makes the same number of passes on each.

    Args:
        model: The trained model; it is left in the mode of evaluation.
        tokenizer: Its tokenizer.
        questions: Result of `policy_questions`.
        tokens: The ladder.
        device: Device of the inputs.
        batch_size: Number of prompts in a pass.

    Returns:
        Ratio -> probability, and "other" -> the rest; empty without questions.
    """
    if not questions:
        return {}
    prompts = sorted(prompt_ids(tokenizer, [(messages, POLICY) for messages in questions]), key=len)
    ladder = token_ids(tokenizer, tokens)[:-1]
    model.eval()
    sums = torch.zeros(len(ladder), dtype=torch.float64)
    for start in range(0, len(prompts), batch_size):
        batch = prompts[start : start + batch_size]
        # Padded on the right, so that positions are those of a prompt alone.
        width = max(map(len, batch))
        pad = tokenizer.pad_token_id if isinstance(tokenizer.pad_token_id, int) else 0
        ids = torch.tensor([[*prompt, *[pad] * (width - len(prompt))] for prompt in batch], device=device)
        mask = torch.tensor([[1] * len(prompt) + [0] * (width - len(prompt)) for prompt in batch], device=device)
        logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
        last = logits[range(len(batch)), [len(prompt) - 1 for prompt in batch]]
        sums += last.double().softmax(dim=-1)[:, ladder].sum(dim=0).cpu()
    shares = (sums / len(prompts)).tolist()
    found = {f"{ratio:g}": share for ratio, share in zip(tokens.ratios.values(), shares, strict=True)}
    return {**found, "other": max(0.0, 1.0 - sum(shares))}
