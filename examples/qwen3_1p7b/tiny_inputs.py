"""Inputs of a dry run in place of `inputs`: a tiny Qwen3 of random weights and generated problems; nothing is fetched.

Tokenizer, chat template and problems are the quickstart's. Each problem keeps its `story`, from which `fake_answers`
writes an answer, because a model of random weights gives none.

    python examples/qwen3_1p7b/tiny_inputs.py runs/dry_run
"""

import sys
from itertools import islice
from pathlib import Path

import click
import torch
from inputs import TESTS, write
from settings import DRY_RUN

sys.path.insert(0, str(Path(__file__).parents[1] / "quickstart"))
from base_model import build_model, build_tokenizer
from problems import problems

TEST_PROBLEMS = 6


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--evaluated", default=DRY_RUN.metamath_questions, show_default=True, help="Number of questions of MetaMath-1k."
)
@click.option("--rl", default=DRY_RUN.rl_questions, show_default=True, help="Number of questions of CHRPO.")
@click.option(
    "--sft", default=DRY_RUN.sft_questions, show_default=True, help="Number of questions that the base model answers."
)
def main(run: Path, evaluated: int, rl: int, sft: int) -> None:
    """Write RUN/base and RUN/problems/*.jsonl."""
    torch.manual_seed(0)
    tokenizer = build_tokenizer()
    build_model(tokenizer).save_pretrained(run / "base")
    tokenizer.save_pretrained(run / "base")
    sizes = {"metamath1k": evaluated, "rl": rl, "sft": sft}
    sizes |= dict.fromkeys(TESTS, TEST_PROBLEMS)
    rows = problems("base", 0)
    for name, size in sizes.items():
        write(run / f"problems/{name}.jsonl", islice(rows, size))


if __name__ == "__main__":
    main()
