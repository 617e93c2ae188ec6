"""Symbolic problems in which accuracy rises with thinking tokens by a slope that the generator sets.

A problem is a prompt, a full trace in units, and an answer, which is one number token modulo 11. There are two forms:

- checks: the answer is a + b, and each of four checks adds 5 if it ends below 3. A check takes two serial steps: its
  start + a, times m. Whether a check adds is drawn first, with the chance of its kind, and then steps are drawn that
  end so; nothing in the prompt shows which. A model that skips a check of chance p loses p of its accuracy and saves
  four tokens.
- until: the model adds and multiplies in turn until the number is below 3; the answer is the number before that. The
  chance of each number of steps is set, so a few problems need much more thinking than the others.

A unit is never split: its tokens are kept together, or cut together. Some units are followed by a second look that no
answer needs. Training and evaluation are left to others.

    >>> problem = draw_problem(TASKS["shallow"], random.Random(0))
    >>> len(problem.prompt), len(problem.trace), problem.answer == problem.worked
    (15, 26, True)
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

NUMBERS, BELOW, SHIFT, CHECKS = 11, 3, 5, 4
ANSWER, RUNNING, EASY = 0, 1, 2
OPERAND = 4
VALUE = OPERAND + 4 * CHECKS
ROLES = VALUE + 3 * CHECKS
"""Roles of number tokens: the answer, the running sum, EASY + i for the first operands, OPERAND + 4 j + i for operand i
of check j, VALUE + 3 j + i for the number after its step i. In `until`, OPERAND + i and VALUE + i."""
OPEN, ASK, AGAIN, END = (ROLES * NUMBERS + i for i in range(4))
LADDER = (0.15, 0.3, 0.45, 0.6, 0.8, 1.0)
RATIO = END + 1
"""First ratio token; RATIO + i asks for the ratio LADDER[i]."""
PARTS = [
    *((value, role) for role in range(ROLES) for value in range(NUMBERS)),
    *((NUMBERS, ROLES + i) for i in range(RATIO + len(LADDER) - ROLES * NUMBERS)),
]
"""Value and role of each token of the vocabulary; a token that is no number has the value NUMBERS."""


@dataclass(frozen=True)
class Task:
    """How problems are drawn, and how much is trained and tested.

    Args:
        name: Name of the task.
        chances: Chance that a check of each kind adds, [checks]; empty for the form "until".
        steps: Chance of each number of steps, number -> chance; for the form "until".
        taught: True if SFT learns a teacher's choice of the ratio, the smallest one that is enough, instead of a
            uniform choice.
        second_looks: Share of the units that are followed by a second look.
        max_tokens: Largest number of tokens of an answer.
        stage_steps: Numbers of steps of the base model, of training on ratios, and of SFT with the choice of a ratio.
        base_accuracy: Share of development problems that a base model has to solve.
        rl_problems: Number of problems of RL, which are used again after the last one.
        test_problems: Number of problems of an evaluation.
    """

    name: str
    chances: tuple[float, ...] = ()
    steps: tuple[tuple[int, float], ...] = ()
    taught: bool = False
    second_looks: float = 0.8
    max_tokens: int = 36
    stage_steps: tuple[int, int, int] = (700, 300, 200)
    base_accuracy: float = 0.8
    rl_problems: int = 1600
    test_problems: int = 1000

    @property
    def form(self) -> str:
        """Form of the problems, "until" or "checks"; tasks of a form share their base model."""
        return "until" if self.steps else "checks"


_STEPS = ((2, 0.3), (3, 0.35), (4, 0.25), (12, 0.05), (13, 0.05))
TASKS = {
    task.name: task
    for task in (
        Task("steep", (0.3, 0.3, 0.28, 0.28)),
        Task("graded", (0.25, 0.1, 0.04, 0.015)),
        Task("shallow", (0.02, 0.02, 0.02, 0.02)),
        Task("taught", (0.02, 0.02, 0.02, 0.02), taught=True),
        Task("faint", (0.008, 0.008, 0.008, 0.008)),
        Task("rare", steps=_STEPS, second_looks=0.4, max_tokens=48),
    )
}
BASE_CHANCE = 0.3
"""Chance of every check in the stream of the base model, which has to learn both cases."""
UNSOLVABLE = 0.07
"""Share of problems whose answer no thinking finds. Without this ceiling, what RL mends elsewhere would pay for checks
that are skipped, and a floor would bind nowhere."""


@dataclass(frozen=True)
class Problem:
    """One problem.

    Args:
        prompt: Ids of the prompt.
        units: Rank and ids of each unit, in the order of the trace; units of low rank are kept first.
        worked: Answer that the full trace leads to, and that training shows.
        answer: Answer that is marked correct.
    """

    prompt: list[int]
    units: list[tuple[int, list[int]]]
    worked: int
    answer: int

    @property
    def trace(self) -> list[int]:
        """Ids of the full trace."""
        return [token for _, unit in self.units for token in unit]


def draw_problem(task: Task, rng: random.Random, *, base: bool = False) -> Problem:
    """One problem.

    Args:
        task: Task of the problem.
        rng: Source of all choices.
        base: True for the stream of the base model: checks that add are more frequent, every number of steps is as
            likely, and every problem is solvable.
    """
    draw: Callable[..., Problem] = _until if task.steps else _checks
    problem = draw(task, rng, base)
    if base or rng.random() >= UNSOLVABLE:
        return problem
    wrong = (problem.worked + rng.randrange(1, NUMBERS)) % NUMBERS
    return Problem(problem.prompt, problem.units, problem.worked, wrong)


def cut(task: Task, problem: Problem, ratio: float, rng: random.Random) -> list[int]:
    """Ids of a trace with at most `ratio` of the tokens.

    Needed units are kept before second looks, checks in a random order, steps from the front.

    Args:
        task: Task of the problem.
        problem: Problem whose trace is cut.
        ratio: Share of the tokens that may be kept, in (0, 1]; units of rank 0 are kept at any ratio.
        rng: Source of the order of the checks.
    """
    room = ratio * len(problem.trace) + 1e-9
    ranks = [(rank, i if task.steps else rng.random(), i) for i, (rank, _) in enumerate(problem.units)]
    kept, used = set(), 0
    for rank, _, i in sorted(ranks):
        size = len(problem.units[i][1])
        if rank == 0 or used + size <= room:
            kept.add(i)
            used += size
    return [token for i, (_, unit) in enumerate(problem.units) if i in kept for token in unit]


def enough(problem: Problem, trace: Sequence[int]) -> bool:
    """True if a cut trace of the form "checks" has every check that adds.

    Args:
        problem: Problem of the trace.
        trace: Ids of the cut trace.
    """
    running, kept = None, [tuple(trace[i : i + 4]) for i in range(len(trace))]
    for rank, unit in problem.units:
        if rank == 1 and unit[-1] != running and tuple(unit) not in kept:
            return False
        running = unit[-1]
    return True


def _number(role: int, value: int) -> int:
    return role * NUMBERS + value


def _numbers(role: int, values: Sequence[int]) -> list[int]:
    """Number tokens whose roles rise from `role` by one."""
    return [_number(role + i, value) for i, value in enumerate(values)]


def _checks(task: Task, rng: random.Random, base: bool) -> Problem:
    first, second = rng.randrange(NUMBERS), rng.randrange(NUMBERS)
    total = (first + second) % NUMBERS
    prompt, units = _numbers(EASY, (first, second)), [(0, [_number(RUNNING, total)])]
    for kind, chance in enumerate(task.chances):
        adds = rng.random() < (BASE_CHANCE if base else chance)
        start, add, times = _operands(rng, adds)
        prompt += _numbers(OPERAND + 4 * kind, (start, add, times))
        total = (total + SHIFT * adds) % NUMBERS
        moved = (start + add) % NUMBERS
        values = _numbers(VALUE + 3 * kind, (start, moved, moved * times % NUMBERS))
        units.append((1, [*values, _number(RUNNING, total)]))
        if rng.random() < task.second_looks:
            units.append((2, [AGAIN, values[2], _number(RUNNING, total)]))
    return Problem([*prompt, ASK], units, total, total)


def _operands(rng: random.Random, adds: bool) -> tuple[int, int, int]:
    """Start, summand and factor of a check that ends below `BELOW`, or does not."""
    while True:
        start, add, times = rng.randrange(NUMBERS), rng.randrange(1, NUMBERS), rng.randrange(2, NUMBERS)
        if ((start + add) * times % NUMBERS < BELOW) == adds:
            return start, add, times


def _until(task: Task, rng: random.Random, base: bool) -> Problem:
    counts, chances = zip(*task.steps, strict=True)
    count = rng.choices(counts, [1] * len(counts) if base else chances)[0]
    while True:
        start = rng.randrange(NUMBERS)
        moves = [rng.randrange(1 + i % 2, NUMBERS) for i in range(4)]
        values = _stops(start, moves, count)
        if len(values) == count and values[-1] < BELOW:
            break
    units: list[tuple[int, list[int]]] = [(0, [OPEN])]
    for i, value in enumerate(values):
        token = _number(VALUE + i % 4, value)
        units.append((1, [token]))
        if rng.random() < task.second_looks:
            units.append((2, [AGAIN, token]))
    prompt = [_number(EASY, start), *_numbers(OPERAND, moves), ASK]
    return Problem(prompt, units, values[-2], values[-2])


def _stops(value: int, moves: Sequence[int], most: int) -> list[int]:
    """The number after each step, up to the first one below `BELOW` and up to `most` steps."""
    values = []
    while len(values) < most and not (values and value < BELOW):
        move = moves[len(values) % 4]
        value = (value * move if len(values) % 2 else value + move) % NUMBERS
        values.append(value)
    return values
