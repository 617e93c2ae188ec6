"""Which traces are usable: correct, with every ratio of the ladder in reach, and without text that must not be there.

What all traces together must fit is left to `survey`, which usable traces are used for what to `selection`.

    found = usable_traces(RowFile("compressed.jsonl", "compressed"), tokens, MixSettings(), None, Tally())
    found[0].number, found[0].tokens                                       # 0, 212
"""

from collections.abc import Iterable
from typing import NamedTuple

from ratio_sft._shared.control_tokens import ControlTokens
from ratio_sft._shared.records import Row, Tally
from ratio_sft._shared.thinking import THINK
from ratio_sft._shared.thinking_formats import given_format
from ratio_sft.settings import MixSettings

from .clean import below_floor, collapse, lone_surrogate
from .decontaminate import TestQuestions
from .questions import question_key, text_hash
from .rows import nearest

_FLOAT_SLACK = 1e-9


class Usable(NamedTuple):
    """What is kept in memory of a usable trace."""

    number: int
    """Number of its row, from 0."""
    id: str
    tokens: int
    """Number of tokens of its whole thinking."""
    question: bytes
    """A seeded hash of `question_key`, which also decides whether the question is held out."""


class Reject(NamedTuple):
    """A usable trace, or its policy row, that is left out."""

    number: int
    reason: str
    detail: str
    policy: bool = False
    """Whether only its policy row is left out."""


def usable_traces(
    traces: Iterable[Row], tokens: ControlTokens, settings: MixSettings, tests: TestQuestions | None, tally: Tally
) -> list[Usable]:
    """The usable ones among rows of the `compressed` contract; the others are rejected by reason.

    Args:
        traces: All rows, in order.
        tokens: The ladder.
        settings: Settings of the mixture.
        tests: Test questions to exclude.
        tally: Counter of the rows read and rejected.
    """
    return [
        Usable(
            number,
            row["id"],
            max((entry["original_tokens"] for entry in row["compressions"]), default=0),
            text_hash(f"{settings.seed}:{question_key(row['question'])}"),
        )
        for number, row in enumerate(traces)
        if _accept(row, tokens, settings, tests, tally)
    ]


def _accept(row: Row, tokens: ControlTokens, settings: MixSettings, tests: TestQuestions | None, tally: Tally) -> bool:
    tally.read += 1
    reason, detail = _reject_reason(row, tokens, settings)
    if not reason and tests is not None:
        detail = tests.match(row["question"]) or ""
        reason = "in_test" if detail else ""
    if reason:
        tally.reject(row, reason, detail)
    return not reason


def _reject_reason(row: Row, tokens: ControlTokens, settings: MixSettings) -> tuple[str, str]:
    """The reason why a trace is unusable, and a detail; empty strings if it is usable."""
    if not row["correct"]:
        return "incorrect", ""
    if not row["response"].strip():
        return "empty_response", ""
    reason, detail = _forbidden_text(row, tokens, settings)
    if reason:
        return reason, detail
    shorter = 0
    for ratio in tokens.ratios.values():
        entry = nearest(row, ratio)
        if entry is None or abs(entry["achieved_ratio"] - ratio) > settings.tolerance + _FLOAT_SLACK:
            asked = any(entry["ratio"] == ratio for entry in row["compressions"])
            achieved = f": nearest {entry['achieved_ratio']:.3f}" if entry else ""
            return "off_ratio" if asked else "missing_ratio", f"{ratio:g}{achieved}"
        if ratio == 0:
            continue
        if not entry["text"].strip():
            return "empty_thinking", f"{ratio:g}"
        reason, detail = collapse(entry["text"])
        if not reason and settings.paper_floors:
            reason, detail = below_floor(row["cot"], entry["text"], entry["tokens"], ratio)
        if reason:
            return reason, f"{ratio:g}: {detail}"
        if entry["tokens"] < shorter:
            return "not_monotone", f"{ratio:g}: {entry['tokens']} tokens, fewer than a smaller ratio's {shorter}"
        shorter = entry["tokens"]
    return "", ""


def _forbidden_text(row: Row, tokens: ControlTokens, settings: MixSettings) -> tuple[str, str]:
    """The reason and detail of text that no trace may contain: a lone surrogate, a thinking tag, a control token."""
    texts = [row["question"], row["response"], *(entry["text"] for entry in row["compressions"])]
    for text in (*texts, *(entry["tokenizer"] for entry in row["compressions"])):
        if surrogate := lone_surrogate(text):
            return "lone_surrogate", surrogate
    own = given_format(settings.thinking_format)
    for tag in (THINK.open, THINK.close, own.open, own.close, *tokens.all_tokens, *tokens.switches.values()):
        if any(tag in text for text in texts):
            return "tag_in_text", tag
    return "", ""
