r"""Word problems of which one in ten needed four times the thinking, and nothing in the question says which.

A wheel with the numbers 0 to 10 is moved on and multiplied in turn, until it is below 3; the answer is its number just
before. Nine problems in ten end after 2 to 4 steps, one after 12 or 13. A model that always gives up early loses that
tenth, and a model that reserves the same length for every problem wastes it on the others.

One problem in 14 has an answer that no thinking finds, for the reason given in `boxes.py`.

    >>> problem = make_problem(random.Random(0))
    >>> problem["equations"], problem["answer"]
    (['8 + 9 = 6', '6 x 10 = 5', '5 + 3 = 8', '8 x 7 = 1'], '8')
"""

import hashlib
import random
from collections.abc import Iterator, Mapping
from typing import Any

from boxes import BELOW, NUMBERS, UNSOLVABLE
from draw import draw

STEPS: dict[int, float] = {2: 0.3, 3: 0.35, 4: 0.25, 12: 0.05, 13: 0.05}
"""Number of steps -> share of the problems."""
BASE_STEPS: dict[int, float] = dict.fromkeys((2, 3, 4, 5, 7, 9, 11, 12, 13), 1.0)
ENOUGH, LARGEST = 0.88, NUMBERS
MOVES = 6
"""Number of moves before they recur; with fewer there are too few different problems of many steps."""
SIGNS = ("+", "x")
REASONS = {
    "+": ("as it moves on {n}", "since {n} comes next"),
    "x": ("as it is multiplied by {n}", "since times {n} is next"),
}
OPENINGS = (
    "Okay, let me think about this step by step until the wheel is low enough.",
    "Alright, let me follow the wheel slowly and watch for a small number.",
)
CHECKS = ("That is not below {below}, so I go on.", "Still too large, so let me continue.", "Not there yet.")
ENDINGS = ("That is below {below}, so it stops here.", "This is small enough, so I look at the number before.")
REASON_SHARE, CHECK_SHARE = 0.3, 0.3


def make_problem(
    rng: random.Random, steps: Mapping[int, float] = STEPS, unsolvable: float = UNSOLVABLE
) -> dict[str, Any]:
    """One problem with answer, equations and worked solution; the id is a hash of the arithmetic.

    Args:
        rng: Source of all choices.
        steps: Number of steps -> its weight.
        unsolvable: Probability that the answer is another one than the question says.
    """
    wanted = rng.choices(list(steps), list(steps.values()))[0]
    while True:
        start, moves = rng.randrange(BELOW, NUMBERS), [rng.randint(2, NUMBERS - 1) for _ in range(MOVES)]
        values = _values(start, moves, limit=wanted)
        if len(values) == wanted and values[-1] < BELOW:
            break
    equations = []
    for i, (before, after) in enumerate(zip([start, *values], values, strict=False)):
        equations.append(f"{before} {SIGNS[i % 2]} {moves[i % MOVES]} = {after}")
    worked = values[-2]
    answer = rng.choice([n for n in range(NUMBERS) if n != worked]) if rng.random() < unsolvable else worked
    arithmetic = f"{start} {moves}"
    return {
        "id": hashlib.sha256(arithmetic.encode()).hexdigest()[:16],
        "question": _question(start, moves),
        "answer": str(answer),
        "level": "2 many steps" if wanted > 4 else "1 few steps",
        "equations": equations,
        "solution": _solution(equations, worked),
        "story": {"moves": moves, "worked": worked},
    }


def _solution(equations: list[str], worked: int) -> str:
    """The worked solution, as collections of problems have one."""
    steps = " ".join(f"In step {number}, the wheel goes on with {text}." for number, text in enumerate(equations, 1))
    return f"{steps} So the wheel stops below {BELOW}, and its number just before is {worked}."


def _values(start: int, moves: list[int], limit: int) -> list[int]:
    """Numbers of the wheel after each step, up to the first below `BELOW`, at most `limit`."""
    values: list[int] = []
    number = start
    while len(values) < limit and number >= (BELOW if values else 0):
        move = moves[len(values) % MOVES]
        number = (number + move if len(values) % 2 == 0 else number * move) % NUMBERS
        values.append(number)
    return values


def _question(start: int, moves: list[int]) -> str:
    told = ", ".join(f"moves on {move}" if i % 2 == 0 else f"is multiplied by {move}" for i, move in enumerate(moves))
    return (
        f"A wheel with the numbers 0 to {NUMBERS - 1} is at {start}. It {told}, and so on, until it is below {BELOW}. "
        "What is its number just before?"
    )


def write_trace(problem: dict[str, Any], rng: random.Random) -> tuple[str, str]:
    """The thinking and the response that the base model learns for one problem."""
    story = problem["story"]
    parts = [rng.choice(OPENINGS)]
    for i, equation in enumerate(problem["equations"]):
        last = i == len(problem["equations"]) - 1
        text = equation
        if rng.random() < REASON_SHARE:
            text += ", " + rng.choice(REASONS[SIGNS[i % 2]]).format(n=story["moves"][i % MOVES])
        parts.append(text + ".")
        if not last and rng.random() < CHECK_SHARE:
            parts.append(rng.choice(CHECKS).format(below=BELOW))
    ending = rng.choice(ENDINGS).format(below=BELOW)
    return " ".join([*parts, ending]), rf"The answer is \boxed{{{story['worked']}}}."


def problems(split: str, seed: int, count: int | None = None) -> Iterator[dict[str, Any]]:
    """Problems of one split: `count` distinct ones, or an endless stream."""
    if split == "base":
        return draw(lambda rng: make_problem(rng, BASE_STEPS, unsolvable=0), split, seed, count)
    return draw(make_problem, split, seed, count)
