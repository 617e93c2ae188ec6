"""Simpler ways to reach the same length, for comparison: words or sentences at random, by place, rarity or overlap.

Each gets the number of tokens that the scorer under test used. `random`, `head` and `tail` cut at white space.
`drop-steps` keeps whole sentences and lines, drawn at random. `rare-words` is a substitute for LLMLingua-2 without its
weights: words as LLMLingua-2 cuts them (every sign is a word), numbers first, then words by how rare they are in the
text, then signs and stop words. `overlap` keeps whole sentences by the share of their content words that the question
or the last two sentences contain.

>>> from cot_compressor.budget.counting import WordCounter
>>> select_baseline("head", "so 12 + 15 = 27", 3, WordCounter()).text
'so 12 +'
"""

import math
import random
import re
import zlib
from collections import Counter as Frequencies
from itertools import groupby

from cot_compressor.budget.counting import Counter
from cot_compressor.budget.select import Selection, select
from cot_compressor.errors import InfeasibleBudget
from cot_compressor.text.content import words_and_numbers
from cot_compressor.text.formulas import word_set
from cot_compressor.text.render import Span
from cot_compressor.text.segment import segment

BASELINES = ("random", "head", "tail", "drop-steps", "rare-words", "overlap")
_WORD = re.compile(r"\S+")
_SUBWORD = re.compile(r"\w+|[^\w\s]")
_STOP_WORDS = word_set(
    "a an the and or but so then of to in for from at by with on as it its that this these those is are was were be "
    "been has have had do does did will would can could should i you he she we they me him her us them my your his "
    "our their there here what which who if when where how let just now okay wait also because into than"
)


def select_baseline(
    name: str, cot: str, tokens: int, counter: Counter, *, seed: int = 0, question: str = ""
) -> Selection:
    """The part of a text that a baseline keeps.

    Args:
        name: Name of the baseline, one of `BASELINES`.
        cot: Text to shorten.
        tokens: Largest number of tokens to keep.
        counter: Counter of the tokens, such as the `counter` of a `Compressor`.
        question: Question that steers `overlap`.
        seed: Random seed of `random` and `drop-steps`; their choice depends on it and on the text alone.

    Returns:
        The selection, which is empty if not even one word or step fits.
    """
    spans = [match.span() for match in (_SUBWORD if name == "rare-words" else _WORD).finditer(cot)]
    if name in {"drop-steps", "overlap"}:
        steps = [list(units) for _, units in groupby(segment(cot), key=lambda unit: unit.step)]
        spans = [(units[0].start, units[-1].end) for units in steps]
    if name == "rare-words":
        scores = _rarity(cot, spans)
    elif name == "overlap":
        scores = _overlap(cot, spans, question)
    elif name in {"random", "drop-steps"}:
        chance = random.Random(f"{seed} {zlib.crc32(cot.encode('utf-8', 'replace'))}")
        scores = [chance.random() for _ in spans]
    else:
        scores = [float(-at if name == "head" else at) for at in range(len(spans))]
    try:
        return select(cot, spans, scores, [tokens], counter.count, estimate=counter.estimate)[0]
    except InfeasibleBudget:
        return Selection((), (), "", 0)


def _overlap(cot: str, spans: list[Span], question: str) -> list[float]:
    """The content items that each sentence has in common with the question and the end, over the root of its number."""
    items = [words_and_numbers(cot[start:end]) for start, end in spans]
    wanted = words_and_numbers(question).union(*items[-2:])
    return [len(some & wanted) / math.sqrt(len(some) + 1) for some in items]


def _rarity(cot: str, spans: list[Span]) -> list[float]:
    """Minus the logarithm of each word's share of the text; stop words and signs below all others, numbers above."""
    texts = [cot[start:end].lower() for start, end in spans]
    counts = Frequencies(texts)
    top = math.log(len(texts) + 1)
    return [
        top + 1 if text.isdigit() else -1.0 if text in _STOP_WORDS or not text[0].isalnum() else top - math.log(count)
        for text in texts
        for count in [counts[text]]
    ]
