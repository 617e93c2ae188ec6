r"""Word problems of three kinds, whose traces can lose much, some or little before a small model fails.

A number of things changes several times, as in the quickstart. Wordy problems have few steps and long explanations,
plain ones more steps and short ones, dense ones the most steps and almost nothing else. The equations are 15 % of the
tokens of a wordy trace, about half of a plain one and four fifths of a dense one, so each level of budget costs some
problems. The question does not name the kind; only the number of its changes tells something about it.

    >>> make_problem(random.Random(0), "dense", 4)["equations"]
    ['34 - 4 = 30', '30 + 3 = 33', '33 + 4 = 37', '37 + 4 = 41']
"""

import hashlib
import random
from collections.abc import Iterator
from typing import Any

from draw import draw

SMALLEST, LARGEST = 10, 49
ENOUGH = 0.87
STEPS = {"wordy": (2, 3), "plain": (3, 4), "dense": (4, 5)}
OPERANDS = {"wordy": (2, 9), "plain": (2, 9), "dense": (1, 6)}
SHARES = {"wordy": 0.4, "plain": 0.3, "dense": 0.3}
NAMES = ("Ana", "Ben", "Carla", "David", "Emma", "Felix", "Grace", "Hugo")
THINGS = ("apples", "books", "cards", "coins", "eggs", "pens", "shells", "stamps")

OPENINGS = (
    "Okay, let me think about this step by step.",
    "Alright, let me work through this one slowly.",
)
REASONS = {
    "wordy": (
        ", because {n} {things} {move}, and that means that I have to {do} {n} {to} {before}.",
        ", since I read that {n} {things} {move}, so I {do} {n} {to} the {before} {things}.",
    ),
    "plain": (", since {n} {things} {move}.", ", as {n} {things} {move} here."),
    "dense": (".",),
}
CHECKS = (
    "Wait, let me check that again. {equation}, yes, that is right.",
    "That looks right to me, so I can go on with the rest.",
    "Okay, that makes sense to me, and I see no problem with it.",
)
ENDINGS = (
    "There is nothing more to do, so this is the answer.",
    "I have used every part of it, so I can answer now.",
)
REASON_SHARE, CHECK_SHARE = 0.8, 0.85


def make_problem(rng: random.Random, kind: str, steps: int) -> dict[str, Any]:
    """One problem with answer, equations and worked solution; the id is a hash of the arithmetic."""
    values, changes = _walk(rng, OPERANDS[kind], steps)
    equations = [
        f"{before} {'+' if change > 0 else '-'} {abs(change)} = {after}"
        for before, change, after in zip(values, changes, values[1:], strict=False)
    ]
    name, things = rng.choice(NAMES), rng.choice(THINGS)
    moves = ", ".join(f"{abs(change)} {_move(change)}" for change in changes)
    return {
        "id": hashlib.sha256(f"{values[0]} {changes}".encode()).hexdigest()[:16],
        "question": f"{name} has {values[0]} {things}. Then {moves}. How many {things} does {name} have?",
        "answer": str(values[-1]),
        "level": f"{1 + list(STEPS).index(kind)} {kind}",
        "equations": equations,
        "solution": _solution(things, values, changes, equations),
        "story": {"kind": kind, "things": things, "values": values, "changes": changes},
    }


def _walk(rng: random.Random, operands: tuple[int, int], steps: int) -> tuple[list[int], list[int]]:
    """Values, all in `SMALLEST` … `LARGEST`, and the changes between them."""
    while True:
        values = [rng.randint(SMALLEST, LARGEST)]
        changes = [rng.randint(*operands) * rng.choice((-1, 1)) for _ in range(steps)]
        for change in changes:
            values.append(values[-1] + change)
        if min(values) >= SMALLEST and max(values) <= LARGEST:
            return values, changes


def _solution(things: str, values: list[int], changes: list[int], equations: list[str]) -> str:
    """The worked solution, as collections of problems have one."""
    steps = [
        f"In step {number}, {abs(change)} of them {_move(change)}, which gives {equation}."
        for number, (change, equation) in enumerate(zip(changes, equations, strict=True), 1)
    ]
    return f"At the start there are {values[0]} {things}. {' '.join(steps)} So there are {values[-1]} at the end."


def _move(change: int) -> str:
    return "go in" if change > 0 else "go out"


def write_trace(problem: dict[str, Any], rng: random.Random) -> tuple[str, str]:
    """The thinking and the response that the base model learns for one problem."""
    story = problem["story"]
    parts = []
    for before, change, equation in zip(story["values"], story["changes"], problem["equations"], strict=False):
        words = {
            "things": story["things"],
            "move": _move(change),
            "n": abs(change),
            "before": before,
            "do": "add" if change > 0 else "subtract",
            "to": "to" if change > 0 else "from",
            "equation": equation,
        }
        reason = rng.choice(REASONS[story["kind"]]) if rng.random() < REASON_SHARE else "."
        parts.append(equation + reason.format(**words))
        if story["kind"] == "wordy" and rng.random() < CHECK_SHARE:
            parts.append(rng.choice(CHECKS).format(**words))
    if story["kind"] == "wordy":
        parts = [rng.choice(OPENINGS), *parts, rng.choice(ENDINGS)]
    return " ".join(parts), rf"The answer is \boxed{{{problem['answer']}}}."


def _draw_problem(rng: random.Random) -> dict[str, Any]:
    kind = rng.choices(list(SHARES), list(SHARES.values()))[0]
    return make_problem(rng, kind, rng.choice(STEPS[kind]))


def problems(split: str, seed: int, count: int | None = None) -> Iterator[dict[str, Any]]:
    """Problems of one split: `count` distinct ones, or an endless stream."""
    return draw(_draw_problem, split, seed, count)
