"""Draws the problems of one split; the hash of a problem's arithmetic alone decides its split, as in the quickstart.

So the training stream and the files of a task share no problem. Seeds from `TEST_SEEDS` on are tested on problems on
which no smaller seed was tested, so that settings can be chosen on the smaller ones.

    rows = list(draw(lambda rng: make_problem(rng, (0.2, 0.2, 0.2)), "test", seed=0, count=1000))
"""

import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "quickstart"))
from problems import SPLITS

TEST_SEEDS = 100


def draw(
    make: Callable[[random.Random], dict[str, Any]], split: str, seed: int, count: int | None = None
) -> Iterator[dict[str, Any]]:
    """Problems of one split: `count` distinct ones, or an endless stream."""
    rng = random.Random(f"{split} {seed}")
    seen: set[str] = set()
    while count is None or len(seen) < count:
        problem = make(rng)
        rest, place = divmod(int(problem["id"], 16), 100)
        theirs = split == "test" and rest % 2 != (seed >= TEST_SEEDS)
        if place in SPLITS[split] and not theirs and (count is None or problem["id"] not in seen):
            seen.add(problem["id"])
            yield problem
