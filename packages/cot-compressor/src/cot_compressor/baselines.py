"""Other ways to reach the same length, for comparison: random words, the head, the tail.

They cut at white space, as tools without formulas in mind do, and they are held to the exact token count that the
scorer under test reached.

    select_baseline("random", cot, 120, counter, seed=0)
"""

import random
import re
import zlib

from .counting import TokenCounter
from .errors import InfeasibleBudget
from .select import Selection, select

BASELINES = ("random", "head", "tail")
_WORD = re.compile(r"\S+")


def select_baseline(name: str, cot: str, tokens: int, counter: TokenCounter, *, seed: int = 0) -> Selection:
    """Whitespace-separated words of `cot` within `tokens`, chosen at random, from the front or from the end.

    Random choices depend on `seed` and the text alone. If not even one word fits, nothing is kept.
    """
    words = [match.span() for match in _WORD.finditer(cot)]
    if name == "random":
        chance = random.Random(f"{seed} {zlib.crc32(cot.encode('utf-8', 'replace'))}")
        scores = [chance.random() for _ in words]
    else:
        scores = [float(-at if name == "head" else at) for at in range(len(words))]
    try:
        return select(cot, words, scores, [tokens], counter.count, rough=counter.rough)[0]
    except InfeasibleBudget:
        return Selection((), (), "", 0)
