"""Annotated rows as examples of a token classifier: windows with labels, some questions held out.

Labels come from the kept spans, by unit; question, special tokens and padding carry none. What is learnt from them is
left to `train.py`.

    examples = read_examples("annotated.jsonl", WindowMaker(tokenizer, 512), seed=0)
    examples.training, examples.held_out
"""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from . import processes
from ._shared.records import read_records
from .errors import DataError
from .labels import IGNORED, Window, WindowMaker, kept_units, token_labels
from .segment import segment

_HELD_OUT_SHARE = 0.1
_MAX_WEIGHT = 10.0

Example = tuple[Window, list[int]]


@dataclass
class Examples:
    """All windows of a file, by the side of the split their question is on."""

    training: list[Example] = field(default_factory=list)
    held_out: list[Example] = field(default_factory=list)
    training_rows: int = 0
    held_out_rows: int = 0
    held_out_questions: int = 0
    annotators: list[str] = field(default_factory=list)
    """Who marked the rows, as JSON, each once."""


def read_examples(source: str | Path, maker: WindowMaker, *, seed: int) -> Examples:
    """Read an `annotated` file.

    Raises:
        DataError: a row breaks the schema, or there are fewer than two different questions.
    """
    rows = [(row["question"], row["cot"], row["keep"], row["annotator"]) for row in read_records(source, "annotated")]
    held_out = split_questions([question for question, *_ in rows], seed)
    annotators = sorted({json.dumps(annotator, sort_keys=True) for *_, annotator in rows})
    examples = Examples(held_out_questions=len(held_out), annotators=annotators)
    quiet = processes.rank() > 0
    for question, cot, keep, _ in tqdm(rows, desc="reading", unit="row", leave=False, disable=quiet):
        units = segment(cot)
        encoded = maker.windows(question, cot, units)
        kept = kept_units(units, keep)
        found = [(window, token_labels(encoded, window, kept)) for window in encoded.windows]
        if question in held_out:
            examples.held_out += found
            examples.held_out_rows += 1
        else:
            examples.training += found
            examples.training_rows += 1
    return examples


def split_questions(questions: Sequence[str], seed: int) -> set[str]:
    """The questions to hold out: a tenth, at least one, drawn with the seed.

    Raises:
        DataError: there are fewer than two different questions.
    """
    different = sorted(set(questions))
    if len(different) < 2:
        raise DataError(f"{len(different)} different question(s); training needs at least 2, one of them held out")
    random.Random(seed).shuffle(different)
    return set(different[: max(1, round(_HELD_OUT_SHARE * len(different)))])


def class_weights(examples: Sequence[Example]) -> tuple[float, tuple[float, float]]:
    """Share of keep labels, and the loss weights that make both classes count alike."""
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
    """Batches of like length; with a seed, rows are mixed among neighbours in length and batches are shuffled."""
    order = list(range(len(examples)))
    chance = random.Random(seed)
    if seed is not None:
        chance.shuffle(order)
    order.sort(key=lambda at: len(examples[at][0].ids))
    found = [[examples[at] for at in order[start : start + size]] for start in range(0, len(order), size)]
    if seed is not None:
        chance.shuffle(found)
    return found
