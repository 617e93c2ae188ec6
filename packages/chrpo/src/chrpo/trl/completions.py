"""The log of completions: the rollouts of each step as read and rewarded, one file for each generation.

A file is named after its step and written at once, so that a killed run that is started again replaces it. Reading and
rewarding rollouts is left to `rollout` and `step`.

    {"step": 12, "id": "gsm8k-7", "ratio": "<COMP_20>", "completion": "<think> …", "correct": true, …}
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelerate.utils import gather_object

from chrpo._shared.records import write_records
from chrpo._shared.tokenizer_file import tokenizing
from chrpo.metrics import COMPLETIONS_FOLDER

from .compat import tokenizer_of

if TYPE_CHECKING:
    from .trainer import CHRPOTrainer

_FLAGS = ("format_ok", "correct", "truncated")
_COUNTS = ("thinking_tokens", "completion_tokens")


def write_completions(
    trainer: "CHRPOTrainer", ladder: Sequence[str], completions: Sequence[Sequence[int]], columns: Mapping[str, Any]
) -> None:
    """Write the rollouts of a generation to `completions/step_<number>.jsonl`, in the folder of the run.

    Every process calls this; the main one writes. `num_completions_to_print` limits the number of rollouts.

    Args:
        trainer: The trainer, with the advantages of the step.
        ladder: Token of each ratio; empty if there are no control tokens.
        completions: Token ids of the completions of this process, without control tokens and padding.
        columns: Facts about the rollouts of all processes, `row`, `ratio_index` and `reward` among them, [rollouts].
    """
    tokenizer = tokenizer_of(trainer)
    with tokenizing(str(tokenizer.name_or_path)):
        texts = gather_object([tokenizer.decode(ids, skip_special_tokens=False) for ids in completions])
    if not trainer.accelerator.is_main_process:
        return
    args: Any = trainer.args
    step, advantages = trainer.state.global_step + 1, trainer.token_advantages
    lines = [
        {
            "step": step,
            "id": trainer.rows[int(columns["row"][place])]["id"],
            "ratio": ladder[int(columns["ratio_index"][place])] if ladder else None,
            "completion": text,
            **{name: bool(columns[name][place]) for name in _FLAGS},
            **{name: int(columns[name][place]) for name in _COUNTS},
            "reward": float(columns["reward"][place]),
            "control_advantage": float(advantages.control[place]),
            "response_advantage": float(advantages.response[place]),
        }
        for place, text in enumerate(texts[: args.num_completions_to_print])
    ]
    write_records(Path(args.output_dir or ".") / COMPLETIONS_FOLDER / f"step_{step:06d}.jsonl", lines)
