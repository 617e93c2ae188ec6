"""Tokens per second of `ratio-sft train` against plain SFTTrainer on the same rows, interleaved in one run.

Conditions: plain SFTTrainer (padded, random order), ratio-sft (padded, batches of similar length), ratio-sft with
packing. Each round times all of them in turn; what counts is the ratio to plain SFTTrainer within a round.

    python benchmarks/ratio_sft_throughput.py runs/quickstart/mix/ratios runs/quickstart/base --rounds 5
"""

import tempfile
import time
from pathlib import Path
from statistics import median

import click
from transformers.trainer_callback import PrinterCallback
from trl.trainer.sft_trainer import SFTTrainer

from ratio_sft import TrainSettings, checkpoints, template, tokens
from ratio_sft.control import ControlTokens
from ratio_sft.encoding import encode
from ratio_sft.records import Tally, read_records
from ratio_sft.trainer import build_trainer


def seconds(condition: str, model: str, mix: str, steps: int) -> tuple[float, int]:
    """Seconds of `steps` steps over the rows of `mix`, and the unpadded tokens they saw."""
    rows = list(read_records(Path(mix) / "train.jsonl", "sft"))
    settings = TrainSettings(
        model=model, max_steps=steps, batch_size=16, save_steps=steps + 1, packing="packed" in condition
    )
    network, tokenizer = checkpoints.load_model(model)
    ladder = ControlTokens.ladder({row["ratio"] for row in rows})
    tokens.install(network, tokenizer, ladder)
    template.install(tokenizer, ladder)
    encoded = encode(tokenizer, rows, ladder, max_length=settings.max_length, tally=Tally())
    seen = []
    with tempfile.TemporaryDirectory() as folder:
        trainer = build_trainer(network, tokenizer, encoded, settings, Path(folder))
        if condition == "plain SFTTrainer":
            trainer = SFTTrainer(
                network, args=trainer.args, train_dataset=trainer.train_dataset, processing_class=tokenizer
            )
            trainer.remove_callback(PrinterCallback)
        collate = trainer.data_collator

        def counted(batch: list[dict[str, list[int]]]) -> object:
            seen.append(sum(len(row["input_ids"]) for row in batch))
            return collate(batch)

        trainer.data_collator = counted
        trainer.args.save_strategy = "no"
        start = time.perf_counter()
        trainer.train()
        return time.perf_counter() - start, sum(seen[:steps])


@click.command()
@click.argument("mix")
@click.argument("model")
@click.option("--rounds", default=5, show_default=True)
@click.option("--steps", default=40, show_default=True, help="Optimiser steps of one measurement.")
def main(mix: str, model: str, rounds: int, steps: int) -> None:
    """Print tokens per second, and the median ratio to plain SFTTrainer with its range over rounds."""
    conditions = ("plain SFTTrainer", "ratio-sft", "ratio-sft packed")
    rates: dict[str, list[float]] = {condition: [] for condition in conditions}
    for number in range(rounds + 1):
        for condition in conditions if number % 2 else conditions[::-1]:
            spent, count = seconds(condition, model, mix, steps)
            if number:
                rates[condition].append(count / spent)
    for condition in conditions:
        ratios = [rate / plain for rate, plain in zip(rates[condition], rates["plain SFTTrainer"], strict=True)]
        click.echo(
            f"{condition:18} {median(rates[condition]):9.0f} tokens/s  {median(ratios):.2f} x "
            f"({min(ratios):.2f} to {max(ratios):.2f})"
        )


if __name__ == "__main__":
    main()
