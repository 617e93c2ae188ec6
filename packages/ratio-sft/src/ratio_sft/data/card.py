"""The data card of a mixture: counts, rows of each ratio, rejects by reason and examples, as JSON and as a page.

Writing the files is left to `build`.

    card = data_card(mix(traces, settings), settings)
    card["histogram"][0]     # {'mode': 'fixed', 'ratio': 0.2, 'rows': 38, 'mean_achieved_ratio': 0.2, …}
"""

from dataclasses import asdict

from ratio_sft import html_page
from ratio_sft._shared.records import Row
from ratio_sft.settings import MixSettings

from .mixture import Mixture
from .rows import MixedRows, kind


def data_card(mixture: Mixture, settings: MixSettings) -> Row:
    """Counts, rows of each ratio, rejects by reason, settings, and one example of each kind of row."""
    tally, policy = mixture.tally, mixture.train.policy
    lines, examples = histogram(mixture.train)
    return {
        "format": 1,
        "settings": stated_settings(settings),
        "control_tokens": mixture.tokens.content,
        "tokenizer": mixture.tokenizer,
        "thinking_format": str(mixture.train.thinking_format),
        "counts": {
            "traces_read": tally.read,
            "rows_written": tally.written,
            "rejected": tally.rejected,
            "questions": mixture.questions,
            "train": len(mixture.train),
            "heldout": len(mixture.heldout),
        },
        "rejected_by_reason": tally.reasons,
        "policy": {
            "targets": mixture.policy_targets,
            "train_rows": len(policy),
            "distinct_train_rows": len(set(policy)),
        },
        "histogram": lines,
        "examples": dict(sorted(examples.items())),
        "summary": tally.summary(),
    }


def stated_settings(settings: MixSettings) -> Row:
    """The settings as manifest and card record them; some only if they are not usual."""
    usual = MixSettings()
    optional = ("paper_floors", "policy_quotas", "switches", "thinking_format")
    return {
        name: value for name, value in asdict(settings).items() if name not in optional or value != getattr(usual, name)
    }


def histogram(rows: MixedRows) -> tuple[list[Row], dict[str, Row]]:
    """Number of rows, mean achieved ratio and mean thinking tokens of each mode and ratio.

    Returns:
        One line for each mode and ratio, in rising order, and the first row of each as an example.
    """
    sums: dict[tuple[str, float], list[float]] = {}
    examples: dict[str, Row] = {}
    for row in rows:
        mode, ratio = kind(row, rows.thinking_format), row["ratio"]
        examples.setdefault(f"{mode} {ratio:g}", row)
        group = sums.setdefault((mode, ratio), [0, 0.0, 0])
        group[0] += 1
        group[1] += row["achieved_ratio"]
        group[2] += row["thinking_tokens"]
    lines = [
        {
            "mode": mode,
            "ratio": ratio,
            "rows": count,
            "mean_achieved_ratio": round(achieved / count, 4),
            "mean_thinking_tokens": round(tokens / count, 2),
        }
        for (mode, ratio), (count, achieved, tokens) in sorted(sums.items())
    ]
    return lines, examples


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
