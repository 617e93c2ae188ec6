"""The HTML page of a report.

Numbers come from `data`, drawings from `chart` and `ratios`, samples from `samples`, the shell from `document`.

    html = page(data, title="Less thinking, same answers", notes=["Toy model."])
"""

from collections.abc import Iterator, Sequence
from typing import Any

from math_eval.compare import own_ratios

from . import format as fmt
from . import table
from .chart import Point, scatter, unlabelled_note
from .data import Entry, ReportData
from .document import document
from .efficiency import efficiency
from .escaping import html
from .headline import headline
from .html_table import grid, row
from .ratios import Spread, chosen, histogram
from .samples import section

_DESKTOP, _PHONE = (900, 430), (380, 400)
_UNDECIDED = ("gold_unparsable", "limit", "timeout", "error")


def page(data: ReportData, *, title: str, notes: Sequence[str] = ()) -> str:
    """The whole page.

    Args:
        data: The report.
        title: Heading of the page, as plain text.
        notes: Sentences under the headline, as plain text.
    """
    field = next(reversed(data.breakdowns), None)
    body = [
        f"<h1>{html(title)}</h1>",
        *(
            f'<p class="{"lead" if index == 0 else "small"}">{html(line)}</p>'
            for index, line in enumerate(headline(data))
        ),
        *(f'<p class="note">{html(note)}</p>' for note in notes),
        _figure(data),
        _table(data),
        efficiency(data),
        _cost(data),
        *(_breakdown(data, name) for name in data.breakdowns),
        _spreads(data),
        chosen(data),
        _settings(data),
    ]
    measured = "".join(body).replace(" %", "\u00a0%")
    return document(title, [measured, section(data, field)], script="filter.js")


def _figure(data: ReportData) -> str:
    runs = data.runs
    points = [_point(entry, runs.index(entry.run)) for entry in data.entries]
    charts = "".join(
        f'<div class="{name}">{scatter(points, width=width, height=height)}</div>'
        for name, (width, height) in (("desktop", _DESKTOP), ("phone", _PHONE))
    )
    shapes = {
        "none": "squares: no ratio requested",
        "ratio": "circles: a fixed ratio",
        "policy": "diamonds: the model chooses",
    }
    kinds = [words for kind, words in shapes.items() if any(point.kind == kind for point in points)]
    marks = f" {'; '.join(kinds).capitalize()}." if len(kinds) > 1 else ""
    return (
        f"<figure>{charts}<figcaption><b>Figure 1.</b> Accuracy against thinking tokens; up and to the left is better. "
        f"Bars are 95 % intervals.{marks}{unlabelled_note(len(points))}</figcaption></figure>"
    )


def _point(entry: Entry, colour: int) -> Point:
    values = entry.values
    kind = "none" if entry.ratio is None else "policy" if entry.ratio == "policy" else "ratio"
    tokens = (max(0.0, values["thinking_tokens_low"]), values["thinking_tokens_high"])
    accuracy = (values["accuracy_low"], values["accuracy_high"])
    return Point(entry.name, values["thinking_tokens"], tokens, values["accuracy"], accuracy, colour, kind)


def _spreads(data: ReportData) -> str:
    """The distribution of the samples' own ratios; empty without a second condition or a baseline that thinks."""
    runs = data.runs
    others = [entry for entry in data.entries if entry is not data.baseline]
    found = [(entry, own_ratios(data.baseline.condition, entry.condition)) for entry in others]
    spreads = [Spread(entry.name, runs.index(entry.run), ratios) for entry, ratios in found if ratios]
    if not spreads:
        return ""
    name = data.baseline.name
    charts = "".join(
        f'<div class="{kind}">{histogram(spreads, baseline=name, width=width)}</div>'
        for kind, (width, _) in (("desktop", _DESKTOP), ("phone", _PHONE))
    )
    return (
        f"<h2>How much shorter each sample thinks</h2><figure>{charts}<figcaption><b>Figure 3.</b> Each sample's "
        f"thinking tokens divided by those of {html(name)} on the same problem: left of 1 is shorter. The height is "
        "the share of samples; each row has its own scale.</figcaption></figure>"
    )


def _table(data: ReportData) -> str:
    many = table.many_samples(data)
    seeds = ["over seeds"] if table.several_seeds(data) else []
    against = ["difference", "ActRatio"] if data.comparison else []
    heads = ("condition", "accuracy", *against[:1], *seeds, *many, "thinking tokens", *against[1:], "problems")
    body: list[str] = []
    for entry in data.entries:
        values = entry.values
        interval = fmt.interval(values["accuracy_low"], values["accuracy_high"])
        cells = [
            f"{fmt.percent(values['accuracy'])} <small>{interval}</small>",
            *(_difference(values) for _ in against[:1]),
            *(fmt.over_seeds(values) for _ in seeds),
            *(fmt.percent(values[name]) if name in values else "–" for name in many),
            fmt.number(values["thinking_tokens"]),
            *("1" if entry is data.baseline else _act_ratio(values) for _ in against[1:]),
            fmt.problems(values),
        ]
        body.append(row(entry.name, cells))
    columns = "accuracy with its 95 % interval over problems"
    if seeds:
        columns += ", and the standard deviation of accuracy over seeds on the same problems"
    if many:
        columns += (
            "; pass@k: at least one of k samples is correct; maj@k: the most frequent answer of k is correct; "
            "shortest@k: the shortest of k is correct"
        )
    if against:
        columns += (
            f". Difference and ActRatio compare with {html(data.baseline.name)} on the same samples, with 95 % "
            "intervals. Difference: percentage points of accuracy. ActRatio: thinking tokens divided by the "
            "baseline's, first the ratio of means, then the mean of the samples' ratios"
        )
    return (
        f"<figure><figcaption><b>Table 1.</b> Every condition: {columns}. A thinking block that is never "
        f"closed counts to the end of the text.</figcaption>{grid(heads, body)}</figure>"
    )


def _cost(data: ReportData) -> str:
    modes = table.of_modes(data)
    heads = ("condition", "all tokens", *modes, "truncated", "no answer", "undecided", "latency, s", "samples per s")
    body = [
        row(
            entry.name,
            [
                fmt.number(entry.values["completion_tokens"]),
                *(cell(entry.values) for cell in modes.values()),
                fmt.percent(entry.values["truncated_rate"]),
                fmt.percent(entry.values["no_answer_rate"]),
                fmt.percent(sum(entry.values["verdicts"][name] for name in _UNDECIDED) / len(entry.condition.rows)),
                fmt.rate(entry.values["latency_s"]),
                fmt.rate(entry.values["samples_per_s"]),
            ],
        )
        for entry in data.entries
    ]
    stopped = (
        " Closed by run: samples whose thinking the run closed. Over budget: number of samples that think longer than "
        "their run permits. Trial tokens: mean tokens of trial answers, which the other columns do not contain."
        if modes
        else ""
    )
    return (
        f"<figure><figcaption><b>Table 4.</b> Cost and completeness.{stopped} Truncated: cut off at the token limit. "
        "Undecided: the grader gave up, or the reference answer cannot be read; neither counts as correct. Latency is "
        "the time that a sample takes (for samples generated together, the time of their batch); samples per s is the "
        "throughput, which is not the inverse of the latency."
        f"</figcaption>{grid(heads, body)}</figure>"
    )


def _difference(values: dict[str, Any]) -> str:
    if "accuracy_difference" not in values:
        return "–"
    middle, low, high = (fmt.points(values[f"accuracy_difference{end}"]) for end in ("", "_low", "_high"))
    return f"{middle} <small>{low} to {high}</small>"


def _act_ratio(values: dict[str, Any]) -> str:
    if values["act_ratio"] is None:
        return "–"
    low, high = values["act_ratio_low"], values["act_ratio_high"]
    interval = "" if low is None else f"{low:.2f} – {high:.2f}; "
    return f"{values['act_ratio']:.2f} <small>{interval}{fmt.fraction(values['act_ratio_paired'])}</small>"


def _breakdown(data: ReportData, field: str) -> str:
    names = [entry.name for entry in data.entries]
    body: list[str] = []
    for value, cells in data.breakdowns[field].items():
        count = max(cell["n"] for cell in cells.values())
        shown = "".join(
            f"<td>{fmt.percent(cells[name]['accuracy'])}<br><small>{fmt.number(cells[name]['thinking_tokens'])}</small></td>"
            if name in cells
            else "<td>–</td>"
            for name in names
        )
        body.append(f"<tr><th scope=row>{html(value)}<br><small>n = {count}</small></th>{shown}</tr>")
    return (
        f"<h2>By {html(field)}</h2><figure><figcaption>Accuracy, and mean thinking tokens below it, by {html(field)} "
        f"of the problem.</figcaption>{grid((field, *names), body)}</figure>"
    )


def _settings(data: ReportData) -> str:
    return f"<h2>How it was measured</h2><ul class='small'>{''.join(_runs(data))}</ul>"


def _runs(data: ReportData) -> Iterator[str]:
    """One line for each run."""
    for entry in {entry.run: entry for entry in data.entries}.values():
        settings, environment = entry.manifest["settings"], entry.manifest.get("environment", {})
        temperature = settings["temperature"]
        samples = "1 sample" if settings["samples"] == 1 else f"{settings['samples']} samples"
        decoding = "greedy" if temperature == 0 else f"temperature {temperature:g}, top-p {settings['top_p']:g}"
        model = entry.condition.rows[0].get("model", "")
        checksum = f" (sha256 {settings['model_sha256'][:12]})" if "model_sha256" in settings else ""
        seeds = sorted({row["seed"] for row in entry.condition.rows})
        seeded, drawn = (
            ("", f"seed {seeds[0]}") if len(seeds) == 1 else (" and seed", f"seeds {', '.join(map(str, seeds))}")
        )
        versions = "".join(f", {name} {value}" for name, value in environment.items())
        facts = (
            f": model {model}{checksum}, tasks {', '.join(settings['tasks'])}, {samples} a problem{seeded}, "
            f"{decoding}, at most {settings['max_tokens']:,} new tokens, {drawn}{versions}."
        )
        yield f"<li><b>{html(f'{entry.label}{entry.condition.thinking_suffix}')}</b>{html(facts)}</li>"
