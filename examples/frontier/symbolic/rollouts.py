"""Answers of a model to symbolic problems, what is read off them, and the evaluation of a model.

Learning from rollouts is left to `reinforce`.

    evaluate(model, TASKS["shallow"], seed=0)            # {"accuracy": 0.9, "tokens": 19.6}
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from generators import END, LADDER, NUMBERS, RATIO, Problem, Task, draw_problem
from torch import Tensor
from transformer import Cache, Transformer, decode

TEMPERATURE = 0.5
"""Sampling temperature of rollouts and of sampled evaluations; ratios are always drawn at 1."""


@dataclass(frozen=True)
class Answers:
    """What is read off generated ids.

    Args:
        format_ok: True if the thinking is closed and one number token follows, [rows].
        correct: True if this token is the answer that is marked correct, [rows].
        thinking: Number of thinking tokens, [rows].
    """

    format_ok: Tensor
    correct: Tensor
    thinking: Tensor

    @classmethod
    def read(cls, out: Tensor, problems: Sequence[Problem]) -> "Answers":
        """The answers in generated ids.

        Args:
            out: Result of `decode`, [rows, tokens].
            problems: Problem of each row.
        """
        ends = out == END
        closed, place = ends.any(1), ends.int().argmax(1)
        last = out.gather(1, (place + 1).clamp(max=out.shape[1] - 1)[:, None])[:, 0]
        format_ok = closed & (place + 1 < out.shape[1]) & (last >= 0) & (last < NUMBERS)
        right = last == torch.tensor([problem.answer for problem in problems])
        return cls(format_ok, format_ok & right, torch.where(closed, place, (out >= 0).sum(1)))


def read_prompts(model: Transformer, problems: Sequence[Problem]) -> tuple[Cache, Tensor]:
    """Keys and values of the prompts, and log-probabilities of the ratios, [problems, ratios]."""
    keep: Cache = []
    hidden = model(torch.tensor([problem.prompt for problem in problems]), keep=keep)
    return keep, model.logits(hidden[:, -1])[:, RATIO : RATIO + len(LADDER)].log_softmax(-1)


@torch.no_grad()
def evaluate(
    model: Transformer,
    task: Task,
    seed: int,
    *,
    ratio: int | Literal["none"] | None = None,
    temperature: float = 0.0,
) -> dict[str, float]:
    """Share of correct answers, and mean thinking tokens, on problems drawn apart from those of training.

    Args:
        model: Model that answers.
        task: Task of the problems.
        seed: Seed of problems and draws.
        ratio: Index of the ratio for all problems; None leaves the choice to the model, "none" is for the base model,
            which knows no ratios.
        temperature: Sampling temperature; 0 takes the likeliest ratio and tokens.
    """
    rng, generator = random.Random(f"eval {seed}"), torch.Generator().manual_seed(seed)
    problems = [draw_problem(task, rng) for _ in range(task.test_problems)]
    asked = [replace(problem, prompt=problem.prompt[:-1]) for problem in problems] if ratio == "none" else problems
    cache, ladder = read_prompts(model, asked)
    if ratio == "none":
        first = torch.tensor([problem.prompt[-1] for problem in problems])
    elif ratio is not None:
        first = torch.full((len(problems),), RATIO + ratio)
    elif temperature == 0:
        first = RATIO + ladder.argmax(-1)
    else:
        first = RATIO + torch.multinomial(ladder.exp(), 1, generator=generator)[:, 0]
    out = decode(
        model,
        cache,
        first,
        max_tokens=task.max_tokens,
        end=END,
        temperature=temperature,
        generator=generator,
    )
    answers = Answers.read(out, problems)
    return {"accuracy": answers.correct.float().mean().item(), "tokens": answers.thinking.float().mean().item()}
