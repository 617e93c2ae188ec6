"""Inputs of a dry run in place of `inputs`: a tiny Qwen3 and generated problems; nothing is fetched.

Tokenizer, chat template and problems are the quickstart's. The model is trained for a few seconds, to write a short
thinking and a boxed answer, because RL stops if no rollout has that form. Each problem keeps its `story`, from which
`fake_answers` writes a correct answer.

    python examples/qwen3_1p7b/tiny_inputs.py runs/dry_run
"""

import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import click
import torch
from inputs import TESTS, Row, write
from settings import DRY_RUN
from transformers import PreTrainedTokenizerFast, Qwen3ForCausalLM

sys.path.insert(0, str(Path(__file__).parents[1] / "quickstart"))
from base_model import batches, build_model, build_tokenizer, render
from problems import problems

TEST_PROBLEMS, TEACHING_STEPS = 6, 80


def teach(model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerFast, rows: Iterable[Row]) -> None:
    """Train the model to write one equation as its thinking, and the answer of `rows` in a box."""

    def lessons() -> Iterator[tuple[list[int], list[int]]]:
        for row in rows:
            start = tokenizer(render(tokenizer, row["question"])).input_ids
            answer = f"<think>\n{row['equations'][-1]}\n</think>\n\nThe answer is \\boxed{{{row['answer']}}}.<|im_end|>"
            rest = tokenizer(answer).input_ids
            yield start + rest, [-100] * len(start) + rest

    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for batch in islice(batches(lessons(), tokenizer.pad_token_id, 0), TEACHING_STEPS):
        model(**batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()


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
    model = build_model(tokenizer)
    teach(model, tokenizer, problems("base", 1))
    model.save_pretrained(run / "base")
    tokenizer.save_pretrained(run / "base")
    sizes = {"metamath1k": evaluated, "rl": rl, "sft": sft}
    sizes |= dict.fromkeys(TESTS, TEST_PROBLEMS)
    rows = problems("base", 0)
    for name, size in sizes.items():
        write(run / f"problems/{name}.jsonl", islice(rows, size))


if __name__ == "__main__":
    main()
