"""The data set of a token classifier: annotated rows as windows with token labels, some questions held out.

Labels come from the kept spans, unit by unit; question, special tokens and padding have none. Learning from them is
left to `trainer.py`.

    data = read_dataset("annotated.jsonl", WindowMaker(tokenizer, 512), seed=0)
    len(data.training), len(data.held_out)
"""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cot_compressor import distributed
from cot_compressor._shared.progress import progress_bar
from cot_compressor._shared.records import read_records
from cot_compressor.errors import DataError
from cot_compressor.scorers.windows import Encoded, Window, WindowMaker
from cot_compressor.text.render import kept_units
from cot_compressor.text.segment import segment

IGNORED = -100
"""Label of a token that does not count in the loss."""
_HELD_OUT_SHARE = 0.1
_MAX_WEIGHT = 10.0

Example = tuple[Window, list[int]]


@dataclass
class Dataset:
    """All windows of a file, split by question."""

    training: list[Example] = field(default_factory=list)
    held_out: list[Example] = field(default_factory=list)
    training_rows: int = 0
    held_out_rows: int = 0
    held_out_questions: int = 0
    annotators: list[str] = field(default_factory=list)
    """The different annotators of the rows, as JSON."""


def read_dataset(source: str | Path, maker: WindowMaker, *, seed: int) -> Dataset:
    """Read an `annotated` file.

    Args:
        source: Path of the file.
        maker: Maker of the windows for the encoder.
        seed: Random seed of the split into training and held-out questions.

    Raises:
        DataError: a row breaks the schema, or there are fewer than two different questions.
    """
    rows = [(row["question"], row["cot"], row["keep"], row["annotator"]) for row in read_records(source, "annotated")]
    held_out = split_questions([question for question, *_ in rows], seed)
    annotators = sorted({json.dumps(annotator, sort_keys=True) for *_, annotator in rows})
    data = Dataset(held_out_questions=len(held_out), annotators=annotators)
    quiet = distributed.rank() > 0
    for question, cot, keep, _ in progress_bar(rows, desc="reading", unit="row", leave=False, disable=quiet):
        units = segment(cot)
        encoded = maker.encode(question, cot, units)
        kept = kept_units(units, keep)
        found = [(window, token_labels(encoded, window, kept)) for window in encoded.windows]
        if question in held_out:
            data.held_out += found
            data.held_out_rows += 1
        else:
            data.training += found
            data.training_rows += 1
    return data


def split_questions(questions: Sequence[str], seed: int) -> set[str]:
    """The questions to hold out: a tenth of the different ones, at least one, drawn with the seed.

    >>> split_questions(["a", "b", "a", "c"], seed=0) <= {"a", "b", "c"}
    True

    Raises:
        DataError: there are fewer than two different questions.
    """
    different = sorted(set(questions))
    if len(different) < 2:
        raise DataError(f"{len(different)} different question(s); training needs at least 2, one of them held out")
    random.Random(seed).shuffle(different)
    return set(different[: max(1, round(_HELD_OUT_SHARE * len(different)))])


def token_labels(encoded: Encoded, window: Window, kept: Sequence[bool]) -> list[int]:
    """One label for each token of a window.

    Args:
        encoded: The tokens of the whole cot.
        window: One of its windows.
        kept: True for each unit of the cot that is kept.

    Returns:
        1 for a token of a kept unit, 0 for a token of another unit, `IGNORED` for any other token.
    """
    labels = [IGNORED] * len(window.ids)
    stop = window.cot_start + window.cot_tokens
    for (low, high), keep in zip(encoded.unit_tokens, kept, strict=True):
        for token in range(max(low, window.cot_start), min(high, stop)):
            at = window.question_tokens + token - window.cot_start
            labels[at] = max(labels[at], int(keep))
    return labels


def class_weights(examples: Sequence[Example]) -> tuple[float, tuple[float, float]]:
    """The share of keep labels, and the loss weights of drop and keep that make both classes count alike.

    Raises:
        DataError: all labels are the same.
    """
    total = [0, 0]
    for _, labels in examples:
        for label in labels:
            if label != IGNORED:
                total[label] += 1
    if not all(total):
        raise DataError(f"labels are all {'keep' if total[1] else 'drop'}; nothing to learn, annotate again")
    both = sum(total)
    return total[1] / both, (min(both / (2 * total[0]), _MAX_WEIGHT), min(both / (2 * total[1]), _MAX_WEIGHT))


def batches(examples: Sequence[Example], size: int, seed: str | None = None) -> list[list[Example]]:
    """Batches of examples of similar length.

    Args:
        examples: The examples.
        size: Number of examples in a batch.
        seed: Random seed that shuffles examples of equal length, and the batches; None leaves them in order.
    """
    order = list(range(len(examples)))
    chance = random.Random(seed)
    if seed is not None:
        chance.shuffle(order)
    order.sort(key=lambda at: len(examples[at][0].ids))
    found = [[examples[at] for at in order[start : start + size]] for start in range(0, len(order), size)]
    if seed is not None:
        chance.shuffle(found)
    return found
