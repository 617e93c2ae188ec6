r"""From sft rows to token ids and labels: the prompt through the chat template, the completion as plain text.

A template may rewrite assistant messages (Qwen3's drops what stands before `<think>`, so the ratio token too): hence
completions never pass through it. A row is `template(prompt) + tokens(completion) + end of sequence`, and the loss
counts the completion and the end. Batching is left to `batches`.

    row = next(encode(tokenizer, [sft_row], tokens, max_length=6144, tally=Tally()))
    row.labels[row.prompt_tokens] == tokenizer.convert_tokens_to_ids("<COMP_40>")     # the first one in the loss
"""

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from ._shared.control_tokens import POLICY, ControlTokens
from ._shared.records import Row, Tally
from .clean import lone_surrogate
from .errors import DataError
from .mixture import question_key, text_hash
from .rows import kind
from .template import prompt_ids
from .tokens import token_ids

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

IGNORED = -100
_COUNTED_ROWS = 64
_COUNT_TOLERANCE = 0.05
_CHUNK = 512


@dataclass(frozen=True)
class Encoded:
    """One training row: token ids, how many of them are the prompt, and what it teaches (see `rows.kind`)."""

    input_ids: list[int]
    prompt_tokens: int
    ratio: float
    mode: str

    @property
    def labels(self) -> list[int]:
        """The ids with the prompt masked out."""
        return [IGNORED] * self.prompt_tokens + self.input_ids[self.prompt_tokens :]


def encode(
    tokenizer: "PreTrainedTokenizerBase",
    rows: Iterable[Row],
    tokens: ControlTokens,
    *,
    max_length: int,
    context: int | None = None,
    tally: Tally,
) -> Iterator[Encoded]:
    """Encode sft rows; those too long, or with a stray special token, are rejected by reason.

    A row may have `max_length` tokens and, where the model has a `context`, no more than it has positions.

    The rows must have passed `check_text` and `check_tokens`, and the tokenizer must carry the control tokens and the
    wrapped template.
    """
    end: Any = tokenizer.eos_token_id
    reserved = {*token_ids(tokenizer, tokens), end}
    left = iter(rows)
    while chunk := list(islice(left, _CHUNK)):
        tally.read += len(chunk)
        texts = [row["completion"][0]["content"] for row in chunk]
        completions: list[list[int]] = tokenizer(texts, add_special_tokens=False)["input_ids"]  # type: ignore[assignment]
        for row, completion in zip(chunk, completions, strict=True):
            teaches = kind(row)
            prompt = prompt_ids(tokenizer, row["prompt"], None if teaches == "plain" else POLICY)
            length = len(prompt) + len(completion) + 1
            if length > max_length:
                tally.reject(row, "too_long", f"{length} tokens are more than {max_length}")
            elif context is not None and length > context:
                tally.reject(row, "beyond_context", f"{length} tokens are more than the model's {context} positions")
            elif not reserved.isdisjoint(completion if teaches == "plain" else completion[1:]):
                tally.reject(
                    row, "special_token_in_text", "the completion holds a second control token or an end token"
                )
            else:
                tally.written += 1
                yield Encoded([*prompt, *completion, end], len(prompt), float(row["ratio"]), teaches)


def check_text(row: Row, where: str) -> None:
    """Refuse a lone surrogate, which tokenizers do not take.

    Raises:
        DataError: a message holds one.
    """
    for field in ("prompt", "completion"):
        for message in row[field]:
            if surrogate := lone_surrogate(message["content"]):
                raise DataError(f"{where}: {field}: holds {surrogate}, half of a surrogate pair; take it out")


def check_tokens(row: Row, tokens: ControlTokens, where: str) -> None:
    """The user turn must end in the token of the row's mode, and the completion must open with that of its ratio.

    A row whose completion opens with `<think>` is a full-length row without a token: its user turn has none either.

    Raises:
        DataError: it does not, or a token is not of this ladder.
    """
    user, answer = row["prompt"][-1], row["completion"][0]
    known = ", ".join(tokens.all_tokens)
    if user["role"] != "user" or len(row["completion"]) != 1 or answer["role"] != "assistant":
        raise DataError(f"{where}: prompt must end in a user message and completion be one assistant message")
    if kind(row) == "plain":
        ending = next((token for token in tokens.all_tokens if user["content"].rstrip().endswith(token)), None)
        if ending or row["ratio"] != 1.0 or row["mode"] != "fixed":
            raise DataError(
                f"{where}: completion: opens with <think>, so it is a full-length row without a token; but its prompt "
                f"ends in {ending or 'none'}, ratio {row['ratio']:g}, mode {row['mode']}"
            )
        return
    opening = tokens.leading_ratio(answer["content"])
    if opening is None:
        shown = answer["content"][:20]
        raise DataError(f"{where}: completion: opens with {shown!r}, not with a ratio token of the ladder ({known})")
    if opening != row["ratio"]:
        raise DataError(f"{where}: ratio: {row['ratio']:g}, but the completion opens with the token of {opening:g}")
    wanted = tokens.policy if row["mode"] == "policy" else tokens.token(opening)
    if not user["content"].rstrip().endswith(wanted):
        shown = user["content"][-20:]
        raise DataError(
            f"{where}: prompt: ends in {shown!r}; a {row['mode']} row of ratio {opening:g} ends in {wanted}"
        )


def check_heldout(train: Iterable[Row], heldout: Iterable[Row], tokens: ControlTokens, where: str) -> None:
    """Refuse held-out questions that are trained on too; the held-out losses would say nothing.

    Raises:
        DataError: a question is on both sides.
    """
    taught = {text_hash(_question(row, tokens)) for row in train}
    for number, row in enumerate(heldout, 1):
        if text_hash(_question(row, tokens)) in taught:
            raise DataError(
                f"{where}:{number}: prompt: the question of {row['id']!r} is in train.jsonl too; take it out of one of "
                "them, or let `ratio-sft build` split all traces at once"
            )


def _question(row: Row, tokens: ControlTokens) -> str:
    text = row["prompt"][-1]["content"].rstrip()
    for token in tokens.all_tokens:
        text = text.removesuffix(token)
    return question_key(text)


def check_tokenizer(tokenizer: "PreTrainedTokenizerBase", rows: Iterable[Row], where: str) -> None:
    """Refuse rows whose compressed texts were measured with another tokenizer than the model's.

    Names of tokenizers are paths and prove nothing, so the texts are counted again: the 64 longest of the rows that
    carry `thinking_tokens`, and their sum may differ by 5 %. Our choice: a sum, because texts counted in their context
    differ by a token at the ends.

    Raises:
        DataError: the counts differ.
    """
    counted = (row for row in rows if isinstance(row.get("thinking_tokens"), int))
    sample = heapq.nlargest(_COUNTED_ROWS, counted, key=lambda row: row["thinking_tokens"])
    if not sample:
        return
    texts = [row["completion"][0]["content"].partition("<think>\n")[2].partition("\n</think>")[0] for row in sample]
    ours = sum(len(ids) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"])  # type: ignore[arg-type]
    theirs = sum(row["thinking_tokens"] for row in sample)
    if abs(ours - theirs) > max(_COUNT_TOLERANCE * theirs, 2 * len(sample)):
        raise DataError(
            f"{where}: compressed with another tokenizer: {len(sample)} texts are {theirs} tokens there and {ours} in "
            "the model's; run `cot-compressor compress` again with --tokenizer set to the model's folder"
        )
