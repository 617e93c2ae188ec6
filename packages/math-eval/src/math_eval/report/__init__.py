"""`math-eval report`: one self-contained HTML page, and the numbers as JSON, CSV, Markdown and lm-eval files.

The page opens offline, never runs text of a model, and stays under 2 MB for ten thousand samples. The page of a whole
folder of runs is left to `leaderboard`.

    print(write_report(["base=runs/base", "sft=runs/sft"], "report.html", by="level"))
"""

from collections.abc import Sequence
from pathlib import Path

from math_eval._shared.records import open_atomic, write_json
from math_eval._shared.runs import check_apart, check_no_links
from math_eval._shared.terminal import terminal_line
from math_eval.run_folders import run_files

from . import table
from .data import collect
from .escaping import markdown_text
from .headline import headline
from .leaderboard import is_folder_of_runs, write_leaderboard
from .lm_eval import file_name, results_file
from .page import page

__all__ = ["is_folder_of_runs", "write_leaderboard", "write_report"]


def write_report(
    runs: Sequence[str],
    output: str | Path,
    *,
    baseline: str | None = None,
    by: str | None = None,
    title: str = "Accuracy against thinking tokens",
    notes: Sequence[str] = (),
) -> str:
    """Write `FILE.html`, `.json`, `.csv`, `.md` and the folder `FILE.lm-eval`.

    Args:
        runs: Run folders in the order of the report, each `[LABEL=]RUN` or `[LABEL=]RUN:RATIO`.
        output: Path of the page, `FILE.html`.
        baseline: Condition that the others are compared with; None takes the first.
        by: Field of the problems to break the numbers down by.
        title: Heading of the page.
        notes: Sentences to add to the page.

    Returns:
        The tables and the headline as text.

    Raises:
        DataError: A run is not finished, two conditions have one name, the baseline or the field is unknown, the runs
            share no problems, a file to be written is a file of a run, or the folder to be written contains a link.
    """
    output = Path(output)
    data = collect(runs, baseline=baseline, by=by)
    inputs = [file for run in {entry.condition.run for entry in data.entries} for file in run_files(run)]
    check_apart(map(output.with_suffix, (".json", ".csv", ".md", ".html")), inputs)
    check_no_links(output.with_suffix(".lm-eval"))
    html = page(data, title=title, notes=notes)
    tables = [table.rows(data), table.efficiency_rows(data)]
    sentences = headline(data)
    plain = [markdown_text(line) for line in (f"# {title}", *sentences, *notes)]
    markdown = "\n\n".join([*plain, *map(table.as_markdown, tables)]) + "\n"
    write_json(output.with_suffix(".json"), {"title": title, **data.as_json()})
    for entry in data.entries:
        write_json(output.with_suffix(".lm-eval") / file_name(entry), results_file(entry))
    for suffix, content in ((".md", markdown), (".csv", table.as_csv(data)), (".html", html)):
        with open_atomic(output.with_suffix(suffix)) as out:
            out.write(content)
    return "\n".join([*(f"{table.as_text(lines)}\n" for lines in tables), *map(terminal_line, sentences)])
