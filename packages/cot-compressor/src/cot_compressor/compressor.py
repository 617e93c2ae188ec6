"""The public class: cut a text into units, score them, select under a budget, render.

The work itself is in `text`, `scorers` and `budget`.

>>> compressor = Compressor.from_pretrained("rules")
>>> short = compressor.compress("Let me see. So 12 + 15 = 27, yes.", question="What is 12 + 15?", ratio=0.5)
>>> short.text, short.tokens, short.original_tokens
('So 12 + 15 = 27', 6, 13)
"""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

from .budget.counting import Counter, TokenCounter, WordCounter, load_counter
from .budget.ratios import check_ratios, token_budget
from .budget.select import WANTED_SHARE, Selection, select
from .budget.split import split_formula
from .budget.stages import Stager
from .errors import DataError, InfeasibleBudget
from .scorers.base import Scorer, ScoringInput
from .scorers.load import load_scorer
from .text.render import Span, kept_units, merge_spans, render
from .text.segment import Unit, segment

Keep = Span | str | re.Pattern[str]
_BLOCK_CHARS = 2000
_BLANK_LINE = re.compile(r"\n[^\S\n]*\n")


@dataclass(frozen=True)
class Compression:
    """One chain of thought at one ratio."""

    ratio: float
    """The requested ratio, or the share of the tokens that `max_tokens` is; with a threshold, the achieved ratio."""
    text: str
    """The shortened chain of thought."""
    spans: tuple[Span, ...]
    """`[start, end)` of the parts of the source; in `text`, a space or a line break separates two of them."""
    tokens: int
    """Number of tokens of `text`, at most `ratio * original_tokens`."""
    original_tokens: int
    """Number of tokens of the source without surrounding white space."""
    achieved_ratio: float
    """`tokens / original_tokens`."""
    tokenizer: str
    """Name of the tokenizer that counted; "pieces" if there was none, and words, numbers and signs were counted."""
    split: tuple[Span, ...] = ()
    """`[start, end)` of the formulas that were cut between lines or in a chain of `=`, because nothing else fitted."""

    @property
    def kept_tokens(self) -> int:
        """The same as `tokens`."""
        return self.tokens

    def to_record(self) -> dict[str, Any]:
        """The entry of a `compressed` row, with `split` only if a formula was cut."""
        record: dict[str, Any] = {**self.__dict__, "spans": [list(span) for span in self.spans]}
        record["split"] = [list(span) for span in self.split]
        if not self.split:
            del record["split"]
        return record


class Compressor:
    """Shortens chains of thought to a token budget, formulas whole."""

    def __init__(self, scorer: Scorer, counter: Counter) -> None:
        """Combine a scorer and a counter; `from_pretrained` loads both by name.

        Args:
            scorer: Scorer that ranks the units of a text.
            counter: Counter of the tokens of a text.
        """
        self.scorer = scorer
        self.counter = counter

    @classmethod
    def from_pretrained(cls, scorer: str | Path, *, tokenizer: Any = None, dtype: str | None = None) -> "Compressor":
        """Load a scorer and the target tokenizer.

        Args:
            scorer: `"rules"`, a folder written by `cot-compressor train`, or the `owner/name@revision` of a scorer on
                a hub, which is downloaded unless it was before. `hybrid:` before a folder or name means the rules, with
                that scorer's judgement of the sentences (`scorers/hybrid.py`).
            tokenizer: Folder of the target model, or its loaded fast tokenizer. The default is the scorer's own
                tokenizer; `rules` has none, and words, numbers and signs are counted.
            dtype: Number format of a trained scorer: `"float32"`, the default, or `"bfloat16"`. The latter is faster on
                a GPU and on processors with instructions for it, and far slower on others. Its scores depend slightly
                on the texts that are scored in the same batch.

        Raises:
            DataError: scorer or tokenizer cannot be loaded.
        """
        loaded = load_scorer(scorer, dtype=dtype)
        if tokenizer is not None:
            return cls(loaded, load_counter(tokenizer))
        own = getattr(loaded, "tokenizer", None)
        return cls(loaded, WordCounter() if own is None else TokenCounter(own, loaded.name))

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
        """Shorten one chain of thought; exactly one of `ratio`, `ratios`, `max_tokens`, `threshold` sets the length.

        Args:
            cot: Text to shorten.
            question: Question that the text answers; its numbers and words guide the scorer.
            ratio: Share of the tokens to keep, in (0, 1].
            ratios: Several such shares. The results come in rising order, and each keeps all that a smaller one keeps.
            max_tokens: Number of tokens to keep, at least 1.
            threshold: Score above which a unit is kept. The score of a trained scorer is a logit: above 0, keeping is
                more likely than dropping. That of `rules` and a hybrid is minus the tier (`scorers/rules.py`): -4 keeps
                tiers 0 to 3. The text is scored in blocks of paragraphs, and no block depends on the blocks after it.
            growing: True, with a threshold, for a text that is still streaming. The last, open block is left out, so
                each result is a prefix of the next.
            tokenizer: Folder or loaded fast tokenizer that counts instead of the compressor's own.
            keep: Character spans, strings or patterns to keep in any case, within the budget. A unit that they touch is
                kept whole. With a threshold, strings and patterns are searched in each block by itself.

        Raises:
            InfeasibleBudget: the budget is too small for a unit or for `keep`, or no unit scores above the threshold.
            DataError: an argument is out of range, or not exactly one length is given.
        """
        if sum(length is not None for length in (ratio, ratios, max_tokens, threshold)) != 1:
            raise DataError("give exactly one of ratio, ratios, max_tokens and threshold")
        if growing and threshold is None:
            raise DataError("growing needs a threshold; an exact budget needs the whole text")
        compressor = self if tokenizer is None else Compressor(self.scorer, load_counter(tokenizer))
        if threshold is not None:
            return compressor._above(cot, question, threshold, keep, growing=growing)
        if max_tokens is not None and max_tokens < 1:
            raise DataError(f"max_tokens must be at least 1; got {max_tokens}")
        wanted = check_ratios([ratio]) if ratio is not None else check_ratios(ratios) if ratios is not None else []
        (item,), (scores,) = compressor._scored([(question, cot)])
        results = compressor._fit(item, scores, wanted, max_tokens=max_tokens, keep=keep)
        return results if ratios is not None else results[0]

    def compress_many(
        self, pairs: Sequence[tuple[str, str]], *, ratios: Iterable[float]
    ) -> Iterator[list[Compression] | InfeasibleBudget]:
        """Shorten several texts, which are scored together.

        Args:
            pairs: `(question, cot)` of each text.
            ratios: Shares of the tokens to keep, each in (0, 1].

        Yields:
            The results of one text in rising order of the ratio, or the error if the text is too short for a ratio.
        """
        wanted = check_ratios(ratios)
        for item, scores in zip(*self._scored(pairs), strict=True):
            try:
                yield self._fit(item, scores, wanted)
            except InfeasibleBudget as error:
                yield error

    def _scored(self, pairs: Iterable[tuple[str, str]]) -> tuple[list[ScoringInput], list[list[float]]]:
        items = [ScoringInput(question, cot, segment(cot)) for question, cot in pairs]
        return items, self.scorer.score(items)

    def _fit(
        self,
        item: ScoringInput,
        scores: Sequence[float],
        ratios: Sequence[float],
        *,
        max_tokens: int | None = None,
        keep: Iterable[Keep] = (),
    ) -> list[Compression]:
        """Select and render scored units at rising ratios, or at one number of tokens."""
        if not item.units:
            raise InfeasibleBudget("the chain of thought is blank; leave it out", needed_tokens=0)
        original, costs = self.counter.unit_costs(item.cot, item.units)
        if max_tokens is None:
            budgets = [token_budget(ratio, original) for ratio in ratios]
        else:
            budgets = [min(max_tokens, original)]
            ratios = [budgets[0] / original if original else 1.0]
        touched = kept_units(item.units, _find(item.cot, keep))
        # If everything fits, everything is kept: a part of a text may have more tokens than the whole.
        forced = [at for at in range(len(item.units)) if touched[at] or budgets[0] >= original]
        try:
            chosen, split = self._select(item, scores, costs, budgets, forced)
        except InfeasibleBudget as error:
            needed = min(max(error.needed_tokens, 1), original)
            smallest = math.ceil(10_000 * needed / original) / 10_000
            wanted = f"ratio {ratios[0]:g}" if max_tokens is None else f"max_tokens {max_tokens}"
            raise InfeasibleBudget(
                f"{wanted} of {original} tokens: {error}; the smallest ratio for it is {smallest:.4f}",
                needed_tokens=needed,
            ) from None
        return [
            Compression(
                ratio=ratio,
                text=choice.text,
                spans=choice.spans,
                tokens=choice.tokens,
                original_tokens=original,
                achieved_ratio=choice.tokens / original if original else 1.0,
                tokenizer=self.counter.name,
                split=split,
            )
            for ratio, choice in zip(ratios, chosen, strict=True)
        ]

    def _select(
        self,
        item: ScoringInput,
        scores: Sequence[float],
        costs: Sequence[float],
        budgets: Sequence[int],
        forced: Sequence[int],
    ) -> tuple[list[Selection], tuple[Span, ...]]:
        """The selections, and the formulas that were cut because nothing fitted without that."""
        count, estimate = self.counter.count, self.counter.estimate
        cot, units = item.cot, item.units
        stager = Stager(cot, units, scores)
        stages = [stager.whole()]
        # Phrases and single words are read only if a budget needs them, because that takes time.
        for more in (stager.fillers, lambda: [stager.anything()], None):
            try:
                choices = select(
                    cot, units, scores, budgets, count, costs=costs, estimate=estimate, forced=forced, stages=stages
                )
            except InfeasibleBudget:
                if forced:
                    raise
            else:
                used = all(
                    choice.tokens >= WANTED_SHARE * budget for choice, budget in zip(choices, budgets, strict=True)
                )
                if used or more is None or len(stages) > 1:
                    return choices, ()
            stages += more() if more else []
        units, scores, split = _split_units(cot, units, scores)
        _, costs = self.counter.unit_costs(cot, units)
        return select(cot, units, scores, budgets, count, costs=costs, estimate=estimate), split

    def _above(self, cot: str, question: str, threshold: float, keep: Iterable[Keep], *, growing: bool) -> Compression:
        """Everything that scores above the threshold, block by block."""
        if math.isnan(threshold):
            raise DataError("threshold must be a number; got nan")
        blocks = list(_blocks(cot, growing=growing))
        units: list[Unit] = []
        scores: list[float] = []
        for (start, _), item, values in zip(
            blocks, *self._scored((question, cot[start:end]) for start, end in blocks), strict=True
        ):
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
        return Compression(
            ratio=achieved,
            text=text,
            spans=spans,
            tokens=tokens,
            original_tokens=original,
            achieved_ratio=achieved,
            tokenizer=self.counter.name,
        )


def _find(cot: str, keep: Iterable[Keep], blocks: Sequence[Span] | None = None) -> list[Span]:
    """The spans that `keep` names, sorted and disjoint; strings and patterns are searched in each block by itself."""
    if isinstance(keep, str):
        raise DataError(f"keep must be a list; got the string {keep!r}. Did you mean [{keep!r}]?")
    found: list[Span] = []
    for wanted in keep:
        if wanted == "":
            raise DataError("keep contains an empty string, which occurs everywhere; leave it out")
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
    """Spans of whole paragraphs; the end of a block does not depend on the text after it."""
    start = 0
    while match := _BLANK_LINE.search(cot, start + _BLOCK_CHARS):
        yield start, match.end()
        start = match.end()
    if not growing and start < len(cot):
        yield start, len(cot)


def _split_units(
    cot: str, units: Sequence[Unit], scores: Sequence[float]
) -> tuple[Sequence[Unit], Sequence[float], tuple[Span, ...]]:
    """Units and scores with each formula cut into its parts, and the formulas that were cut."""
    parts: list[Unit] = []
    values: list[float] = []
    cut: list[Span] = []
    for unit, score in zip(units, scores, strict=True):
        whole = (unit.start, unit.end)
        spans = split_formula(cot, *whole) if unit.kind == "math" else [whole]
        parts += [unit._replace(start=start, end=end) for start, end in spans]
        values += [score] * len(spans)
        if len(spans) > 1:
            cut.append(whole)
    return parts, values, tuple(cut)
