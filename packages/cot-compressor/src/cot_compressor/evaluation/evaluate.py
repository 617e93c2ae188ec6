"""Measures a scorer on a file of traces, beside baselines at the same length.

Writes to a folder: `metrics.jsonl` (one row for each trace), `report.json` (means with intervals) and `report.html`
(the same, with texts side by side); on a Ray cluster, the folder `metrics` has a file for each shard. On each trace and
ratio, a baseline gets the number of tokens that the scorer used.

    print(evaluate_file("traces.jsonl", "runs/fidelity", ratios=[0.2], scorer="rules", tokenizer="models/base"))
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cot_compressor import distributed
from cot_compressor._shared import runs
from cot_compressor._shared.lock import locked
from cot_compressor._shared.output_file import OutputFile
from cot_compressor._shared.records import Row, open_atomic, path_beside, read_records, write_json
from cot_compressor._shared.row_layout import Layout
from cot_compressor._shared.row_source import Misfit, RowSource
from cot_compressor.budget.counting import clean, load_counter
from cot_compressor.budget.ratios import check_ratios, token_budget
from cot_compressor.budget.select import select
from cot_compressor.budget.stages import Stager
from cot_compressor.compressor import Compression, Compressor
from cot_compressor.errors import DataError, InfeasibleBudget, RejectedRow, needs_extra
from cot_compressor.resumable import RECORDED, Conversion, Job, Outcome, shard_job
from cot_compressor.scorers.base import ScoringInput
from cot_compressor.scorers.load import load_scorer, scorer_fingerprint
from cot_compressor.scorers.rules import RuleScorer
from cot_compressor.text.render import Span
from cot_compressor.text.segment import segment

from .baselines import BASELINES, select_baseline
from .fidelity import METRICS, Mean, Sample, measure_fidelity, summarise
from .report import html_page, text_table

if TYPE_CHECKING:
    from cot_compressor.reader import Reader

_BATCH_ROWS = 32
_SHOWN_ROWS = 12
_METRICS = "metrics.jsonl"
_REPORT, _PAGE = "report.json", "html"
_Shown = list[tuple[Row, list[Compression]]]


def evaluate_file(
    source: str | Path,
    out: str | Path,
    *,
    ratios: Sequence[float],
    scorer: str | Path,
    tokenizer: str | Path,
    dtype: str | None = None,
    reader: str | Path | None = None,
    seed: int = 0,
    layout: Layout | None = None,
    overwrite: bool = False,
) -> str | None:
    """Write the report.

    Args:
        source: Rows as for `compress_file`, perhaps with `answer`, `response` and `decisive`.
        out: Folder of the report.
        ratios: Shares of the tokens to keep, each in (0, 1].
        scorer: `"rules"`, a folder written by `cot-compressor train`, a hub's `owner/name@revision`, or `hybrid:` and
            one of the latter two.
        tokenizer: Folder of the target model, whose tokens are counted.
        dtype: Number format of a trained scorer, `"float32"` (the default) or `"bfloat16"`.
        reader: Folder of a causal language model that reads the response after each short text; None for none.
        seed: Random seed of the baselines and of the intervals.
        layout: Columns of a corpus with other names, or with conversations; rows that do not fit are then rejected.
        overwrite: True to replace a report that was made with other settings, or to make a finished one again.

    Returns:
        The table and the counts of rows; None if the report was complete already, or if another process writes it.

    Raises:
        DataError: the input is bad, no row can be measured, or `out` was made with other settings.
    """
    _check_folder(out := Path(out))
    options = {"ratios": ratios, "scorer": scorer, "tokenizer": tokenizer, "dtype": dtype, "reader": reader}
    conversion, compressor = _load(**options, seed=seed, layout=layout, overwrite=overwrite)
    rows_read = RowSource(source, conversion.schema, layout)
    job = Job(conversion.command, rows_read, metrics := out / _METRICS, conversion.settings, overwrite)
    reports = _reports(out, rows_read, conversion)
    finished = job.is_finished()
    with locked(reports.out, distributed.rank()):
        if reports.state(overwrite=overwrite) == "finished" and finished:
            return None
    if not finished:
        job.run(conversion.convert, batch_rows=conversion.batch_rows)
    if distributed.rank() > 0:
        return None
    if not metrics.stat().st_size:
        reasons = f"{out}/metrics.rejected.jsonl lists the reasons"
        raise DataError(f"{source}: no row can be measured; use larger ratios ({reasons})")
    shown = _shown(compressor, rows_read, conversion.settings["ratios"])
    return f"{_write_reports(reports, metrics, shown, compressor.counter.name, seed)}\n{_counts(metrics)}"


def evaluate_shards(
    source: str | Path,
    out: str | Path,
    *,
    workers: int | None = None,
    notify: Callable[[str], object],
    overwrite: bool = False,
    **options: Any,
) -> str | None:
    """Write the report of `evaluate_file`, measured by the workers of a Ray cluster.

    Args:
        source: Folder of shards, here or on an object store; every worker reads it.
        out: Folder of the report; the metrics of each shard are in its folder `metrics`, which every worker writes.
        workers: Number of workers; None takes one for each processor of the cluster, or for each GPU with a model.
        notify: Function that gets a line about each shard that failed.
        overwrite: See `evaluate_file`.
        options: Further arguments of `evaluate_file`.

    Returns:
        The table and the counts of rows; None if the report was complete already.

    Raises:
        DataError: the input is bad, no row can be measured, the folder contains something else, or shards failed.
    """
    _check_folder(out := Path(out))
    conversion, compressor = _load(**options, overwrite=overwrite)
    settings, rows_read = conversion.settings, RowSource(source, conversion.schema, conversion.layout)
    reports, tokenizer = _reports(out, rows_read, conversion), compressor.counter.name
    with locked(reports.out):
        if reports.state(overwrite=overwrite) == "finished":
            return None
    make = partial(_load_conversion, **options, overwrite=overwrite)
    job = shard_job(conversion, source, metrics := out / "metrics", make)
    shown, fault = _first_shown(compressor, rows_read, settings["ratios"])
    del conversion, compressor  # perhaps models, of which each worker loads its own
    gpu = str(options["scorer"]) != "rules" or options.get("reader") is not None
    report = job.run(workers=workers, gpu=gpu, notify=notify)
    if fault:
        raise fault
    return f"{_write_reports(reports, metrics, shown, tokenizer, settings['seed'])}\n{report.summary()}"


def _load(
    *,
    ratios: Sequence[float],
    scorer: str | Path,
    tokenizer: str | Path,
    dtype: str | None = None,
    reader: str | Path | None = None,
    seed: int = 0,
    layout: Layout | None = None,
    overwrite: bool = False,
) -> tuple[Conversion, Compressor]:
    """What turns rows into rows of metrics, and its compressor; arguments and errors are those of `evaluate_file`."""
    wanted = check_ratios(ratios)
    compressor = Compressor(load_scorer(scorer, dtype=dtype), counter := load_counter(tokenizer))
    measurer = _Measurer(compressor, wanted, _load_reader(reader), trained=str(scorer) != "rules", seed=seed)
    settings = {"ratios": wanted, "tokenizer": counter.digest(), "seed": seed}
    settings |= {"scorer": scorer_fingerprint(scorer), "dtype": getattr(compressor.scorer, "dtype", None)}
    settings |= {"reader": runs.digest(reader)} if reader else {}
    conversion = Conversion("evaluate", "compress_input", settings, measurer.convert, _BATCH_ROWS, layout, overwrite)
    return conversion, compressor


def _load_conversion(**options: Any) -> Conversion:
    return _load(**options)[0]


def _check_folder(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise DataError(f"{out}: is a file; name a folder")


def _reports(out: Path, source: RowSource, conversion: Conversion) -> OutputFile:
    return OutputFile(out / _REPORT, (_PAGE,), "cot-compressor evaluate", source.settings | conversion.settings)


def _load_reader(folder: str | Path | None) -> "Reader | None":
    if folder is None:
        return None
    with needs_extra("scorer", "a reader needs torch and transformers"):
        from cot_compressor.reader import Reader
    return Reader.from_folder(folder)


def _counts(metrics: Path) -> str:
    """The line that counts the traces that were read, measured and rejected."""
    rows = runs.read_manifest(runs.manifest_path(metrics))["rows"]
    reasons = ", ".join(f"{reason} {count}" for reason, count in rows["rejected"].items())
    rejected = sum(rows["rejected"].values())
    return f"{rows['read']} read, {rows['written']} measured, {rejected} rejected{f' ({reasons})' if reasons else ''}"


def _shown(compressor: Compressor, source: RowSource, ratios: Sequence[float]) -> _Shown:
    """The first rows that are long enough, with their compressions, to be shown side by side."""
    fitting = (row for row in source.rows() if not isinstance(row, Misfit))
    rows = list(itertools.islice(fitting, _SHOWN_ROWS))
    results = compressor.compress_many([(row["question"], row["cot"]) for row in rows], ratios=ratios)
    return [(row, result) for row, result in zip(rows, results, strict=True) if isinstance(result, list)]


def _first_shown(compressor: Compressor, source: RowSource, ratios: Sequence[float]) -> tuple[_Shown, DataError | None]:
    """`_shown` before the shards are measured; a fault is for later, when those without one are."""
    try:
        return _shown(compressor, source, ratios), None
    except DataError as error:
        return [], error


def _write_reports(reports: OutputFile, metrics: Path, shown: _Shown, tokenizer: str, seed: int) -> str:
    """Write `report.json` and `report.html` from a file or folder of metrics; returns the table for the terminal."""
    rows = list(read_records(metrics, "fidelity"))
    summary = _summarise(rows, seed)
    results = [
        {**entry, "metrics": {name: asdict(value) if value else None for name, value in entry["metrics"].items()}}
        for entry in summary
    ]
    facts = {"rows": len(rows), "tokenizer": tokenizer, "metrics": METRICS, "results": results}
    with locked(reports.out):
        reports.start()
        write_json(reports.growing, facts)
        with open_atomic(path_beside(reports.growing, _PAGE)) as page:
            page.write(clean(html_page(summary, shown, len(rows))))
        reports.publish(RECORDED)
    return text_table(summary, len(rows))


class _Measurer:
    """Turns rows into rows of metrics."""

    def __init__(
        self, compressor: Compressor, ratios: Sequence[float], reader: "Reader | None", *, trained: bool, seed: int
    ) -> None:
        self.compressor, self.ratios, self.reader = compressor, ratios, reader
        self.trained, self.seed = trained, seed

    def convert(self, rows: list[Row]) -> Iterator[Outcome]:
        pairs = [(row["question"], row["cot"]) for row in rows]
        results = self.compressor.compress_many(pairs, ratios=self.ratios)
        for row, result in zip(rows, results, strict=True):
            if isinstance(result, InfeasibleBudget):
                yield RejectedRow("infeasible_budget" if row["cot"].strip() else "empty_cot", str(result))
            else:
                yield self._measure_row(row, result)

    def _measure_row(self, row: Row, results: Sequence[Compression]) -> Row:
        sample = Sample(
            row["question"],
            row["cot"],
            segment(row["cot"]),
            row.get("answer") or None,
            row.get("response") or "",
            row.get("decisive") or (),
        )
        measured: list[dict[str, Any]] = []
        texts: list[str] = []
        for result in results:
            budget = token_budget(result.ratio, result.original_tokens)
            for name, text, spans, tokens in self._methods(sample, result):
                texts.append(text)
                values = {
                    "ratio_error": tokens / result.original_tokens - result.ratio,
                    "budget_used": tokens / budget,
                    **measure_fidelity(sample, spans, text),
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
        read = self.reader.gains(sample.question, sample.cot, texts, sample.response) if self.reader else texts
        for entry, gain in zip(measured, read, strict=True):
            entry["metrics"]["reader_gain"] = gain if self.reader else None
        return {"id": row["id"], "question": row["question"], "measured": measured}

    def _methods(self, sample: Sample, result: Compression) -> Iterator[tuple[str, str, Sequence[Span], int]]:
        """Name, text, spans and tokens of the scorer's compression and of every other method at its length."""
        counter = self.compressor.counter
        yield "trained" if self.trained else "rules", result.text, result.spans, result.tokens
        for name in BASELINES:
            choice = select_baseline(name, sample.cot, result.tokens, counter, seed=self.seed, question=sample.question)
            yield name, choice.text, choice.spans, choice.tokens
        if self.trained:
            (scores,) = RuleScorer().score([ScoringInput(sample.question, sample.cot, sample.units)])
            stager = Stager(sample.cot, sample.units, scores)
            stages = [stager.whole(), *stager.fillers(), stager.anything()]
            (choice,) = select(
                sample.cot,
                sample.units,
                scores,
                [result.tokens],
                counter.count,
                estimate=counter.estimate,
                stages=stages,
            )
            yield "rules", choice.text, choice.spans, choice.tokens


def _summarise(rows: Sequence[Row], seed: int) -> list[dict[str, Any]]:
    """One entry for each ratio and method: mean lengths, and every metric with its interval."""
    groups = [row["question"] for row in rows]
    summary: list[dict[str, Any]] = []
    for at, first in enumerate(rows[0]["measured"]):
        entries = [row["measured"][at] for row in rows]
        errors = [abs(entry["metrics"]["ratio_error"]) for entry in entries]
        metrics: dict[str, Mean | None] = summarise([entry["metrics"] for entry in entries], groups, seed=seed)
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
