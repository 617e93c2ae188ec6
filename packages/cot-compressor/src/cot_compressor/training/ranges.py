"""Reads the line ranges that a language model answers with, and checks that they can be used.

A range must lie inside the lines that the model was shown, and what it keeps must lead to the answer. Asking the model
is left to `annotate_openai.py`.

>>> from cot_compressor.text.segment import segment
>>> parse_ranges('{"ranges": [[2, 3]]}', segment("so 12 + 15 = 27 ."), first=1, share_limits=(0.02, 0.8))
[1, 2]
"""

import json
import re
from collections.abc import Sequence

from cot_compressor.text.relations import contains_answer, states_relation
from cot_compressor.text.render import merge_spans
from cot_compressor.text.segment import Unit

_CODE_FENCE = re.compile(r"\s*```(?:json)?\s(.*)```\s*", re.DOTALL)


class BadAnswer(ValueError):
    """The answer of the model cannot be used; the message is shown to the model."""


def parse_ranges(answer: str, units: Sequence[Unit], first: int, share_limits: tuple[float, float]) -> list[int]:
    """The indices of the units that an answer keeps.

    Args:
        answer: Text of the model's answer, without its thinking; it may be inside one code fence.
        units: The units that the model was shown.
        first: Number of the first line that the model was shown.
        share_limits: Smallest and largest share of the units to keep.

    Raises:
        BadAnswer: the answer is not the required JSON, a range is out of bounds or out of order, or the ranges contain
            too many units, too few units or no formula.
    """
    fenced = _CODE_FENCE.fullmatch(answer)
    try:
        value = json.loads(fenced[1] if fenced else answer)
    except (ValueError, RecursionError) as error:
        raise BadAnswer(f"the answer is not one JSON object ({error})") from None
    if not isinstance(value, dict) or set(value) != {"ranges"} or not isinstance(value["ranges"], list):
        raise BadAnswer('the answer must be an object with the one key "ranges", a list')
    kept: list[int] = []
    last = first - 1
    for pair in value["ranges"]:
        if not isinstance(pair, list) or len(pair) != 2 or not all(type(number) is int for number in pair):
            raise BadAnswer(f"each range must be two whole numbers; got {json.dumps(pair)[:40]}")
        low, high = pair
        if not last < low <= high < first + len(units):
            raise BadAnswer(
                f"range [{low}, {high}] is out of order or out of bounds; lines are {first} to {first + len(units) - 1}"
            )
        kept += range(low - first, high - first + 1)
        last = high
    share = len(kept) / len(units)
    if not share_limits[0] <= share <= share_limits[1]:
        raise BadAnswer(
            f"{share:.0%} of the lines are kept; keep between {share_limits[0]:.0%} and {share_limits[1]:.0%}"
        )
    if any(unit.kind == "math" for unit in units) and not any(units[at].kind == "math" for at in kept):
        raise BadAnswer("no formula is kept; keep the equations the result rests on")
    return kept


def check_kept(cot: str, units: Sequence[Unit], kept: Sequence[int], answer: str) -> None:
    """Refuse a choice from which the result cannot be derived, though it can from the whole text.

    Args:
        cot: The chain of thought.
        units: All of its units.
        kept: Indices of the kept units.
        answer: The reference answer.

    Raises:
        BadAnswer: the answer is not kept, fewer than two equations are kept, or only the last step is kept.
    """
    equations = [
        at for at, unit in enumerate(units) if unit.kind == "math" and states_relation(cot[unit.start : unit.end])
    ]
    text = " ".join(cot[start:end] for start, end in merge_spans(units, kept))
    if contains_answer(cot, answer) and not contains_answer(text, answer):
        raise BadAnswer(f"the answer ({answer}) is not kept; keep a line that states it")
    count, wanted = len(set(equations) & set(kept)), min(2, len(equations))
    if count < wanted:
        raise BadAnswer(f"equations kept: {count}; keep at least {wanted}")
    last = units[-1].step
    if any(units[at].step < last for at in equations) and all(units[at].step == last for at in kept):
        raise BadAnswer("only the conclusion is kept; keep the equations it rests on")
