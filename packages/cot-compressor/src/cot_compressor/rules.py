"""The scorer without a model: what a reader needs to redo the computation comes first.

Units fall into tiers, earlier text first within a tier but the fifth:

0. the chain: each equation the final result rests on, once, where it is first stated after its numbers;
1. the final result itself, if the chain does not state it;
2. other grounded equations;
3. the set-up: other formulas, and the numbers of the question that the chain does not hold, where they first occur;
4. grounded equations that only a re-check states;
5. the words around tiers 0 to 3, those of the last step first, and what is negated; 6. the rest;
7. restated formulas and other formulas of re-checks; 8. the words of re-checks and chatter.

Our choice: position alone orders a tier, because a chain cut short is still grounded from its start. Words start with
the last step, because there they follow the chain; between its equations a cut sentence reads on into the next one
(`add 8 to 31 - 3 = 28`). A number that the chain holds is not kept again by itself: lone numbers tell a reader little,
and a model that learns from such text mistakes them for results.

    Rules().score([Item(question, cot, segment(cot))])
"""

import re
from collections.abc import Iterable, Sequence

from .phrases import negated
from .relations import ASSUMED, Equation, formula_key, grounded, numbers_in, question_numbers, read_equations
from .scoring import Item
from .segment import Unit

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
    """Steps that talk about the work (`Wait, let me check`) or do it again."""
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
    """The equations that `final` rests on, found by walking back from it; if none states it, all that `chain` rests on.

    A number comes from the first equation of the grounded chain that has it as its result, else from the first of all:
    what rests on a number out of nowhere is no help without the equation that brings it in.
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


class Rules:
    """Scores units by the tiers above; needs no model and no tokenizer."""

    name = "rules"

    def score(self, items: Sequence[Item]) -> list[list[float]]:
        """One list of scores per item; higher is kept sooner."""
        return [self._score(item) for item in items]

    def _score(self, item: Item) -> list[float]:
        text, units = item.cot, item.units
        tiers = self._tiers(item, chatter_steps(text, units))
        places = list(range(len(units)))
        for place, at in enumerate(sorted(places, key=lambda at: (-units[at].step, at))):
            if tiers[at] == _WORDS:
                places[at] = place
        return [-tier - place / (len(units) + 1) for tier, place in zip(tiers, places, strict=True)]

    def _tiers(self, item: Item, chatter: set[int]) -> list[int]:
        text, units = item.cot, item.units
        given, asked = question_numbers(item.question), set(numbers_in(item.question))
        equations = read_equations(text, units)
        # Where no question gives numbers, an equation counts where it is first stated.
        chain = _once(grounded(equations, given) if item.question.strip() else equations)
        reached = {equation.unit for equation in chain}
        said_before = self._repeated(text, units) - reached
        final_units, final = self._final_result(text, units)
        path = needed_equations(equations, chain, given - (ASSUMED - asked), final)
        needed = {equation.unit for equation in path}
        held = frozenset[str]().union(*(equation.operands | equation.results for equation in path))

        tiers = [6] * len(units)
        wanted = asked - held
        important: set[int] = set()
        for at, unit in enumerate(units):
            if at in needed:
                tiers[at] = 0
            elif at in final_units and (final is None or final not in held):
                tiers[at] = 1
            elif at in said_before:
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
            elif unit.kind == "word" and negated(text[unit.start : unit.end]):
                tiers[at] = _WORDS
            if tiers[at] <= 3:
                important.add(unit.step)
        return [
            _WORDS if tier == 6 and unit.step in important else tier for tier, unit in zip(tiers, units, strict=True)
        ]

    def _repeated(self, text: str, units: Sequence[Unit]) -> set[int]:
        """Math units that say what an earlier one says."""
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
        """Units that state the result last, and its number if it has one: the last box, else the last number."""
        boxed = [at for at, unit in enumerate(units) if unit.kind == "math" and _BOXED in text[unit.start : unit.end]]
        stating = boxed or [
            at
            for at, unit in enumerate(units)
            if unit.kind in {"math", "number"} and not negated(text[unit.start : unit.end])
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
    """The first statement of each equation."""
    found: dict[str, Equation] = {}
    for equation in equations:
        found.setdefault(equation.key, equation)
    return list(found.values())
