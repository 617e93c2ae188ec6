"""The chain of equations of a computation: which equations the result rests on, and which only repeat or check it.

`rules.py` keeps them before sentences. Equations are read in `text/relations.py`.

>>> from cot_compressor.text.segment import segment
>>> text = "so 12 + 15 = 27. By the way 4 * 4 = 16. Then 27 + 4 = 31."
>>> units = segment(text)
>>> behind, others = ranked_equations("12, 15 and 4?", text, units, checked=set())
>>> [text[units[at].start : units[at].end] for at in [*behind, *others]]
['12 + 15 = 27', '27 + 4 = 31', '4 * 4 = 16']
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence

from cot_compressor.text.negations import is_negated
from cot_compressor.text.relations import (
    ASSUMED,
    Equation,
    grounded,
    numbers_in,
    question_numbers,
    read_equations,
)
from cot_compressor.text.segment import Unit

_BOXED = "\\boxed"
_RESULT_FROM = 0.6


def ranked_equations(question: str, text: str, units: Sequence[Unit], checked: set[int]) -> tuple[list[int], list[int]]:
    """Indices of the units with grounded equations, each equation once: those behind the result, and the others.

    Each equation follows those that introduce its numbers, because without them it would not be grounded. Equations
    that occur only in a re-check come last. If no equation arrives at the final result, all are others.

    Args:
        question: The question; without one no number is known, so an equation counts where it is first stated.
        text: The chain of thought.
        units: Its units.
        checked: Indices of the steps that only check the work again.
    """
    given, asked = question_numbers(question), set(numbers_in(question))
    equations = read_equations(text, units)
    chain = _once(grounded(equations, given) if question.strip() else equations)
    path = needed_equations(equations, chain, given - (ASSUMED - asked), final_number(text, units))
    needed = {equation.unit for equation in path}
    rest = [equation for equation in chain if equation.unit not in needed]
    sources = [_first_with_each_number(some) for some in (chain, equations)]

    def introduced(wanted: Iterable[Equation]) -> Iterator[int]:
        for equation in wanted:
            for number in sorted(equation.operands - given):
                before = (first[number].unit for first in sources if number in first)
                yield from itertools.islice((unit for unit in before if unit < equation.unit), 1)
            yield equation.unit

    behind = list(dict.fromkeys(introduced(path)))
    others = dict.fromkeys(introduced(sorted(rest, key=lambda equation: units[equation.unit].step in checked)))
    return behind, [unit for unit in others if unit not in behind]


def _first_with_each_number(equations: Iterable[Equation]) -> dict[str, Equation]:
    first: dict[str, Equation] = {}
    for equation in equations:
        for number in equation.operands | equation.results:
            first.setdefault(number, equation)
    return first


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
        final: The final result; if no equation has it as a result, none is needed.
    """
    producer: dict[str, Equation] = {}
    for equation in [*chain, *equations]:
        for result in equation.results:
            producer.setdefault(result, equation)
    todo = [producer[final]] if final in producer else []
    needed: dict[int, Equation] = {}
    while todo:
        equation = todo.pop()
        if equation.unit not in needed:
            needed[equation.unit] = equation
            sources = [producer[operand] for operand in equation.operands - given if operand in producer]
            todo += [source for source in sources if source.unit < equation.unit]
    return [needed[unit] for unit in sorted(needed)]


def final_number(text: str, units: Sequence[Unit]) -> str | None:
    """The number of the final result, if it has one: of the last box, otherwise the last number of the text's end."""
    late = [unit for unit in units if unit.end > _RESULT_FROM * len(text)]
    boxed = [unit for unit in units if unit.kind == "math" and _BOXED in text[unit.start : unit.end]]
    stating = boxed or [
        unit for unit in late if unit.kind in {"math", "number"} and not is_negated(text[unit.start : unit.end])
    ]
    if not stating:
        return None
    numbers = numbers_in(text[stating[-1].start : stating[-1].end].partition(_BOXED)[2 if boxed else 0])
    return numbers[-1] if numbers else None


def arrives(text: str, units: Sequence[Unit], chain: Iterable[int], statement: Sequence[int]) -> bool:
    """Whether a result of a chain is a number of a statement, or the statement has no number, or computes something.

    Args:
        text: The chain of thought.
        units: Its units.
        chain: Indices of the units with the equations of the chain.
        statement: Indices of the units of the statement, in order.
    """
    equations = read_equations(text, [units[at] for at in chain])
    results = set[str]().union(*(equation.results for equation in equations))
    said = numbers_in(text[units[statement[0]].start : units[statement[-1]].end])
    return not said or not results.isdisjoint(said) or bool(read_equations(text, [units[at] for at in statement]))


def _once(equations: Iterable[Equation]) -> list[Equation]:
    """The first occurrence of each equation."""
    found: dict[str, Equation] = {}
    for equation in equations:
        found.setdefault(equation.key, equation)
    return list(found.values())
