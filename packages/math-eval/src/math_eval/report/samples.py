"""The samples of a report, with the thinking folded: all of them, or as many as fit in a page of two megabytes.

All text is escaped. Long text is cut in the middle, with the number of characters left out; the page also states how
many samples are left out.

    section(data, field="level")   # '<section id="samples">…'
"""

from pathlib import Path

from math_eval._shared.records import Row
from math_eval.compare import aligned
from math_eval.run_folders import ItemKey, samples_file, thinking_parts

from .data import Entry, ReportData, value_of
from .escaping import html

_PAGE_BYTES = 1_500_000
_TEXT_CHARS = 3000

_Items = dict[ItemKey, list[tuple[Entry, Row]]]


def section(data: ReportData, field: str | None) -> str:
    """The samples part of the page.

    Args:
        data: The report.
        field: Field of the problems whose values get a filter.
    """
    items = _items(data)
    articles, cut = _fill(items, data, field)
    shown = [row for key in articles for _, row in items[key]]
    filters = [
        _filter("condition", "condition", [entry.name for entry in data.entries]),
        _filter("verdict", "verdict", sorted({row["verdict"] for row in shown})),
    ]
    if changes := list(dict.fromkeys(change for key in articles if (change := _change(items[key], data)))):
        filters.append(_filter("change", "change", changes))
    if field:
        filters.append(_filter("value", field, list(data.breakdowns[field])))
    return (
        f'<section id="samples"><h2>Samples</h2><p>{html(_selection(len(articles), len(items), cut, data))}</p>'
        f'<form class="filters">{"".join(filters)}<label>text <input name="text" type="search"></label>'
        f"<output></output></form>{''.join(articles.values())}"
        '<p><button class="more" type="button" hidden>show more</button></p></section>'
    )


def _items(data: ReportData) -> _Items:
    """The samples of all conditions, grouped by problem and draw."""
    items: _Items = {}
    for entry in data.entries:
        for key, row in aligned(entry.condition).items():
            items.setdefault(key, []).append((entry, row))
    return items


def _change(versions: list[tuple[Entry, Row]], data: ReportData) -> str:
    """Which one of the baseline and the last condition is correct; empty if both are, or neither."""
    correct = {entry.name: row["verdict"] == "correct" for entry, row in versions}
    first, last = data.baseline.name, data.last.name
    if first not in correct or last not in correct or correct[first] == correct[last]:
        return ""
    return f"correct only in {first if correct[first] else last}"


def _fill(items: _Items, data: ReportData, field: str | None) -> tuple[dict[ItemKey, str], int]:
    """The articles that fit in the page, in the order of the samples, and the number of texts that are cut in them.

    If not all fit, samples with a changed verdict take up to half of the room and other samples the rest; both are
    spread evenly over the file.
    """
    flipped = {key: bool(_change(versions, data)) for key, versions in items.items()}
    changed, others = ([key for key in items if flipped[key] == wanted] for wanted in (True, False))
    found: dict[ItemKey, tuple[str, int]] = {}
    room = _PAGE_BYTES
    for keys, kept_free in ((changed, _PAGE_BYTES // 2), (others, 0), (changed, 0)):
        for key in _spread(keys):
            if key in found:
                continue
            article, cut = _article(key, items[key], data, field)
            size = len(article.encode())
            if room - size < kept_free:
                break
            room -= size
            found[key] = (article, cut)
    ordered = {key: found[key] for key in items if key in found}
    return {key: article for key, (article, _) in ordered.items()}, sum(cut for _, cut in ordered.values())


def _spread(keys: list[ItemKey]) -> list[ItemKey]:
    """The keys reordered by the reversed bits of their positions, so that every prefix is spread evenly over them."""
    width = max(1, (len(keys) - 1).bit_length())
    return [keys[place] for place in sorted(range(len(keys)), key=lambda place: f"{place:0{width}b}"[::-1])]


def _selection(shown: int, total: int, cut: int, data: ReportData) -> str:
    if shown == total:
        words = f"All {total:,} samples" + (", each with every condition's answer." if len(data.entries) > 1 else ".")
    else:
        chosen = "evenly spread over the file"
        if data.comparison:
            chosen = (
                f"first those correct only in {data.baseline.name} or only in {data.last.name}, in up to half of "
                "the room, then the others, evenly spread over the file"
            )
        words = (
            f"{shown:,} of {total:,} samples, as many as fit in this page: {chosen}. The run folders have all samples."
        )
    if cut:
        words += f" Texts cut in the middle, at {_TEXT_CHARS:,} characters: {cut:,}."
    return words


def _article(key: ItemKey, versions: list[tuple[Entry, Row]], data: ReportData, field: str | None) -> tuple[str, int]:
    """The HTML of one problem with the sample of each condition, and the number of its texts that are cut."""
    base = versions[0][1]
    value = value_of(base, field) if field else ""
    about = [base["task"], base["id"]]
    about += [f"seed {key[2] + 1} of {_seeds(data)}"] if _seeds(data) > 1 else []
    about += [f"sample {key[3] + 1}"] if max(entry.values["samples"] for entry in data.entries) > _seeds(data) else []
    about += [f"{field} {value}"] if field and field != "task" else []
    change = _change(versions, data)
    question, cut = _cut(base["question"], "the problems file")
    parts = [
        f'<article data-value="{html(value)}" data-change="{html(change)}"><p class="about">{html(" · ".join(about))}'
        f'{f" · <b>{html(change)}</b>" if change else ""}</p><p class="question">{question}</p>'
        f'<p class="gold">reference answer: <b>{html(base["answer"][:200])}</b></p>'
    ]
    for entry, row in versions:
        text, more = _sample(entry, row)
        parts.append(text)
        cut += more
    return "".join([*parts, "</article>"]), cut


def _seeds(data: ReportData) -> int:
    return max(len(entry.values.get("accuracy_by_seed", "1")) for entry in data.entries)


def _sample(entry: Entry, row: Row) -> tuple[str, int]:
    thinking = thinking_parts(row, entry.manifest)
    file = samples_file(Path(), row["task"]).name
    thought, cut_thought = _cut(thinking.text.strip(), file)
    answer, cut_answer = _cut(thinking.answer.strip(), file)
    words = "thinking" if thinking.closed else "thinking, never closed"
    folded = f"<details><summary>{words}</summary><pre>{thought}</pre></details>" if thought else ""
    shown = (
        f'<div class="sample" data-condition="{html(entry.name)}" data-verdict="{html(row["verdict"])}">'
        f'<p class="facts"><b>{html(entry.name)}</b> {_facts(entry, row)}</p>'
        f"{folded}{f'<pre>{answer}</pre>' if answer else ''}</div>"
    )
    return shown, cut_thought + cut_answer


def _facts(entry: Entry, row: Row) -> str:
    facts = [row["verdict"].replace("_", " ")]
    facts += [] if row["extracted"] is None else [f"answer {row['extracted'][:80]}"]
    facts += ["cut off at the token limit"] if row["truncated"] else []
    facts += [f"{row['thinking_tokens']:,} thinking tokens"]
    facts += [f"chose {row['chosen_ratio']:g}"] if entry.ratio == "policy" and row["chosen_ratio"] is not None else []
    return f'<span class="v {html(row["verdict"])}">{html(" · ".join(facts))}</span>'


def _cut(text: str, file: str) -> tuple[str, bool]:
    """The escaped text, without its middle if it is long, and whether it was cut."""
    if len(text) <= _TEXT_CHARS:
        return html(text), False
    head = 2 * _TEXT_CHARS // 3
    left_out = f"{len(text) - _TEXT_CHARS:,} characters left out here; the whole text is in {file}"
    end = html(text[head - _TEXT_CHARS :])
    return f'{html(text[:head])}<span class="cut"> … {html(left_out)} … </span>{end}', True


def _filter(name: str, words: str, values: list[str]) -> str:
    """A drop-down list with the name `name` for the script and the label `words` for the reader."""
    options = "".join(f'<option value="{html(value)}">{html(value.replace("_", " "))}</option>' for value in values)
    every = f'<option value="">every {html(words)}</option>'
    return f'<label>{html(words)} <select name="{name}">{every}{options}</select></label>'
