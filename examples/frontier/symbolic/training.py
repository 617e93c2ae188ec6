"""The supervised stages of a task and seed: base model, training on ratios, SFT with a choice of the ratio.

Every finished stage is a file of weights in the folder, so a later call trains nothing. RL is left to `reinforce`.

    model = sft_model(Path("runs/symbolic"), TASKS["shallow"], seed=0)
"""

import os
import random
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import torch
from generators import END, LADDER, PARTS, RATIO, Problem, Task, cut, draw_problem, enough
from rollouts import evaluate
from safetensors.torch import load_file, save_file
from torch.nn import functional as F
from tqdm import tqdm
from transformer import Transformer

sys.path.insert(0, str(Path(__file__).parents[2] / "quickstart"))
from muon import Muon

ATTEMPTS, DEVELOPMENT = 5, -1
"""Trainings of a base model, until one has learnt the task: some initial weights stay at chance. Development problems
are those of the seed `DEVELOPMENT` - seed, which no evaluation has."""
BATCH, WARMUP_STEPS, LAST_SHARE = 64, 30, 0.05
BASE_LR, RATIOS_LR, SFT_LR = 0.02, 0.01, 0.007
OTHER_SHARE = 0.15
"""Learning rate of embeddings and vectors, as a share of that of matrices."""
CHOICE_SHARE = 0.4
"""Share of the rows of SFT in which the choice of the ratio is learnt, too."""
IGNORED = -100
Row = tuple[list[int], list[int]]
"""Ids and labels; labels of tokens that are not learnt are `IGNORED`."""


def base_model(folder: Path, task: Task, seed: int) -> Transformer:
    """The model that writes full traces and knows no ratios; the arguments are those of `sft_model`.

    Raises:
        RuntimeError: no model of `ATTEMPTS` solves enough of the development problems.
    """
    path, model = folder / f"base_{task.form}_{seed}.safetensors", Transformer(PARTS)
    if path.is_file():
        model.load_state_dict(load_file(path))
        return model
    for attempt in range(ATTEMPTS):
        torch.manual_seed(seed + attempt * 1_000_000)
        model = Transformer(PARTS)
        _train(model, _base_rows(task, seed), task.stage_steps[0], BASE_LR, path.stem)
        accuracy = evaluate(model, task, DEVELOPMENT - seed, ratio="none")["accuracy"]
        if accuracy >= task.base_accuracy:
            _save(model, path)
            return model
    raise RuntimeError(
        f"{path.stem}: after {ATTEMPTS} trainings from other initial weights, the base model solves {accuracy:.0%} of "
        f"the development problems instead of {task.base_accuracy:.0%}; choose another seed or more steps"
    )


def sft_model(folder: Path, task: Task, seed: int) -> Transformer:
    """The model that RL starts from.

    Args:
        folder: Folder of the weights of all stages.
        task: Task; those of a form share the base model.
        seed: Seed of initial weights and problems.
    """
    model = base_model(folder, task, seed)
    stages = (
        (f"ratios_{task.name}_{seed}", _ratio_rows(task, seed, 0.0), RATIOS_LR),
        (f"sft_{task.name}_{seed}", _ratio_rows(task, seed, CHOICE_SHARE), SFT_LR),
    )
    for (name, rows, learning_rate), steps in zip(stages, task.stage_steps[1:], strict=True):
        _stage(model, folder / name, rows, steps, learning_rate)
    return model


def _stage(model: Transformer, path: Path, rows: Iterator[Row], steps: int, learning_rate: float) -> None:
    """Train the model, or read the weights of a finished stage."""
    weights = path.with_suffix(".safetensors")
    if not weights.is_file():
        _train(model, rows, steps, learning_rate, path.name)
        _save(model, weights)
    model.load_state_dict(load_file(weights))


def _save(model: Transformer, weights: Path) -> None:
    partial = weights.with_suffix(".partial")
    save_file(model.state_dict(), partial)
    os.replace(partial, weights)


def _base_rows(task: Task, seed: int) -> Iterator[Row]:
    rng = random.Random(f"base {seed}")
    while True:
        problem = draw_problem(task, rng, base=True)
        yield _row(problem, [], problem.trace)


def _ratio_rows(task: Task, seed: int, choice_share: float) -> Iterator[Row]:
    """Cut traces behind their ratio tokens, every ratio as likely, so that RL starts with all within its reach.

    Where a teacher chooses, the rows with a choice have the smallest ratio that is enough.
    """
    rng = random.Random(f"sft {seed} {choice_share}")
    while True:
        problem = draw_problem(task, rng)
        chooses = rng.random() < choice_share
        traces = [cut(task, problem, ratio, rng) for ratio in LADDER]
        index = rng.randrange(len(LADDER))
        if chooses and task.taught:
            index = next(index for index, trace in enumerate(traces) if enough(problem, trace))
        ids, labels = _row(problem, [RATIO + index], traces[index])
        if chooses:
            labels[len(problem.prompt)] = RATIO + index
        yield ids, labels


def _row(problem: Problem, ratio: list[int], trace: list[int]) -> Row:
    before, learnt = [*problem.prompt, *ratio], [*trace, END, problem.worked]
    return before + learnt, [IGNORED] * len(before) + learnt


def _train(model: Transformer, rows: Iterator[Row], steps: int, learning_rate: float, name: str) -> None:
    """Train with warm-up, then a constant rate, then linear decay over the second half."""
    rates = learning_rate, learning_rate * OTHER_SHARE
    optimizer = Muon(model, matrix_lr=rates[0], other_lr=rates[1])
    for step in tqdm(range(steps), desc=name, unit="step"):
        share = min(1, (step + 1) / WARMUP_STEPS, max(LAST_SHARE, (steps - step) / (0.5 * steps)))
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * share
        batch = list(islice(rows, BATCH))
        width = max(len(ids) for ids, _ in batch)
        ids = torch.tensor([ids + [0] * (width - len(ids)) for ids, _ in batch])
        labels = torch.tensor([labels + [IGNORED] * (width - len(labels)) for _, labels in batch])
        hidden, target = model(ids)[:, :-1], labels[:, 1:]
        learnt = target != IGNORED
        F.cross_entropy(model.logits(hidden[learnt]), target[learnt]).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
