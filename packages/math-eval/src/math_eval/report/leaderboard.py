"""`math-eval report FOLDER_OF_RUNS`: many runs on one page, with the Pareto front of accuracy against tokens.

Only the results of the runs are read, not their samples. The comparison of two runs is left to `compare`, drawing to
`front`.

    print(write_leaderboard("runs", "leaderboard.html"))
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from math_eval._shared import runs
from math_eval._shared.records import Row, open_atomic
from math_eval._shared.runs import check_apart
from math_eval._shared.terminal import terminal_line
from math_eval.errors import DataError
from math_eval.ratio import Ratio, ratio_name
from math_eval.run_folders import RESULTS, is_run_manifest, read_manifest, read_results, run_files

from . import leaderboard_table as table
from .chart import unlabelled_note
from .document import document
from .escaping import html
from .front import Mark, drawing, pareto_front
from .table import dump_csv

_DESKTOP, _PHONE = (900, 430), (380, 400)


@dataclass(frozen=True)
class Board:
    """The conditions of one set of problems.

    Args:
        task: Name of the task.
        problems: Hash of its problems; runs on other problems are on another board.
        entries: The conditions, the most accurate first.
        front: Numbers of those on the Pareto front, in rising order of tokens.
    """

    task: str
    problems: str
    entries: list[table.Entry]
    front: list[int]


def is_folder_of_runs(folder: str | Path) -> bool:
    """Whether this is a folder with run folders in it, and no run folder itself."""
    folder = Path(folder)
    return folder.is_dir() and not (folder / runs.MANIFEST).exists() and any(folder.glob(f"*/{runs.MANIFEST}"))


def write_leaderboard(
    folder: str | Path, output: str | Path, *, title: str = "Accuracy against tokens", notes: Sequence[str] = ()
) -> str:
    """Write `FILE.html` and `FILE.csv`.

    Args:
        folder: Folder with run folders in it; deeper ones are not looked for.
        output: Path of the page, `FILE.html`.
        title: Heading of the page.
        notes: Sentences to add to the page.

    Returns:
        The tables as text, and the names of the folders that are left out: unfinished runs, and outputs of other
        programs.

    Raises:
        DataError: The folder has no finished run, a file of a run is corrupt, or a file to be written is one of a run.
    """
    folder, output = Path(folder), Path(output)
    found = sorted(path.parent for path in folder.glob(f"*/{runs.MANIFEST}"))
    own = [run for run in found if _is_own(run / runs.MANIFEST)]
    finished = [run for run in own if (run / RESULTS).is_file()]
    left_out = _left_out([run for run in own if run not in finished], [run for run in found if run not in own])
    if not finished:
        why = "; ".join(left_out) or f"a run folder has {runs.MANIFEST} and {RESULTS}"
        raise DataError(f"{folder}: no finished run in it ({why})")
    check_apart([output, output.with_suffix(".csv")], [file for run in finished for file in run_files(run)])
    boards = _boards(finished)
    for suffix, content in ((".csv", _csv(boards)), (".html", _page(boards, left_out, title, notes))):
        with open_atomic(output.with_suffix(suffix)) as out:
            out.write(content)
    tables = [table.as_text(_heading(board, boards), board.entries, board.front) for board in boards]
    return "\n\n".join([*tables, *(["\n".join(map(terminal_line, left_out))] if left_out else [])])


def _is_own(manifest: Path) -> bool:
    """Whether a run of this program wrote a manifest; other programs write other ones, and no run writes a link."""
    if manifest.is_symlink():
        return False
    try:
        return is_run_manifest(runs.read_manifest(manifest))
    except DataError:
        return False


def _boards(finished: Sequence[Path]) -> list[Board]:
    """A board for each set of problems, in the order of their names."""
    groups: dict[tuple[str, str], list[table.Entry]] = {}
    for run in finished:
        settings = read_manifest(run)["settings"]
        for values in read_results(run)["conditions"]:
            name = _name(run, values["ratio"], settings.get("thinking"))
            problems = settings["tasks"].get(values["task"], "")
            groups.setdefault((values["task"], problems), []).append(table.Entry(name, values, settings))
    boards: list[Board] = []
    for (task, problems), entries in sorted(groups.items()):
        entries.sort(key=lambda entry: (-entry.values["accuracy"], entry.values["completion_tokens"], entry.name))
        front = pareto_front([(entry.values["completion_tokens"], entry.values["accuracy"]) for entry in entries])
        boards.append(Board(task, problems, entries, front))
    return boards


def _name(run: Path, ratio: Ratio, mode: Row | None) -> str:
    """`sft@0.2`, or `base (thinking budget=256)` for a run with a way to think less."""
    return f"{run.name}{'' if ratio is None else f'@{ratio_name(ratio)}'}" + (
        f" (thinking {mode['name']})" if mode else ""
    )


def _heading(board: Board, boards: Sequence[Board]) -> str:
    """The task; with the hash of its problems if runs have different problems of this name."""
    several = sum(other.task == board.task for other in boards) > 1
    return f"{board.task}, problems {board.problems[:12]}" if several else board.task


def _left_out(unfinished: Sequence[Path], foreign: Sequence[Path]) -> list[str]:
    """A sentence for each reason that folders are left out for."""
    parts = [run for run in unfinished if "shard" in runs.read_manifest(run / runs.MANIFEST)["settings"]]
    reasons = (
        ("they are not finished", [run for run in unfinished if run not in parts]),
        ("they are shards of a run, which `math-eval merge` joins", parts),
        ("they are no run folders", foreign),
    )
    return [f"left out because {reason}: {', '.join(run.name for run in some)}" for reason, some in reasons if some]


def _page(boards: Sequence[Board], left_out: Sequence[str], title: str, notes: Sequence[str]) -> str:
    count = len({entry.name for board in boards for entry in board.entries})
    sets = "one set" if len(boards) == 1 else f"{len(boards):,} sets"
    lead = f"{count:,} conditions of finished runs, on {sets} of problems."
    sections = [_section(board, _heading(board, boards)) for board in boards]
    body = [
        f'<h1>{html(title)}</h1><p class="lead">{lead}</p>',
        *(f'<p class="note">{html(note)}</p>' for note in (*left_out, *notes)),
        *sections,
    ]
    return document(title, [part.replace(" %", "\u00a0%") for part in body], script="sort.js")


def _section(board: Board, heading: str) -> str:
    marks = [Mark(one.name, one.values["completion_tokens"], one.values["accuracy"]) for one in board.entries]
    charts = "".join(
        f'<div class="{name}">{drawing(marks, board.front, width=width, height=height)}</div>'
        for name, (width, height) in (("desktop", _DESKTOP), ("phone", _PHONE))
    )
    return (
        f"<h2>{html(heading)}</h2><figure>{charts}<figcaption>Accuracy against completion tokens; up and to the left "
        "is better. The line is the Pareto front: no other condition is at least as accurate with no more tokens. It "
        f"is made of measured values, so it is uncertain where intervals overlap.{unlabelled_note(len(board.front))}"
        "</figcaption></figure>"
        "<figure><figcaption>Every condition; a heading sorts. ● is on the front. Small figures are 95 % intervals. "
        f"{table.MEANING}</figcaption>{table.as_html(board.entries, board.front)}</figure>"
    )


def _csv(boards: Sequence[Board]) -> str:
    lines: list[dict[str, Any]] = []
    for board in boards:
        front = set(board.front)
        for place, entry in enumerate(board.entries):
            named = {"task": board.task, "problems_sha256": board.problems, "condition": entry.name}
            own = {**named, "front": int(place in front)}
            lines.append(own | table.numbers(entry) | own)  # first in the order, and no field of results.json wins
    return dump_csv(lines)
