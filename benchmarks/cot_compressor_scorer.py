"""Compares a scorer trained from MiniLM with the rules that marked its labels, on questions it never saw.

The traces are the real ones and the 0-shot responses of CHAMP (GPT-3.5, GPT-4, PaLM 2), both up to 8 000 characters and
with a reference answer. Questions are split into a training and a test side. The rules annotate the training side, and
`train` holds out a tenth of its questions for early stopping. Every figure is measured on the test side, at the same
lengths, from one run of training. The script also measures how many selections are the same in bf16 and with the int8
export. Speed is in `cot_compressor_speed.py`.

    python benchmarks/cot_compressor_scorer.py --characters 500000
"""

import gzip
import json
import random
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from cot_compressor_speed import BF16, instructions
from peers import DEFAULT, minilm, wheel_file
from recording import data_dir_option, record

from cot_compressor import Compressor, TrainSettings, annotate_file, evaluate_file, segment, train_file
from cot_compressor._shared.records import read_records, write_records
from cot_compressor.evaluation.fidelity import mean_with_interval
from cot_compressor.scorers.export import export_folder
from cot_compressor.training.annotate import RulesAnnotator

RATIOS = [0.1, 0.2, 0.4, 0.6, 0.8]
KEEP_SHARE = 0.2
TEST_SHARE = 0.2
LONGEST = 8000
SHOWN = {
    "grounded_recall": "grounded equations kept",
    "answer_retention": "answer kept",
    "question_numbers": "numbers of the question kept",
    "negations": "negations kept with what they negate",
    "turned": "negations lost where a part of what they negate is kept",
}


def real_traces(data: Path) -> list[dict[str, Any]]:
    """The traces of the five reasoning models."""
    with gzip.open(data / "traces_math_train.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    return [{"sample": 0, "correct": True, **row} for row in rows]


def champ_responses(peers: Path) -> list[dict[str, Any]]:
    """The first reply of every model to every problem of CHAMP, asked without examples or hints."""
    text = wheel_file(peers, "champ-dataset", "champ_dataset/dataset_files/v0.json").read_text("utf-8")
    rows: list[dict[str, Any]] = []
    for name, problem in json.loads(text)["problems"].items():
        for setting, talk in problem["conversations"].items():
            model, _, way = setting.partition("|")
            replies = [one["text"] for one in talk["messages"] if one["role"].startswith("Model") and one["text"]]
            if way != "0-Shot" or not replies:
                continue
            row = {"id": f"{name} {model}", "question": problem["_text"], "answer": problem["_answer"]}
            rows.append({**row, "model": model, "cot": replies[0], "response": "", "correct": True, "sample": 0})
    return rows


def pick(rows: list[dict[str, Any]], characters: int, seed: int) -> list[dict[str, Any]]:
    """Rows in random order, up to so many characters."""
    rows = list(rows)
    random.Random(seed).shuffle(rows)
    picked: list[dict[str, Any]] = []
    for row in rows:
        if characters > 0:
            picked.append(row)
            characters -= len(row["cot"])
    return picked


def split(rows: list[dict[str, Any]], seed: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows on training questions, and on test questions."""
    questions = sorted({row["question"] for row in rows})
    random.Random(seed).shuffle(questions)
    test = set(questions[: round(TEST_SHARE * len(questions))])
    return [row for row in rows if row["question"] not in test], [row for row in rows if row["question"] in test]


def compare(file: Path) -> list[dict[str, Any]]:
    """Means and intervals of every method, and trained minus rules on the same rows, from the output of `evaluate`."""
    rows = list(read_records(file, "fidelity"))
    groups = [row["question"] for row in rows]
    values: dict[tuple[float, str, str], list[float | None]] = {}
    for row in rows:
        for entry in row["measured"]:
            for metric in SHOWN:
                values.setdefault((entry["ratio"], entry["method"], metric), []).append(entry["metrics"][metric])
    found: list[dict[str, Any]] = []
    for (ratio, method, metric), column in values.items():
        interval = mean_with_interval(column, groups)
        entry: dict[str, Any] = {"ratio": ratio, "method": method, "metric": metric}
        entry |= {"mean": interval.mean, "rows": interval.rows} if interval else {"mean": None, "rows": 0}
        if method == "trained":
            pairs = zip(column, values[ratio, "rules", metric], strict=True)
            gain = mean_with_interval([a - b if a is not None and b is not None else None for a, b in pairs], groups)
            entry["gain"] = [gain.mean, gain.low, gain.high] if gain else None
        found.append(entry)
    return found


def kept_units(compressor: Compressor, rows: list[dict[str, Any]]) -> list[list[frozenset[int]]]:
    """The start offsets of the units that are kept of each row at every ratio; empty for a row that is too short."""
    results = compressor.compress_many([(row["question"], row["cot"]) for row in rows], ratios=RATIOS)
    found: list[list[frozenset[int]]] = []
    for row, result in zip(rows, results, strict=True):
        starts = frozenset(unit.start for unit in segment(row["cot"]))
        spans = [one.spans for one in result] if isinstance(result, list) else []
        found.append([starts.intersection(at for low, high in one for at in range(low, high)) for one in spans])
    return found


def agreement(scorer: Compressor, other: Compressor, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The share of rows where both keep the same units, and the share of units that both keep, at each ratio."""
    pairs = list(zip(kept_units(scorer, rows), kept_units(other, rows), strict=True))
    groups = [row["question"] for row in rows]
    found: dict[str, Any] = {}
    for at, ratio in enumerate(RATIOS):
        here = [(one[at], two[at]) if one and two else None for one, two in pairs]
        same = mean_with_interval([float(pair[0] == pair[1]) if pair else None for pair in here], groups)
        shared = mean_with_interval(
            [len(pair[0] & pair[1]) / len(pair[0] | pair[1]) if pair else None for pair in here], groups
        )
        assert same is not None
        assert shared is not None
        found[f"{ratio:g}"] = {"same": asdict(same), "shared": asdict(shared)}
    return found


def tables(result: dict[str, Any]) -> str:
    """The figures as Markdown."""
    training = result["training"]
    lines = [
        f"{training['train_rows']} + {training['held_out_rows']} rows ({result['characters']} characters) on "
        f"{result['questions']} questions, "
        f"{training['epochs']} epochs, {result['train_seconds'] / 60:.1f} minutes "
        f"({result['train_processor_seconds'] / 60:.1f} of processor time, {result['threads']} thread): macro-F1 "
        f"{max(training['macro_f1']):.3f} on the questions held out for early stopping. "
        f"Test: {result['test_rows']} rows on {result['test_questions']} other questions.",
    ]
    for metric, name in SHOWN.items():
        entries = [one for one in result["methods"] if one["metric"] == metric]
        methods = list(dict.fromkeys(one["method"] for one in entries))
        lines += ["", f"| {name}, at ratio | {' | '.join(methods)} | trained minus rules (95 %) |"]
        lines.append("|" + "---|" * (len(methods) + 2))
        for ratio in RATIOS:
            here = {one["method"]: one for one in entries if one["ratio"] == ratio}
            mean, low, high = here["trained"]["gain"]
            cells = [f"{here[method]['mean']:.3f}" for method in methods]
            lines.append(f"| {ratio:g} | {' | '.join(cells)} | {mean:+.3f} ({low:+.3f} to {high:+.3f}) |")
    for kind in result["agreement"]:
        head = f"| {kind} beside fp32, at ratio | the very same selection (95 %) | kept pieces shared (95 %) |"
        lines += ["", head, "|---|---|---|"]
        for ratio, entry in result["agreement"][kind].items():
            both = (entry["same"], entry["shared"])
            cells = [f"{one['mean']:.1%} ({one['low']:.1%} to {one['high']:.1%})" for one in both]
            lines.append(f"| {ratio} | {' | '.join(cells)} |")
    return "\n".join(lines)


@click.command()
@data_dir_option
@click.option(
    "--peers", type=click.Path(path_type=Path), default=DEFAULT, help="Folder in which MiniLM and CHAMP are stored."
)
@click.option(
    "--characters", default=500_000, show_default=True, help="Number of characters of training text, half from CHAMP."
)
@click.option(
    "--test-characters", default=400_000, show_default=True, help="Number of characters of test text, half from CHAMP."
)
@click.option("--epochs", default=3, show_default=True, help="Largest number of epochs.")
def main(data_dir: Path, peers: Path, characters: int, test_characters: int, epochs: int) -> None:
    """Print and record the figures."""
    import torch

    if not (data_dir / "traces_math_train.jsonl.gz").is_file():
        print(f"skipped: no traces_math_train.jsonl.gz in {data_dir}; give --data-dir")
        return
    training: list[dict[str, Any]] = []
    test: list[dict[str, Any]] = []
    for rows in (real_traces(data_dir), champ_responses(peers)):
        usable = [row for row in rows if row["answer"] and row["cot"].strip() and len(row["cot"]) <= LONGEST]
        sides = split(usable, seed=0)
        training += pick(sides[0], characters // 2, seed=0)
        test += pick(sides[1], test_characters // 2, seed=0)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_records(folder / "training.jsonl", training)
        write_records(folder / "test.jsonl", test)
        annotate_file(folder / "training.jsonl", folder / "annotated.jsonl", RulesAnnotator(KEEP_SHARE))
        encoder, model = minilm(peers), folder / "scorer"
        # Half an hour on two cores allows few steps, so batches are smaller and the rate is higher than the defaults.
        settings = TrainSettings(encoder=encoder, epochs=epochs, batch_size=8, learning_rate=2e-4)
        start = time.perf_counter(), time.process_time()
        report = train_file(folder / "annotated.jsonl", model, settings)
        seconds = time.perf_counter() - start[0], time.process_time() - start[1]
        assert report is not None
        evaluate_file(folder / "test.jsonl", folder / "fidelity", ratios=RATIOS, scorer=model, tokenizer=encoder)
        scorer = Compressor.from_pretrained(model)
        others = {"int8 ONNX": Compressor.from_pretrained(export_folder(model, folder / "int8"))}
        if BF16.intersection(instructions()):
            others["bf16"] = Compressor.from_pretrained(model, dtype="bfloat16")
        result = {
            "training": json.loads((model / "compressor.json").read_text("utf-8"))["training"],
            "questions": len({row["question"] for row in training}),
            "characters": sum(len(row["cot"]) for row in training),
            "train_seconds": seconds[0],
            "train_processor_seconds": seconds[1],
            "threads": torch.get_num_threads(),
            "test_rows": len(test),
            "test_questions": len({row["question"] for row in test}),
            "methods": compare(folder / "fidelity" / "metrics.jsonl"),
            "agreement": {name: agreement(scorer, other, test) for name, other in others.items()},
        }
    record(__file__, result, tables)


if __name__ == "__main__":
    main()
