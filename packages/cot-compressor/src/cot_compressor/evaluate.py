"""Measure a scorer on a file of traces, beside the baselines at the same length.

Writes to a folder: `metrics.jsonl` (one row per trace), `report.json` (means with intervals) and `report.html` (the
same, with texts side by side). Baselines are held to the tokens the scorer reached on each trace and ratio.

    print(evaluate_file("traces.jsonl", "runs/fidelity", ratios=[0.2], scorer="rules", tokenizer="models/base"))
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from . import processes
from ._shared.records import Row, open_atomic, read_records, write_json
from .baselines import BASELINES, select_baseline
from .compressor import Compression, Compressor, check_ratios, token_budget
from .counting import clean, load_counter
from .errors import DataError, InfeasibleBudget, RejectedRow
from .fidelity import METRICS, Interval, Sample, kept_characters, measure, summarise
from .report import html_page, text_table
from .resume import Outcome, file_digest, is_finished, map_rows, scorer_stamp
from .rules import Rules
from .scoring import Item, load_scorer
from .segment import segment
from .select import select

_BATCH_ROWS = 32
_SHOWN_ROWS = 12


def evaluate_file(
    source: str | Path,
    out: str | Path,
    *,
    ratios: Sequence[float],
    scorer: str | Path,
    tokenizer: str | Path,
    dtype: str | None = None,
    seed: int = 0,
    overwrite: bool = False,
) -> str | None:
    """Write the report; returns its table, or None if it was there already or another process writes it.

    Raises:
        DataError: bad input, no row that can be measured, or `out` was made with other settings.
    """
    out = Path(out)
    if out.exists() and not out.is_dir():
        raise DataError(f"{out}: is a file; name a folder")
    wanted = check_ratios(ratios)
    counter = load_counter(tokenizer)
    compressor = Compressor(load_scorer(scorer, dtype=dtype), counter)
    settings = {
        "input": file_digest(source),
        "ratios": wanted,
        "scorer": scorer_stamp(scorer),
        "dtype": getattr(compressor.scorer, "dtype", None),
        "tokenizer": counter.digest(),
        "seed": seed,
    }
    metrics = out / "metrics.jsonl"
    reports = (out / "report.json", out / "report.html")
    finished = is_finished(metrics, "evaluate", settings, sources=[source], overwrite=overwrite)
    if finished and all(path.is_file() for path in reports):
        return None
    if not finished:
        for path in reports:
            if path.exists() and not metrics.exists():
                raise DataError(f"{path}: is there, but not from `cot-compressor evaluate`; name another output")
            path.unlink(missing_ok=True)
        measurer = _Measurer(compressor, wanted, trained=str(scorer) != "rules", seed=seed)
        map_rows(source, metrics, "compress_input", "evaluate", settings, measurer.convert, batch_rows=_BATCH_ROWS)
    if processes.rank() > 0:
        return None
    if not metrics.stat().st_size:
        raise DataError(f"{source}: no row can be measured; use larger ratios ({out}/metrics.rejected.jsonl says why)")
    rows = list(read_records(metrics, "fidelity"))
    summary = _summarise(rows, seed)
    write_json(
        out / "report.json",
        {
            "rows": len(rows),
            "tokenizer": counter.name,
            "metrics": METRICS,
            "results": [
                {
                    **entry,
                    "metrics": {name: asdict(value) if value else None for name, value in entry["metrics"].items()},
                }
                for entry in summary
            ],
        },
    )
    with open_atomic(out / "report.html") as page:
        page.write(clean(html_page(summary, _shown(compressor, source, wanted), len(rows))))
    return text_table(summary, len(rows))


def _shown(compressor: Compressor, source: str | Path, ratios: Sequence[float]) -> list[tuple[Row, list[Compression]]]:
    """The first rows that fit, compressed, to be shown side by side."""
    rows = list(itertools.islice(read_records(source, "compress_input"), _SHOWN_ROWS))
    results = compressor.compress_many([(row["question"], row["cot"]) for row in rows], ratios=ratios)
    return [(row, result) for row, result in zip(rows, results, strict=True) if isinstance(result, list)]


class _Measurer:
    """Rows to metric rows."""

    def __init__(self, compressor: Compressor, ratios: Sequence[float], *, trained: bool, seed: int) -> None:
        self.compressor, self.ratios, self.trained, self.seed = compressor, ratios, trained, seed

    def convert(self, rows: list[Row]) -> Iterator[Outcome]:
        pairs = [(row["question"], row["cot"]) for row in rows]
        results = self.compressor.compress_many(pairs, ratios=self.ratios)
        for row, result in zip(rows, results, strict=True):
            if isinstance(result, InfeasibleBudget):
                yield RejectedRow("infeasible_budget" if row["cot"].strip() else "empty_cot", str(result))
            else:
                yield self._measure(row, result)

    def _measure(self, row: Row, results: Sequence[Compression]) -> Row:
        cot, counter = row["cot"], self.compressor.counter
        sample = Sample(row["question"], cot, segment(cot), row.get("answer") or None)
        costs = [counter.count(cot[unit.start : unit.end]) for unit in sample.units]
        measured: list[dict[str, Any]] = []
        for result in results:
            methods = [("trained" if self.trained else "rules", result.text, result.spans, result.tokens)]
            for name in BASELINES:
                choice = select_baseline(name, cot, result.tokens, counter, seed=self.seed)
                methods.append((name, choice.text, choice.spans, choice.tokens))
            if self.trained:
                (scores,) = Rules().score([Item(row["question"], cot, sample.units)])
                (choice,) = select(cot, sample.units, scores, [result.tokens], counter.count, rough=counter.rough)
                methods.append(("rules", choice.text, choice.spans, choice.tokens))
            budget = token_budget(result.ratio, result.original_tokens)
            for name, text, spans, tokens in methods:
                left = [
                    cost
                    for unit, cost in zip(sample.units, costs, strict=True)
                    if kept_characters(spans, unit) < unit.end - unit.start
                ]
                values = {
                    "ratio_error": tokens / result.original_tokens - result.ratio,
                    "within_one_unit": float(0 <= budget - tokens < min(left, default=budget + 1)),
                    **measure(sample, spans, text),
                }
                measured.append(
                    {
                        "method": name,
                        "ratio": result.ratio,
                        "tokens": tokens,
                        "original_tokens": result.original_tokens,
                        "metrics": values,
                    }
                )
        return {"id": row["id"], "question": row["question"], "measured": measured}


def _summarise(rows: Sequence[Row], seed: int) -> list[dict[str, Any]]:
    """One entry per ratio and method: mean lengths and every metric with its interval."""
    groups = [row["question"] for row in rows]
    summary: list[dict[str, Any]] = []
    for at, first in enumerate(rows[0]["measured"]):
        entries = [row["measured"][at] for row in rows]
        errors = [abs(entry["metrics"]["ratio_error"]) for entry in entries]
        metrics: dict[str, Interval | None] = summarise([entry["metrics"] for entry in entries], groups, seed=seed)
        summary.append(
            {
                "ratio": first["ratio"],
                "method": first["method"],
                "tokens": sum(entry["tokens"] for entry in entries) / len(entries),
                "original_tokens": sum(entry["original_tokens"] for entry in entries) / len(entries),
                "ratio_error_p95": float(np.quantile(errors, 0.95)),
                "metrics": metrics,
            }
        )
    return summary
