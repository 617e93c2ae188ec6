"""The HTML page of a report: one file, no outside resource, nothing in it but the template's own script can run.

Numbers come from `data`, drawings from `chart`, samples from `samples`.

    html = page(data, title="Less thinking, same answers", notes=["Toy model."])
"""

import base64
import hashlib
from collections.abc import Iterator, Sequence
from importlib.resources import files
from typing import Any

from math_eval.records import parse_json

from . import table
from .chart import Point, scatter
from .data import Entry, ReportData
from .samples import safe, section

_DESKTOP, _PHONE = (900, 430), (380, 400)


def page(data: ReportData, *, title: str, notes: Sequence[str] = ()) -> str:
    """The whole page.

    Args:
        data: what to show.
        title: its heading, as plain text.
        notes: sentences under the headline, as plain text.
    """
    here = files(__package__ or "")
    style, script = (here.joinpath(name).read_text("utf-8") for name in ("style.css", "filter.js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; form-action 'none'"
    field = next(reversed(data.breakdowns), None)
    body = [
        f"<h1>{safe(title)}</h1>",
        *(
            f'<p class="{"lead" if index == 0 else "small"}">{safe(line)}</p>'
            for index, line in enumerate(headline(data))
        ),
        *(f'<p class="note">{safe(note)}</p>' for note in notes),
        _figure(data),
        _table(data),
        *(_breakdown(data, name) for name in data.breakdowns),
        _chosen(data),
        _settings(data),
    ]
    measured = "".join(body).replace(" %", "\u00a0%")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{safe(title)}</title><style>{style}</style></head><body>{measured}{section(data, field)}"
        f"<script>{script}</script></body></html>\n"
    )


def headline(data: ReportData) -> list[str]:
    """The result in a sentence or two."""
    last = data.last.values
    if data.comparison is None:
        interval = table.interval(last["accuracy_low"], last["accuracy_high"])
        return [
            f"{data.last.name} answers {table.percent(last['accuracy'])} of {last['n']:,} problems right (95 % "
            f"interval {interval}) with {table.number(last['thinking_tokens'])} thinking tokens on average."
        ]
    values = data.comparison.values
    difference = table.points(values["accuracy_difference"])
    interval = (
        f"{table.points(values['accuracy_difference_low'])} to {table.points(values['accuracy_difference_high'])}"
    )
    tokens = "is compared with"
    if values["token_reduction"] is not None:
        share = 100 * values["token_reduction"]
        tokens = f"thinks with {abs(share):.0f} % {'fewer' if share >= 0 else 'more'} tokens than"
    lines = [
        f"{values['b']} {tokens} {values['a']} ({table.number(values['thinking_tokens_b'])} against "
        f"{table.number(values['thinking_tokens_a'])}), at {table.percent(values['accuracy_b'])} accuracy against "
        f"{table.percent(values['accuracy_a'])}: a difference of {difference} points, 95 % interval {interval}."
    ]
    pairs = f"Paired on {values['n']:,} samples of {values['problems']:,} problems"
    if values["unpaired_a"] or values["unpaired_b"]:
        pairs += f" ({values['unpaired_a']} and {values['unpaired_b']} samples without a partner left out)"
    reduction = ""
    fewer, low, high = (values[f"token_reduction{end}"] for end in ("", "_low", "_high"))
    if fewer is not None and low is not None:
        reduction = f" Token reduction {100 * fewer:.1f} %, 95 % interval {100 * low:.1f} to {100 * high:.1f}."
    lines.append(
        f"{pairs}: {values['only_a_correct']} are right only in {values['a']}, {values['only_b_correct']} only in "
        f"{values['b']} (exact McNemar p = {values['mcnemar_p']:.2g}).{reduction}"
    )
    return lines


def _figure(data: ReportData) -> str:
    labels = list(dict.fromkeys(entry.label for entry in data.entries))
    points = [_point(entry, labels.index(entry.label)) for entry in data.entries]
    charts = "".join(
        f'<div class="{name}">{scatter(points, width=width, height=height)}</div>'
        for name, (width, height) in (("desktop", _DESKTOP), ("phone", _PHONE))
    )
    shapes = {
        "none": "squares: no ratio asked for",
        "ratio": "circles: a fixed ratio",
        "policy": "diamonds: the model chooses",
    }
    kinds = "; ".join(words for kind, words in shapes.items() if any(point.kind == kind for point in points))
    return (
        f"<figure>{charts}<figcaption><b>Figure 1.</b> Accuracy against thinking tokens; up and to the left is better. "
        f"Bars are 95 % intervals. {kinds[0].upper()}{kinds[1:]}.</figcaption></figure>"
    )


def _point(entry: Entry, colour: int) -> Point:
    values = entry.values
    kind = "none" if entry.ratio is None else "policy" if entry.ratio == "policy" else "ratio"
    tokens = (max(0.0, values["thinking_tokens_low"]), values["thinking_tokens_high"])
    accuracy = (values["accuracy_low"], values["accuracy_high"])
    return Point(entry.name, values["thinking_tokens"], tokens, values["accuracy"], accuracy, colour, kind)


def _table(data: ReportData) -> str:
    heads = ("condition", "accuracy", "thinking tokens", "all tokens", "ActRatio", "truncated", "no answer", "problems")
    body: list[str] = []
    for entry in data.entries:
        name, accuracy, interval, thinking, everything, _, truncated, missing, count = table.row(entry)
        cells = [
            f"{accuracy} <small>{interval}</small>",
            thinking,
            everything,
            _act_ratio(entry.values),
            truncated,
            missing,
            count,
        ]
        body.append(f"<tr><th scope=row>{safe(name)}</th>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    return (
        "<figure><figcaption><b>Table 1.</b> Every condition. ActRatio is thinking tokens over those of "
        f"{safe(data.baseline.name)} on the same problems: the ratio of means with its 95 % interval, then the mean of "
        "the problems' own ratios. Thinking that is never closed counts to its end.</figcaption>"
        f"{_grid(heads, body)}</figure>"
    )


def _act_ratio(values: dict[str, Any]) -> str:
    if values["act_ratio"] is None:
        return "–"
    low, high = table.fraction(values["act_ratio_low"]), table.fraction(values["act_ratio_high"])
    return f"{values['act_ratio']:.2f} <small>{low} – {high}; {table.fraction(values['act_ratio_paired'])}</small>"


def _breakdown(data: ReportData, field: str) -> str:
    names = [entry.name for entry in data.entries]
    body: list[str] = []
    for value, cells in data.breakdowns[field].items():
        count = max(cell["n"] for cell in cells.values())
        shown = "".join(
            f"<td>{table.percent(cells[name]['accuracy'])}<br><small>{table.number(cells[name]['thinking_tokens'])}</small></td>"
            if name in cells
            else "<td>–</td>"
            for name in names
        )
        body.append(f"<tr><th scope=row>{safe(value)}<br><small>n = {count}</small></th>{shown}</tr>")
    return (
        f"<h2>By {safe(field)}</h2><figure><figcaption>Accuracy, and mean thinking tokens below it, by {safe(field)} "
        f"of the problem.</figcaption>{_grid((field, *names), body)}</figure>"
    )


def _grid(heads: Sequence[str], body: Sequence[str]) -> str:
    """A table that scrolls by itself on a narrow screen."""
    cells = "".join(f"<th scope=col>{safe(head)}</th>" for head in heads)
    return f'<div class="scroll"><table><thead><tr>{cells}</tr></thead><tbody>{"".join(body)}</tbody></table></div>'


def _chosen(data: ReportData) -> str:
    """Stacked bars of the ratios that policy conditions chose, over all problems and by field."""
    policies = [entry for entry in data.entries if "chosen" in entry.values]
    if not policies:
        return ""
    parts = ["<h2>Which ratio the model chooses</h2>"]
    ladder = sorted({ratio for entry in policies for ratio in entry.values["chosen"]} - {"none"}, key=float)
    legend = "".join(f'<span><i class="{_shade(ratio, ladder)}"></i>{ratio}</span>' for ratio in ladder)
    if any("none" in entry.values["chosen"] for entry in policies):
        legend += '<span><i class="rn"></i>no ratio token</span>'
    parts.append(f'<p class="legend"><span>share of samples by chosen ratio</span>{legend}</p>')
    for entry in policies:
        rows = [("all", entry.values["chosen"])]
        for field, cells in data.breakdowns.items():
            rows += [(f"{field} {value}", by[entry.name]["chosen"]) for value, by in cells.items() if entry.name in by]
        bars = "".join(f"<span>{safe(name)}</span>{_stack(shares, ladder)}" for name, shares in rows)
        parts.append(f'<h3>{safe(entry.name)}</h3><div class="bars">{bars}</div>')
    return "".join(parts)


def _shade(ratio: str, ladder: list[str]) -> str:
    """A darker shade for a larger ratio."""
    if ratio == "none":
        return "rn"
    return f"r{round(5 * ladder.index(ratio) / max(len(ladder) - 1, 1))}"


def _stack(shares: dict[str, float], ladder: list[str]) -> str:
    spans = "".join(
        f'<span class="{_shade(ratio, ladder)}" style="width:{100 * share:.2f}%" '
        f'title="{ratio}: {table.percent(share)}">{f"{100 * share:.0f} %" if share >= 0.09 else ""}</span>'
        for ratio, share in shares.items()
    )
    return f'<div class="stack">{spans}</div>'


def _settings(data: ReportData) -> str:
    return f"<h2>How it was measured</h2><ul class='small'>{''.join(_runs(data))}</ul>"


def _runs(data: ReportData) -> Iterator[str]:
    seen: set[str] = set()
    for entry in data.entries:
        if entry.label in seen:
            continue
        seen.add(entry.label)
        path = entry.condition.run / "manifest.json"
        manifest = parse_json(path.read_text("utf-8"), str(path))
        settings, environment = manifest["settings"], manifest.get("environment", {})
        temperature = settings["temperature"]
        samples = "1 sample" if settings["samples"] == 1 else f"{settings['samples']} samples"
        decoding = "greedy" if temperature == 0 else f"temperature {temperature:g}, top-p {settings['top_p']:g}"
        model = entry.condition.rows[0].get("model", "")
        seeds = f"seed{'s'[: len(settings['seeds']) > 1]} {', '.join(map(str, settings['seeds']))}"
        checksum = f" (sha256 {settings['model_sha256'][:12]})" if "model_sha256" in settings else ""
        versions = ", ".join(f"{name} {value}" for name, value in environment.items())
        yield (
            f"<li><b>{safe(entry.label)}</b>: model {safe(str(model))}{checksum}, tasks "
            f"{safe(', '.join(settings['tasks']))}, {samples} a problem, {decoding}, at most "
            f"{settings['max_tokens']:,} new tokens, {seeds}; {safe(versions)}.</li>"
        )
