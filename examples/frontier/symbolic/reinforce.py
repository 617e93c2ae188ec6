"""RL of one row: rollouts, the advantages that `chrpo` computes from them, and updates of the model.

The objectives are those of `chrpo train`, with its defaults, through the controller that its trainers use. Supervised
stages are left to `training`, names and weights of rows to `compare`.

    controller = new_controller(problems, references, CHRPOSettings(objective="grpo"))
    reinforce(model, TASKS["shallow"], problems, controller, seed=0, learning_rate=2e-4, tokens=400_000)
"""

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from generators import END, LADDER, RATIO, Problem, Task, draw_problem
from rollouts import TEMPERATURE, Answers, read_prompts
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm
from transformer import Transformer, decode

from chrpo import CHRPOController, CHRPOSettings, ControlTokens, Rollout, RolloutStats

PROMPTS, GROUP = 16, 12
"""Prompts of a step, and rollouts of a prompt."""
BESIDE_THINKING = 3
"""Generated tokens that are no thinking: the ratio, the end of the thinking, and the answer."""
REFERENCES, REFERENCE_BATCH = 2, 256
"""Samples of a reference accuracy, and problems that are answered at once for it."""


def draw_problems(task: Task, seed: int) -> list[Problem]:
    """The problems of RL, drawn apart from those of SFT and of the evaluation."""
    rng = random.Random(f"rl {seed}")
    return [draw_problem(task, rng) for _ in range(task.rl_problems)]


COURSE = {
    "accuracy": "policy/accuracy",
    "tokens": "policy/thinking_tokens",
    "price": "lambda/policy",
    "violation": "violation/policy",
}
"""What is kept of every step: short name -> metric of the controller."""


@torch.no_grad()
def reference_accuracies(model: Transformer, task: Task, problems: Sequence[Problem], seed: int) -> list[list[float]]:
    """Accuracy of a model on each problem at every ratio, from `REFERENCES` samples each, [problems, ratios].

    Args:
        model: Model that answers.
        task: Task of the problems.
        problems: Problems to answer.
        seed: Seed of the samples.
    """
    generator, found = torch.Generator().manual_seed(seed), []
    for start in range(0, len(problems), REFERENCE_BATCH):
        batch = problems[start : start + REFERENCE_BATCH]
        cache, _ = read_prompts(model, batch)
        group = torch.arange(len(batch)).repeat_interleave(REFERENCES)
        past = [(key[group], value[group]) for key, value in cache]
        repeated = [batch[index] for index in group.tolist()]
        columns = []
        for ratio in range(len(LADDER)):
            first = torch.full((len(group),), RATIO + ratio)
            out = decode(
                model,
                past,
                first,
                max_tokens=task.max_tokens,
                end=END,
                temperature=TEMPERATURE,
                generator=generator,
            )
            columns.append(Answers.read(out, repeated).correct.float().view(-1, REFERENCES).mean(1))
        found += torch.stack(columns, 1).tolist()
    return found


def new_controller(
    problems: Sequence[Problem], references: Sequence[Sequence[float]], settings: CHRPOSettings
) -> CHRPOController:
    """The controller of a run.

    Args:
        problems: Problems of RL.
        references: Accuracy of the SFT model on each problem at every ratio, [problems, ratios]; the mean at ratio 1 is
            the floor, and together they set the first price.
        settings: Settings of the objective.
    """
    tokens = ControlTokens.ladder(LADDER)
    rows: list[dict[str, Any]] = [
        {
            "id": str(number),
            "prompt": [{"role": "user", "content": tokens.policy}],
            "mode": "policy",
            "teacher_ratio": None,
            "reference_tokens": len(problem.trace),
            "reference_completion_tokens": len(problem.trace) + BESIDE_THINKING,
            "reference_accuracy": accuracies[-1],
            "reference_accuracies": {f"{ratio:g}": each for ratio, each in zip(LADDER, accuracies, strict=True)},
        }
        for number, (problem, accuracies) in enumerate(zip(problems, references, strict=True))
    ]
    return CHRPOController(rows, tokens, group_size=GROUP, settings=settings)


def reinforce(
    model: Transformer,
    task: Task,
    problems: Sequence[Problem],
    controller: CHRPOController,
    *,
    seed: int,
    learning_rate: float,
    tokens: int,
    name: str = "",
) -> dict[str, Any]:
    """Train the model in place; returns the numbers of generated tokens and of steps, and the course of the run.

    Args:
        model: Model to train.
        task: Task of the problems.
        problems: Problems of RL, `PROMPTS` a step, in turn.
        controller: Controller for these problems.
        seed: Seed of all draws.
        learning_rate: Learning rate of AdamW.
        tokens: Number of generated tokens from which no further step is made.
        name: Name on the progress bar.
    """
    generator, generated = torch.Generator().manual_seed(seed), 0
    course: list[dict[str, float]] = []
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, betas=(0.9, 0.95), weight_decay=0.0)
    bar = tqdm(total=tokens, desc=name, unit="tok", unit_scale=True)
    while generated < tokens:
        start = len(course) * PROMPTS % (len(problems) - PROMPTS + 1)
        rows = np.arange(start, start + PROMPTS)
        chosen, ladder, out = _roll_out(model, task, problems[start : start + PROMPTS], rows, controller, generator)
        repeated = [problems[row] for row in rows.repeat(GROUP).tolist()]
        answers, length = Answers.read(out, repeated), (out >= 0).sum(1)
        used = int(length.sum()) + len(repeated)
        rollouts = _rollouts(rows.repeat(GROUP), chosen, ladder, answers, length)
        step = controller.step(rollouts, [str(rollout.row) for rollout in rollouts])
        control, response = (torch.tensor(part / step.tokens).float() for part in (step.control, step.response))
        if control.any() or response.any():
            _loss(model, problems[start : start + PROMPTS], chosen, out, control, response).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
        generated += used
        course.append({short: step.metrics[name] for short, name in COURSE.items() if name in step.metrics})
        bar.update(used)
        bar.set_postfix(accuracy=answers.correct.float().mean().item(), tokens=answers.thinking.float().mean().item())
    bar.close()
    return {"generated_tokens": generated, "steps": len(course), "course": course}


@torch.no_grad()
def _roll_out(
    model: Transformer,
    task: Task,
    problems: Sequence[Problem],
    rows: np.ndarray,
    controller: CHRPOController,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor, Tensor]:
    """Index of each rollout's ratio, log-probability of each ratio, [rollouts, ratios], and generated ids."""
    cache, ladder = read_prompts(model, problems)
    chosen = torch.multinomial(ladder.exp(), GROUP, replacement=True, generator=generator)
    whole = controller.prompts.at_every_ratio(rows, controller.objective.ladder_share)
    chosen[torch.from_numpy(whole), : len(LADDER)] = torch.arange(len(LADDER))
    chosen = chosen.reshape(-1)
    group = torch.arange(len(problems)).repeat_interleave(GROUP)
    out = decode(
        model,
        [(key[group], value[group]) for key, value in cache],
        RATIO + chosen,
        max_tokens=task.max_tokens,
        end=END,
        temperature=TEMPERATURE,
        generator=generator,
    )
    return chosen, ladder[group], out


def _rollouts(rows: np.ndarray, chosen: Tensor, ladder: Tensor, answers: Answers, length: Tensor) -> list[Rollout]:
    """The rollouts as the controller takes them; the ratio token counts as one token of the completion."""
    found = []
    for place, (row, index) in enumerate(zip(rows.tolist(), chosen.tolist(), strict=True)):
        format_ok = bool(answers.format_ok[place])
        stats = RolloutStats(
            format_ok=format_ok,
            correct=bool(answers.correct[place]),
            truncated=not format_ok,
            thinking_tokens=int(answers.thinking[place]),
            completion_tokens=int(length[place]) + 1,
            integrity=0.0,
        )
        found.append(Rollout(row=row, ratio_index=index, stats=stats, log_prob=float(ladder[place, index])))
    return found


def _loss(
    model: Transformer, problems: Sequence[Problem], chosen: Tensor, out: Tensor, control: Tensor, response: Tensor
) -> Tensor:
    """-(sum of advantage x log-probability); the advantages are already divided by the number of tokens."""
    cache, ladder = read_prompts(model, problems)
    group = torch.arange(len(problems)).repeat_interleave(GROUP)
    loss = -(control * ladder[group, chosen]).sum()
    used = ((response != 0) | (control != 0)).nonzero()[:, 0]
    width = int((out[used] >= 0).sum(1).max())
    ids = out[used, :width]
    before = torch.cat([RATIO + chosen[used][:, None], ids[:, :-1].clamp(min=0)], 1)
    past = [(key[group[used]], value[group[used]]) for key, value in cache]
    taken = ids >= 0
    logits = model.logits(model(before, past=past)[taken]) / TEMPERATURE
    log_probs = -F.cross_entropy(logits, ids[taken], reduction="none")
    return loss - (response[used][:, None].expand_as(ids)[taken] * log_probs).sum()
