"""`ratio-sft evaluate`: requested against realised ratio, and accuracy, from sample files of math-eval.

The realised ratio of a problem is its thinking tokens divided by those of its reference: the base model's samples if
they are given, otherwise the model's own samples at ratio 1. Generating and grading are left to math-eval, the
arithmetic to `ratio_metrics`, tables and charts to `report`.

    report = evaluate(["runs/sft/samples_test.jsonl"], base=["runs/base/samples_test.jsonl"])
    report["conditions"][0]["realised"]            # 0.213
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean

from ratio_sft import html_page
from ratio_sft._shared.intervals import wilson
from ratio_sft._shared.records import Row, read_placed, write_json
from ratio_sft._shared.runs import check_apart
from ratio_sft.errors import DataError

from .ratio_metrics import ratio_metrics
from .report import report_page

_Samples = dict[str, list[Row]]
_Ratio = float | str | None


def evaluate(
    samples: Sequence[str | Path], *, base: Sequence[str | Path] = (), output: str | Path | None = None
) -> Row:
    """Measure how well a model follows its ratios; several samples of a problem count as their mean.

    Args:
        samples: Files of the `samples` contract of one model, sampled at two ratios or more.
        base: Files of the base model on the same problems, without control token; they are the reference. Without
            them the reference is the model at ratio 1, whose errors of 0 count in the mean absolute error.
        output: HTML page with charts to write; the report as JSON is written beside it.

    Returns:
        The report: `reference`, `problems` (their number), `left_out` (problems without a reference or a sample at
        every ratio), the figures of `ratio_metrics`, and for each condition accuracy with a 95 % Wilson interval,
        thinking tokens and `cut` (number of samples that reached the token limit).

    Raises:
        DataError: a file breaks its contract, a sample appears twice, there is nothing to compare, or the name of
            `output` does not end in .html, or an output is one of the files.
    """
    if output is not None and Path(output).suffix != ".html":
        raise DataError(f"{output}: the page's name must end in .html; the report is written beside it as .json")
    if output is not None:
        check_apart([Path(output), Path(output).with_suffix(".json")], map(Path, (*samples, *base)))
    conditions = _by_condition(samples)
    ladder = sorted(ratio for ratio in conditions if isinstance(ratio, float))
    if len(ladder) < 2:
        raise DataError(f"{samples[0]}: {len(ladder)} ratio(s) sampled; run math-eval with two or more --ratio")
    reference = _reference(base, conditions)
    problems = _comparable(reference, conditions)
    known = {name for found in (*conditions.values(), reference) for name in found}
    realised = {
        asked: [_thinking(found[name]) / _thinking(reference[name]) for name in problems]
        for asked, found in conditions.items()
    }
    metrics = ratio_metrics({ratio: realised[ratio] for ratio in ladder})
    metrics["conditions"] += [
        {"asked": asked, "realised": fmean(realised[asked])} for asked in ("policy", None) if asked in conditions
    ]
    metrics["conditions"] = [{**line, **_counts(conditions[line["asked"]], problems)} for line in metrics["conditions"]]
    report = {
        "format": 1,
        "reference": "base" if base else "ratio 1",
        "problems": len(problems),
        "left_out": len(known) - len(problems),
        **metrics,
        "base": _counts(reference, problems) if base else None,
    }
    if output is not None:
        output = Path(output)
        html_page.write(output, "Ratio following", report_page(report))
        write_json(output.with_suffix(".json"), report)
    return report


def _by_condition(paths: Iterable[str | Path]) -> dict[_Ratio, _Samples]:
    """Requested ratio ("policy" and None among them) -> problem id -> samples."""
    conditions: dict[_Ratio, _Samples] = {}
    questions: dict[str, str] = {}
    seen: set[tuple[object, ...]] = set()
    for path in paths:
        for where, row in read_placed(path, "samples"):
            asked = float(row["ratio"]) if isinstance(row["ratio"], int | float) else row["ratio"]
            key = (row["id"], asked, row["seed"], row["sample"])
            if key in seen:
                sample = f"id {row['id']!r}, ratio {asked}, sample {row['sample']}"
                raise DataError(f"{where}: {sample} appears twice; remove one of the rows")
            seen.add(key)
            if questions.setdefault(row["id"], row["question"]) != row["question"]:
                raise DataError(f"{where}: id {row['id']!r} belongs to two questions; evaluate their files one by one")
            conditions.setdefault(asked, {}).setdefault(row["id"], []).append(row)
    return conditions


def _reference(base: Sequence[str | Path], conditions: dict[_Ratio, _Samples]) -> _Samples:
    if base:
        found = _by_condition(base)
        if set(found) != {None}:
            raise DataError(f"{base[0]}: has control tokens; --base is the base model's samples without --ratio")
        return found[None]
    if 1.0 not in conditions:
        raise DataError("nothing to measure against: sample ratio 1 too, or give --base")
    return conditions[1.0]


def _comparable(reference: _Samples, conditions: dict[_Ratio, _Samples]) -> list[str]:
    """The ids of the problems that have a sample at every ratio and a reference that thinks."""
    problems = [
        name
        for name, rows in reference.items()
        if _thinking(rows) > 0 and all(name in found for found in conditions.values())
    ]
    if not problems:
        raise DataError("no problem has a reference that thinks and a sample at every ratio; are these the same tasks?")
    return problems


def _thinking(rows: list[Row]) -> float:
    """Mean number of thinking tokens."""
    return fmean(row["thinking_tokens"] for row in rows)


def _counts(found: _Samples, problems: list[str]) -> Row:
    rows = [row for name in problems for row in found[name]]
    accuracy = fmean(fmean(row["verdict"] == "correct" for row in found[name]) for name in problems)
    low, high = wilson(accuracy * len(problems), len(problems))
    return {
        "samples": len(rows),
        "accuracy": accuracy,
        "accuracy_low": low,
        "accuracy_high": high,
        "thinking_tokens": fmean(_thinking(found[name]) for name in problems),
        "cut": sum(row["finish_reason"] == "length" for row in rows),
    }
