"""Which samples a report shows, and how: a few problems with every condition's completion, thinking folded.

All text is escaped; long text is cut with the number of characters left out, so that the page stays small.

    section(data, field="level")   # '<section id="samples">…'
"""

import re
from html import escape

from math_eval.conditions import ItemKey
from math_eval.records import Row
from math_eval.thinking import split_thinking

from .data import Entry, ReportData, value_of

_PROBLEMS = 24
_PAGE_CHARS = 900_000
_TEXT_CHARS = 3000


_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def printable(text: str) -> str:
    """Control characters and lone surrogates become U+FFFD."""
    return _UNPRINTABLE.sub("\ufffd", text)


def safe(text: str) -> str:
    """Escaped for HTML, and printable."""
    return escape(printable(text), quote=True)


def choose(data: ReportData) -> list[ItemKey]:
    """Problems to show: up to half of them flips between baseline and last condition, the rest evenly spread."""
    keys = list(data.baseline.condition.items())
    flips: list[ItemKey] = []
    if data.comparison:
        lost, gained = data.comparison.only_a_correct, data.comparison.only_b_correct
        quarter = _PROBLEMS // 4
        flips = [*lost[:quarter], *gained[:quarter]]
    rest = [key for key in keys if key not in set(flips)]
    wanted = min(_PROBLEMS - len(flips), len(rest))
    spread = [rest[index * len(rest) // wanted] for index in range(wanted)]
    chosen = {*flips, *spread}
    return [key for key in keys if key in chosen]


def _cut(text: str, limit: int, file: str) -> str:
    if len(text) <= limit:
        return safe(text)
    left_out = f"{len(text) - limit:,} more characters in {file}"
    return f'{safe(text[:limit])}<span class="cut"> … {safe(left_out)}</span>'


def _sample(entry: Entry, row: Row, limit: int) -> str:
    thinking = split_thinking(row["completion"], row["prompt"])
    file = f"samples_{row['task']}.jsonl"
    chosen = f" · chose {row['chosen_ratio']:g}" if entry.ratio == "policy" and row["chosen_ratio"] else ""
    answer = "no answer" if row["extracted"] is None else f"answer {row['extracted'][:80]}"
    facts = f"{row['verdict'].replace('_', ' ')} · {answer} · {row['thinking_tokens']:,} thinking tokens{chosen}"
    words = "thinking" if thinking.closed else "thinking, never closed"
    folded = f"<details><summary>{words}</summary><pre>{_cut(thinking.text, limit, file)}</pre></details>"
    return (
        f'<div class="sample" data-condition="{safe(entry.name)}" data-verdict="{safe(row["verdict"])}">'
        f'<p class="facts"><b>{safe(entry.name)}</b> <span class="v {safe(row["verdict"])}">{safe(facts)}</span></p>'
        f"{folded if thinking.text else ''}"
        f"{f'<pre>{_cut(thinking.answer, limit, file)}</pre>' if thinking.answer else ''}</div>"
    )


def section(data: ReportData, field: str | None) -> str:
    """The samples part of the page.

    Args:
        data: the report.
        field: the field whose values can be filtered by.
    """
    keys = choose(data)
    limit = min(_TEXT_CHARS, max(200, _PAGE_CHARS // (2 * len(keys) * len(data.entries))))
    items = [(entry, entry.condition.items()) for entry in data.entries]
    articles: list[str] = []
    verdicts: dict[str, None] = {}
    values = list(data.breakdowns[field]) if field else []
    for key in keys:
        shown = [(entry, rows[key]) for entry, rows in items if key in rows]
        base = shown[0][1]
        value = value_of(base, field) if field else ""
        verdicts.update((row["verdict"], None) for _, row in shown)
        about = f"{base['task']} · {base['id']}" + (f" · {field} {value}" if field else "")
        articles.append(
            f'<article data-value="{safe(value)}"><p class="about">{safe(about)}</p>'
            f'<p class="question">{_cut(base["question"], limit, "the problems file")}</p>'
            f'<p class="gold">reference answer: <b>{safe(base["answer"][:200])}</b></p>'
            + "".join(_sample(entry, row, limit) for entry, row in shown)
            + "</article>"
        )
    filters = [
        _filter("condition", "condition", [entry.name for entry in data.entries]),
        _filter("verdict", "verdict", sorted(verdicts)),
    ]
    if field:
        filters.append(_filter("value", field, values))
    total = len(data.baseline.condition.items())
    return (
        f'<section id="samples"><h2>Samples</h2><p>{len(keys)} of {total:,} problems'
        " (some where the verdict changed between the baseline and the last condition, the others evenly spread)."
        "</p>"
        f'<form class="filters">{"".join(filters)}<label>text <input name="text" type="search"></label>'
        f"<output></output></form>{''.join(articles)}</section>"
    )


def _filter(name: str, words: str, values: list[str]) -> str:
    """A drop-down; `name` is what the script knows it by, `words` what the reader sees."""
    options = "".join(f'<option value="{safe(value)}">{safe(value.replace("_", " "))}</option>' for value in values)
    every = f'<option value="">every {safe(words)}</option>'
    return f'<label>{safe(words)} <select name="{name}">{every}{options}</select></label>'
