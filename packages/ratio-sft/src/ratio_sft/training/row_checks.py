"""Checks of training rows before they are encoded: text, control tokens, held-out questions, tokenizer.

A row that fails a check is an error of the file, not a counted reject. Encoding is left to `encoding`.

    check_rows(rows, tokens, tokenizer)                   # raises DataError, naming file and row
"""

import heapq
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from ratio_sft._shared.control_tokens import ControlTokens
from ratio_sft._shared.records import Row
from ratio_sft.data.clean import lone_surrogate
from ratio_sft.data.questions import question_key, text_hash
from ratio_sft.data.row_file import RowFile
from ratio_sft.data.rows import kind
from ratio_sft.errors import DataError
from ratio_sft.model.template import text_ids

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_COUNTED_ROWS = 64
_COUNT_TOLERANCE = 0.05


def check_rows(rows: Mapping[str, RowFile], tokens: ControlTokens, tokenizer: "PreTrainedTokenizerBase") -> None:
    """Make every check.

    Args:
        rows: Rows of "train" and, if questions were held out, "heldout".
        tokens: The ladder of the model to train.
        tokenizer: The model's tokenizer.

    Raises:
        DataError: a row breaks a rule of the other functions of this module.
    """
    if "heldout" in rows:
        check_heldout(rows["train"], rows["heldout"], tokens)
    for found in rows.values():
        for number, row in enumerate(found):
            check_text(row, found.where(number))
            check_tokens(row, tokens, found.where(number))
        check_tokenizer(tokenizer, found, str(found.path))


def check_text(row: Row, where: str) -> None:
    """Refuse a lone surrogate, which tokenizers do not accept.

    Raises:
        DataError: a message contains one.
    """
    for field in ("prompt", "completion"):
        for message in row[field]:
            if surrogate := lone_surrogate(message["content"]):
                raise DataError(f"{where}: {field}: contains {surrogate}, half of a surrogate pair; take it out")


def check_tokens(row: Row, tokens: ControlTokens, where: str) -> None:
    """Check that the user turn ends in the token of the row's mode, and the completion opens with that of its ratio.

    A row whose completion opens with `<think>` is a full-length row without a token; its user turn has none either.

    Raises:
        DataError: a token is missing, belongs to another ratio, or is not of this ladder.
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


def check_heldout(train: RowFile, heldout: RowFile, tokens: ControlTokens) -> None:
    """Refuse held-out questions that are also trained on; the held-out losses would be meaningless.

    Raises:
        DataError: a question is on both sides.
    """
    taught = {text_hash(_question(row, tokens)) for row in train}
    for number, row in enumerate(heldout):
        if text_hash(_question(row, tokens)) in taught:
            raise DataError(
                f"{heldout.where(number)}: prompt: the question of {row['id']!r} is in {train.path.name} too; take it "
                "out of one of them, or let `ratio-sft build` split all traces at once"
            )


def check_tokenizer(tokenizer: "PreTrainedTokenizerBase", rows: Iterable[Row], where: str) -> None:
    """Refuse rows whose compressed texts were counted with another tokenizer than the model's.

    The name of a tokenizer is a path and proves nothing, so texts are counted again: the 64 longest among the rows
    that have `thinking_tokens`. Their sum may differ by 5 %. Our choice: the sum, because the count of a single text
    differs by a token at each end when it is counted in its context.

    Raises:
        DataError: the counts differ by more.
    """
    counted = (row for row in rows if isinstance(row.get("thinking_tokens"), int))
    sample = heapq.nlargest(_COUNTED_ROWS, counted, key=lambda row: row["thinking_tokens"])
    if not sample:
        return
    texts = [row["completion"][0]["content"].partition("<think>\n")[2].partition("\n</think>")[0] for row in sample]
    ours = sum(map(len, text_ids(tokenizer, texts)))
    theirs = sum(row["thinking_tokens"] for row in sample)
    if abs(ours - theirs) > max(_COUNT_TOLERANCE * theirs, 2 * len(sample)):
        raise DataError(
            f"{where}: compressed with another tokenizer: {len(sample)} texts are {theirs} tokens there and {ours} in "
            "the model's; run `cot-compressor compress` again with --tokenizer set to the model's folder"
        )


def _question(row: Row, tokens: ControlTokens) -> str:
    text = row["prompt"][-1]["content"].rstrip()
    for token in tokens.all_tokens:
        text = text.removesuffix(token)
    return question_key(text)
