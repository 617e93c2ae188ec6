"""Measures which statements a compression keeps: the response's content, the conclusion, whole sentences.

Sentences and lines are the steps of the units. Equations and form are measured in `fidelity.py`.

>>> kept_share("It is the red basket, so Noor packed it.", "Noor packed the red basket")
1.0
"""

from collections.abc import Sequence
from itertools import groupby, pairwise
from typing import TYPE_CHECKING

from cot_compressor.scorers.statements import closing_sentences, statement_role
from cot_compressor.text.content import coverage, item_weights, read_items
from cot_compressor.text.segment import Unit, segment

if TYPE_CHECKING:
    from .fidelity import Sample

_KEPT_SHARE = 0.8
"""Share of the content of a statement from which on it counts as kept."""


def kept_share(text: str, statement: str) -> float:
    """The largest share of a statement's content that one or two neighbouring sentences of a text contain."""
    wanted = item_weights(statement)
    sentences = [read_items(text, units) for units in _sentences(segment(text))]
    pairs = pairwise([*sentences, set[str]()])
    return max((coverage(first | second, wanted) for first, second in pairs), default=0.0)


def measure_statements(sample: "Sample", kept: Sequence[int], text: str) -> dict[str, float | None]:
    """The metrics of statements.

    Args:
        sample: The chain of thought before compression.
        kept: The number of characters that are kept of each unit.
        text: The shortened text.
    """
    weights = item_weights(sample.response)
    conclusion = _conclusion(sample)
    decisive = [float(kept_share(text, statement) >= _KEPT_SHARE) for statement in sample.decisive]
    return {
        "response_coverage": coverage(read_items(text, segment(text)), weights) if weights else None,
        "conclusion_kept": float(kept_share(text, conclusion) >= _KEPT_SHARE) if conclusion else None,
        "decisive": sum(decisive) / len(decisive) if decisive else None,
        **_measure_sentences(sample.units, kept),
    }


def _conclusion(sample: "Sample") -> str:
    """The sentence that answers or concludes; empty if no sentence does."""
    texts = [sample.cot[units[0].start : units[-1].end] for units in _sentences(sample.units)]
    closing = closing_sentences(texts, [statement_role(text) for text in texts], computed=True)
    return texts[closing[0]] if closing else ""


def _sentences(units: Sequence[Unit]) -> list[list[Unit]]:
    return [list(group) for _, group in groupby(units, key=lambda unit: unit.step)]


def _measure_sentences(units: Sequence[Unit], kept: Sequence[int]) -> dict[str, float | None]:
    """Cut sentences and sentences with gaps among those of which something is kept."""
    touched = fragments = holes = 0
    for _, group in groupby(zip(units, kept, strict=True), key=lambda pair: pair[0].step):
        sentence = list(group)
        whole = [count == unit.end - unit.start for unit, count in sentence]
        if not any(count for _, count in sentence):
            continue
        touched += 1
        some = [at for at, (_, count) in enumerate(sentence) if count]
        alone = all(whole[at] and sentence[at][0].kind == "math" for at in some)
        fragments += not all(whole) and not alone
        holes += not alone and not all(whole[some[0] : some[-1] + 1])
    return {
        "fragments": fragments / touched if touched else None,
        "holes": holes / touched if touched else None,
    }
