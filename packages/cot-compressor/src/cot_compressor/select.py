"""Choose units under token budgets, nested over rising budgets.

The budget is measured on the rendered text, in context, with the target tokenizer: estimates only say where to look,
and what is returned was counted whole. What the scores mean, and how the counting is done, is left to the callers.

>>> from cot_compressor.segment import segment
>>> units = segment("well, 1 + 1 = 2 then")
>>> choice, = select("well, 1 + 1 = 2 then", units, [0.1, 0.0, 0.9, 0.2], [6], lambda text: len(text.split()))
>>> choice.text, choice.tokens
('1 + 1 = 2 then', 6)
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

from .errors import InfeasibleBudget
from .render import Span, line_breaks, merge_spans, render

Count = Callable[[str], int]
_NEIGHBOURS = 2
_NEIGHBOUR_CHARS = 64
_LINEAR_PROBES = 5
_SMALL_LOSS = 0.05


@dataclass(frozen=True)
class Selection:
    """What was kept under one budget."""

    kept: tuple[int, ...]
    """Indices of the kept units, rising."""
    spans: tuple[Span, ...]
    """`[start, end)` of the kept text, neighbouring units joined."""
    text: str
    """The rendered text."""
    tokens: int
    """Tokens of `text`, counted whole."""


class _State(NamedTuple):
    """What is kept so far."""

    kept: list[int]
    """Indices of units, rising."""
    tokens: int
    """Their tokens, counted whole."""


class _Filler:
    """The selection as it grows."""

    def __init__(
        self,
        text: str,
        units: Sequence[tuple[int, int, object, object]] | Sequence[Span],
        count: Count,
        rough: Count | None,
        costs: Sequence[float] | None,
    ) -> None:
        self.text, self.units, self.count, self.rough = text, units, count, rough or count
        self.costs = [self.alone(unit) for unit in range(len(units))] if costs is None else costs
        self.kept: list[int] = []
        """Indices of the kept units, rising."""
        self.tokens = 0
        """Their tokens, counted whole."""
        self._least: dict[int, int] = {}
        self._breaks = line_breaks(text)

    def text_of(self, kept: Iterable[int]) -> str:
        return render(self.text, merge_spans(self.units, kept), self._breaks)

    def measure(self, extra: Sequence[int], count: Count) -> tuple[int, list[int]]:
        """Tokens of the kept units together with `extra`, and all their indices in order."""
        kept = sorted([*self.kept, *extra])
        return count(self.text_of(kept)), kept

    def alone(self, unit: int) -> int:
        """Tokens of one unit by itself."""
        return self.count(self.text[self.units[unit][0] : self.units[unit][1]])

    def least(self, unit: int) -> int:
        """About the fewest tokens a unit can add: by itself or after a space, less one for a merge with a neighbour."""
        found = self._least.get(unit)
        if found is None:
            text = self.text[self.units[unit][0] : self.units[unit][1]]
            found = self._least[unit] = min(self.count(text), self.count(" " + text)) - 1
        return found

    def added(self, unit: int) -> int:
        """Tokens that `unit` adds between its kept neighbours."""
        at = bisect_left(self.kept, unit)
        before = self._edges(reversed(self.kept[max(0, at - _NEIGHBOURS) : at]), unit)
        behind = self._edges(self.kept[at : at + _NEIGHBOURS], unit)
        without = {**before, **behind}
        return self._count_of({**without, unit: self.units[unit][:2]}) - self._count_of(without)

    def _count_of(self, spans: Mapping[int, Span]) -> int:
        return self.count(render(self.text, merge_spans(spans, sorted(spans)), self._breaks))

    def _edges(self, nearest_first: Iterable[int], unit: int) -> dict[int, Span]:
        """The parts of neighbours that are near to a unit, so that a long one is not counted again for every word."""
        found: dict[int, Span] = {}
        for near in nearest_first:
            start, end = self.units[near][:2]
            if end - start > _NEIGHBOUR_CHARS:
                cut = (end - _NEIGHBOUR_CHARS, end) if near < unit else (start, start + _NEIGHBOUR_CHARS)
                return {**found, near: cut}
            found[near] = (start, end)
        return found

    def grow(self, order: Iterable[int], budget: int) -> None:
        """Add the units of `order`, best first, that fit beside what is kept."""
        if self.tokens < budget:
            present = set(self.kept)
            rest = [unit for unit in order if unit not in present]
            if self.tokens + sum(self.costs[unit] for unit in rest) <= budget:
                # Asked first, because units that cost nothing are not looked for once the budget is used.
                tokens, kept = self.measure(rest, self.count)
                if tokens <= budget:
                    self.tokens, self.kept = tokens, kept
                    return
            taken = self._take_prefix(rest, budget)
            self._fill(rest[taken:], budget)

    def _take_prefix(self, rest: Sequence[int], budget: int) -> int:
        """Take the longest run from the front of `rest` that fits; returns its length.

        Searched with the rough count and confirmed by the exact one; only where that disagrees, searched with it.
        """
        for count in (self.rough, self.count):
            length = self._longest(rest, budget, count)
            tokens, kept = self.measure(rest[:length], self.count)
            if tokens <= budget:
                self.tokens, self.kept = tokens, kept
                return length
        return 0

    def _longest(self, rest: Sequence[int], budget: int, count: Count) -> int:
        """Probes where the estimated costs point, corrected by each count; from some probes on, halves the bracket."""
        totals = [0.0, *accumulate(self.costs[unit] for unit in rest)]
        low, high = 0, len(rest) + 1
        anchor, base, probes = 0, self.tokens, 0
        while high - low > 1:
            if probes < _LINEAR_PROBES:
                guess = bisect_right(totals, totals[anchor] + budget - base) - 1
            else:
                guess = (low + high) // 2
            anchor = min(max(guess, low + 1), high - 1)
            base, _ = self.measure(rest[:anchor], count)
            probes += 1
            if base == budget:
                return anchor
            if base < budget:
                low = anchor
            else:
                high = anchor
        return low

    def _fill(self, rest: Sequence[int], budget: int) -> None:
        """Add every unit of `rest`, best first, that still fits beside what is kept."""
        while True:
            taken: list[int] = []
            slack = budget - self.tokens
            before = self.kept.copy()
            present = set(before)
            for unit in rest:
                if slack <= 0:
                    break
                if unit in present or self.least(unit) > slack:
                    continue
                added = self.added(unit)
                if added <= slack:
                    insort(self.kept, unit)
                    taken.append(unit)
                    slack -= added
            grown, self.kept = self.kept, before
            tokens = self.count(self.text_of(grown)) if taken else 0
            while tokens > budget and taken:
                taken.pop()
                tokens, grown = self.measure(taken, self.count)
            if not taken:
                return
            self.tokens, self.kept = tokens, grown


def select(
    text: str,
    units: Sequence[tuple[int, int, object, object]] | Sequence[Span],
    scores: Sequence[float],
    budgets: Sequence[int],
    count: Count,
    *,
    costs: Sequence[float] | None = None,
    rough: Count | None = None,
    forced: Iterable[int] = (),
) -> list[Selection]:
    """For each budget the greedy selection by score, each within the next larger one.

    Units are taken best first (ties: earlier first); one that does not fit is passed over for the next that does.
    The largest budget cannot take one more unit that costs tokens: each costs more, between its kept neighbours, than
    are left over. A smaller one cannot take one more of those that the next larger keeps.

    Our choice: it takes others only where no larger budget then loses units of more than a twentieth of it. Otherwise
    the words that fill a small budget to the last token would push a formula out of every larger one.

    Args:
        text: The source.
        units: Sorted, disjoint pieces, `(start, end, …)`.
        scores: One per unit, higher is kept sooner.
        budgets: Tokens allowed, in rising order.
        count: Tokens of a text.
        costs: Estimated tokens of each unit in context; by default each unit is counted alone.
        rough: A cheaper count that may be off; it guides the search, `count` decides.
        forced: Indices of units to keep whatever they score.

    Raises:
        InfeasibleBudget: not even one unit, or not all forced units, fit the smallest budget.
        ValueError: budgets fall, or the lengths differ.
    """
    if list(budgets) != sorted(budgets):
        raise ValueError(f"budgets must rise; got {list(budgets)}")
    if len(scores) != len(units):
        raise ValueError(f"{len(scores)} scores for {len(units)} units; give one score per unit")
    if not units:
        raise InfeasibleBudget("the text holds nothing to keep; leave the row out", needed_tokens=0)
    filler = _Filler(text, units, count, rough, costs)
    filler.tokens, filler.kept = filler.measure(sorted(set(forced)), count)
    if filler.tokens > budgets[0]:
        raise InfeasibleBudget(
            f"the units to keep in any case need {filler.tokens} tokens, the budget is {budgets[0]}",
            needed_tokens=filler.tokens,
        )
    order = sorted(range(len(units)), key=lambda unit: (-scores[unit], unit))
    start = _State(filler.kept, filler.tokens)
    results = _descend(filler, start, order, budgets)
    for at, budget in enumerate(budgets[:-1]):
        filled = _grown(filler, results[at], order, budget)
        if filled.tokens > results[at].tokens:
            larger = _descend(filler, filled, order, budgets[at + 1 :])
            if not results[at].kept or not _cost_much(results[at + 1 :], larger, budgets[at + 1 :], filler.costs):
                results[at:] = [filled, *larger]
    for at in reversed(range(len(budgets) - 1)):
        pool = set(results[at + 1].kept)
        results[at] = _grown(filler, results[at], [unit for unit in order if unit in pool], budgets[at])
    if not results[0].kept:
        needed = min(filler.alone(unit) for unit in range(len(units)))
        raise InfeasibleBudget(
            f"no unit fits a budget of {budgets[0]} tokens; the smallest needs {needed}", needed_tokens=needed
        )
    spans = [tuple(merge_spans(units, state.kept)) for state in results]
    return [
        Selection(tuple(state.kept), kept, render(text, kept), state.tokens)
        for state, kept in zip(results, spans, strict=True)
    ]


def _grown(filler: _Filler, start: _State, order: Sequence[int], budget: int) -> _State:
    filler.kept, filler.tokens = start
    filler.grow(order, budget)
    return _State(filler.kept, filler.tokens)


def _descend(filler: _Filler, start: _State, order: Sequence[int], budgets: Sequence[int]) -> list[_State]:
    """From the largest budget down, each filled from `start` with units that the next larger one keeps."""
    found: list[_State] = []
    for budget in reversed(budgets):
        found.append(_grown(filler, start, order, budget))
        kept = set(found[-1].kept)
        order = [unit for unit in order if unit in kept]
    return found[::-1]


def _cost_much(
    before: Sequence[_State], after: Sequence[_State], budgets: Sequence[int], costs: Sequence[float]
) -> bool:
    """Whether some budget loses units of more than its twentieth part."""
    return any(
        sum(costs[unit] for unit in set(old.kept).difference(new.kept)) > _SMALL_LOSS * budget
        for old, new, budget in zip(before, after, budgets, strict=True)
    )
