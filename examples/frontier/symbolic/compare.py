"""Compare RL objectives on a symbolic frontier task in minutes, on one CPU core.

The command is resumable: trained models and results of finished rows are files in FOLDER, and what is there is not
computed again. Drawing problems, training and rollouts are left to the modules beside it.

    python examples/frontier/symbolic/compare.py runs/symbolic --task shallow --seed 0 --row l1:0.1 --row chrpo
"""

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import click
import torch

sys.path.insert(0, str(Path(__file__).parent))
from generators import LADDER, TASKS, Problem, Task
from reinforce import BESIDE_THINKING, GROUP, PROMPTS, draw_problems, new_controller, reference_accuracies, reinforce
from rollouts import TEMPERATURE, evaluate
from training import sft_model
from transformer import Transformer

from chrpo import CHRPOController, CHRPOSettings
from chrpo.objective import ADDABLE, OBJECTIVES

ROWS: dict[str, dict[str, Any]] = {
    **{name: {"objective": name} for name in OBJECTIVES if name != "paper"},
    **{f"chrpo+{part}": {"adding": [part]} for part in ADDABLE},
    **{f"chrpo+{scale}": {"advantage_scale": scale} for scale in ("group", "batch")},
    "l1": {"objective": "l1", "advantage_scale": "none"},
    "l1-scaled": {"objective": "l1"},
    "l1-token": {"objective": "l1", "length_unit": "token"},
}
"""Row -> settings of the objective; `paper` needs teacher ratios, which these problems do not have."""
WEIGHTS = {"gfpo": "keep_share", "gfpo_efficiency": "keep_share", "laconic": "token_budget"}
"""Row -> setting that W in NAME:W gives; `length_weight` for those that have another."""
LIMITED = ("grpo", "dler")
"""Rows of which W in NAME:W is the token limit of the rollouts."""
Result = dict[str, Any]


def settings_of(row: str) -> CHRPOSettings:
    """Settings of a row such as "l1:0.1".

    Raises:
        ValueError: no such row, or it takes no weight.
    """
    name, _, weight = row.partition(":")
    if name not in ROWS:
        raise ValueError(f"unknown row {name!r}; choose one of {', '.join(ROWS)}")
    if not weight or name in LIMITED:
        return CHRPOSettings(**ROWS[name])
    return CHRPOSettings(**ROWS[name], **{WEIGHTS.get(name, "length_weight"): float(weight)})


def limited(task: Task, row: str) -> Task:
    """The task with the token limit of a row such as "dler:20"; only its rollouts have it, not the evaluation.

    Raises:
        ValueError: the limit is no whole number above 1.
    """
    name, _, limit = row.partition(":")
    if not limit or name not in LIMITED:
        return task
    if int(limit) < 2:
        raise ValueError(f"a limit of {limit} tokens has no room for an answer")
    return replace(task, max_tokens=int(limit))


def row_controller(row: str, problems: Sequence[Problem], references: Sequence[Sequence[float]]) -> CHRPOController:
    """The controller of a row; see `reinforce.new_controller`."""
    return new_controller(problems, references, settings_of(row))


def _checked(context: click.Context, parameter: click.Parameter, rows: Sequence[str]) -> Sequence[str]:
    for row in rows:
        try:
            settings_of(row)
            limited(TASKS["steep"], row)
        except ValueError as error:
            raise click.BadParameter(f"{row}: {error} (a row is NAME or NAME:WEIGHT, such as l1:0.1)") from error
    return rows


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--task", "task_name", type=click.Choice(list(TASKS)), required=True, help="Task.")
@click.option("--seed", default=0, show_default=True, help="Seed of models, problems and draws.")
@click.option(
    "--steps",
    default=100,
    show_default=True,
    type=click.IntRange(1),
    help="Cost of RL: every row generates as many tokens as the SFT model would in this number of steps.",
)
@click.option(
    "--learning-rate",
    default=2e-4,
    show_default=True,
    type=click.FloatRange(0, min_open=True),
    help="Learning rate of RL (AdamW).",
)
@click.option("--row", "rows", multiple=True, callback=_checked, help="RL row, NAME or NAME:WEIGHT; repeatable.")
def main(folder: Path, task_name: str, seed: int, steps: int, learning_rate: float, rows: Sequence[str]) -> None:
    """Train each row from one SFT model, and print accuracy and thinking tokens of all.

    Rows: the objectives of `chrpo train`, with their authors' numbers. W in NAME:W is the weight of the length (l1,
    l1-scaled, l1-token, shortest_correct, alp, adaptthink), the share of rollouts that is kept (gfpo, gfpo_efficiency),
    the token budget (laconic), or the token limit of the rollouts (dler, grpo). l1 is the length penalty alone,
    l1-scaled divides it by the standard deviation of the group, and l1-token, its authors' own, also counts tokens.
    chrpo+PART has a part of `--with`, chrpo+group and chrpo+batch a scale of `--advantage-scale`.

    Example: compare.py runs/symbolic --task shallow --row l1:0.1 --row l1:0.3 --row chrpo
    """
    torch.set_num_threads(1)
    folder.mkdir(parents=True, exist_ok=True)
    run = Run(folder, TASKS[task_name], seed, steps, learning_rate)
    start = _kept(folder / f"{task_name}_{seed}_sft.json", run.sft_results)
    results = dict(start)
    references = _kept(folder / f"{task_name}_{seed}_references.json", run.references)
    tokens = run.rl_tokens(start["sft@policy"]["sampled"]["tokens"])
    for row in rows:
        path = folder / f"{task_name}_{seed}_{row.replace(':', '-')}_{steps}_{learning_rate:g}.json"
        results[row] = _kept(path, partial(run.row_result, row, references, tokens))
    click.echo(table(results))


def _kept(path: Path, compute: Callable[[], Any]) -> Any:
    """The result in this file, which is computed and written if it is missing."""
    if not path.is_file():
        growing = path.with_suffix(".partial")
        growing.write_text(json.dumps(compute(), indent=1) + "\n", encoding="utf-8")
        os.replace(growing, path)
    return json.loads(path.read_text("utf-8"))


@dataclass(frozen=True)
class Run:
    """What all rows of a table share; the fields are the options of the command."""

    folder: Path
    task: Task
    seed: int
    steps: int
    learning_rate: float

    def sft_results(self) -> Result:
        """Accuracy and tokens of the SFT model at every ratio and at its own choice."""
        model = sft_model(self.folder, self.task, self.seed)
        at_ratios = {f"sft@{ratio:g}": self._evaluated(model, index) for index, ratio in enumerate(LADDER)}
        return {**at_ratios, "sft@policy": self._evaluated(model)}

    def references(self) -> list[list[float]]:
        """Accuracy of the SFT model on each RL problem at every ratio, [problems, ratios]."""
        problems = draw_problems(self.task, self.seed)
        return reference_accuracies(sft_model(self.folder, self.task, self.seed), self.task, problems, self.seed)

    def rl_tokens(self, thinking: float) -> int:
        """Number of tokens that RL generates, from the mean thinking tokens of the SFT model at its own choice."""
        return round(self.steps * PROMPTS * GROUP * (thinking + BESIDE_THINKING))

    def row_result(self, row: str, references: Sequence[Sequence[float]], tokens: int) -> Result:
        """Accuracy and tokens after RL, with what `reinforce` returns.

        Args:
            row: Row, such as "l1:0.1".
            references: Accuracy of the SFT model on each RL problem at every ratio, [problems, ratios].
            tokens: Number of tokens that RL generates.
        """
        problems = draw_problems(self.task, self.seed)
        controller = row_controller(row, problems, references)
        model = sft_model(self.folder, self.task, self.seed)
        options = {"seed": self.seed, "learning_rate": self.learning_rate, "tokens": tokens, "name": row}
        return {**reinforce(model, limited(self.task, row), problems, controller, **options), **self._evaluated(model)}

    def _evaluated(self, model: Transformer, ratio: int | None = None) -> Result:
        kinds = {"greedy": 0.0, "sampled": TEMPERATURE}
        return {
            kind: evaluate(model, self.task, self.seed, ratio=ratio, temperature=temperature)
            for kind, temperature in kinds.items()
        }


def table(results: Mapping[str, Result]) -> str:
    """The results as a Markdown table: accuracy in percent / thinking tokens, and generated tokens in millions.

    Args:
        results: Result of each row, by name.
    """
    lines = [f"| row | greedy | at temperature {TEMPERATURE:g} | tokens generated by RL |", "|---|---|---|---|"]
    for name, result in results.items():
        both = [
            f"{100 * result[kind]['accuracy']:.1f} / {result[kind]['tokens']:.1f}" for kind in ("greedy", "sampled")
        ]
        generated = f"{result['generated_tokens'] / 1e6:.2f} M" if "generated_tokens" in result else ""
        lines.append(f"| {name} | {both[0]} | {both[1]} | {generated} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
