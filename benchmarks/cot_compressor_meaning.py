"""Measures what each scorer keeps of the meaning: the response's content, conclusions, answers, sentences, equations.

Two files of real traces are read: mathematics, and general reasoning of many domains. Questions are split by their
hash; a third is held out, and nothing was fitted to it. The simple methods get as many tokens as `rules` used. *At
most* is the selection of whole sentences that reads the response itself. Torn formulas are counted by patterns of this
script, over lines that are only an equation, because the package would count with its own units. The trained scorer
comes from `cot_compressor_train.py`; without it, the script needs no model.

    python benchmarks/cot_compressor_meaning.py --data-dir data --tokenizer runs/smollm2/base --scorer runs/scorer

`--before` compares with another version of the package: with the output of its command `compress` on these traces.
"""

import gzip
import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from recording import data_dir_option, record
from tqdm import tqdm

from cot_compressor import Compressor, InfeasibleBudget, segment, select_baseline
from cot_compressor.budget.counting import Counter
from cot_compressor.errors import RejectedRow
from cot_compressor.evaluation.baselines import BASELINES
from cot_compressor.evaluation.fidelity import Sample, mean_with_interval, measure_fidelity
from cot_compressor.text.render import Span, render
from cot_compressor.training.annotate_response import ResponseAnnotator

RATIOS = [0.1, 0.2, 0.4]
FILES = {"mathematics": "traces_math_train.jsonl.gz", "general": "traces_general.jsonl.gz"}
UNSEEN_DOMAINS = {
    "agentic_code",
    "agentic_search",
    "code",
    "code_repair",
    "facts",
    "finance",
    "law",
    "medical",
    "multi_hop_facts",
    "planning",
    "planning_pddl",
    "probability_puzzle",
}
"""Domains on which the scorer is measured that was trained on the others."""
UNSEEN = "general, domains unseen in training"
BEFORE = "rules before"
Before = dict[str, dict[float, tuple[str, Sequence[Span]]]]
SHOWN = {
    "response_coverage": "content of the response",
    "conclusion_kept": "conclusion kept",
    "answer_retention": "answer kept",
    "grounded_recall": "grounded equations",
    "fragments": "cut sentences",
    "torn": "torn equation lines",
}
SHORTEST_RESPONSE, LONGEST_COT = 150, 20_000
LINE = re.compile(r"^[ \t]*(?:[-*•][ \t]+|\d+[.)][ \t]+)?([^\n`]{3,160}?)[ \t]*$", re.MULTILINE)
PART = re.compile(r",\s|;\s|\.\s+(?=[A-Z\d])|\s*(?:→|⇒|=>|->)\s*|\b(?:[Ss]o|[Ii]f|or)\s+|(?<=[\w)])\s+\((?=[^()]*=)")
RELATION = re.compile(r"[=<>≤≥≈]")
NAMES = {
    "sin",
    "cos",
    "tan",
    "log",
    "exp",
    "sqrt",
    "max",
    "min",
    "mod",
    "gcd",
    "days",
    "hours",
    "miles",
    "feet",
    "minutes",
}


def load(path: Path, *, held_out: bool) -> list[dict[str, Any]]:
    """The rows with a usable response, of the held-out questions or of the others."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    return [
        row
        for row in rows
        if (int(hashlib.sha256(("dev" + row["question"]).encode()).hexdigest(), 16) % 3 == 0) == held_out
        and len(row["response"]) >= SHORTEST_RESPONSE
        and len(row["cot"]) <= LONGEST_COT
    ]


def equation_parts(text: str) -> Iterator[Span]:
    """Spans of equations in lines that contain no word of three letters but a few names.

    Equations end at commas, full stops, arrows, connectives, and before an aside in brackets that is an equation.
    """
    for line in LINE.finditer(text):
        words = re.findall(r"[A-Za-z]{3,}", re.sub(r"\\[A-Za-z]+", "", line[1]))
        if any(word not in NAMES for word in words):
            continue
        start = line.start(1)
        for border in [*PART.finditer(text, *line.span(1)), None]:
            end = border.start() if border else line.end(1)
            part = text[start:end].rstrip(".,;:!? ")
            if RELATION.search(part):
                yield start, start + len(part)
            start = border.end() if border else end


def torn_share(parts: Sequence[Span], spans: Sequence[Span], text: str) -> float | None:
    """The share of equations that are cut, of those of which something is kept."""
    kept = {at for start, end in spans for at in range(start, end)}
    found = [[at in kept for at in range(start, end) if not text[at].isspace()] for start, end in parts]
    touched = [marks for marks in found if any(marks)]
    return sum(not all(marks) for marks in touched) / len(touched) if touched else None


def best_cover(row: dict[str, Any], tokens: int, counter: Counter) -> tuple[str, Sequence[Span]]:
    """Whole sentences chosen with the response at hand, within a number of tokens."""
    cot = row["cot"]
    share = min(0.95, tokens / max(1, counter.count(cot)))
    while True:
        try:
            spans = ResponseAnnotator(share).keep(row["question"], cot, row["answer"] or "", row["response"])
        except RejectedRow:
            return "", ()
        text = render(cot, spans)
        if counter.count(text) <= tokens:
            return text, spans
        share *= 0.95


def read_before(file: Path | None) -> Before:
    """Text and spans of the rows of a `compressed` file by id and ratio."""
    if file is None:
        return {}
    return {
        row["id"]: {one["ratio"]: (one["text"], one["spans"]) for one in row["compressions"]}
        for row in map(json.loads, file.read_text("utf-8").splitlines())
    }


def measure(
    rows: list[dict[str, Any]], compressor: Compressor, name: str, trained: dict[str, Compressor], before: Before
) -> dict[str, Any]:
    """All metrics of all methods, as means with intervals over questions; all scorers get the same budgets."""
    counter = compressor.counter
    values: dict[tuple[float, str], list[dict[str, float | None]]] = {}
    groups: list[str] = []
    infeasible = 0
    used: list[float] = []
    for row in tqdm(rows, desc=name):
        cot = row["cot"]
        try:
            results = compressor.compress(cot, question=row["question"], ratios=RATIOS)
            others = {
                method: one.compress(cot, question=row["question"], ratios=RATIOS) for method, one in trained.items()
            }
        except InfeasibleBudget:
            infeasible += 1
            continue
        groups.append(row["question"])
        sample = Sample(row["question"], cot, segment(cot), row["answer"], row["response"])
        parts = list(equation_parts(cot))
        for at, result in enumerate(results):
            used.append(result.tokens / max(1, int(result.ratio * result.original_tokens)))
            kept: dict[str, tuple[str, Sequence[Span]]] = {"rules": (result.text, result.spans)}
            for method in BASELINES:
                choice = select_baseline(method, cot, result.tokens, counter, question=row["question"])
                kept[method] = choice.text, choice.spans
            kept |= {method: (found[at].text, found[at].spans) for method, found in others.items()}
            if before:
                kept[BEFORE] = before[row["id"]][result.ratio]
            kept["at most"] = best_cover(row, result.tokens, counter)
            for method, (text, spans) in kept.items():
                metrics = {**measure_fidelity(sample, spans, text), "torn": torn_share(parts, spans, cot)}
                values.setdefault((result.ratio, method), []).append({each: metrics[each] for each in SHOWN})
    entries = [
        {
            "ratio": ratio,
            "method": method,
            "metrics": {
                each: asdict(mean) if (mean := mean_with_interval([one[each] for one in found], groups)) else None
                for each in SHOWN
            },
        }
        for (ratio, method), found in values.items()
    ]
    return {
        "name": name,
        "rows": len(groups),
        "questions": len(set(groups)),
        "infeasible": infeasible,
        "short_budgets": sum(share < 0.9 for share in used),
        "selections": len(used),
        "entries": entries,
        "leads": [
            {"ratio": ratio, **lead}
            for ratio in RATIOS
            for method in ("rules", *trained)
            for lead in leads(method, {other: found for (at, other), found in values.items() if at == ratio}, groups)
        ],
    }


def leads(method: str, values: dict[str, list[dict[str, float | None]]], groups: list[str]) -> Iterator[dict[str, Any]]:
    """By how much a scorer keeps more of the response than the best simple method, `rules`, and the rules before."""

    def column(name: str) -> list[float]:
        return [one["response_coverage"] or 0.0 for one in values[name]]

    best = max(BASELINES, key=lambda name: sum(column(name)))
    others = [best, *(["rules"] if method != "rules" else []), *([BEFORE] if BEFORE in values else [])]
    for other in others:
        gains = [ours - theirs for ours, theirs in zip(column(method), column(other), strict=True)]
        gain = mean_with_interval(gains, groups)
        assert gain is not None
        yield {"method": method, "other": other, "gain": asdict(gain)}


def tables(result: dict[str, Any]) -> str:
    """The figures as Markdown."""
    lines: list[str] = []
    if one := result["training"]:
        lines += [
            f"Scorer: {one['rows']} traces ({one['characters']} characters) on {one['questions']} questions, "
            f"{one['epochs']} epochs, {one['minutes']:.0f} minutes ({one['processor_minutes']:.0f} of processor "
            f"time, {one['threads']} threads); macro-F1 {one['macro_f1']:.3f} on the questions for early stopping.",
            "",
        ]
    for group in result["groups"]:
        lines += [
            f"{group['name']}: {group['rows']} traces on {group['questions']} questions; {group['infeasible']} too "
            f"short. {group['short_budgets']} of {group['selections']} selections use less than nine tenths of their "
            "budget.",
            "",
            f"| ratio | method | {' | '.join(SHOWN.values())} |",
            "|---|---|" + "---:|" * len(SHOWN),
        ]
        for entry in group["entries"]:
            cells = [
                "–" if mean is None else f"{mean['mean']:.3f} ({mean['low']:.3f}–{mean['high']:.3f})"
                for mean in entry["metrics"].values()
            ]
            lines.append(f"| {entry['ratio']:g} | {entry['method']} | {' | '.join(cells)} |")
        lines += ["", "| ratio | scorer | compared with | content of the response, difference |", "|---|---|---|---:|"]
        for lead in group["leads"]:
            gain = lead["gain"]
            cells = [lead["method"], lead["other"], f"{gain['mean']:+.3f} ({gain['low']:+.3f} to {gain['high']:+.3f})"]
            lines.append(f"| {lead['ratio']:g} | {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


def training(scorer: Path) -> dict[str, Any]:
    """What `cot_compressor_train.py` wrote about the training of a scorer."""
    return json.loads(scorer.with_name(f"{scorer.name}-training.json").read_text("utf-8"))


@click.command()
@data_dir_option
@click.option("--tokenizer", type=click.Path(path_type=Path), required=True, help="Model folder.")
@click.option("--scorer", type=click.Path(path_type=Path), help="Trained scorer; its hybrid is measured, too.")
@click.option("--before", type=click.Path(path_type=Path), help="Output of compress of another version.")
@click.option("--development", is_flag=True, help="Use the questions that are not held out, and record nothing.")
@click.option("--limit", type=click.IntRange(1), help="Number of traces of each group; by default all.")
def main(
    data_dir: Path,
    tokenizer: Path,
    scorer: Path | None,
    before: Path | None,
    limit: int | None,
    *,
    development: bool,
) -> None:
    """Measure, print and record."""
    missing = [name for name in FILES.values() if not (data_dir / name).is_file()]
    if missing:
        print(f"skipped: no {', '.join(missing)} in {data_dir}; give --data-dir")
        return
    compressor, earlier = Compressor.from_pretrained("rules", tokenizer=tokenizer), read_before(before)
    rows = {name: load(data_dir / file, held_out=not development) for name, file in FILES.items()}
    rows[UNSEEN] = [row for row in rows["general"] if row["domain"] in UNSEEN_DOMAINS]
    rows["general"] = [row for row in rows["general"] if row["domain"] not in UNSEEN_DOMAINS]
    names = {"trained": scorer, "hybrid": f"hybrid:{scorer}"} if scorer else {}
    trained = {method: Compressor.from_pretrained(one, tokenizer=tokenizer) for method, one in names.items()}
    result: dict[str, Any] = {"groups": [], "training": training(scorer) if scorer else None}
    for name, found in rows.items():
        chosen = found[:: -(-len(found) // limit)] if limit else found
        result["groups"].append(measure(chosen, compressor, name, trained, earlier))
    if development:
        print(tables(result))
    else:
        record(__file__, result, tables)


if __name__ == "__main__":
    main()
