r"""Word problems in which every piece of thinking buys a known, small amount of accuracy.

Somebody has coins, finds more, and owns three boxes. A box has a wheel with the numbers 0 to 10, which is moved on and
then multiplied; if the result is below 3, the box holds 6 more coins. Few boxes do: the chance of each kind is set for
each task. Nothing but the two steps shows whether a box holds coins, and a small model cannot do both in its head. So
a model that skips a box of chance p loses p of its accuracy and saves the tokens of two steps.

One problem in 14 has an answer that no thinking finds, so accuracy has a ceiling as in real collections, whose keys
contain mistakes; otherwise what training mends elsewhere would pay for boxes that are skipped. The chances are set by
`steep.py`, `shallow.py` and `mixed.py`.

    >>> problem = make_problem(random.Random(4), (0.2, 0.2, 0.2))
    >>> problem["equations"]
    ['17 + 6 = 23', '3 + 8 = 0 x 6 = 0', '1 + 9 = 10 x 6 = 5', '6 + 8 = 3 x 4 = 1']
"""

import hashlib
import random
from collections.abc import Iterator, Sequence
from typing import Any

from draw import draw

NUMBERS, BELOW, COINS = 11, 3, 6
KINDS = ("tin", "crate", "basket")
BASE_CHANCES = (0.3, 0.3, 0.3)
"""Chances in the training stream of the base model, which has to learn both cases."""
UNSOLVABLE = 1 / 14
ENOUGH = 0.9
FIRST, MORE = (10, 29), (2, 9)
LARGEST = FIRST[1] + MORE[1] + (len(KINDS) + 1) * COINS

NAMES = ("Ana", "Ben", "Carla", "David", "Emma", "Felix", "Grace", "Hugo")
OPENINGS = (
    "Okay, let me think about this carefully and take one box after another.",
    "Alright, let me work through this slowly, starting with the loose coins.",
)
REASONS = (
    "because the wheel of the {kind} starts at {start}, moves on {add} and is multiplied by {times}, ",
    "since the wheel is described at {start} and then moves on {add}, ",
)
EMPTY = ("so the {kind} holds nothing.", "so there is nothing inside.")
HELD = ("so {equation} coins.", "so the {kind} holds coins, {equation}.")
CHECKS = (
    "Wait, let me check this again. {equation}, yes, that is right.",
    "That looks right to me, so I can continue.",
)
ENDINGS = (
    "There is nothing else to consider.",
    "I have considered every box now.",
)
REASON_SHARE, CHECK_SHARE = 0.35, 0.4


def make_problem(rng: random.Random, chances: Sequence[float], unsolvable: float = UNSOLVABLE) -> dict[str, Any]:
    """One problem with answer, equations and worked solution; the id is a hash of the arithmetic.

    Args:
        rng: Source of all choices.
        chances: Probability that a box of each kind holds coins, [kinds].
        unsolvable: Probability that the answer is another one than the question says.
    """
    first, more = rng.randint(*FIRST), rng.randint(*MORE)
    holds = [rng.random() < chance for chance in chances]
    wheels = [_wheel(rng, below) for below in holds]
    total = first + more
    equations = [f"{first} + {more} = {total}"]
    for start, add, times in wheels:
        moved = (start + add) % NUMBERS
        equations.append(f"{start} + {add} = {moved} x {times} = {moved * times % NUMBERS}")
    worked = total + COINS * sum(holds)
    answer = worked + COINS if rng.random() < unsolvable else worked
    name = rng.choice(NAMES)
    arithmetic = f"{first} {more} {wheels}"
    return {
        "id": hashlib.sha256(arithmetic.encode()).hexdigest()[:16],
        "question": _question(name, first, more, wheels),
        "answer": str(answer),
        "level": f"{sum(holds)} boxes with coins",
        "equations": equations,
        "solution": _solution(equations, holds, worked),
        "story": {"name": name, "first": first, "more": more, "wheels": wheels, "holds": holds, "worked": worked},
    }


def _wheel(rng: random.Random, below: bool) -> tuple[int, int, int]:
    """Start, move and factor of a wheel that ends below `BELOW`, or does not."""
    while True:
        start, add, times = rng.randrange(NUMBERS), rng.randint(1, NUMBERS - 1), rng.randint(2, NUMBERS - 1)
        if ((start + add) * times % NUMBERS < BELOW) == below:
            return start, add, times


def _solution(equations: Sequence[str], holds: Sequence[bool], worked: int) -> str:
    """The worked solution, as collections of problems have one."""
    steps = [
        f"The wheel of the {kind} ends with {equation}, so it holds {COINS if below else 'no'} coins."
        for kind, equation, below in zip(KINDS, equations[1:], holds, strict=True)
    ]
    return f"The loose coins are {equations[0]}. {' '.join(steps)} So there are {worked} coins."


def _question(name: str, first: int, more: int, wheels: Sequence[tuple[int, int, int]]) -> str:
    boxes = " ".join(
        f"The {kind} is at {start}, moves on {add}, times {times}."
        for kind, (start, add, times) in zip(KINDS, wheels, strict=True)
    )
    rule = f"Wheels count from 0 to {NUMBERS - 1}, and a box below {BELOW} holds {COINS} coins."
    return f"{name} has {first} coins and finds {more}. {boxes} {rule} How many coins?"


def write_trace(problem: dict[str, Any], rng: random.Random) -> tuple[str, str]:
    """The thinking and the response that the base model learns for one problem."""
    story = problem["story"]
    total = story["first"] + story["more"]
    parts = [rng.choice(OPENINGS), f"{problem['equations'][0]}, as {story['name']} finds {story['more']} coins."]
    for kind, wheel, holds, equation in zip(
        KINDS, story["wheels"], story["holds"], problem["equations"][1:], strict=True
    ):
        words = {"kind": kind, "start": wheel[0], "add": wheel[1], "times": wheel[2]}
        text = f"The {kind}: {equation}, "
        if rng.random() < REASON_SHARE:
            text += rng.choice(REASONS).format(**words)
        if holds:
            text += rng.choice(HELD).format(**words, equation=f"{total} + {COINS} = {total + COINS}")
            total += COINS
        else:
            text += rng.choice(EMPTY).format(**words)
        parts.append(text)
        if rng.random() < CHECK_SHARE:
            parts.append(rng.choice(CHECKS).format(equation=equation))
    return " ".join([*parts, rng.choice(ENDINGS)]), rf"The answer is \boxed{{{total}}}."


def stream(chances: Sequence[float], split: str, seed: int, count: int | None = None) -> Iterator[dict[str, Any]]:
    """Problems of one split with boxes of these chances; the training stream of the base model has its own."""
    if split == "base":
        return draw(lambda rng: make_problem(rng, BASE_CHANCES, unsolvable=0), split, seed, count)
    return draw(lambda rng: make_problem(rng, chances), split, seed, count)
