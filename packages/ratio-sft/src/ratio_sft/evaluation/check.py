r"""The check of ratio following during training: held-out questions answered greedily at every ratio.

A first look, early enough to stop a run. An answer counts as correct if its last box contains the same text as the
trace's. Sampling with a real grader is left to math-eval, the full report to `evaluate`.

    questions = select_questions(heldout, tokens, THINK, 16)
    figures = check_following(model, tokenizer, questions, tokens, THINK, accelerator=accelerator, batch_size=16)
    figures["realised 0.2"], figures["accuracy 0.2"]
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch
from transformers import GenerationConfig

from ratio_sft._shared.boxed import last_boxed
from ratio_sft._shared.control_tokens import POLICY, ControlTokens
from ratio_sft._shared.records import Row
from ratio_sft._shared.thinking import Thinking, ThinkingFormat
from ratio_sft._shared.tokenizer_file import check_decoded
from ratio_sft.data.rows import kind
from ratio_sft.model.checkpoints import end_ids
from ratio_sft.model.template import prompt_ids

from .ratio_metrics import ratio_metrics

if TYPE_CHECKING:
    from accelerate import Accelerator
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def select_questions(
    rows: Iterable[Row], tokens: ControlTokens, thinking_format: ThinkingFormat, count: int
) -> list[dict[float, Row]]:
    """The first `count` held-out traces that have a row of every ratio, each as ratio -> row."""
    traces: dict[tuple[Any, ...], dict[float, Row]] = {}
    for row in rows:
        if kind(row, thinking_format) == "fixed":
            traces.setdefault((row["id"], row.get("sample"), row.get("model")), {})[float(row["ratio"])] = row
    whole = [found for found in traces.values() if set(found) == set(tokens.ratios.values())]
    return whole[:count]


def check_following(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    questions: Sequence[dict[float, Row]],
    tokens: ControlTokens,
    thinking_format: ThinkingFormat,
    *,
    accelerator: "Accelerator",
    batch_size: int,
) -> dict[str, float]:
    """Answer the questions at every ratio and compare them with their traces.

    A completion is limited to twice the tokens of the trace's longest row.

    Args:
        model: The whole model, not sharded.
        tokenizer: Its tokenizer.
        questions: Result of `select_questions`.
        tokens: The ladder.
        thinking_format: Thinking format of the model.
        accelerator: The processes, which share the questions.
        batch_size: Number of questions answered together.

    Returns:
        `realised R` and `accuracy R` for each ratio R, and `mean_absolute_error`; the same on every process.
    """
    from accelerate.utils import gather_object

    top, whole = max(tokens.ratios.values()), replace(thinking_format, opened=False)
    mine = questions[accelerator.process_index :: accelerator.num_processes]
    prompts = iter(
        prompt_ids(tokenizer, [(row[ratio]["prompt"], POLICY) for ratio in tokens.ratios.values() for row in mine])
    )
    found: list[tuple[float, float, bool]] = []
    for ratio in tokens.ratios.values():
        for start in range(0, len(mine), batch_size):
            batch = mine[start : start + batch_size]
            texts = _answer(model, tokenizer, list(islice(prompts, len(batch))), [row[top] for row in batch])
            for row, text in zip(batch, texts, strict=True):
                trace = whole.split(row[top]["completion"][0]["content"])
                written = thinking_format.split(tokens.without_token(text))
                reference = _tokens(tokenizer, trace) / top
                correct = boxed_answer(written) is not None and boxed_answer(written) == boxed_answer(trace)
                found.append((ratio, _tokens(tokenizer, written) / reference, correct))
    found = gather_object(found)
    by_ratio = {ratio: [line for line in found if line[0] == ratio] for ratio in tokens.ratios.values()}
    metrics = ratio_metrics({ratio: [realised for _, realised, _ in lines] for ratio, lines in by_ratio.items()})
    figures = {f"realised {line['asked']:g}": line["realised"] for line in metrics["conditions"]}
    figures |= {
        f"accuracy {ratio:g}": sum(correct for *_, correct in lines) / len(lines) for ratio, lines in by_ratio.items()
    }
    return {**figures, "mean_absolute_error": metrics["mean_absolute_error"]}


def boxed_answer(completion: Thinking) -> str | None:
    r"""The content of the last balanced `\boxed{}` after the thinking, without any white space; None without one.

    >>> from ratio_sft._shared.thinking import THINK
    >>> boxed_answer(THINK.split(r"<think>\boxed{1}</think> \boxed{ \frac{1}{2} }"))
    '\\frac{1}{2}'
    """
    found = last_boxed(completion.answer)
    return None if found is None else "".join(found.split())


def _answer(model: Any, tokenizer: Any, prompts: list[list[int]], longest: list[Row]) -> list[str]:
    width = max(map(len, prompts))
    pad, ends = tokenizer.pad_token_id, end_ids(model, tokenizer)
    ids = torch.tensor([[pad] * (width - len(prompt)) + prompt for prompt in prompts], device=model.device)
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts], device=model.device)
    limit = 2 * max(len(ids) for ids in tokenizer([row["completion"][0]["content"] for row in longest])["input_ids"])
    with torch.no_grad(), _greedy(model):
        out = model.generate(
            input_ids=ids,
            attention_mask=mask,
            max_new_tokens=limit,
            do_sample=False,
            use_cache=True,
            eos_token_id=ends,
            pad_token_id=pad,
        )
    found: list[str] = []
    for line in out[:, width:].tolist():
        kept = line[: next((place for place, each in enumerate(line) if each in ends), None)]
        text = tokenizer.decode(kept, skip_special_tokens=False)
        found.append(check_decoded(text, len(kept), str(tokenizer.name_or_path)))
    return found


@contextmanager
def _greedy(model: Any) -> Iterator[None]:
    """Without the generation settings of the model's folder, such as penalties and beams."""
    own, model.generation_config = model.generation_config, GenerationConfig()
    try:
        yield
    finally:
        model.generation_config = own


def _tokens(tokenizer: Any, completion: Thinking) -> int:
    """Number of tokens of the thinking; a block that is never closed counts to its end."""
    return len(tokenizer(completion.text, add_special_tokens=False)["input_ids"])
