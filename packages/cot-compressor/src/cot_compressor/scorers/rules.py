"""The scorer without a model: the parts that a reader needs to redo the computation come first.

Units are sorted into tiers; within a tier, except the fifth, earlier text comes first:

0. the chain: each equation that the final result depends on, once, where it is first stated after its numbers;
1. the final result itself, if the chain does not state it;
2. other grounded equations;
3. the set-up: other formulas, and the first occurrence of each number of the question that is not in the chain;
4. grounded equations that occur only in a re-check;
5. the words of the steps that contain tiers 0 to 3, the last step first, and negations; 6. the rest;
7. repeated formulas and other formulas of re-checks; 8. the words of re-checks and chatter.

Our choice: only position orders a tier, because the beginning of a chain is grounded without its end. Words start with
the last step, because there they follow the chain; between two equations, an incomplete sentence would run into the
next equation (`add 8 to 31 - 3 = 28`). A number of the chain is not kept a second time by itself: a single number has
little meaning for a reader, and a model that learns from such a text takes it for a result.

>>> from cot_compressor.text.segment import segment
>>> text = "so 12 + 15 = 27"
>>> RuleScorer().score([ScoringInput("What is 12 + 15?", text, segment(text))])
[[-5.0, -0.3333333333333333]]
"""

import re
from collections.abc import Iterable, Sequence

from cot_compressor.text.negations import is_negated
from cot_compressor.text.relations import (
    ASSUMED,
    Equation,
    formula_key,
    grounded,
    numbers_in,
    question_numbers,
    read_equations,
)
from cot_compressor.text.segment import Unit

from .base import ScoringInput

_CHATTER = re.compile(
    r"\s*(?:wait|hmm+|okay|ok|alright|yes|yep|yeah|right|correct|great|good|perfect|nice|actually|alternatively|"
    r"let me (?:check|verify|double|re|think|see|confirm|make sure)|i think|another way|that'?s (?:right|correct)|"
    r"(?:double[- ]?|re-?)?check(?:ing)?\b|verif\w+|just to|to be sure|to make sure|no,)",
    re.IGNORECASE,
)
_RECHECK = re.compile(
    r"\b(?:double[- ]?check|re-?check|verif(?:y|ied|ying|ication)|let me check|make sure|once more|sanity check|"
    r"checks out|confirm(?:s|ed)?|consistent|matches|as before|did(?:n't| not) make a mistake)\b",
    re.IGNORECASE,
)
_BOXED = "\\boxed"
_WORDS = 5


def chatter_steps(text: str, units: Sequence[Unit]) -> set[int]:
    """Indices of the steps that comment on the work (`Wait, let me check`) or repeat it."""
    borders: dict[int, tuple[int, int]] = {}
    for unit in units:
        start, _ = borders.get(unit.step, (unit.start, 0))
        borders[unit.step] = (start, unit.end)
    return {
        step
        for step, (start, end) in borders.items()
        if _CHATTER.match(text, start, end) or _RECHECK.search(text, start, end)
    }


def needed_equations(
    equations: Sequence[Equation], chain: Sequence[Equation], given: frozenset[str], final: str | None
) -> list[Equation]:
    """The equations that the final result depends on, found by walking back from it.

    A number comes from the first equation of the grounded chain that has it as a result, otherwise from the first of
    all equations: an equation with an unexplained number is of no use without the equation that introduces it.

    Args:
        equations: All equations of the text.
        chain: The grounded equations, each once.
        given: Numbers that are known from the question.
        final: The final result; if no equation has it as a result, every equation of `chain` is needed.
    """
    producer: dict[str, Equation] = {}
    for equation in [*chain, *equations]:
        for result in equation.results:
            producer.setdefault(result, equation)
    todo = [producer[final]] if final in producer else list(chain)
    needed: dict[int, Equation] = {}
    while todo:
        equation = todo.pop()
        if equation.unit not in needed:
            needed[equation.unit] = equation
            sources = [producer[operand] for operand in equation.operands - given if operand in producer]
            todo += [source for source in sources if source.unit < equation.unit]
    return [needed[unit] for unit in sorted(needed)]


class RuleScorer:
    """Scores units by the tiers of this module; needs no model and no tokenizer."""

    name = "rules"

    def score(self, items: Sequence[ScoringInput]) -> list[list[float]]:
        """See `Scorer.score`; a score is minus the tier, minus a fraction that grows with the position."""
        return [self._score(item) for item in items]

    def _score(self, item: ScoringInput) -> list[float]:
        text, units = item.cot, item.units
        tiers = self._tiers(item, chatter_steps(text, units))
        places = list(range(len(units)))
        for place, at in enumerate(sorted(places, key=lambda at: (-units[at].step, at))):
            if tiers[at] == _WORDS:
                places[at] = place
        return [-tier - place / (len(units) + 1) for tier, place in zip(tiers, places, strict=True)]

    def _tiers(self, item: ScoringInput, chatter: set[int]) -> list[int]:
        text, units = item.cot, item.units
        given, asked = question_numbers(item.question), set(numbers_in(item.question))
        equations = read_equations(text, units)
        # Without a question no number is known, so an equation counts where it is first stated.
        chain = _once(grounded(equations, given) if item.question.strip() else equations)
        reached = {equation.unit for equation in chain}
        repeated = self._repeated(text, units) - reached
        final_units, final = self._final_result(text, units)
        path = needed_equations(equations, chain, given - (ASSUMED - asked), final)
        needed = {equation.unit for equation in path}
        in_chain = frozenset[str]().union(*(equation.operands | equation.results for equation in path))

        tiers = [6] * len(units)
        wanted = asked - in_chain
        important: set[int] = set()
        for at, unit in enumerate(units):
            if at in needed:
                tiers[at] = 0
            elif at in final_units and (final is None or final not in in_chain):
                tiers[at] = 1
            elif at in repeated:
                tiers[at] = 7
            elif at in reached:
                tiers[at] = 4 if unit.step in chatter else 2
            elif unit.kind == "math":
                tiers[at] = 7 if unit.step in chatter else 3
            elif unit.step in chatter:
                tiers[at] = 8
            elif unit.kind == "number" and (number := _only_number(text, unit)) in wanted:
                wanted.discard(number)
                tiers[at] = 3
            elif unit.kind == "word" and is_negated(text[unit.start : unit.end]):
                tiers[at] = _WORDS
            if tiers[at] <= 3:
                important.add(unit.step)
        return [
            _WORDS if tier == 6 and unit.step in important else tier for tier, unit in zip(tiers, units, strict=True)
        ]

    def _repeated(self, text: str, units: Sequence[Unit]) -> set[int]:
        """Indices of math units that repeat an earlier one."""
        seen: set[str] = set()
        repeated: set[int] = set()
        for at, unit in enumerate(units):
            if unit.kind == "math":
                key = formula_key(text[unit.start : unit.end])
                if key in seen:
                    repeated.add(at)
                seen.add(key)
        return repeated

    def _final_result(self, text: str, units: Sequence[Unit]) -> tuple[set[int], str | None]:
        """The unit that states the result, and its number if it has one: the last box, otherwise the last number."""
        boxed = [at for at, unit in enumerate(units) if unit.kind == "math" and _BOXED in text[unit.start : unit.end]]
        stating = boxed or [
            at
            for at, unit in enumerate(units)
            if unit.kind in {"math", "number"} and not is_negated(text[unit.start : unit.end])
        ]
        if not stating:
            return set(), None
        numbers = numbers_in(
            text[units[stating[-1]].start : units[stating[-1]].end].partition(_BOXED)[2 if boxed else 0]
        )
        return {stating[-1]}, numbers[-1] if numbers else None


def _only_number(text: str, unit: Unit) -> str:
    return (numbers_in(text[unit.start : unit.end].lstrip("\\$€£¥ ")) or [""])[0]


def _once(equations: Iterable[Equation]) -> list[Equation]:
    """The first occurrence of each equation."""
    found: dict[str, Equation] = {}
    for equation in equations:
        found.setdefault(equation.key, equation)
    return list(found.values())
