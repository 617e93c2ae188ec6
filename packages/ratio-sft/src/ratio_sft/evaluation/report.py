"""The report of `evaluate` as a table, one line of text, and an HTML page with charts.

The numbers are left to `evaluate` and `ratio_metrics`.

    for row in table(report):
        print(*row)
"""

from ratio_sft import html_page
from ratio_sft._shared.records import Row


def table(report: Row) -> list[list[str]]:
    """The report as rows of text; the first row is the header."""
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
    """One line with the figures over all ratios."""
    correlation = "none" if report["spearman"] is None else f"{report['spearman']:.3f}"
    return (
        f"{report['problems']} problems ({report['left_out']} left out: not sampled at every ratio, or no reference); "
        f"mean absolute error {report['mean_absolute_error']:.3f}, Spearman {correlation}, "
        f"monotone for {report['monotone_share']:.1%}"
    )


def report_page(report: Row) -> str:
    """The report as the body of an HTML page."""
    lines = [line for line in report["conditions"] if "error" in line]
    realised = [(line["asked"], line["realised"], line["realised_low"], line["realised_high"]) for line in lines]
    accuracy = [(line["asked"], line["accuracy"], line["accuracy_low"], line["accuracy_high"]) for line in lines]
    base = report["base"]["accuracy"] if report["base"] else None
    header, *rows = table(report)
    return "\n".join(
        [
            f"<p>{html_page.escape(summary(report))}. Reference: {report['reference']}.</p>",
            html_page.chart("Realised ratio", "asked ratio", realised, diagonal=True),
            html_page.chart("Accuracy", "asked ratio", accuracy, level=base),
            html_page.table(header, rows),
        ]
    )
