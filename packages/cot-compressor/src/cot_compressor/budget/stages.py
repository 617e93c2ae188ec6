"""Puts the parts of a text in the order in which a budget is filled.

First come sentences, their clauses and formulas that can stand alone, by score; then phrases, which fill what these
leave. Single words are a last resort for a budget that nothing else fits, and after them whatever there is. Whether a
part fits is left to `select.py`.

>>> from cot_compressor.text.segment import segment
>>> text = "It is late. So go home."
>>> Stager(text, segment(text), [0.0] * 4 + [1.0] * 4).whole()
[(4, 5, 6, 7), (0, 1, 2, 3)]
"""

import math
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
        """Sentences, clauses and formulas; not a repeated formula that is ranked no higher than its sentence."""
        sentences, clauses, formulas, _ = self._parts
        lowest = {self._units[part[0]].step: min(self._scores[at] for at in part) for part in sentences}
        said: set[str] = set()
        alone: list[Part] = []
        for part in self._ranked(formulas):
            first = self._units[part[0]]
            spelling = self._text[first.start : first.end].replace(" ", "")
            if spelling not in said or self._scores[part[0]] > lowest.get(first.step, -math.inf):
                alone.append(part)
            said.add(spelling)
        return self._ranked([*sentences, *clauses, *alone])

    def fillers(self) -> list[list[Part]]:
        """Phrases, and then words of content."""
        words = [(at,) for at in range(len(self._units)) if is_content(self._text, self._units[at])]
        return [self._ranked(phrases(self._text, self._units, self._parts.divided)), self._ranked(words)]

    def anything(self) -> list[Part]:
        """All units, for a budget that nothing else fits."""
        return self._ranked((at,) for at in range(len(self._units)))
