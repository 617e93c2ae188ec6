"""Accuracy against tokens on tasks whose slope is set: `chrpo` and fixed length penalties, without a language model.

A response is a set of segments, each written with a learnt probability at each ratio. A problem needs a segment with a
set probability, and nothing tells which problem does. Rewards, advantages and prices are those of the package.

    python benchmarks/chrpo_segments.py
"""

import argparse
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from recording import record

from chrpo.batch import RolloutBatch
from chrpo.core import AccuracyConstraint, Gains
from chrpo.core.outcome import Floats
from chrpo.objective import Objective, choose
from chrpo.prompts import PromptTable
from chrpo.score import score_step

LADDER = np.array([0.16, 0.3, 0.45, 0.6, 0.8, 1.0])
PROMPTS, GROUP, FILE = 16, 12, 240
ANSWER_TOKENS = 6.0
ERROR, LUCK = 0.1, 0.05
STEP_SIZES, SEEDS = (0.1, 0.2), 3
LAST = 20
WEIGHTS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
SLACK, NEAR = 0.005, 0.005


@dataclass(frozen=True)
class Task:
    """Kinds of problem, equally frequent.

    Args:
        need: Probability that a problem needs each segment, [kinds, segments].
        tokens: Number of tokens of each segment, [kinds, segments].
    """

    need: Floats
    tokens: Floats

    def accuracy(self, written: Floats) -> Floats:
        """Accuracy at each ratio, from the probability of each segment, [..., kinds, ratios, segments]."""
        complete = (1 - self.need[:, None] * (1 - written)).prod(axis=-1)
        return complete * (1 - ERROR) + (1 - complete) * LUCK

    def cost(self, written: Floats) -> Floats:
        """Mean number of tokens at each ratio, from the same probabilities."""
        return ANSWER_TOKENS + (written * self.tokens[:, None]).sum(axis=-1)


def task(*kinds: list[tuple[float, float]]) -> Task:
    """A task of kinds with six needless segments of 8 tokens, one of 12 that every problem needs, and these checks.

    Args:
        kinds: Need and tokens of each check.
    """
    most = max(map(len, kinds))
    segments = np.array([[(0, 8)] * 6 + [(1, 12), *checks] + [(0, 0)] * (most - len(checks)) for checks in kinds])
    return Task(segments[..., 0].astype(float), segments[..., 1].astype(float))


def checks(*needs: float) -> list[tuple[float, float]]:
    """Checks of 8 tokens."""
    return [(need, 8) for need in needs]


TASKS = {
    "free": task([]),
    "steep": task(checks(0.15, 0.12, 0.1, 0.08)),
    "shallow": task(checks(0.04, 0.03, 0.02, 0.01)),
    "mixed": task([], checks(0.3, 0.2, 0.1, 0.05), checks(0.05, 0.03, 0.02, 0.01)),
    "rare": task([(0.1 / 6, 8), (0.1, 48)]),
}


@dataclass(frozen=True)
class Row:
    """One way to train: an objective and, where it has a price, a slack of the floor and gains."""

    objective: Objective
    slack: float = SLACK
    gains: Gains = field(default_factory=Gains)


def rows() -> dict[str, Row]:
    """Every row of the tables."""
    penalties = {weight: choose("l1", length_weight=weight) for weight in WEIGHTS}
    return {
        **{f"L1 {weight:g}": Row(replace(found, advantage_scale="none")) for weight, found in penalties.items()},
        **{f"L1 {weight:g}, scaled": Row(found) for weight, found in penalties.items()},
        "GRPO": Row(choose("grpo")),
        "chrpo": Row(choose("chrpo")),
        "chrpo, floor 2 points below": Row(choose("chrpo"), 0.02, Gains(minimum=0)),
        "chrpo, floor 5 points below": Row(choose("chrpo"), 0.05, Gains(minimum=0)),
        "chrpo, price 0": Row(choose("chrpo", without=["constraint"])),
    }


class Policies:
    """Policies of several runs, and Adam: logits of the ratios and of every segment at every ratio.

    The first policy is that of an SFT model. A segment's logit at ratio r is the logit of r plus 4 if every problem
    needs the segment, .8 if some do, -.3 if none does. Every ratio is equally likely.

    Args:
        task: Task to learn.
        step_sizes: Step size of each run, [runs].
    """

    def __init__(self, task: Task, step_sizes: Floats) -> None:
        kept = np.clip(LADDER, 0.02, 0.98)
        more = np.select([task.need >= 1, task.need > 0], [4.0, 0.8], -0.3)
        first = np.log(kept / (1 - kept))[:, None] + more[:, None]
        self.task, self.step_sizes, self.steps = task, step_sizes, 0
        self.choice = np.zeros((len(step_sizes), len(task.need), len(LADDER)))
        self.write = np.repeat(first[None], len(step_sizes), axis=0)
        self.moments = [(np.zeros_like(logits), np.zeros_like(logits)) for logits in (self.choice, self.write)]

    def shares(self) -> Floats:
        """Probability of each ratio, [runs, kinds, ratios]."""
        powers = np.exp(self.choice - self.choice.max(axis=-1, keepdims=True))
        return powers / powers.sum(axis=-1, keepdims=True)

    def written(self) -> Floats:
        """Probability of each segment, [runs, kinds, ratios, segments]."""
        return 1 / (1 + np.exp(-self.write))

    def expected(self) -> Floats:
        """Accuracy and tokens of each run, exact, [runs, 2]."""
        values = np.stack([self.task.accuracy(self.written()), self.task.cost(self.written())], axis=-1)
        return (self.shares()[..., None] * values).sum(axis=2).mean(axis=1)

    def ascend(self, choice: Floats, write: Floats) -> None:
        """One step of Adam along the gradients of both logits."""
        self.steps += 1
        for logits, (mean, square), gradient in zip(
            (self.choice, self.write), self.moments, (choice, write), strict=True
        ):
            mean += 0.1 * (gradient - mean)
            square += 0.01 * (gradient**2 - square)
            moved = mean / (1 - 0.9**self.steps) / (np.sqrt(square / (1 - 0.99**self.steps)) + 1e-8)
            logits += self.step_sizes.reshape(-1, *[1] * (logits.ndim - 1)) * moved


def prompt_table(policies: Policies) -> PromptTable:
    """The prompts of every run, whose kinds take turns; each run is a constraint group."""
    task, runs = policies.task, len(policies.step_sizes)
    count = runs * FILE
    kind = np.arange(count) % len(task.need)
    tokens = task.tokens.sum(axis=1)[kind]
    return PromptTable(
        ladder=LADDER,
        policy=np.ones(count, bool),
        requested=np.full(count, -1),
        group=[f"run {run}" for run in np.arange(count) // FILE],
        teacher_ratio=np.full(count, np.nan),
        reference_tokens=tokens,
        reference_completion=tokens + ANSWER_TOKENS,
        reference_accuracy=np.full(count, 1 - ERROR),
    )


def roll_out(
    policies: Policies, table: PromptTable, ladder_share: float, generator: np.random.Generator
) -> tuple[RolloutBatch, Floats]:
    """Rollouts of one step of every run, and the gradient of each log-probability by its segments' logits."""
    task, runs = policies.task, len(policies.step_sizes)
    drawn = np.arange(runs)[:, None] * FILE + generator.integers(FILE, size=(runs, PROMPTS))
    row = np.repeat(drawn.ravel(), GROUP)
    run, kind, place = row // FILE, row % len(task.need), np.arange(len(row)) % GROUP
    shares = policies.shares()[run, kind]
    ratio = (generator.random((len(row), 1)) >= shares.cumsum(axis=1)[:, :-1]).sum(axis=1)
    ratio = np.where(table.at_every_ratio(row, ladder_share) & (place < len(LADDER)), place, ratio)
    probability = policies.written()[run, kind, ratio]
    written = generator.random(probability.shape) < probability
    needed = generator.random((len(row) // GROUP, task.need.shape[1])) < task.need[kind[::GROUP]]
    complete = (written | ~np.repeat(needed, GROUP, axis=0)).all(axis=1)
    thinking = (written * task.tokens[kind]).sum(axis=1)
    batch = RolloutBatch(
        row=row,
        ratio_index=ratio,
        format_ok=np.ones(len(row), bool),
        correct=generator.random(len(row)) < np.where(complete, 1 - ERROR, LUCK),
        truncated=np.zeros(len(row), bool),
        thinking_tokens=thinking,
        completion_tokens=thinking + ANSWER_TOKENS,
        integrity=np.zeros(len(row)),
        policy=shares,
        ladder_mass=np.ones(len(row)),
    )
    return batch, written - probability


def train(task: Task, row: Row, step_sizes: Floats, steps: int, seed: int = 0) -> Floats:
    """Exact accuracy and tokens of each run, means over the last steps, [runs, 2]."""
    generator, policies = np.random.default_rng(seed), Policies(task, step_sizes)
    table = prompt_table(policies)
    floors = table.floors(row.slack)
    constraint = AccuracyConstraint(floors, row.gains)
    last = []
    for step in range(steps):
        batch, by_logit = roll_out(policies, table, row.objective.ladder_share, generator)
        prices = {group: constraint.price(group) if row.objective.constrained else 0.0 for group in floors}
        found = score_step(batch, table, row.objective, group_size=GROUP, prices=prices)
        constraint.update(found.measured, found.attainable, found.paired)
        choice, write = np.zeros_like(policies.choice), np.zeros_like(policies.write)
        run, kind = batch.row // FILE, batch.row % len(task.need)
        chosen = np.eye(len(LADDER))[batch.ratio_index]
        np.add.at(choice, (run, kind), found.control[:, None] * (chosen - batch.policy))
        np.add.at(write, (run, kind, batch.ratio_index), found.response[:, None] * by_logit)
        policies.ascend(choice, write)
        if step >= steps - LAST:
            last.append(policies.expected())
    return np.mean(last, axis=0)


def measure(task: Task, row: Row, steps: int) -> dict[str, Any]:
    """Accuracy less the base accuracy and tokens, mean, least and most over the seeds, for each step size."""
    ends = train(task, row, np.repeat(STEP_SIZES, SEEDS), steps).reshape(len(STEP_SIZES), SEEDS, 2)
    ends[..., 0] -= 1 - ERROR
    return {
        f"{size:g}": {
            name: [float(values.mean()), float(values.min()), float(values.max())]
            for name, values in zip(("accuracy", "tokens"), of_size.T, strict=True)
        }
        for size, of_size in zip(STEP_SIZES, ends, strict=True)
    }


def cheapest(found: dict[str, Any], size: str, accuracy: float) -> str | None:
    """The L1 row of fewest tokens that loses at most `accuracy` to the base accuracy, by hindsight."""
    good = [name for name in found if name.startswith("L1") and found[name][size]["accuracy"][0] >= accuracy]
    return min(good, key=lambda name: found[name][size]["tokens"][0], default=None)


def points(difference: float) -> str:
    """A difference of accuracies in points, without a sign of minus before 0.0."""
    return f"{round(100 * difference, 1) + 0.0:+.1f}"


def main_table(title: str, found: dict[str, Any], full: float) -> list[str]:
    """Every row of one task."""
    sizes = [f"{size:g}" for size in STEP_SIZES]
    heads = " | ".join(f"points, step {size} | tokens, step {size}" for size in sizes)
    lines = [f"{title}, {full:.0f} tokens at full length:", "", f"| | {heads} |", "|---|" + "---:|" * 2 * len(sizes)]
    for name, ends in found.items():
        cells = []
        for size in sizes:
            cells.append("{} ({} to {})".format(*map(points, ends[size]["accuracy"])))
            cells.append("{:.1f} ({:.1f} to {:.1f})".format(*ends[size]["tokens"]))
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return [*lines, ""]


def comparison(result: dict[str, Any], size: str) -> list[str]:
    """Chrpo compared with the best L1 weight of each task, and with one weight for all tasks."""
    lines = [
        f"Step size {size}; tokens of chrpo / tokens of L1:",
        "",
        "| task | chrpo, points | tokens | cheapest L1 | points | tokens | ratio |",
        "|---|---:|---:|---|---:|---:|---:|",
    ]
    for title, found in result["tasks"].items():
        ours = found["chrpo"][size]
        best = cheapest(found, size, ours["accuracy"][0] - NEAR)
        cells = "none | | | |"
        if best is not None:
            other = found[best][size]
            ratio = ours["tokens"][0] / other["tokens"][0]
            cells = f"{best} | {points(other['accuracy'][0])} | {other['tokens'][0]:.1f} | {ratio:.2f} |"
        lines.append(f"| {title} | {points(ours['accuracy'][0])} | {ours['tokens'][0]:.1f} | {cells}")
    holding = [
        name
        for name in result["tasks"]["free"]
        if name.startswith("L1")
        and all(found[name][size]["accuracy"][0] >= -SLACK - NEAR for found in result["tasks"].values())
    ]
    lines += ["", "Weights of L1 within .5 points of the floor in every task; tokens of chrpo / their tokens:", ""]
    for name in holding:
        ratios = [
            f"{title} {found['chrpo'][size]['tokens'][0] / found[name][size]['tokens'][0]:.2f}"
            for title, found in result["tasks"].items()
        ]
        lines.append(f"- {name}: {', '.join(ratios)}")
    return [*lines, *([] if holding else ["- none"]), ""]


def tables(result: dict[str, Any]) -> str:
    """Both comparisons, then every row of every task."""
    lines = [line for size in STEP_SIZES for line in comparison(result, f"{size:g}")]
    for title, found in result["tasks"].items():
        lines += main_table(title, found, result["full"][title])
    return "\n".join(lines)


def main() -> None:
    """Measure every row on every task, and record it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=300, help="Number of update steps.")
    options = parser.parse_args()
    measured = {
        title: {name: measure(task, row, options.steps) for name, row in rows().items()}
        for title, task in TASKS.items()
    }
    full = {title: float(ANSWER_TOKENS + task.tokens.sum(axis=1).mean()) for title, task in TASKS.items()}
    record(__file__, {"steps": options.steps, "full": full, "tasks": measured}, tables)


if __name__ == "__main__":
    main()
