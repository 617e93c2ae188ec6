r"""Ratio following during training: held-out questions answered greedily at every ratio, by the model as it stands.

A first look while there is time to stop, not an evaluation: an answer counts as right if its last box holds the text
of the trace's. Sampling with a real grader is math-eval's work, the full report that of `evaluate`.

    following = follow(model, tokenizer, questions(heldout, ladder, 16), ladder, accelerator, batch_size=16)
    following["realised 0.2"], following["accuracy 0.2"]
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import torch

from ._shared.control_tokens import ControlTokens
from ._shared.records import Row
from .following import measure
from .rows import kind
from .template import prompt_ids

if TYPE_CHECKING:
    from accelerate import Accelerator
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_BOX = "\\boxed{"


def questions(rows: Iterable[Row], tokens: ControlTokens, count: int) -> list[dict[float, Row]]:
    """The first `count` held-out traces that have a row of every ratio: ratio -> row."""
    traces: dict[tuple[Any, ...], dict[float, Row]] = {}
    for row in rows:
        if kind(row) == "fixed":
            traces.setdefault((row["id"], row.get("sample"), row.get("model")), {})[float(row["ratio"])] = row
    whole = [found for found in traces.values() if set(found) == set(tokens.ratios.values())]
    return whole[:count]


def follow(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    asked: Sequence[dict[float, Row]],
    tokens: ControlTokens,
    accelerator: "Accelerator",
    *,
    batch_size: int,
) -> dict[str, float]:
    """Realised ratio and accuracy at every ratio, and the errors over all; the same on every process.

    A completion may take twice the tokens of the trace's longest row.
    """
    from accelerate.utils import gather_object

    top = max(tokens.ratios.values())
    mine = asked[accelerator.process_index :: accelerator.num_processes]
    found: list[tuple[float, float, bool]] = []
    for ratio in tokens.ratios.values():
        for start in range(0, len(mine), batch_size):
            batch = mine[start : start + batch_size]
            texts = _answer(model, tokenizer, [row[ratio] for row in batch], [row[top] for row in batch])
            for row, text in zip(batch, texts, strict=True):
                trace = row[top]["completion"][0]["content"]
                reference = _thinking_tokens(tokenizer, trace) / top
                right = boxed(text) is not None and boxed(text) == boxed(trace)
                found.append((ratio, _thinking_tokens(tokenizer, text) / reference, right))
    found = gather_object(found)
    by_ratio = {ratio: [line for line in found if line[0] == ratio] for ratio in tokens.ratios.values()}
    report = measure({ratio: [realised for _, realised, _ in lines] for ratio, lines in by_ratio.items()})
    figures = {f"realised {line['asked']:g}": line["realised"] for line in report["conditions"]}
    figures |= {
        f"accuracy {ratio:g}": sum(right for *_, right in lines) / len(lines) for ratio, lines in by_ratio.items()
    }
    return {**figures, "mean_absolute_error": report["mean_absolute_error"]}


def boxed(text: str) -> str | None:
    r"""What the last balanced `\boxed{}` after the thinking holds, without white space; None if there is none.

    >>> boxed(r"\boxed{1} and \boxed{\frac{1}{2}}")
    '\\frac{1}{2}'
    """
    answer = text.partition("<think>")[2].partition("</think>")[2] if "<think>" in text else text
    start = answer.rfind(_BOX)
    if start < 0:
        return None
    depth = 1
    for index in range(start + len(_BOX), len(answer)):
        depth += {"{": 1, "}": -1}.get(answer[index], 0)
        if not depth:
            return "".join(answer[start + len(_BOX) : index].split())
    return None


def _answer(model: Any, tokenizer: Any, rows: list[Row], longest: list[Row]) -> list[str]:
    prompts = [prompt_ids(tokenizer, row["prompt"]) for row in rows]
    width = max(map(len, prompts))
    pad, end = tokenizer.pad_token_id, tokenizer.eos_token_id
    ids = torch.tensor([[pad] * (width - len(prompt)) + prompt for prompt in prompts], device=model.device)
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts], device=model.device)
    limit = 2 * max(len(ids) for ids in tokenizer([row["completion"][0]["content"] for row in longest])["input_ids"])
    with torch.no_grad():
        out = model.generate(
            input_ids=ids,
            attention_mask=mask,
            max_new_tokens=limit,
            do_sample=False,
            use_cache=True,
            eos_token_id=end,
            pad_token_id=pad,
        )
    completions = [[*line, end] for line in out[:, width:].tolist()]
    return [tokenizer.decode(line[: line.index(end)], skip_special_tokens=False) for line in completions]


def _thinking_tokens(tokenizer: Any, text: str) -> int:
    """Tokens between the tags; a block that is never closed counts to the end."""
    inside = text.partition("<think>")[2].partition("</think>")[0].strip()
    return len(tokenizer(inside, add_special_tokens=False)["input_ids"])
