"""The public class: segment, score, select, render.

compressor = Compressor.from_pretrained("rules", tokenizer="models/base")
short = compressor.compress(cot, question=question, ratio=0.2)
short.text, short.achieved_ratio
"""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

from .counting import Counter, PieceCounter, TokenCounter, load_counter
from .errors import DataError, InfeasibleBudget
from .labels import kept_units
from .render import Span, merge_spans, render
from .scoring import Item, Scorer, load_scorer
from .segment import Unit, segment
from .select import Selection, select
from .split import split_formula

Keep = Span | str | re.Pattern[str]
_BLOCK_CHARS = 2000
_BLANK_LINE = re.compile(r"\n[^\S\n]*\n")


@dataclass(frozen=True)
class Compression:
    """One chain of thought at one ratio."""

    ratio: float
    """What was asked for: the ratio, or the share that `max_tokens` is; with a threshold, the share that came out."""
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
    split: tuple[Span, ...] = ()
    """Formulas treated in parts, cut between lines or in a chain of `=`, because nothing else fitted the budget."""

    @property
    def kept_tokens(self) -> int:
        """The same as `tokens`."""
        return self.tokens

    def to_record(self) -> dict[str, Any]:
        """The entry of a `compressed` row; `split` only where something was."""
        record: dict[str, Any] = {**self.__dict__, "spans": [list(span) for span in self.spans]}
        record["split"] = [list(span) for span in self.split]
        if not self.split:
            del record["split"]
        return record


def check_ratios(ratios: Iterable[float]) -> list[float]:
    """The ratios in rising order, each once.

    Raises:
        DataError: none given, or one is not in (0, 1].
    """
    found = sorted({float(ratio) for ratio in ratios})
    for ratio in found:
        if not 0 < ratio <= 1:
            hint = f" Did you mean {ratio / 100:g}?" if 1 < ratio <= 100 else ""
            raise DataError(f"ratio must be in (0, 1]; got {ratio:g}.{hint}")
    if not found:
        raise DataError("no ratio given; pass at least one in (0, 1]")
    return found


def token_budget(ratio: float, original_tokens: int) -> int:
    """The tokens that a ratio allows: 0.7 * 90 is 62.99…; nothing but that noise is rounded away."""
    return int(round(ratio * original_tokens, 6))


class Compressor:
    """Shortens chains of thought to exact budgets, formulas whole."""

    def __init__(self, scorer: Scorer, counter: Counter) -> None:
        self.scorer = scorer
        self.counter = counter

    @classmethod
    def from_pretrained(cls, scorer: str | Path, *, tokenizer: Any = None, dtype: str | None = None) -> "Compressor":
        """Load a scorer and the target tokenizer.

        Args:
            scorer: `"rules"`, a folder written by `cot-compressor train`, or the `owner/name@revision` of one on a
                hub, which is fetched unless it was before.
            tokenizer: The target model's folder, or its loaded fast tokenizer. By default the scorer's own; `rules`
                then counts words, numbers and signs.
            dtype: What a trained scorer computes in: `"float32"`, the default, or `"bfloat16"`, which is faster on a
                GPU and on processors with instructions for it, far slower on others, and whose scores move a little
                with what is scored together.

        Raises:
            DataError: either cannot be loaded.
        """
        loaded = load_scorer(scorer, dtype=dtype)
        if tokenizer is not None:
            return cls(loaded, load_counter(tokenizer))
        own = getattr(loaded, "tokenizer", None)
        return cls(loaded, PieceCounter() if own is None else TokenCounter(own, loaded.name))

    @overload
    def compress(
        self,
        cot: str,
        *,
        question: str = "",
        ratio: float | None = None,
        max_tokens: int | None = None,
        threshold: float | None = None,
        growing: bool = False,
        tokenizer: Any = None,
        keep: Iterable[Keep] = (),
    ) -> Compression: ...
    @overload
    def compress(
        self,
        cot: str,
        *,
        question: str = "",
        ratios: Iterable[float],
        tokenizer: Any = None,
        keep: Iterable[Keep] = (),
    ) -> list[Compression]: ...
    def compress(
        self,
        cot: str,
        *,
        question: str = "",
        ratio: float | None = None,
        ratios: Iterable[float] | None = None,
        max_tokens: int | None = None,
        threshold: float | None = None,
        growing: bool = False,
        tokenizer: Any = None,
        keep: Iterable[Keep] = (),
    ) -> Compression | list[Compression]:
        """Shorten one chain of thought; exactly one of `ratio`, `ratios`, `max_tokens` and `threshold` says how far.

        Args:
            cot: The text.
            question: What it answers; its numbers and words steer the scorer.
            ratio: Share of the tokens to keep, in (0, 1]; gives one result.
            ratios: Several at once; gives one result each, in rising order, each keeping all that a smaller one keeps.
            max_tokens: Tokens to keep, at least 1.
            threshold: Keep every unit that scores above it. A trained scorer's score is a logit: 0 keeps what is
                rather kept than not. `rules` scores minus the tier (`rules.py`): -4 keeps tiers 0 to 3. The text is
                scored in blocks of paragraphs, each without those behind it.
            growing: With a threshold: the text is not finished. Its last block, still open, is left out, so what is
                returned stays the beginning of every later result.
            tokenizer: Counts instead of the compressor's own: a model's folder, or a loaded fast tokenizer.
            keep: What to keep in any case, inside the budget: character spans, strings or patterns, wherever they
                occur (with a threshold: within a block). A unit they touch is kept whole.

        Raises:
            InfeasibleBudget: the budget cannot hold even one unit, or what `keep` asks for; or nothing scores above
                the threshold of a finished text.
            DataError: an argument is out of range, or not exactly one length is given.
        """
        if sum(length is not None for length in (ratio, ratios, max_tokens, threshold)) != 1:
            raise DataError("give exactly one of ratio, ratios, max_tokens and threshold")
        if growing and threshold is None:
            raise DataError("growing goes with a threshold; an exact budget needs the whole text")
        if tokenizer is not None:
            return Compressor(self.scorer, load_counter(tokenizer)).compress(  # type: ignore[call-overload]
                cot,
                question=question,
                ratio=ratio,
                ratios=ratios,
                max_tokens=max_tokens,
                threshold=threshold,
                growing=growing,
                keep=keep,
            )
        if threshold is not None:
            return self._above(cot, question, threshold, keep, growing=growing)
        if max_tokens is not None and max_tokens < 1:
            raise DataError(f"max_tokens must be at least 1; got {max_tokens}")
        wanted = check_ratios([ratio]) if ratio is not None else check_ratios(ratios) if ratios is not None else []
        units = segment(cot)
        (scores,) = self.scorer.score([Item(question, cot, units)])
        results = self._fit(cot, units, scores, wanted, max_tokens=max_tokens, keep=keep)
        return results if ratios is not None else results[0]

    def compress_many(
        self, pairs: Sequence[tuple[str, str]], *, ratios: Iterable[float]
    ) -> Iterator[list[Compression] | InfeasibleBudget]:
        """Shorten several `(question, cot)`, scored together; a text that does not fit gives its error instead."""
        wanted = check_ratios(ratios)
        items = [Item(question, cot, segment(cot)) for question, cot in pairs]
        for item, scores in zip(items, self.scorer.score(items), strict=True):
            try:
                yield self._fit(item.cot, item.units, scores, wanted)
            except InfeasibleBudget as error:
                yield error

    def _fit(
        self,
        cot: str,
        units: Sequence[Unit],
        scores: Sequence[float],
        ratios: Sequence[float],
        *,
        max_tokens: int | None = None,
        keep: Iterable[Keep] = (),
    ) -> list[Compression]:
        """Select and render scored units at rising ratios, or at one number of tokens."""
        if not units:
            raise InfeasibleBudget("the chain of thought is blank; leave it out", needed_tokens=0)
        original, costs = self.counter.measure(cot, units)
        if max_tokens is None:
            budgets = [token_budget(ratio, original) for ratio in ratios]
        else:
            budgets = [min(max_tokens, original)]
            ratios = [budgets[0] / original if original else 1.0]
        touched = kept_units(units, _find(cot, keep))
        # Where all fits, all is kept: a part of it may count more tokens than the whole.
        forced = [at for at in range(len(units)) if touched[at] or budgets[0] >= original]
        split: tuple[Span, ...] = ()
        try:
            try:
                chosen = self._select(cot, units, scores, costs, budgets, forced)
            except InfeasibleBudget:
                if forced:
                    raise
                units, scores, split = _split_units(cot, units, scores)
                chosen = self._select(cot, units, scores, self.counter.measure(cot, units)[1], budgets, forced)
        except InfeasibleBudget as error:
            needed = min(max(error.needed_tokens, 1), original)
            smallest = math.ceil(10_000 * needed / original) / 10_000
            asked = f"ratio {ratios[0]:g}" if max_tokens is None else f"max_tokens {max_tokens}"
            raise InfeasibleBudget(
                f"{asked} of {original} tokens: {error}; the smallest ratio for it is {smallest:.4f}",
                needed_tokens=needed,
            ) from None
        return [
            Compression(
                ratio,
                choice.text,
                choice.spans,
                choice.tokens,
                original,
                choice.tokens / original if original else 1.0,
                self.counter.name,
                split,
            )
            for ratio, choice in zip(ratios, chosen, strict=True)
        ]

    def _select(
        self,
        cot: str,
        units: Sequence[Unit],
        scores: Sequence[float],
        costs: Sequence[float],
        budgets: Sequence[int],
        forced: Sequence[int],
    ) -> list[Selection]:
        count, rough = self.counter.count, self.counter.rough
        return select(cot, units, scores, budgets, count, costs=costs, rough=rough, forced=forced)

    def _above(self, cot: str, question: str, threshold: float, keep: Iterable[Keep], *, growing: bool) -> Compression:
        """Everything that scores above the threshold, block by block."""
        if math.isnan(threshold):
            raise DataError("threshold must be a number; got nan")
        blocks = list(_blocks(cot, growing=growing))
        items = [Item(question, cot[start:end], segment(cot[start:end])) for start, end in blocks]
        units: list[Unit] = []
        scores: list[float] = []
        for (start, _), item, values in zip(blocks, items, self.scorer.score(items), strict=True):
            units += [unit._replace(start=unit.start + start, end=unit.end + start) for unit in item.units]
            scores += values
        forced = kept_units(units, _find(cot, keep, blocks))
        kept = [at for at, score in enumerate(scores) if score > threshold or forced[at]]
        if not kept and not growing:
            best = f"; the best is {max(scores):g}" if scores else ", the text is blank"
            raise InfeasibleBudget(f"no unit scores above {threshold:g}{best}", needed_tokens=0)
        spans = tuple(merge_spans(units, kept))
        text = render(cot, spans)
        tokens, original = self.counter.count(text), self.counter.count(cot.strip())
        achieved = tokens / original if original else 0.0
        return Compression(achieved, text, spans, tokens, original, achieved, self.counter.name)


def _find(cot: str, keep: Iterable[Keep], blocks: Sequence[Span] | None = None) -> list[Span]:
    """The spans that `keep` asks for, sorted and disjoint; strings and patterns are looked for in each block."""
    if isinstance(keep, str):
        raise DataError(f"keep must be a list; got the string {keep!r}. Did you mean [{keep!r}]?")
    found: list[Span] = []
    for wanted in keep:
        if wanted == "":
            raise DataError("keep holds an empty string, which is everywhere; leave it out")
        if isinstance(wanted, str):
            wanted = re.compile(re.escape(wanted))
        if isinstance(wanted, re.Pattern):
            for start, end in [(0, len(cot))] if blocks is None else blocks:
                found += [match.span() for match in wanted.finditer(cot, start, end) if match.end() > match.start()]
        elif 0 <= wanted[0] < wanted[1] <= len(cot):
            found.append((wanted[0], wanted[1]))
        else:
            raise DataError(f"keep: no span [{wanted[0]}, {wanted[1]}) in a text of {len(cot)} characters")
    merged: list[Span] = []
    for start, end in sorted(found):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _blocks(cot: str, *, growing: bool) -> Iterator[Span]:
    """Runs of whole paragraphs; where one ends depends on nothing behind it."""
    start = 0
    while match := _BLANK_LINE.search(cot, start + _BLOCK_CHARS):
        yield start, match.end()
        start = match.end()
    if not growing and start < len(cot):
        yield start, len(cot)


def _split_units(
    cot: str, units: Sequence[Unit], scores: Sequence[float]
) -> tuple[Sequence[Unit], Sequence[float], tuple[Span, ...]]:
    """Units and scores with the formulas in parts, and the formulas that were cut."""
    pieces: list[Unit] = []
    values: list[float] = []
    cut: list[Span] = []
    for unit, score in zip(units, scores, strict=True):
        whole = (unit.start, unit.end)
        spans = split_formula(cot, *whole) if unit.kind == "math" else [whole]
        pieces += [unit._replace(start=start, end=end) for start, end in spans]
        values += [score] * len(spans)
        if len(spans) > 1:
            cut.append(whole)
    return pieces, values, tuple(cut)
