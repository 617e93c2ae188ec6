"""What the compressor keeps: exactness on real traces, and grounded equations beside simpler methods.

Prints, for the scorer `rules`: (1) segmentation speed; (2) on every real trace, at five ratios, whether budget, nesting
and whole formulas hold; (3) grounded-equation recall on GSM8K's gold solutions and on real traces, beside the baselines
at the same token count. Solutions of GSM8K are read without their calculator marks (`<<48/2=24>>`).

    python benchmarks/cot_compressor_fidelity.py --data-dir ../shared/data --tokenizer runs/smollm2/base

Without `--tokenizer`, tokens are words, numbers and signs. Needs no network and no model.
"""

import gzip
import itertools
import json
import re
import sys
import time
from pathlib import Path

import click

from cot_compressor.baselines import BASELINES, select_baseline
from cot_compressor.compressor import Compression, Compressor
from cot_compressor.errors import InfeasibleBudget
from cot_compressor.fidelity import Sample, bootstrap, measure
from cot_compressor.relations import grounded, question_numbers, read_equations
from cot_compressor.segment import segment

RATIOS = [0.1, 0.2, 0.4, 0.6, 0.8]
CALCULATOR = re.compile(r"<<[^>]*>>")


def load(path: Path) -> list[dict]:
    """The rows of a `.jsonl` or `.jsonl.gz` file."""
    with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def gsm8k(path: Path) -> list[dict]:
    """Gold solutions as traces."""
    rows = []
    for at, row in enumerate(load(path)):
        cot, _, answer = row["answer"].partition("\n#### ")
        rows.append({"id": str(at), "question": row["question"], "cot": CALCULATOR.sub("", cot), "answer": answer})
    return rows


def print_speed(traces: list[dict]) -> None:
    """Characters segmented per second of processor time."""
    start = time.process_time()
    units = sum(len(segment(row["cot"])) for row in traces)
    seconds = time.process_time() - start
    characters = sum(len(row["cot"]) for row in traces)
    print(f"segmentation: {characters} characters, {units} units, {characters / seconds / 1e6:.2f} M characters/s")


def print_exactness(traces: list[dict], compressor: Compressor) -> None:
    """Counts of selections that break a promise, over every trace and ratio."""
    count = compressor.counter.count
    selections = exact = over = short = torn = split = infeasible = not_nested = 0
    formulas = 0
    start = time.process_time()
    for row in traces:
        cot = row["cot"]
        units = segment(cot)
        try:
            results = compressor.compress(cot, question=row["question"], ratios=RATIOS)
        except InfeasibleBudget:
            infeasible += 1
            continue
        smaller: set[int] = set()
        for result in results:
            kept = {at for begin, end in result.spans for at in range(begin, end)}
            whole = [all(at in kept for at in range(unit.start, unit.end) if not cot[at].isspace()) for unit in units]
            math = [at for at, unit in enumerate(units) if unit.kind == "math"]
            formulas += len(math)
            torn += sum(not whole[at] and units[at].start in kept for at in math)
            budget = int(round(result.ratio * result.original_tokens, 6))
            selections += 1
            over += count(result.text) > budget
            exact += result.tokens == budget
            left = [count(cot[unit.start : unit.end]) for at, unit in enumerate(units) if not whole[at]]
            short += bool(left) and budget - result.tokens > min(left)
            not_nested += not smaller <= kept
            split += bool(result.split)
            smaller = kept
    characters = sum(len(row["cot"]) for row in traces)
    seconds = time.process_time() - start
    print(
        f"exactness: {len(traces)} traces x {RATIOS}: {selections} selections, {infeasible} traces infeasible; "
        f"{over} above the budget, {exact} exactly on it, {short} short by more than the smallest unit left out; "
        f"{not_nested} not nested; {torn} of {formulas} formulas torn, {split} selections with a formula in parts; "
        f"{characters / seconds / 1e3:.0f} k characters/s with these checks, five ratios"
    )


def print_recall(name: str, rows: list[dict], compressor: Compressor, ratios: list[float]) -> None:
    """Grounded-equation recall of the scorer and the baselines, on the rows whose text has grounded equations."""
    print(f"\n{name}: grounded-equation recall, mean over rows (95 % interval over questions)")
    infeasible = 0
    values: dict[tuple[float, str], list[float | None]] = {}
    groups: list[str] = []
    most: dict[float, list[float]] = {ratio: [] for ratio in ratios}
    for row in rows:
        cot = row["cot"]
        units = segment(cot)
        chain = grounded(read_equations(cot, units), question_numbers(row["question"]))
        if not chain:
            continue
        try:
            results: list[Compression] = compressor.compress(cot, question=row["question"], ratios=ratios)
        except InfeasibleBudget:
            infeasible += 1
            continue
        groups.append(row["question"])
        sample = Sample(row["question"], cot, units, row["answer"])
        distinct = {one.key: cot[units[one.unit].start : units[one.unit].end] for one in chain}
        costs = sorted(compressor.counter.count(formula) for formula in distinct.values())
        for result in results:
            # No selection can hold more equations than the cheapest ones that fit together.
            fitting = sum(total <= result.ratio * result.original_tokens for total in itertools.accumulate(costs))
            most[result.ratio].append(fitting / len(costs))
            entries = {"rules": measure(sample, result.spans, result.text)["grounded_recall"]}
            for baseline in BASELINES:
                choice = select_baseline(baseline, cot, result.tokens, compressor.counter)
                entries[baseline] = measure(sample, choice.spans, choice.text)["grounded_recall"]
            for method, value in entries.items():
                values.setdefault((result.ratio, method), []).append(value)
    print(f"{len(groups)} rows measured, {infeasible} infeasible at the smallest ratio")
    for ratio in ratios:
        cells = []
        for method in ("rules", *BASELINES):
            interval = bootstrap(values[ratio, method], groups)
            assert interval is not None
            cells.append(f"{method} {interval.mean:.3f} ({interval.low:.3f}-{interval.high:.3f})")
        bound = sum(most[ratio]) / len(groups)
        print(f"  {ratio:g}: {'  '.join(cells)}; the budget holds at most {bound:.3f}")


@click.command()
@click.option("--data-dir", type=click.Path(path_type=Path), default=Path("../shared/data"), show_default=True)
@click.option("--tokenizer", type=click.Path(path_type=Path), help="Model folder; default: words, numbers and signs.")
@click.option("--limit", type=click.IntRange(1), help="Use only so many rows of each file, evenly spread.")
@click.option("--recall-rows", type=click.IntRange(1), default=400, show_default=True, help="Rows of GSM8K.")
def main(data_dir: Path, tokenizer: Path | None, limit: int | None, recall_rows: int) -> None:
    """Print the figures."""
    traces_file, gsm8k_file = data_dir / "traces_math_train.jsonl.gz", data_dir / "gsm8k_test.jsonl"
    if not traces_file.is_file() or not gsm8k_file.is_file():
        print(f"skipped: no {traces_file.name} and {gsm8k_file.name} in {data_dir}; give --data-dir")
        return
    traces = load(traces_file)
    traces = traces[:: max(1, len(traces) // limit)] if limit else traces
    solutions = gsm8k(gsm8k_file)
    solutions = solutions[:: max(1, len(solutions) // recall_rows)][:recall_rows]
    compressor = Compressor.from_pretrained("rules", tokenizer=tokenizer)
    print(f"tokens: {compressor.counter.name}")
    print_speed(traces)
    sys.stdout.flush()
    print_recall("GSM8K gold solutions", solutions, compressor, [0.2, 0.4, 0.6])
    sys.stdout.flush()
    print_recall("real traces", traces[:: max(1, len(traces) // 40)], compressor, RATIOS)
    sys.stdout.flush()
    print_exactness(traces, compressor)


if __name__ == "__main__":
    main()
