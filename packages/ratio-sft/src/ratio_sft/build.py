"""`ratio-sft build`: a compressed file in, a folder with train.jsonl, heldout.jsonl and a data card out.

What goes into the rows is said by `mixture`.

    card = build("compressed.jsonl", "mix", MixSettings())
    card["counts"]                     # {'train': 840, 'heldout': 48, …}
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from . import pages
from ._shared.lock import locked
from ._shared.records import Row, parse_json, read_records, write_json, write_records
from .decontaminate import TestQuestions
from .manifest import digest, is_finished, open_partial, publish
from .mixture import MixSettings, Mixture, mix, read_teacher
from .row_file import RowFile
from .rows import MixedRows, kind

CARD = "card.json"
CARD_PAGE = "card.html"
_REJECTS = "mixture.jsonl"


def build(
    traces: str | Path,
    out: str | Path,
    settings: MixSettings,
    *,
    teacher: str | Path | None = None,
    exclude: Sequence[str | Path] = (),
    overwrite: bool = False,
) -> Row:
    """Mix `traces` into the folder `out`; returns its card. A finished folder of the same settings is left alone.

    Args:
        traces: a file of the `compressed` contract.
        out: the folder to write; it appears when complete.
        settings: what to mix.
        teacher: a file of the `rl_prompts` contract; its `teacher_ratio` becomes the target of policy rows.
        exclude: files of the `problems` contract; traces of their questions, or that share 13 words with one, are
            rejected and counted.
        overwrite: replace a folder made with other settings.

    Raises:
        DataError: a file breaks its contract, nothing usable is in it, or `out` holds something else or is being
            written.
    """
    out = Path(out)
    ratios = read_teacher(read_records(teacher, "rl_prompts")) if teacher else None
    tests = TestQuestions.read(exclude) if exclude else None
    made_from: Row = {
        **_stated(settings),
        "traces": digest(traces) if Path(traces).is_file() else None,
        "teacher": digest(teacher) if teacher else None,
        "exclude": [digest(path) for path in exclude],
    }
    if settings.traces is not None:
        made_from["traces_kept"] = settings.traces
    if is_finished(out, made_from, overwrite=overwrite):
        return _finished_card(out)
    mixture = mix(RowFile(traces, "compressed"), settings, ratios, tests)
    card = {**describe(mixture, settings), "decontamination": tests.report() if tests else None}
    partial = out.with_name(f"{out.name}.partial")
    with locked(out):
        if is_finished(out, made_from, overwrite=overwrite):  # by another process, since the first look
            return _finished_card(out)
        open_partial(partial, "ratio-sft build", made_from, keep=False)
        write_records(partial / "train.jsonl", mixture.train)
        if mixture.heldout:
            write_records(partial / "heldout.jsonl", mixture.heldout)
        mixture.tally.write_rejected(partial / _REJECTS)
        write_json(partial / CARD, card)
        pages.write(partial / CARD_PAGE, "Data card", _page(card))
        publish(partial, out)
    return card


def _finished_card(out: Path) -> Row:
    return {**parse_json((out / CARD).read_text("utf-8"), str(out / CARD)), "already_finished": True}


def describe(mixture: Mixture, settings: MixSettings) -> Row:
    """The data card: counts, ratio histogram, rejects by reason, settings and one example of each kind."""
    tally, policy = mixture.tally, mixture.train.policy
    found, examples = histogram(mixture.train)
    return {
        "format": 1,
        "settings": _stated(settings),
        "control_tokens": {"ratios": mixture.tokens.ratios, "policy": mixture.tokens.policy},
        "tokenizer": mixture.tokenizer,
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
        "histogram": found,
        "examples": dict(sorted(examples.items())),
        "summary": tally.summary(),
    }


def _stated(settings: MixSettings) -> Row:
    """The settings as manifest and card give them: the paper's floors and quotas only where they were asked for."""
    optional = ("paper_floors", "policy_quotas")
    return {name: value for name, value in asdict(settings).items() if value or name not in optional}


def histogram(rows: MixedRows) -> tuple[list[Row], dict[str, Row]]:
    """Rows, mean achieved ratio and mean thinking tokens of each mode and ratio, in rising order; and a row of each."""
    sums: dict[tuple[str, float], list[float]] = {}
    examples: dict[str, Row] = {}
    for row in rows:
        mode, ratio = kind(row), row["ratio"]
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


def _page(card: Row) -> str:
    """The card as HTML: counts, ratio histogram, rejects by reason, decontamination, examples."""
    counts, tests = card["counts"], card["decontamination"]
    histogram_rows = [
        [
            line["mode"],
            f"{line['ratio']:g}",
            str(line["rows"]),
            f"{line['mean_achieved_ratio']:.3f}",
            f"{line['mean_thinking_tokens']:.1f}",
        ]
        for line in card["histogram"]
    ]
    names = [(f"{line['mode']} {line['ratio']:g}", float(line["rows"])) for line in card["histogram"]]
    rejected = [[reason, str(count)] for reason, count in card["rejected_by_reason"].items()]
    files = tests["files"].items() if tests else ()
    tested = [[name, str(file["questions"]), str(file["matches"])] for name, file in files]
    examples = [
        f"<h3>{pages.escape(name)}</h3><pre>{pages.escape(row['prompt'][-1]['content'])}</pre>"
        f"<pre>{pages.escape(row['completion'][0]['content'])}</pre>"
        for name, row in card["examples"].items()
    ]
    return "\n".join(
        [
            f"<p>{pages.escape(card['summary'])}. {counts['train']} rows to train on, {counts['heldout']} held out; "
            f"{counts['questions']['train']} and {counts['questions']['heldout']} questions. Counted by tokenizer "
            f"{pages.escape(card['tokenizer'])}. Policy targets: {card['policy']['targets']}.</p>",
            pages.bars("Rows to train on", names),
            pages.table(["mode", "ratio", "rows", "achieved", "tokens"], histogram_rows),
            "<h2>Rejects</h2>",
            pages.table(["reason", "traces"], rejected) if rejected else "<p>None.</p>",
            "<h2>Decontamination</h2>",
            pages.table(["test file", "questions", "traces rejected"], tested)
            if tested
            else "<p>No test file was named.</p>",
            "<h2>Examples</h2>",
            *examples,
        ]
    )
