"""Measures what the scorer `rules` keeps: exactness, recall of grounded equations beside simpler methods, speed.

Recall is measured on real traces and on gold solutions of GSM8K, as published and without their calculator marks
(`<<48/2=24>>`). Each is counted in words, numbers and signs, and in the tokens of a model.

    python benchmarks/cot_compressor_fidelity.py --data-dir data --tokenizer runs/smollm2/base

The script needs no network and no model.
"""

import gzip
import itertools
import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from recording import data_dir_option, record, spread
from tqdm import tqdm

from cot_compressor import Compression, Compressor, InfeasibleBudget, segment, select_baseline
from cot_compressor.budget.counting import Counter
from cot_compressor.budget.ratios import token_budget
from cot_compressor.evaluation.baselines import BASELINES
from cot_compressor.evaluation.fidelity import Sample, mean_with_interval, measure_fidelity
from cot_compressor.scorers.base import ScoringInput
from cot_compressor.scorers.rules import RuleScorer
from cot_compressor.text.relations import Equation, grounded, question_numbers, read_equations
from cot_compressor.text.segment import Unit

RATIOS = [0.1, 0.2, 0.4, 0.6, 0.8]
SOLUTION_RATIOS = [0.2, 0.4, 0.6, 0.8]
CALCULATOR = re.compile(r"<<[^>]*>>")
METHODS = ("rules", *BASELINES)
# Up to this number of statements every subset is tried; for more, the bound ignores grounding.
SEARCHED = 12
ROUNDS = 3


def load(path: Path) -> list[dict]:
    """The rows of a `.jsonl` or `.jsonl.gz` file."""
    with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def spread_evenly(rows: list[dict], limit: int | None) -> list[dict]:
    """At most `limit` rows at equal distances, or all rows if `limit` is None."""
    return rows if limit is None else rows[:: -(-len(rows) // limit)]


def solutions(path: Path, *, marks: bool) -> list[dict]:
    """Gold solutions of GSM8K as traces."""
    found = []
    for at, row in enumerate(load(path)):
        cot, _, answer = row["answer"].partition("\n#### ")
        cot = cot if marks else CALCULATOR.sub("", cot)
        found.append({"id": str(at), "question": row["question"], "cot": cot, "answer": answer})
    return found


def speed(traces: list[dict], work: Callable[[dict], object]) -> dict[str, float]:
    """Characters per second of processor time: median and range over all rounds."""
    characters = sum(len(row["cot"]) for row in traces)
    found = []
    for _ in range(ROUNDS):
        start = time.process_time()
        for row in traces:
            work(row)
        found.append(characters / (time.process_time() - start))
    return spread(found)


def exactness(traces: list[dict], compressor: Compressor) -> dict[str, int]:
    """Numbers of selections, over all traces and ratios, that break a guarantee or leave budget unused."""
    count = compressor.counter.count
    names = ("selections", "infeasible", "above", "exact", "short", "short_budget", "not_nested", "torn", "formulas")
    found = dict.fromkeys([*names, "split"], 0)
    for row in tqdm(traces, desc=f"exactness, {compressor.counter.name}"):
        cot = row["cot"]
        units = segment(cot)
        try:
            results = compressor.compress(cot, question=row["question"], ratios=RATIOS)
        except InfeasibleBudget:
            found["infeasible"] += 1
            continue
        smaller: set[int] = set()
        for result in results:
            kept = {at for begin, end in result.spans for at in range(begin, end)}
            whole = [all(at in kept for at in range(unit.start, unit.end) if not cot[at].isspace()) for unit in units]
            math = [at for at, unit in enumerate(units) if unit.kind == "math"]
            budget = token_budget(result.ratio, result.original_tokens)
            found["selections"] += 1
            found["formulas"] += len(math)
            found["torn"] += sum(not whole[at] and units[at].start in kept for at in math)
            found["above"] += count(result.text) > budget
            found["exact"] += result.tokens == budget
            left_out = [count(cot[unit.start : unit.end]) for at, unit in enumerate(units) if not whole[at]]
            if left_out and budget - result.tokens >= min(left_out):
                found["short"] += 1
                found["short_budget"] = max(found["short_budget"], budget)
            found["not_nested"] += not smaller <= kept
            found["split"] += bool(result.split)
            smaller = kept
    return found


def most(row: dict, units: list[Unit], counter: Counter, budgets: list[int]) -> list[float]:
    """The largest recall that any selection of statements can reach under each budget."""
    cot, known = row["cot"], question_numbers(row["question"])
    equations = read_equations(cot, units)
    wanted = {equation.key for equation in grounded(equations, known)}
    texts = [cot[units[equation.unit].start : units[equation.unit].end] for equation in equations]
    behind = [min(counter.count(" " + text), counter.count("\n" + text)) for text in texts]
    # One statement begins the text; the others follow white space.
    saved = [max(0, cost - counter.count(text)) for cost, text in zip(behind, texts, strict=True)]
    if len(equations) > SEARCHED:
        cheapest: dict[str, int] = {}
        for equation, cost in zip(equations, behind, strict=True):
            if equation.key in wanted:
                cheapest[equation.key] = min(cost, cheapest.get(equation.key, cost))
        totals = list(itertools.accumulate(sorted(cheapest.values())))
        return [sum(total <= budget + max(saved) for total in totals) / len(wanted) for budget in budgets]
    best = [0] * len(budgets)
    for chosen in subsets(len(equations)):
        cost = sum(behind[at] for at in chosen) - max(saved[at] for at in chosen)
        if any(cost <= budget and len(chosen) > found for budget, found in zip(budgets, best, strict=True)):
            held = kept_keys([equations[at] for at in chosen], known) & wanted
            best = [
                max(found, len(held)) if cost <= budget else found for budget, found in zip(budgets, best, strict=True)
            ]
    return [found / len(wanted) for found in best]


def subsets(size: int) -> Iterator[tuple[int, ...]]:
    """All subsets of so many indices but the empty one."""
    return itertools.chain.from_iterable(itertools.combinations(range(size), many) for many in range(1, size + 1))


def kept_keys(equations: list[Equation], known: frozenset[str]) -> set[str]:
    """Keys of the equations that are grounded in `known` or in each other."""
    return {equation.key for equation in grounded(equations, known)}


def recall(texts: str, rows: list[dict], compressor: Compressor, ratios: list[float]) -> dict[str, Any]:
    """Recall of grounded equations of the scorer and the baselines, on the rows whose text has such equations."""
    counter = compressor.counter
    infeasible = 0
    groups: list[str] = []
    values: dict[tuple[float, str], list[float | None]] = {}
    bounds: list[list[float]] = []
    for row in tqdm(rows, desc=f"{texts}, {counter.name}"):
        cot, question = row["cot"], row["question"]
        units = segment(cot)
        if not grounded(read_equations(cot, units), question_numbers(question)):
            continue
        try:
            results: list[Compression] = compressor.compress(cot, question=question, ratios=ratios)
        except InfeasibleBudget:
            infeasible += 1
            continue
        groups.append(question)
        sample = Sample(question, cot, units, row["answer"])
        bounds.append(most(row, units, counter, [token_budget(one.ratio, one.original_tokens) for one in results]))
        for result in results:
            kept = {"rules": measure_fidelity(sample, result.spans, result.text)["grounded_recall"]}
            for name in BASELINES:
                choice = select_baseline(name, cot, result.tokens, counter, question=question)
                kept[name] = measure_fidelity(sample, choice.spans, choice.text)["grounded_recall"]
            for name, value in kept.items():
                values.setdefault((result.ratio, name), []).append(value)
    entries = []
    for at, ratio in enumerate(ratios):
        intervals = {name: mean_with_interval(values[ratio, name], groups) for name in METHODS}
        entries.append(
            {
                "ratio": ratio,
                "at_most": sum(bound[at] for bound in bounds) / len(bounds),
                "methods": {name: asdict(interval) for name, interval in intervals.items() if interval},
            }
        )
    return {"texts": texts, "tokens": counter.name, "rows": len(groups), "infeasible": infeasible, "ratios": entries}


def tables(result: dict[str, Any]) -> str:
    """The figures as Markdown."""
    lines = ["| work | tokens | characters per second of processor time, median (least to most) |", "|---|---|---:|"]
    for entry in result["speed"]:
        high, low, median = (f"{entry['speed'][name]:,.0f}".replace(",", " ") for name in ("high", "low", "median"))
        lines.append(f"| {entry['work']} | {entry['tokens']} | {median} ({low} to {high}) |")
    lines += [
        "",
        "| tokens | selections | above budget | all of it used | short of it by a unit or more | not nested | "
        "formulas cut |",
        "|---|---:|---:|---:|---|---:|---:|",
    ]
    for tokens, found in result["exactness"].items():
        short = f"{found['short']}, budgets of at most {found['short_budget']}" if found["short"] else "0"
        lines.append(
            f"| {tokens} | {found['selections']} | {found['above']} | {found['exact']} | {short} | "
            f"{found['not_nested']} | {found['torn']} of {found['formulas']} |"
        )
    head = " | ".join(METHODS)
    lines += ["", f"| texts | tokens | ratio | {head} | at most |", "|---|---|---:|" + "---:|" * (len(METHODS) + 1)]
    for group in result["recall"]:
        name = f"{group['texts']}, {group['rows']}"
        for entry in group["ratios"]:
            rules = entry["methods"]["rules"]
            cells = [f"{rules['mean']:.3f} ({rules['low']:.3f}–{rules['high']:.3f})"]
            cells += [f"{entry['methods'][method]['mean']:.3f}" for method in BASELINES]
            lines.append(
                f"| {name} | {group['tokens']} | {entry['ratio']:g} | {' | '.join(cells)} | {entry['at_most']:.3f} |"
            )
    return "\n".join(lines)


@click.command()
@data_dir_option
@click.option(
    "--tokenizer", type=click.Path(path_type=Path), help="Model folder; by default, words, numbers and signs only."
)
@click.option(
    "--limit", type=click.IntRange(1), help="Number of traces and of GSM8K rows to use, evenly spread; by default all."
)
def main(data_dir: Path, tokenizer: Path | None, limit: int | None) -> None:
    """Measure, print and record."""
    traces_file, gsm8k_file = data_dir / "traces_math_train.jsonl.gz", data_dir / "gsm8k_test.jsonl"
    if not traces_file.is_file() or not gsm8k_file.is_file():
        print(f"skipped: no {traces_file.name} and {gsm8k_file.name} in {data_dir}; give --data-dir")
        return
    traces = spread_evenly(load(traces_file), limit)
    few = spread_evenly(traces, 90)
    rules = RuleScorer()
    items = {row["id"]: ScoringInput(row["question"], row["cot"], segment(row["cot"])) for row in few}
    result: dict[str, Any] = {"exactness": {}, "recall": []}
    result["speed"] = [
        {"work": "segment", "tokens": "", "speed": speed(few, lambda row: segment(row["cot"]))},
        {"work": "score by rules", "tokens": "", "speed": speed(few, lambda row: rules.score([items[row["id"]]]))},
    ]
    for folder in (None, tokenizer) if tokenizer else (None,):
        compressor = Compressor.from_pretrained("rules", tokenizer=folder)
        name = compressor.counter.name
        for work, ratios in (("compress, one ratio", [0.2]), ("compress, five ratios", RATIOS)):

            def compress(row: dict, ratios: list[float] = ratios, compressor: Compressor = compressor) -> None:
                list(compressor.compress_many([(row["question"], row["cot"])], ratios=ratios))

            result["speed"].append({"work": work, "tokens": name, "speed": speed(few, compress)})
        for texts, marks in (("GSM8K gold", True), ("GSM8K gold without marks", False)):
            rows = spread_evenly(solutions(gsm8k_file, marks=marks), limit)
            result["recall"].append(recall(texts, rows, compressor, SOLUTION_RATIOS))
        result["recall"].append(recall("real traces", few, compressor, RATIOS))
        result["exactness"][name] = exactness(traces, compressor)
    record(__file__, result, tables)


if __name__ == "__main__":
    main()
