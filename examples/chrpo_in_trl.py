r"""CHRPO with TRL, and with a grader of your own.

    pip install 'chrpo[trl]'
    python examples/chrpo_in_trl.py checkpoints/sft prompts.jsonl checkpoints/chrpo --max-steps 100
    accelerate launch --num_processes 4 examples/chrpo_in_trl.py …

CHECKPOINT follows ratio tokens (`ratio-sft train` makes one); `chrpo prepare` writes PROMPTS. A grader is any function
of a completion and its reference answer: a unit test, a model behind a server, or the last number, as here.
"""

import re
import sys
from pathlib import Path

import click

from chrpo import ChrpoError, ControlTokens, read_prompts
from chrpo.trl import CHRPOConfig, CHRPOTrainer


def last_number(completion: str, answer: str) -> bool:
    """True if the last number after the thinking is the reference answer."""
    numbers = re.findall(r"-?\d+(?:\.\d+)?", completion.rpartition("</think>")[2].replace(",", ""))
    return bool(numbers) and float(numbers[-1]) == float(answer.replace(",", ""))


@click.command()
@click.argument("checkpoint", type=click.Path(exists=True, path_type=Path))
@click.argument("prompts", type=click.Path(exists=True, path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--max-steps", "--steps", "steps", default=100, show_default=True, help="Number of steps.")
@click.option("--each", default=8, show_default=True, help="Number of prompts per step.")
@click.option("--learning-rate", default=1e-6, show_default=True, help="Learning rate of AdamW.")
@click.option("--max-tokens", default=4096, show_default=True, help="Largest number of tokens of a completion.")
def main(checkpoint: Path, prompts: Path, out: Path, steps: int, each: int, learning_rate: float, max_tokens: int):
    """Train CHECKPOINT on PROMPTS and save it to OUT."""
    tokens = ControlTokens.load(checkpoint)
    rollouts = 2 * len(tokens.ratios)
    trainer = CHRPOTrainer(
        checkpoint,
        CHRPOConfig(
            str(out),
            max_steps=steps,
            num_generations=rollouts,
            per_device_train_batch_size=each * rollouts,
            max_completion_length=max_tokens - 1,
            learning_rate=learning_rate,
            accuracy_slack=0.01,
            logging_steps=1,
            save_strategy="no",
            report_to="none",
        ),
        prompts=read_prompts(prompts),
        control_tokens=tokens,
        grader=last_number,
    )
    trainer.train()
    trainer.save_model(str(out))
    tokens.save(out)
    trainer.accelerator.end_training()


if __name__ == "__main__":
    try:
        main()
    except ChrpoError as error:
        sys.exit(f"error: {error}")
