"""Puts the parts of a text in the order in which a budget is filled.

First come sentences, their clauses and formulas that can stand alone, by score; then phrases; last single words. A
later stage only fills what the earlier ones leave, and no stage contains a bare number, negation or mark. Whether a
part fits is left to `select.py`.

>>> from cot_compressor.text.segment import segment
>>> text = "It is late. So go home."
>>> read_stages(text, segment(text), [0.0] * 4 + [1.0] * 4)[0]
[(4, 5, 6, 7), (0, 1, 2, 3)]
"""

from collections.abc import Sequence

from cot_compressor.text.parts import Part, is_content, read_parts
from cot_compressor.text.segment import Unit


def read_stages(text: str, units: Sequence[Unit], scores: Sequence[float]) -> list[list[Part]]:
    """Three lists of parts, best first.

    The score of a part is that of its lowest unit, so a scorer that gives the units of a sentence one score has them
    chosen together. With equal scores, an earlier sentence comes first, and a sentence comes before its own clauses.

    Args:
        text: The source.
        units: Its units.
        scores: One score for each unit.
    """
    parts = read_parts(text, units)

    def rank(part: Part) -> tuple[float, int, int, Part]:
        return -min(scores[at] for at in part), units[part[-1]].step, -len(part), part

    whole = sorted([*parts.sentences, *parts.clauses, *parts.formulas], key=rank)
    words = sorted(((at,) for at in range(len(units)) if is_content(text, units[at])), key=rank)
    return [whole, sorted(parts.phrases, key=rank), words]
