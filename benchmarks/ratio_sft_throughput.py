"""Tokens per second of `ratio-sft train` and of plain SFTTrainer, for one epoch over the same rows, measured in turn.

    python benchmarks/ratio_sft_throughput.py runs/quickstart/mix/ratios runs/quickstart/base --rounds 5

The unit is processor time of one thread, so that other work on the machine has little effect.
"""

import random
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import torch
from recording import record, spread
from tqdm import tqdm
from transformers.trainer_callback import PrinterCallback
from trl.trainer.sft_trainer import SFTTrainer

from ratio_sft import ControlTokens, TrainSettings, add_control_tokens, load_model
from ratio_sft._shared.records import Row, Tally, read_records
from ratio_sft._shared.thinking import THINK
from ratio_sft.training import encoded_file
from ratio_sft.training.encoding import Encoded, encode
from ratio_sft.training.sampler import LengthGroupedSampler
from ratio_sft.training.trainer import build_trainer

PLAIN, SAME_BATCHES = "SFTTrainer", "SFTTrainer, batches of ratio-sft"
PADDED, PACKED = "ratio-sft", "ratio-sft --packing"
CONDITIONS = (PLAIN, SAME_BATCHES, PADDED, PACKED)
BATCH = 16


class SameBatches(SFTTrainer):
    """Plain SFTTrainer with the row order of ratio-sft."""

    def _get_train_sampler(self, train_dataset: Any = None) -> LengthGroupedSampler:
        lengths = [len(ids) for ids in self.train_dataset["input_ids"]]
        return LengthGroupedSampler(lengths, group=BATCH, seed=self.args.seed)


def tables(result: dict[str, Any]) -> str:
    """Speed of each condition, and its ratio to both conditions of plain SFTTrainer."""
    lines = [f"| | tokens/s | against {PLAIN} | against {SAME_BATCHES} |", "|---|---|---|---|"]
    for name, found in result["conditions"].items():
        ratios = (
            f"{found[other]['median']:.3f} × ({found[other]['low']:.3f} to {found[other]['high']:.3f})"
            for other in ("to_plain", "to_same_batches")
        )
        lines.append(f"| {name} | {found['tokens_per_s']['median']:.0f} | {' | '.join(ratios)} |")
    packed = result["packed_to_padded"]
    lines += [
        "",
        f"Packed against padded, both of ratio-sft: {packed['median']:.3f} × "
        f"({packed['low']:.3f} to {packed['high']:.3f}).",
        "",
        f"Median and range of {result['rounds']} rounds, ratios taken within a round. {result['rows']} rows drawn from "
        f"the mixture, {result['tokens']} tokens without padding, batches of {BATCH}.",
    ]
    return "\n".join(lines)


def load(model: str, rows: list[Row]) -> tuple[Any, Any, list[Encoded]]:
    """A fresh model, its tokenizer, and the encoded rows."""
    network, tokenizer = load_model(model)
    ladder = ControlTokens.ladder({row["ratio"] for row in rows})
    add_control_tokens(network, tokenizer, ladder)
    return network, tokenizer, list(encode(tokenizer, rows, ladder, THINK, max_length=6144, tally=Tally()))


def seconds(condition: str, model: str, rows: list[Row]) -> float:
    """Processor seconds of one epoch over the rows."""
    network, tokenizer, encoded = load(model, rows)
    settings = TrainSettings(model=model, epochs=1, batch_size=BATCH, packing=condition == PACKED)
    with tempfile.TemporaryDirectory() as folder:
        encoded_file.write(Path(folder) / "rows.arrow", encoded)
        data = encoded_file.read(Path(folder) / "rows.arrow")
        trainer: SFTTrainer = build_trainer(network, tokenizer, data, settings, Path(folder))
        trainer.args.save_strategy = "no"
        if condition in {PLAIN, SAME_BATCHES}:
            kind = SFTTrainer if condition == PLAIN else SameBatches
            trainer = kind(network, args=trainer.args, train_dataset=data, processing_class=tokenizer)
            trainer.remove_callback(PrinterCallback)
        start = time.process_time()
        trainer.train()
        return time.process_time() - start


@click.command()
@click.argument("mix")
@click.argument("model")
@click.option("--rounds", default=5, show_default=True, help="Number of measurements of each condition.")
@click.option("--steps", default=40, show_default=True, help="Number of optimiser steps in a measurement.")
def main(mix: str, model: str, rounds: int, steps: int) -> None:
    """Time every condition in each round, in alternating order, after one warm-up round."""
    torch.set_num_threads(1)
    rows = random.Random(0).sample(list(read_records(Path(mix) / "train.jsonl", "sft")), steps * BATCH)
    count = sum(len(row.input_ids) for row in load(model, rows)[2])
    spent: dict[str, list[float]] = {name: [] for name in CONDITIONS}
    for number in tqdm(range(rounds + 1), desc="rounds"):
        for name in CONDITIONS if number % 2 else CONDITIONS[::-1]:
            spent[name].append(seconds(name, model, rows))
    spent = {name: times[1:] for name, times in spent.items()}

    def ratio(name: str, other: str) -> dict[str, float]:
        return spread([theirs / ours for theirs, ours in zip(spent[other], spent[name], strict=True)])

    conditions = {
        name: {
            "tokens_per_s": spread([count / second for second in spent[name]]),
            "to_plain": ratio(name, PLAIN),
            "to_same_batches": ratio(name, SAME_BATCHES),
        }
        for name in CONDITIONS
    }
    result = {"conditions": conditions, "packed_to_padded": ratio(PACKED, PADDED)}
    record(__file__, {**result, "rounds": rounds, "rows": len(rows), "tokens": count}, tables)


if __name__ == "__main__":
    main()
