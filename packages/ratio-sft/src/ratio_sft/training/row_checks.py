"""Checks of training rows before they are encoded: text, control tokens, held-out questions, tokenizer.

A row that fails a check is an error of the file, not a counted reject. Encoding is left to `encoding`.

    check_rows(rows, tokens, THINK, tokenizer)            # raises DataError, naming file and row
"""

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from ratio_sft._shared.control_tokens import ControlTokens
from ratio_sft._shared.records import Row
from ratio_sft._shared.thinking import ThinkingFormat
from ratio_sft._shared.thinking_formats import FILE_NAME, FORMATS
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


def check_rows(
    rows: Mapping[str, RowFile],
    tokens: ControlTokens,
    thinking_format: ThinkingFormat,
    tokenizer: "PreTrainedTokenizerBase",
) -> None:
    """Make every check.

    Args:
        rows: Rows of "train" and, if questions were held out, "heldout".
        tokens: The ladder of the model to train.
        thinking_format: The model's thinking format.
        tokenizer: The model's tokenizer.

    Raises:
        DataError: a row breaks a rule of the other functions of this module.
    """
    if "heldout" in rows:
        check_heldout(rows["train"], rows["heldout"], tokens)
    for found in rows.values():
        for number, row in enumerate(found):
            check_text(row, found.where(number))
            check_thinking(row, tokens, thinking_format, found.where(number))
            check_tokens(row, tokens, thinking_format, found.where(number))
        check_tokenizer(tokenizer, found, thinking_format, str(found.path))


def check_text(row: Row, where: str) -> None:
    """Refuse a lone surrogate, which tokenizers do not accept.

    Raises:
        DataError: a message contains one.
    """
    for field in ("prompt", "completion"):
        for message in row[field]:
            if surrogate := lone_surrogate(message["content"]):
                raise DataError(f"{where}: {field}: contains {surrogate}, half of a surrogate pair; take it out")


def check_thinking(row: Row, tokens: ControlTokens, thinking_format: ThinkingFormat, where: str) -> None:
    """Check that the thinking is between the model's tags.

    Raises:
        DataError: it is between the tags of another format.
    """
    text = row["completion"][0]["content"].lstrip()
    for token in tokens.ratios:
        text = text.removeprefix(token).lstrip()
    if text.startswith(thinking_format.open):
        return
    found = next((name for name, each in FORMATS.items() if text.startswith(each.open)), None)
    if found is not None:
        own = next((name for name, each in FORMATS.items() if each.open == thinking_format.open), FILE_NAME)
        raise DataError(
            f"{where}: completion: thinks between {FORMATS[found].open} and {FORMATS[found].close}, but the model's "
            f"format is {thinking_format}; build the rows with --thinking-format {own}, or name the model's format"
        )


def check_tokens(row: Row, tokens: ControlTokens, thinking_format: ThinkingFormat, where: str) -> None:
    """Check that the user turn ends in what asks for the row's mode, and the completion opens with the ratio's token.

    A row whose completion opens with the thinking tag is a full-length row without a token; its user turn has none
    either.

    Raises:
        DataError: a token is missing, belongs to another ratio, or is not of this ladder.
    """
    user, answer = row["prompt"][-1], row["completion"][0]
    known = ", ".join(tokens.all_tokens)
    if user["role"] != "user" or len(row["completion"]) != 1 or answer["role"] != "assistant":
        raise DataError(f"{where}: prompt must end in a user message and completion be one assistant message")
    if kind(row, thinking_format) == "plain":
        ending = next((text for text in tokens.requests if user["content"].rstrip().endswith(text)), None)
        if ending or row["ratio"] != 1.0 or row["mode"] != "fixed":
            raise DataError(
                f"{where}: completion: opens with {thinking_format.open}, so it is a full-length row without a token; "
                f"but its prompt ends in {ending or 'none'}, ratio {row['ratio']:g}, mode {row['mode']}"
            )
        return
    opening = tokens.leading_ratio(answer["content"])
    if opening is None:
        shown = answer["content"][:20]
        raise DataError(f"{where}: completion: opens with {shown!r}, not with a ratio token of the ladder ({known})")
    if opening != row["ratio"]:
        raise DataError(f"{where}: ratio: {row['ratio']:g}, but the completion opens with the token of {opening:g}")
    wanted = tokens.policy if row["mode"] == "policy" else tokens.request(opening)
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
                f"{heldout.where(number)}: prompt: the question of {row['id']!r} is in {train.name} too; take it "
                "out of one of them, or let `ratio-sft build` split all traces at once"
            )


def check_tokenizer(
    tokenizer: "PreTrainedTokenizerBase", rows: Iterable[Row], thinking_format: ThinkingFormat, where: str
) -> None:
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
    markup = replace(thinking_format, opened=False)
    texts = [markup.split(row["completion"][0]["content"]).text for row in sample]
    ours = sum(map(len, text_ids(tokenizer, texts)))
    theirs = sum(row["thinking_tokens"] for row in sample)
    if abs(ours - theirs) > max(_COUNT_TOLERANCE * theirs, 2 * len(sample)):
        raise DataError(
            f"{where}: compressed with another tokenizer: {len(sample)} texts are {theirs} tokens there and {ours} in "
            "the model's; run `cot-compressor compress` again with --tokenizer set to the model's folder"
        )


def _question(row: Row, tokens: ControlTokens) -> str:
    text = row["prompt"][-1]["content"].rstrip()
    for request in tokens.requests:
        text = text.removesuffix(request)
    return question_key(text)
