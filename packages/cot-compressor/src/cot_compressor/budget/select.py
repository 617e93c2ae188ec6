"""Selects units under exact token budgets; each selection contains those of all smaller budgets.

A budget is checked on the rendered text as a whole, with the target tokenizer. Estimates only guide the search. The
meaning of the scores, and the way tokens are counted, are left to the callers.

>>> from cot_compressor.text.segment import segment
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

from cot_compressor.errors import InfeasibleBudget
from cot_compressor.text.render import Span, line_breaks, merge_spans, render

Count = Callable[[str], int]
_NEIGHBOURS, _NEIGHBOUR_CHARS = 2, 64
_LINEAR_PROBES = 5
_SMALL_LOSS = 0.05
WANTED_SHARE = 0.9
_SMALL_BUDGET = 25
"""Number of tokens below which a selection may stay short, because a single equation may take most of the next one."""
_ESTIMATE_SLACK = 2
_MOST_EXCHANGES, _MOST_PASSES = 8, 12

Part = tuple[int, ...]
"""Units that are added together, by their rising indices."""
Stages = Sequence[Sequence[Part]]


@dataclass(frozen=True)
class Selection:
    """The units that are kept under one budget."""

    kept: tuple[int, ...]
    """Indices of the kept units, rising."""
    spans: tuple[Span, ...]
    """`[start, end)` of the kept text, with neighbouring units joined."""
    text: str
    """The rendered text."""
    tokens: int
    """Number of tokens of `text`, counted as a whole."""


class _State(NamedTuple):
    """The units that are kept so far."""

    kept: list[int]
    """Indices of units, rising."""
    tokens: int
    """Number of tokens of their text, counted as a whole."""


class _GreedySelector:
    """A selection that grows by the best units that fit."""

    def __init__(
        self,
        text: str,
        units: Sequence[tuple[int, int, object, object]] | Sequence[Span],
        count: Count,
        estimate: Count | None,
        costs: Sequence[float] | None,
    ) -> None:
        self.text, self.units, self.count, self.estimate = text, units, count, estimate or count
        self.costs = [self.alone(unit) for unit in range(len(units))] if costs is None else costs
        self.kept: list[int] = []
        """Indices of the kept units, rising."""
        self.tokens = 0
        """Number of tokens of their text, counted as a whole."""
        self.largest = 0
        """The largest budget."""
        self._least: dict[int, int] = {}
        self._breaks = line_breaks(text)

    def text_of(self, kept: Iterable[int]) -> str:
        return render(self.text, merge_spans(self.units, kept), self._breaks)

    def count_with(self, extra: Sequence[int], count: Count) -> tuple[int, list[int]]:
        """The tokens of the kept units together with `extra`, and the indices of all of them in order."""
        kept = sorted([*self.kept, *extra])
        return count(self.text_of(kept)), kept

    def alone(self, unit: int) -> int:
        """The tokens of one unit by itself."""
        return self.count(self.text[self.units[unit][0] : self.units[unit][1]])

    def least(self, unit: int) -> int:
        """An estimate of the fewest tokens that a unit can add: its own, minus one for a merge with a neighbour."""
        found = self._least.get(unit)
        if found is None:
            text = self.text[self.units[unit][0] : self.units[unit][1]]
            found = self._least[unit] = min(self.count(text), self.count(" " + text)) - 1
        return found

    def added(self, part: Part) -> int:
        """The tokens that units which are not kept yet add between their kept neighbours."""
        first, last = bisect_left(self.kept, part[0]), bisect_left(self.kept, part[-1])
        before = self._edges(reversed(self.kept[max(0, first - _NEIGHBOURS) : first]), part[0])
        after = self._edges(self.kept[last : last + _NEIGHBOURS], part[-1])
        between = {unit: self.units[unit][:2] for unit in self.kept[first:last]}
        without = {**before, **between, **after}
        return self._count_of(without | {unit: self.units[unit][:2] for unit in part}) - self._count_of(without)

    def fits(self, part: Part, slack: int) -> bool:
        """False if the units of `part` cost more than `slack` tokens: one unit certainly, several by estimate."""
        if len(part) == 1:
            return self.least(part[0]) <= slack
        return sum(self.costs[unit] for unit in part) <= slack + _ESTIMATE_SLACK

    def _count_of(self, spans: Mapping[int, Span]) -> int:
        return self.count(render(self.text, merge_spans(spans, sorted(spans)), self._breaks))

    def _edges(self, nearest_first: Iterable[int], unit: int) -> dict[int, Span]:
        """The parts of neighbours near a unit, so that a long neighbour is not counted again for every word."""
        found: dict[int, Span] = {}
        for near in nearest_first:
            start, end = self.units[near][:2]
            if end - start > _NEIGHBOUR_CHARS:
                cut = (end - _NEIGHBOUR_CHARS, end) if near < unit else (start, start + _NEIGHBOUR_CHARS)
                return {**found, near: cut}
            found[near] = (start, end)
        return found

    def grow(self, order: Sequence[Part], budget: int) -> None:
        """Add the parts of `order`, best first, that fit together with the kept units."""
        if self.tokens < budget:
            seen = set(self.kept)
            rest: list[Part] = []
            places: list[int] = []
            for place, part in enumerate(order):
                fresh = tuple(unit for unit in part if unit not in seen)
                if fresh:
                    seen.update(fresh)
                    rest.append(fresh)
                    places.append(place)
            if self.tokens + sum(self.costs[unit] for part in rest for unit in part) <= budget:
                # Checked first, because units without any cost are not tried once the budget is used.
                tokens, kept = self.count_with(_units_of(rest), self.count)
                if tokens <= budget:
                    self.tokens, self.kept = tokens, kept
                    return
            taken = self._take_prefix(rest, budget)
            if taken < len(rest):
                self._fill(order[places[taken] :], budget)

    def take_one(self, order: Iterable[Part], budget: int) -> None:
        """Add the first part of `order` that fits."""
        for part in order:
            tokens, kept = self.count_with(part, self.count)
            if tokens <= budget:
                self.tokens, self.kept = tokens, kept
                return

    def _take_prefix(self, rest: Sequence[Part], budget: int) -> int:
        """Take the longest part from the front of `rest` that fits; returns its length.

        The search uses the estimate, and its result is counted exactly. If that does not fit, the search is repeated
        with exact counts.
        """
        for count in (self.estimate, self.count):
            length = self._longest(rest, budget, count)
            tokens, kept = self.count_with(_units_of(rest[:length]), self.count)
            if tokens <= budget:
                self.tokens, self.kept = tokens, kept
                return length
        return 0

    def _longest(self, rest: Sequence[Part], budget: int, count: Count) -> int:
        """Search by the estimated costs, corrected after each count; after some steps, search by bisection."""
        totals = [0.0, *accumulate(sum(self.costs[unit] for unit in part) for part in rest)]
        low, high = 0, len(rest) + 1
        anchor, base, probes = 0, self.tokens, 0
        while high - low > 1:
            if probes < _LINEAR_PROBES:
                guess = bisect_right(totals, totals[anchor] + budget - base) - 1
            else:
                guess = (low + high) // 2
            anchor = min(max(guess, low + 1), high - 1)
            base, _ = self.count_with(_units_of(rest[:anchor]), count)
            probes += 1
            if base == budget:
                return anchor
            low, high = (anchor, high) if base < budget else (low, anchor)
        return low

    def _fill(self, rest: Sequence[Part], budget: int) -> None:
        """Add every part of `rest`, best first, that still fits together with the kept units."""
        for _ in range(_MOST_PASSES):
            taken: dict[Part, Part] = {}
            refused: set[Part] = set()
            slack = budget - self.tokens
            before = self.kept.copy()
            present = set(before)
            for part in rest:
                if slack <= 0:
                    break
                fresh = tuple(unit for unit in part if unit not in present)
                if not fresh or not self.fits(fresh, slack):
                    continue
                added = self.added(fresh)
                if added <= slack:
                    for unit in fresh:
                        insort(self.kept, unit)
                    present.update(fresh)
                    taken[part] = fresh
                    slack -= added
            grown, self.kept = self.kept, before
            tokens = self.count(self.text_of(grown)) if taken else 0
            while tokens > budget and taken:
                refused.add(taken.popitem()[0])
                tokens, grown = self.count_with(_units_of(taken.values()), self.count)
            if taken:
                self.tokens, self.kept = tokens, grown
            elif not refused:
                return
            rest = [part for part in rest if part not in refused]


def _units_of(parts: Iterable[Part]) -> list[int]:
    return [unit for part in parts for unit in part]


def select(
    text: str,
    units: Sequence[tuple[int, int, object, object]] | Sequence[Span],
    scores: Sequence[float],
    budgets: Sequence[int],
    count: Count,
    *,
    costs: Sequence[float] | None = None,
    estimate: Count | None = None,
    forced: Iterable[int] = (),
    stages: Stages | None = None,
) -> list[Selection]:
    """Greedy selections, one for each budget, each within the selection of the next larger budget.

    Without `stages`, units are taken best first (ties: earlier first); a unit that does not fit is skipped. The
    selection of the largest budget cannot take one more unit that costs tokens, and that of a smaller budget cannot
    take one more unit of the next larger selection.

    With `stages`, parts of several units are taken whole, stage by stage: first those of the first stage; those of the
    second only while less than nine tenths are used. If that does not suffice, one of the worse parts is left out for
    others. A later stage is used only if nothing else fits. A budget of less than 25 tokens that is not the largest
    leaves out nothing for others, and takes one part of a later stage at most.

    Our choice: a small selection takes further units only if no larger selection loses units of more than a twentieth
    of its budget for them, or, with stages, if otherwise a tenth of a budget of 25 tokens or more would be left.
    Otherwise the words that fill a small budget to the last token would push a formula out of every larger one.

    Args:
        text: The source.
        units: Sorted, disjoint parts of the source, each `(start, end, …)`.
        scores: One score for each unit; a unit with a higher score is kept first.
        budgets: Numbers of tokens allowed, in rising order.
        count: Function from a text to its number of tokens.
        costs: Estimated tokens of each unit in context; by default each unit is counted by itself.
        estimate: A cheaper and less exact `count`, which guides the search.
        forced: Indices of units to keep in any case.
        stages: Lists of parts, best first, such as those of `budget/stages.py`.

    Raises:
        InfeasibleBudget: not even one unit, or not every forced unit, fits the smallest budget.
        ValueError: the budgets are not in rising order, or the number of scores is not that of the units.
    """
    _check_lengths(units, scores, budgets)
    selector = _GreedySelector(text, units, count, estimate, costs)
    selector.tokens, selector.kept = selector.count_with(sorted(set(forced)), count)
    if selector.tokens > budgets[0]:
        raise InfeasibleBudget(
            f"the units to keep in any case need {selector.tokens} tokens, the budget is {budgets[0]}",
            needed_tokens=selector.tokens,
        )
    by_score = [[(unit,) for unit in sorted(range(len(units)), key=lambda unit: (-scores[unit], unit))]]
    results = _nested(selector, stages or by_score, budgets, wanted=WANTED_SHARE if stages else 0.0)
    if not results[0].kept:
        needed = min(selector.alone(unit) for unit in range(len(units)))
        raise InfeasibleBudget(
            f"no unit fits a budget of {budgets[0]} tokens; the smallest needs {needed}", needed_tokens=needed
        )
    return [_selection(text, units, state) for state in results]


def _selection(text: str, units: Sequence[Sequence[object]], state: _State) -> Selection:
    spans = tuple(merge_spans(units, state.kept))
    return Selection(tuple(state.kept), spans, render(text, spans), state.tokens)


def _check_lengths(units: Sequence[object], scores: Sequence[float], budgets: Sequence[int]) -> None:
    if list(budgets) != sorted(budgets):
        raise ValueError(f"budgets must rise; got {list(budgets)}")
    if len(scores) != len(units):
        raise ValueError(f"{len(scores)} scores for {len(units)} units; give one score per unit")
    if not units:
        raise InfeasibleBudget("the text contains nothing to keep; leave the row out", needed_tokens=0)


def _nested(selector: _GreedySelector, stages: Stages, budgets: Sequence[int], *, wanted: float) -> list[_State]:
    """The selection of each budget, grown from what the selector has kept so far."""
    selector.largest = budgets[-1]
    start = _State(selector.kept, selector.tokens)
    results = _descend(selector, start, stages, budgets)
    for at, budget in enumerate(budgets[:-1]):
        filled = _grown(selector, results[at], stages, budget)
        if filled.tokens < wanted * budget:
            # What the larger selection left may be too little to grow from; begin again after the smaller one.
            again = _grown(selector, results[at - 1] if at else start, stages, budget)
            filled = max(filled, again, key=lambda state: state.tokens)
        if filled.tokens > results[at].tokens:
            larger = _descend(selector, filled, stages, budgets[at + 1 :])
            unused = budget >= _SMALL_BUDGET and results[at].tokens < wanted * budget
            dear = _cost_much(results[at + 1 :], larger, budgets[at + 1 :], selector.costs)
            if dear and not unused and not results[at].kept and len(stages) > 2:
                # Something has to be kept: the first single word that takes little from the larger selections.
                lone: list[Stages] = [[[word]] for word in stages[2][:_MOST_EXCHANGES]]
                for single in [*lone, ((), (), *stages[2:])]:
                    filled = _grown(selector, start, single, budget)
                    larger = _descend(selector, filled, stages, budgets[at + 1 :])
                    if filled.kept and not _cost_much(results[at + 1 :], larger, budgets[at + 1 :], selector.costs):
                        break
            if unused or not dear or not results[at].kept:
                results[at:] = [filled, *larger]
    for at in reversed(range(len(budgets) - 1)):
        results[at] = _grown(selector, results[at], _within(stages, results[at + 1].kept), budgets[at])
    return results


def _grown(selector: _GreedySelector, start: _State, stages: Stages, budget: int) -> _State:
    """The kept units of `start`, and the parts of the stages that a budget takes."""
    grows = budget >= _SMALL_BUDGET or budget == selector.largest
    filled = _filled(selector, start, stages[:2], budget)
    if grows and len(stages) > 1 and filled.kept and filled.tokens < WANTED_SHARE * budget:
        filled = _exchanged(selector, start, stages[:2], budget, filled)
    selector.kept, selector.tokens = filled
    for stage in stages[1:]:
        if not selector.kept:
            (selector.grow if grows else selector.take_one)(stage, budget)
    return _State(selector.kept, selector.tokens)


def _filled(selector: _GreedySelector, start: _State, stages: Stages, budget: int) -> _State:
    """The kept units of `start` and the parts that fit, of a later stage only if nine tenths are not used."""
    selector.kept, selector.tokens = start
    for place, stage in enumerate(stages):
        if place == 0 or not selector.kept or selector.tokens < WANTED_SHARE * budget:
            selector.grow(stage, budget)
    return _State(selector.kept, selector.tokens)


def _exchanged(selector: _GreedySelector, start: _State, stages: Stages, budget: int, filled: _State) -> _State:
    """The selection that uses nine tenths of a budget because one part is left out, the worst that can be.

    Neither a formula is left out, nor the best part of several units, which usually is the conclusion.
    """
    taken = frozenset(filled.kept).difference(start.kept)
    fresh, parts, protected = set(taken), list[Part](), 0
    for part in stages[0]:
        if taken.issuperset(part) and not fresh.isdisjoint(part):
            fresh.difference_update(part)
            parts.append(part)
            protected = protected or len(parts) * (len(part) > 1)
    lesser = [part for part in parts[protected:] if len(part) > 1] if protected else []
    for left_out in lesser[: -_MOST_EXCHANGES - 1 : -1]:
        others = [[part for part in stage if not set(left_out).issubset(part)] for stage in stages]
        exchanged = _filled(selector, start, others, budget)
        if exchanged.tokens >= WANTED_SHARE * budget:
            return exchanged
    return filled


def _within(stages: Stages, kept: Iterable[int]) -> Stages:
    """The parts of all stages that consist of kept units."""
    pool = frozenset(kept)
    return [[part for part in stage if pool.issuperset(part)] for stage in stages]


def _descend(selector: _GreedySelector, start: _State, stages: Stages, budgets: Sequence[int]) -> list[_State]:
    """From the largest budget down, the selection grown from `start` by parts of the next larger selection."""
    found: list[_State] = []
    for budget in reversed(budgets):
        found.append(_grown(selector, start, stages, budget))
        stages = _within(stages, found[-1].kept)
    return found[::-1]


def _cost_much(
    before: Sequence[_State], after: Sequence[_State], budgets: Sequence[int], costs: Sequence[float]
) -> bool:
    """Whether the selection of some budget loses units of more than a twentieth of the budget."""
    return any(
        sum(costs[unit] for unit in set(old.kept).difference(new.kept)) > _SMALL_LOSS * budget
        for old, new, budget in zip(before, after, budgets, strict=True)
    )
