r"""The order in which a run takes its prompts: epoch after epoch, each shuffled differently.

After a resume, TRL's own sampler would repeat its first shuffle. Which ratio a rollout opens with is left to `trainer`.

    scheduled(["<|im_start|>user\n1 + 2? <COMP_POLICY>…"], CHRPOConfig("out", max_steps=40))
"""

import math
from collections.abc import Sequence

import numpy as np
from datasets import Dataset

from chrpo.errors import DataError

from .config import CHRPOConfig


def scheduled(prompts: Sequence[str], args: CHRPOConfig) -> Dataset:
    """The prompts of every step in order, cut to whole steps: columns `prompt` and `row`, the place of the prompt.

    Args:
        prompts: Text of each prompt.
        args: Settings of the run.

    Raises:
        DataError: a step needs more prompts than there are.
    """
    each = int(args.generation_batch_size or 0) // int(args.num_generations or 1)
    if len(prompts) < each:
        raise DataError(
            f"{len(prompts)} prompts are too few for {each} per step; add prompts or lower prompts per step"
        )
    passes = int(args.steps_per_generation or 1) * args.num_iterations
    wanted = each * math.ceil(args.max_steps * int(args.gradient_accumulation_steps or 1) / passes)
    generator = np.random.default_rng(args.seed)
    epochs = [generator.permutation(len(prompts)) for _ in range(math.ceil(wanted / len(prompts)))]
    order = np.concatenate(epochs)[:wanted]
    return Dataset.from_dict({"prompt": list(prompts), "row": list(range(len(prompts)))}).select(order)
