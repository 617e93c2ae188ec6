r"""Procedurally generated word problems, with the verbose worked solutions that the base model learns from.

A problem starts from a number and adds or subtracts 2 or 3 times; every value stays in 10 … 49. Wordy problems have
small operands and long traces (equation, reason, sometimes the result, usually a second look). Dense problems have
operands of 11 to 19 and short traces. The answer needs each equation once. This is a small share of a wordy trace and a
large share of a dense one. `base_model.py` trains the model.

The traces are as wordy as real thinking traces (`redundancy.py` prints the comparison): the needed equations are 12 to
15 % of all thinking tokens, and each is stated 1.2 to 1.5 times.

    >>> problem = make_problem(random.Random(1), "dense", 2)
    >>> problem["level"], len(problem["equations"])
    ('3 dense, 2 steps', 2)
"""

import hashlib
import random
from collections.abc import Iterator
from typing import Any

KINDS = ("wordy", "dense")
STEPS = (2, 3)
WORDY_SHARE, BASE_WORDY_SHARE = 0.65, 0.5
# The base model stops training at this accuracy, because a perfect one could not show a loss.
ENOUGH = 0.85
SMALLEST, LARGEST = 10, 49
OPERANDS = {"wordy": (2, 9), "dense": (11, 19)}
# The training stream of the base model has all operands in dense traces, which teach arithmetic in fewer tokens.
BASE_OPERANDS = {"wordy": (2, 9), "dense": (2, 19)}

NAMES = ("Ana", "Ben", "Carla", "David", "Emma", "Felix", "Grace", "Hugo")
THINGS = ("apples", "books", "cards", "coins", "eggs", "pens", "shells", "stamps")

# The hash of its arithmetic alone decides the split of a problem, so no problem recurs under other names.
SPLITS = {
    "base": range(70),
    "dev": range(70, 74),
    "sft": range(74, 84),
    "rl": range(84, 92),
    "test": range(92, 100),
}

OPENINGS = (
    "Okay, let me think about this step by step.",
    "Alright, let me work through this one slowly.",
    "Let me see what is going on here first.",
)
REASONS = {
    "wordy": (
        "because {n} {things} {move}, and that means that I have to {do} {n} {to} {a}.",
        "since I read that {n} {things} {move}, so I {do} {n} {to} the {a} {things}.",
        "as {n} {things} {move} here, so I think I should {do} {n} {to} {a} for this.",
    ),
    "dense": ("since it says here that {n} {things} {move}.", "as I read here that {n} {things} {move}."),
}
RESULTS = ("So now {name} has {b} {things}.", "That leaves {name} with {b} {things}.")
# Below 1, because a model that has never left out a part does not find the last result without it.
REASON_SHARE, RESULT_SHARE, AFTER_SHARE = 0.75, 0.3, 0.85
CHECKS = (
    "Wait, let me check that again. {equation}, yes, that is right.",
    "Let me go over this one more time. {equation}, so that is fine.",
)
MOVES = (
    "That looks right to me, so I can go on with the rest.",
    "Okay, that makes sense to me, and I see no problem with it.",
)
ENDINGS = (
    "There is nothing more to do, so this is the answer.",
    "I have used every part of it, so I can answer now.",
)


def make_problem(
    rng: random.Random, kind: str, steps: int, operands: dict[str, tuple[int, int]] = OPERANDS
) -> dict[str, Any]:
    """One problem with answer, equations, worked solution and numbers; the id is a hash of the arithmetic."""
    low, high = operands[kind]
    while True:
        value = start = rng.randint(SMALLEST, LARGEST)
        changes: list[int] = []
        for _ in range(steps):
            change = rng.randint(low, high) * rng.choice((-1, 1))
            value += change
            changes.append(change)
            if not SMALLEST <= value <= LARGEST:
                break
        else:
            break
    name, things = rng.choice(NAMES), rng.choice(THINGS)
    arithmetic, equations = f"{start} {changes}", _equations(start, changes)
    return {
        "id": hashlib.sha256(arithmetic.encode()).hexdigest()[:16],
        "question": _question(kind, name, things, start, changes),
        "answer": str(value),
        "level": f"{1 + KINDS.index(kind) * len(STEPS) + steps - STEPS[0]} {kind}, {steps} steps",
        "equations": equations,
        "solution": _solution(things, start, changes, equations),
        "story": {"kind": kind, "name": name, "things": things, "start": start, "changes": changes},
    }


def _equations(start: int, changes: list[int]) -> list[str]:
    equations, value = [], start
    for change in changes:
        equations.append(f"{value} {'+' if change > 0 else '-'} {abs(change)} = {value + change}")
        value += change
    return equations


def _solution(things: str, start: int, changes: list[int], equations: list[str]) -> str:
    """The worked solution, as collections of problems have one."""
    steps = [
        f"In step {number}, {abs(change)} of them {_move(change)}, which gives {equation}."
        for number, (change, equation) in enumerate(zip(changes, equations, strict=True), 1)
    ]
    return f"At the start there are {start} {things}. {' '.join(steps)} So there are {start + sum(changes)} at the end."


def _question(kind: str, name: str, things: str, start: int, changes: list[int]) -> str:
    moves = ", ".join(f"{abs(change)} {_move(change)}" for change in changes)
    if kind == "dense":
        return f"A box holds {start} {things}. Then {moves}. How many {things} are in the box?"
    return f"{name} has {start} {things}. Then {moves}. How many {things} does {name} have?"


def _move(change: int) -> str:
    return "go in" if change > 0 else "go out"


def write_trace(problem: dict[str, Any], rng: random.Random) -> tuple[str, str]:
    """The thinking and the response that the base model learns for one problem."""
    story = problem["story"]
    parts = []
    value = story["start"]
    for change, equation in zip(story["changes"], problem["equations"], strict=True):
        words = {
            "name": story["name"],
            "things": story["things"],
            "move": _move(change),
            "n": abs(change),
            "a": value,
            "b": value + change,
            "do": "add" if change > 0 else "subtract",
            "to": "to" if change > 0 else "from",
            "equation": equation,
        }
        explained = rng.random() < REASON_SHARE
        step = ["{equation}, " + rng.choice(REASONS[story["kind"]]) if explained else "{equation}."]
        if story["kind"] == "wordy":
            if rng.random() < RESULT_SHARE:
                step.append(rng.choice(RESULTS))
            if rng.random() < AFTER_SHARE:
                step.append(rng.choice(CHECKS if rng.random() < 0.5 else MOVES))
        parts.append(" ".join(step).format(**words))
        value += change
    if story["kind"] == "wordy":
        parts = [rng.choice(OPENINGS), *parts, rng.choice(ENDINGS)]
    return " ".join(parts), rf"The answer is \boxed{{{problem['answer']}}}."


def problems(split: str, seed: int, count: int | None = None) -> Iterator[dict[str, Any]]:
    """Problems of one split: `count` distinct ones, or an endless stream; each number of steps is equally likely."""
    rng = random.Random(f"{split} {seed}")
    wordy_share = BASE_WORDY_SHARE if split == "base" else WORDY_SHARE
    seen: set[str] = set()
    while count is None or len(seen) < count:
        kind = KINDS[0] if rng.random() < wordy_share else KINDS[1]
        problem = make_problem(rng, kind, rng.choice(STEPS), BASE_OPERANDS if split == "base" else OPERANDS)
        if int(problem["id"], 16) % 100 in SPLITS[split] and (count is None or problem["id"] not in seen):
            seen.add(problem["id"])
            yield problem
