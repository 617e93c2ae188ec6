"""The public class: segment, score, select, render.

compressor = Compressor.from_pretrained("rules", tokenizer="models/base")
short = compressor.compress(cot, question=question, ratio=0.2)
short.text, short.achieved_ratio
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

from .counting import TokenCounter
from .errors import DataError, InfeasibleBudget
from .render import Span
from .scoring import Item, Scorer, load_scorer
from .segment import Unit, segment
from .select import select


@dataclass(frozen=True)
class Compression:
    """One chain of thought at one ratio."""

    ratio: float
    """What was asked for."""
    text: str
    """The shortened chain of thought."""
    spans: tuple[Span, ...]
    """`[start, end)` of the source that `text` is made of; between two, `text` has a space or a line break."""
    tokens: int
    """Tokens of `text`, never above `ratio * original_tokens`."""
    original_tokens: int
    """Tokens of the source without white space around it."""
    achieved_ratio: float
    """`tokens / original_tokens`."""
    tokenizer: str
    """What counted."""

    def to_record(self) -> dict[str, Any]:
        """The entry of a `compressed` row."""
        return {**self.__dict__, "spans": [list(span) for span in self.spans]}


def check_ratios(ratios: Sequence[float]) -> list[float]:
    """The ratios in rising order, each once.

    Raises:
        DataError: none given, or one is not in (0, 1].
    """
    for ratio in ratios:
        if not 0 < ratio <= 1:
            hint = f" Did you mean {ratio / 100:g}?" if 1 < ratio <= 100 else ""
            raise DataError(f"ratio must be in (0, 1]; got {ratio:g}.{hint}")
    if not ratios:
        raise DataError("no ratio given; pass at least one in (0, 1]")
    return sorted(set(ratios))


class Compressor:
    """Shortens chains of thought to exact budgets, formulas whole."""

    def __init__(self, scorer: Scorer, counter: TokenCounter) -> None:
        self.scorer = scorer
        self.counter = counter

    @classmethod
    def from_pretrained(cls, scorer: str | Path, *, tokenizer: Any) -> "Compressor":
        """Load a scorer and the target tokenizer.

        Args:
            scorer: `"rules"`, or a folder written by `cot-compressor train`.
            tokenizer: The target model's folder, or its loaded fast tokenizer.

        Raises:
            DataError: either cannot be loaded.
        """
        if isinstance(tokenizer, (str, Path)):
            counter = TokenCounter.from_folder(tokenizer)
        else:
            counter = TokenCounter(tokenizer, Path(getattr(tokenizer, "name_or_path", "") or "tokenizer").name)
        return cls(load_scorer(scorer), counter)

    @overload
    def compress(self, cot: str, *, question: str = "", ratio: float, keep: Iterable[Span] = ()) -> Compression: ...
    @overload
    def compress(
        self, cot: str, *, question: str = "", ratios: Sequence[float], keep: Iterable[Span] = ()
    ) -> list[Compression]: ...
    def compress(
        self,
        cot: str,
        *,
        question: str = "",
        ratio: float | None = None,
        ratios: Sequence[float] | None = None,
        keep: Iterable[Span] = (),
    ) -> Compression | list[Compression]:
        """Shorten one chain of thought.

        Args:
            cot: The text.
            question: What it answers; its numbers and words steer the scorer.
            ratio: Share of the tokens to keep, in (0, 1]; gives one result.
            ratios: Several at once; gives one result each, in rising order, each keeping all that a smaller one keeps.
            keep: Character spans to keep in any case, inside the budget; a unit they touch is kept whole.

        Raises:
            InfeasibleBudget: the smallest ratio cannot hold even one unit, or what `keep` asks for.
            DataError: a ratio is not in (0, 1].
        """
        if (ratio is None) == (ratios is None):
            raise DataError("give either ratio or ratios")
        wanted = check_ratios([ratio] if ratio is not None else list(ratios or ()))
        units = segment(cot)
        (scores,) = self.scorer.score([Item(question, cot, units)])
        results = self.fit(cot, units, scores, wanted, keep=keep)
        return results[0] if ratio is not None else results

    def compress_many(
        self, pairs: Sequence[tuple[str, str]], *, ratios: Sequence[float]
    ) -> Iterator[list[Compression] | InfeasibleBudget]:
        """Shorten several `(question, cot)`, scored together; a text that does not fit gives its error instead."""
        wanted = check_ratios(ratios)
        items = [Item(question, cot, segment(cot)) for question, cot in pairs]
        for item, scores in zip(items, self.scorer.score(items), strict=True):
            try:
                yield self.fit(item.cot, item.units, scores, wanted)
            except InfeasibleBudget as error:
                yield error

    def fit(
        self,
        cot: str,
        units: Sequence[Unit],
        scores: Sequence[float],
        ratios: Sequence[float],
        *,
        keep: Iterable[Span] = (),
    ) -> list[Compression]:
        """Select and render scored units at rising ratios.

        Raises:
            InfeasibleBudget: as for `compress`.
        """
        if not units:
            raise InfeasibleBudget("the chain of thought is blank; leave it out", needed_tokens=0)
        original, costs = self.counter.measure(cot, units)
        forced = [
            at for at, unit in enumerate(units) if any(unit.start < end and start < unit.end for start, end in keep)
        ]
        budgets = [int(ratio * original) for ratio in ratios]
        try:
            chosen = select(
                cot, units, scores, budgets, self.counter.count, costs=costs, rough=self.counter.rough, forced=forced
            )
        except InfeasibleBudget as error:
            share = f"; the smallest ratio for it is {error.needed_tokens / original:.4f}" if original else ""
            raise InfeasibleBudget(
                f"ratio {ratios[0]:g} of {original} tokens: {error}{share}", needed_tokens=error.needed_tokens
            ) from None
        return [
            Compression(
                ratio, choice.text, choice.spans, choice.tokens, original, choice.tokens / original, self.counter.name
            )
            for ratio, choice in zip(ratios, chosen, strict=True)
        ]
