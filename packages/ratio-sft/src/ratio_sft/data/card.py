"""The data card of a mixture: counts, rows of each ratio, rejects by reason and examples, as JSON and as a page.

Writing the files is left to `build`.

    histogram = Histogram()
    histogram.add(mix(traces, settings).train)
    histogram.lines()[0]     # {'mode': 'fixed', 'ratio': 0.2, 'rows': 38, 'mean_achieved_ratio': 0.2, …}
"""

from dataclasses import asdict

from ratio_sft import html_page
from ratio_sft._shared.records import Row, Tally
from ratio_sft.settings import MixSettings

from .decontaminate import TestQuestions
from .rows import MixedRows, kind, row_format
from .selection import Selection


class Histogram:
    """Number of rows, mean achieved ratio and mean thinking tokens of each kind and ratio, and an example of each."""

    def __init__(self) -> None:
        self._sums: dict[tuple[str, float], list[float]] = {}
        self.examples: dict[str, Row] = {}

    def add(self, rows: MixedRows) -> None:
        """Add rows; the first of each kind and ratio is its example."""
        for row in rows:
            mode, ratio = kind(row, rows.thinking_format), row["ratio"]
            self.examples.setdefault(f"{mode} {ratio:g}", row)
            self._add(mode, ratio, 1, row["achieved_ratio"], row["thinking_tokens"])

    def _add(self, mode: str, ratio: float, *values: float) -> None:
        sums = self._sums.setdefault((mode, ratio), [0] * len(values))
        sums[:] = map(sum, zip(sums, values, strict=True))

    def content(self) -> Row:
        """The sums as JSON values, for `merge`."""
        return {"sums": [[*key, *sums] for key, sums in self._sums.items()], "examples": self.examples}

    def merge(self, content: Row) -> None:
        """Add the rows of another one."""
        for mode, ratio, *values in content["sums"]:
            self._add(mode, ratio, *values)
        self.examples = {**content["examples"], **self.examples}

    def lines(self) -> list[Row]:
        """One line for each kind and ratio, in rising order."""
        return [
            {
                "mode": mode,
                "ratio": ratio,
                "rows": count,
                "mean_achieved_ratio": round(achieved / count, 4),
                "mean_thinking_tokens": round(tokens / count, 2),
            }
            for (mode, ratio), (count, achieved, tokens) in sorted(self._sums.items())
        ]


def data_card(
    selection: Selection,
    settings: MixSettings,
    *,
    tokenizer: str,
    tally: Tally,
    histogram: Histogram,
    tests: TestQuestions | None,
) -> Row:
    """Counts, rows of each ratio, rejects by reason, settings, and one example of each kind of row.

    Args:
        selection: What became of the usable traces.
        settings: Settings of the mixture.
        tokenizer: Name of the tokenizer that counted the traces.
        tally: Counts of traces and rows.
        histogram: The rows to train on.
        tests: Test questions that were excluded.
    """
    policy = selection.sides["train"].policy
    return {
        "format": 1,
        "settings": stated_settings(settings),
        "control_tokens": selection.tokens.content,
        "tokenizer": tokenizer,
        "thinking_format": str(row_format(settings)),
        "counts": {
            "traces_read": tally.read,
            "rows_written": tally.written,
            "rejected": tally.rejected,
            "questions": selection.questions,
            **selection.rows,
        },
        "rejected_by_reason": tally.reasons,
        "policy": {
            "targets": selection.policy_targets,
            "train_rows": len(policy),
            "distinct_train_rows": len(set(policy)),
        },
        "histogram": histogram.lines(),
        "examples": dict(sorted(histogram.examples.items())),
        "summary": tally.summary(),
        "decontamination": tests.report() if tests else None,
    }


def stated_settings(settings: MixSettings) -> Row:
    """The settings as manifest and card record them; some only if they are not usual."""
    usual = MixSettings()
    optional = ("paper_floors", "policy_quotas", "switches", "thinking_format")
    return {
        name: value for name, value in asdict(settings).items() if name not in optional or value != getattr(usual, name)
    }


def card_page(card: Row) -> str:
    """The card as the body of an HTML page."""
    counts, tests = card["counts"], card["decontamination"]
    lines = [
        [
            line["mode"],
            f"{line['ratio']:g}",
            str(line["rows"]),
            f"{line['mean_achieved_ratio']:.3f}",
            f"{line['mean_thinking_tokens']:.1f}",
        ]
        for line in card["histogram"]
    ]
    bars = [(f"{line['mode']} {line['ratio']:g}", float(line["rows"])) for line in card["histogram"]]
    rejected = [[reason, str(count)] for reason, count in card["rejected_by_reason"].items()]
    files = tests["files"].items() if tests else ()
    tested = [[name, str(file["questions"]), str(file["matches"])] for name, file in files]
    examples = [
        f"<h3>{html_page.escape(name)}</h3><pre>{html_page.escape(row['prompt'][-1]['content'])}</pre>"
        f"<pre>{html_page.escape(row['completion'][0]['content'])}</pre>"
        for name, row in card["examples"].items()
    ]
    return "\n".join(
        [
            f"<p>{html_page.escape(card['summary'])}. {counts['train']} rows to train on, {counts['heldout']} held "
            f"out; {counts['questions']['train']} and {counts['questions']['heldout']} questions. Counted by tokenizer "
            f"{html_page.escape(card['tokenizer'])}. Policy targets: {card['policy']['targets']}.</p>",
            html_page.bars("Rows to train on", bars),
            html_page.table(["mode", "ratio", "rows", "achieved", "tokens"], lines),
            "<h2>Rejects</h2>",
            html_page.table(["reason", "traces"], rejected) if rejected else "<p>None.</p>",
            "<h2>Decontamination</h2>",
            html_page.table(["test file", "questions", "traces rejected"], tested)
            if tested
            else "<p>No test file was named.</p>",
            "<h2>Examples</h2>",
            *examples,
        ]
    )
