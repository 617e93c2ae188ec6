"""Shows a summary of fidelity metrics: a table for the terminal, and one self-contained HTML page.

The page needs no network and no script, and everything from the traces is escaped. The numbers are computed in
`evaluate.py`.

    print(text_table(summary, rows=362))
"""

import html
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from cot_compressor._shared.records import Row
from cot_compressor.compressor import Compression
from cot_compressor.text.render import Span

from .fidelity import FORM, KEPT, Mean

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1d2433; background: #fff; max-width: 1100px; margin: 2rem auto;
  padding: 0 1rem; }
.wide { overflow-x: auto; width: max-content; min-width: 100%; max-width: calc(50% + 50vw - 1rem); }
table { border-collapse: collapse; min-width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .4rem; text-align: right; border-bottom: 1px solid #e3e6ec; vertical-align: top; }
th { max-width: 6rem; } td small { white-space: nowrap; font-weight: 400; font-size: .75rem; }
th:nth-child(-n+2), td:nth-child(-n+2) { text-align: left; }
tr.first td { border-top: 2px solid #8a93a6; font-weight: 600; }
small { color: #667085; display: block; }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 1rem; }
.text { white-space: pre-wrap; overflow-wrap: anywhere; background: #f7f8fa; padding: .8rem; border-radius: 6px;
  max-height: 28rem; overflow-y: auto; color: #8a93a6; }
mark { background: #d7ecd9; color: #14351a; border-radius: 2px; }
.short { color: #1d2433; }
details { margin: .6rem 0; } summary { cursor: pointer; }
"""


def _number(name: str, value: float) -> str:
    return f"{value:+.4f}" if name == "ratio_error" else f"{value:.3f}"


def _tokens(entry: Mapping[str, Any]) -> str:
    return f"{entry['tokens']:.1f}/{entry['original_tokens']:.1f}"


def text_table(summary: Sequence[Mapping[str, Any]], rows: int) -> str:
    """One block for each ratio: a line for each metric of `KEPT`, a column of means for each method.

    Args:
        summary: Entries as in `html_page`.
        rows: Number of rows that were measured.
    """
    blocks: list[str] = []
    for ratio, group in itertools.groupby(summary, key=lambda entry: entry["ratio"]):
        entries = list(group)
        lines = [[f"ratio {ratio:g}", *(entry["method"] for entry in entries)], ["tokens", *map(_tokens, entries)]]
        for name in KEPT:
            means = [entry["metrics"][name] for entry in entries]
            lines.append(
                [name.replace("_", " "), *("-" if each is None else _number(name, each.mean) for each in means)]
            )
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        blocks += ["  ".join([first.ljust(widths[0]), *map(str.rjust, values, widths[1:])]) for first, *values in lines]
        blocks.append("")
    note = f"{rows} rows; on each row the other methods get the number of tokens that the scorer used"
    return "\n".join([*blocks, note])


def highlighted(text: str, spans: Sequence[Span]) -> str:
    """Escaped HTML of `text` with the spans marked."""
    parts: list[str] = []
    position = 0
    for start, end in spans:
        parts += [html.escape(text[position:start]), "<mark>", html.escape(text[start:end]), "</mark>"]
        position = end
    return "".join([*parts, html.escape(text[position:])])


def _cell(name: str, entry: Mapping[str, Any]) -> str:
    value: Mean | None = entry["metrics"][name]
    if value is None:
        return "<td>-</td>"
    interval = f"{_number(name, value.low)} – {_number(name, value.high)}"
    if name == "ratio_error":
        interval += f"<br>95 % within {entry['ratio_error_p95']:.4f}"
    return f"<td>{_number(name, value.mean)}<small>{interval}<br>n={value.rows}</small></td>"


def html_page(
    summary: Sequence[Mapping[str, Any]], shown: Sequence[tuple[Row, Sequence[Compression]]], rows: int
) -> str:
    """The whole page.

    Args:
        summary: One entry for each ratio and method, with `ratio`, `method`, `tokens`, `original_tokens`,
            `ratio_error_p95` and `metrics`.
        shown: Rows to show side by side, and their compressions.
        rows: Number of rows that were measured.
    """
    texts = "".join(_side_by_side(row, results) for row, results in shown)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Compression fidelity</title>'
        f"<style>{_STYLE}</style></head><body><h1>Compression fidelity</h1>"
        f"<p>{rows} traces. Means over traces with 95 % bootstrap intervals over questions. The other "
        "methods get the number of tokens that the scorer used: <i>random</i>, <i>head</i> and <i>tail</i> keep whole "
        "words, <i>drop-steps</i> whole sentences and lines drawn at random; <i>rare-words</i> is a substitute for "
        "LLMLingua-2: numbers first, then rare words, signs last.</p>"
        f"{_table(summary, KEPT)}<h2>How the kept text reads</h2>{_table(summary, FORM)}<h2>Side by side</h2>"
        f"<p>Left: the source, with the kept text marked. Right: the shortened text.</p>{texts}</body></html>\n"
    )


def _table(summary: Sequence[Mapping[str, Any]], metrics: Mapping[str, str]) -> str:
    """A table of some metrics, and what each means."""
    heads = "".join(f'<th title="{html.escape(text)}">{name.replace("_", " ")}</th>' for name, text in metrics.items())
    previous = None
    body: list[str] = []
    for entry in summary:
        row_class = ' class="first"' if entry["ratio"] != previous else ""
        previous = entry["ratio"]
        cells = "".join(_cell(name, entry) for name in metrics)
        method = html.escape(entry["method"])
        body.append(f"<tr{row_class}><td>{entry['ratio']:g}</td><td>{method}</td><td>{_tokens(entry)}</td>{cells}</tr>")
    meanings = "".join(
        f"<li><b>{name.replace('_', ' ')}</b>: {html.escape(text)}</li>" for name, text in metrics.items()
    )
    return (
        f'<div class="wide"><table><thead><tr><th>ratio</th><th>method</th><th>tokens</th>{heads}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div><ul>{meanings}</ul>"
    )


def _side_by_side(row: Row, results: Sequence[Compression]) -> str:
    blocks = [
        f"<details><summary>ratio {result.ratio:g}: {result.tokens} of {result.original_tokens} tokens</summary>"
        f'<div class="pair"><div class="text">{highlighted(row["cot"], result.spans)}</div>'
        f'<div class="text short">{html.escape(result.text)}</div></div></details>'
        for result in results
    ]
    return f"<h3>{html.escape(row['id'])}</h3><p>{html.escape(row['question'])}</p>{''.join(blocks)}"
