"""Puts the parts of a text in the order in which a budget is filled.

First come sentences, their clauses and formulas that can stand alone, by score; then phrases; last single words. A
later stage only fills what the earlier ones leave, and no stage contains a bare number, negation or mark. Whether a
part fits is left to `select.py`.

>>> from cot_compressor.text.segment import segment
>>> text = "It is late. So go home."
>>> Stager(text, segment(text), [0.0] * 4 + [1.0] * 4).whole()
[(4, 5, 6, 7), (0, 1, 2, 3)]
"""

from collections.abc import Iterable, Sequence

from cot_compressor.text.parts import Part, is_content, phrases, read_parts
from cot_compressor.text.segment import Unit


class Stager:
    """The parts of one text, best first.

    The score of a part is that of its lowest unit, so a scorer that gives the units of a sentence one score has them
    chosen together. With equal scores, an earlier sentence comes first, and of its parts the longest.
    """

    def __init__(self, text: str, units: Sequence[Unit], scores: Sequence[float]) -> None:
        """Read the parts.

        Args:
            text: The source.
            units: Its units.
            scores: One score for each unit.
        """
        self._text, self._units, self._scores = text, units, scores
        self._parts = read_parts(text, units)

    def _ranked(self, parts: Iterable[Part]) -> list[Part]:
        scores, units = self._scores, self._units

        def rank(part: Part) -> tuple[float, int, int, Part]:
            first, last = part[0], part[-1]
            if last - first + 1 == len(part):
                return -min(scores[first : last + 1]), units[last].step, units[first].start - units[last].end, part
            size = sum([units[at].end - units[at].start for at in part])
            return -min([scores[at] for at in part]), units[last].step, -size, part

        return sorted(parts, key=rank)

    def whole(self) -> list[Part]:
        """Sentences, clauses and formulas."""
        return self._ranked([*self._parts.sentences, *self._parts.clauses, *self._parts.formulas])

    def fillers(self) -> list[list[Part]]:
        """Phrases, and then words of content."""
        words = [(at,) for at in range(len(self._units)) if is_content(self._text, self._units[at])]
        return [self._ranked(phrases(self._text, self._units, self._parts.divided)), self._ranked(words)]

    def anything(self) -> list[Part]:
        """All units, for a budget that nothing else fits."""
        return self._ranked((at,) for at in range(len(self._units)))
