"""Other ways to reach the same length, for comparison: random words, the head, the tail, whole steps, rare words.

They are held to the exact token count that the scorer under test reached. `random`, `head` and `tail` cut at white
space. `drop-steps` keeps whole sentences and lines, drawn at random. `rare-words` is a stand-in for LLMLingua-2 without
its weights: words as it cuts them (every sign is one), numbers first, then words by how rare they are in the text, then
signs and stop words.

    select_baseline("random", cot, 120, counter, seed=0)
"""

import math
import random
import re
import zlib
from collections import Counter as Tally
from itertools import groupby

from .counting import Counter
from .errors import InfeasibleBudget
from .plain import words
from .render import Span
from .segment import segment
from .select import Selection, select

BASELINES = ("random", "head", "tail", "drop-steps", "rare-words")
_WORD = re.compile(r"\S+")
_SUBWORD = re.compile(r"\w+|[^\w\s]")
_STOP_WORDS = words(
    "a an the and or but so then of to in for from at by with on as it its that this these those is are was were be "
    "been has have had do does did will would can could should i you he she we they me him her us them my your his "
    "our their there here what which who if when where how let just now okay wait also because into than"
)


def select_baseline(name: str, cot: str, tokens: int, counter: Counter, *, seed: int = 0) -> Selection:
    """What the baseline `name` keeps of `cot` within `tokens`.

    Random choices depend on `seed` and the text alone. If not even one piece fits, nothing is kept.
    """
    pieces = [match.span() for match in (_SUBWORD if name == "rare-words" else _WORD).finditer(cot)]
    if name == "drop-steps":
        steps = [list(units) for _, units in groupby(segment(cot), key=lambda unit: unit.step)]
        pieces = [(units[0].start, units[-1].end) for units in steps]
    if name == "rare-words":
        scores = _rarity(cot, pieces)
    elif name in {"random", "drop-steps"}:
        chance = random.Random(f"{seed} {zlib.crc32(cot.encode('utf-8', 'replace'))}")
        scores = [chance.random() for _ in pieces]
    else:
        scores = [float(-at if name == "head" else at) for at in range(len(pieces))]
    try:
        return select(cot, pieces, scores, [tokens], counter.count, rough=counter.rough)[0]
    except InfeasibleBudget:
        return Selection((), (), "", 0)


def _rarity(cot: str, pieces: list[Span]) -> list[float]:
    """Self-information of each piece by its share of the text; stop words and signs below, numbers above all others."""
    texts = [cot[start:end].lower() for start, end in pieces]
    counts = Tally(texts)
    top = math.log(len(texts) + 1)
    return [
        top + 1 if text.isdigit() else -1.0 if text in _STOP_WORDS or not text[0].isalnum() else top - math.log(count)
        for text in texts
        for count in [counts[text]]
    ]
