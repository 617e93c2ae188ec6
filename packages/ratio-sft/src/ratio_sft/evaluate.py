"""`ratio-sft evaluate`: asked against realised ratio, and accuracy, from sample files of math-eval.

The realised ratio of a problem is its thinking tokens over those of its reference: the base model's samples, or else
the model's own at ratio 1. Generating and grading is math-eval's work; the arithmetic is in `following`.

    report = evaluate(["runs/sft/samples_test.jsonl"], base=["runs/base/samples_test.jsonl"])
    report["conditions"][0]["realised"]            # 0.213
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean

from . import pages
from ._shared.records import Row, read_records, write_json
from .errors import DataError
from .following import measure, wilson

_Samples = dict[str, list[Row]]


def evaluate(
    samples: Sequence[str | Path], *, base: Sequence[str | Path] = (), output: str | Path | None = None
) -> Row:
    """Measure ratio following on sample files of one model; several samples of a problem count as their mean.

    Args:
        samples: files of the `samples` contract, sampled at two ratios or more.
        base: files of the base model on the same problems, without control token; they are the reference. Without
            them the model's own samples at ratio 1 are, whose errors of 0 count in the mean absolute error.
        output: an HTML page with a chart; the report as JSON goes beside it.

    Raises:
        DataError: a file breaks its contract, a sample appears twice, there is nothing to compare, or `output` is not
            named .html.
    """
    if output is not None and Path(output).suffix != ".html":
        raise DataError(f"{output}: the page's name must end in .html; the report goes beside it as .json")
    conditions = _by_condition(samples)
    ladder = sorted(ratio for ratio in conditions if isinstance(ratio, float))
    if len(ladder) < 2:
        raise DataError(f"{samples[0]}: {len(ladder)} ratio(s) sampled; run math-eval with two or more --ratio")
    reference = _reference(base, conditions)
    problems = [
        name
        for name, rows in reference.items()
        if _thinking(rows) > 0 and all(name in found for found in conditions.values())
    ]
    if not problems:
        raise DataError("no problem has a reference that thinks and a sample at every ratio; are these the same tasks?")
    known = {name for found in (*conditions.values(), reference) for name in found}
    realised = {
        asked: [_thinking(conditions[asked][name]) / _thinking(reference[name]) for name in problems]
        for asked in conditions
    }
    report = measure({ratio: realised[ratio] for ratio in ladder})
    report["conditions"] = [
        {**line, **_counts(conditions[line["asked"]], problems)} for line in report["conditions"]
    ] + [
        {"asked": asked, "realised": fmean(realised[asked]), **_counts(conditions[asked], problems)}
        for asked in ("policy", None)
        if asked in conditions
    ]
    report = {
        "format": 1,
        "reference": "base" if base else "ratio 1",
        "problems": len(problems),
        "left_out": len(known) - len(problems),
        **report,
        "base": _counts(reference, problems) if base else None,
    }
    if output is not None:
        output = Path(output)
        pages.write(output, "Ratio following", _body(report))
        write_json(output.with_suffix(".json"), report)
    return report


def table(report: Row) -> list[list[str]]:
    """The report as rows of text, the header first."""
    rows = [["asked", "realised", "error", "off by", "accuracy", "95 % interval", "thinking", "cut"]]
    lines = [{"asked": "base", "realised": 1.0, **report["base"]}] if report["base"] else []
    for line in [*lines, *report["conditions"]]:
        asked = line["asked"]
        errors = [f"{line['error']:+.3f}", f"{line['mean_absolute_error']:.3f}"] if "error" in line else ["", ""]
        rows.append(
            [
                "none" if asked is None else asked if isinstance(asked, str) else f"{asked:g}",
                f"{line['realised']:.3f}",
                *errors,
                f"{line['accuracy']:.1%}",
                f"{line['accuracy_low']:.1%} - {line['accuracy_high']:.1%}",
                f"{line['thinking_tokens']:.1f}",
                str(line["cut"]),
            ]
        )
    return rows


def summary(report: Row) -> str:
    """One line: the figures over all ratios."""
    correlation = "none" if report["spearman"] is None else f"{report['spearman']:.3f}"
    return (
        f"{report['problems']} problems ({report['left_out']} left out: not sampled at every ratio, or no reference); "
        f"mean absolute error {report['mean_absolute_error']:.3f}, Spearman {correlation}, "
        f"monotone for {report['monotone_share']:.1%}"
    )


def _by_condition(paths: Iterable[str | Path]) -> dict[float | str | None, _Samples]:
    """Asked ratio (or "policy", or None) -> problem id -> its samples."""
    conditions: dict[float | str | None, _Samples] = {}
    questions: dict[str, str] = {}
    seen: set[tuple[object, ...]] = set()
    for path in paths:
        for row in read_records(path, "samples"):
            asked = float(row["ratio"]) if isinstance(row["ratio"], int | float) else row["ratio"]
            key = (row["id"], asked, row["seed"], row["sample"])
            if key in seen:
                raise DataError(f"{path}: id {row['id']!r}, ratio {asked}, sample {row['sample']} appears twice")
            seen.add(key)
            if questions.setdefault(row["id"], row["question"]) != row["question"]:
                raise DataError(f"{path}: id {row['id']!r} stands for two questions; evaluate their files one by one")
            conditions.setdefault(asked, {}).setdefault(row["id"], []).append(row)
    return conditions


def _reference(base: Sequence[str | Path], conditions: dict[float | str | None, _Samples]) -> _Samples:
    if base:
        found = _by_condition(base)
        if set(found) != {None}:
            raise DataError(f"{base[0]}: has control tokens; --base is the base model's samples without --ratio")
        return found[None]
    if 1.0 not in conditions:
        raise DataError("nothing to measure against: sample ratio 1 too, or give --base")
    return conditions[1.0]


def _thinking(rows: list[Row]) -> float:
    return fmean(row["thinking_tokens"] for row in rows)


def _counts(found: _Samples, problems: list[str]) -> Row:
    rows = [row for name in problems for row in found[name]]
    accuracy = fmean(fmean(row["verdict"] == "correct" for row in found[name]) for name in problems)
    low, high = wilson(accuracy, len(problems))
    return {
        "samples": len(rows),
        "accuracy": accuracy,
        "accuracy_low": low,
        "accuracy_high": high,
        "thinking_tokens": fmean(_thinking(found[name]) for name in problems),
        "cut": sum(row["finish_reason"] == "length" for row in rows),
    }


def _body(report: Row) -> str:
    lines = [line for line in report["conditions"] if "error" in line]
    realised = [(line["asked"], line["realised"], line["realised_low"], line["realised_high"]) for line in lines]
    accuracy = [(line["asked"], line["accuracy"], line["accuracy_low"], line["accuracy_high"]) for line in lines]
    base = report["base"]["accuracy"] if report["base"] else None
    header, *rows = table(report)
    return "\n".join(
        [
            f"<p>{pages.escape(summary(report))}. Reference: {report['reference']}.</p>",
            pages.chart("Realised ratio", "asked ratio", realised, diagonal=True),
            pages.chart("Accuracy", "asked ratio", accuracy, level=base),
            pages.table(header, rows),
        ]
    )
