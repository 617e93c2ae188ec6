"""`math-eval export logs`: a run as result files of other evaluation tools, samples included, one module for each tool.

The numbers are those of this package: nothing is graded again. The rows of the traces contract are left to `export`.

    export_logs("runs/sft", "logs", tool="inspect")     # 3: files written
"""

from pathlib import Path

from math_eval._shared.lock import locked
from math_eval._shared.records import write_json, write_records
from math_eval._shared.runs import check_apart, check_no_links
from math_eval.errors import DataError
from math_eval.report.data import collect
from math_eval.run_folders import run_files

from . import evalscope, inspect, lm_eval
from .files import Files

TOOLS = {"lm-eval": lm_eval.files, "inspect": inspect.files, "evalscope": evalscope.files}
"""Function that yields the files of a condition, by the name of the tool."""


def export_logs(run: str | Path, out: str | Path, *, tool: str, ratio: str | None = None) -> int:
    """Write the files of a tool for every condition of a run, or for one.

    Args:
        run: A finished run folder.
        out: Folder to write to.
        tool: `lm-eval`, `inspect` or `evalscope`.
        ratio: The ratio whose samples are exported, spelt as in `--ratio`; None exports all.

    Returns:
        The number of files written.

    Raises:
        DataError: The tool is unknown, the run is not finished or has no such ratio, `out` is a file, has a link in it
            or is being written by another process, or a file to be written is one of the run.
    """
    run, out = Path(run), Path(out)
    if tool not in TOOLS:
        raise DataError(f"{tool}: no such tool; choose {', '.join(TOOLS)}")
    if out.is_file():
        raise DataError(f"{out}: is a file; name a folder")
    entries = collect([str(run) if ratio is None else f"{run}:{ratio}"]).entries
    check_no_links(out)
    files: Files = {name: content for entry in entries for name, content in TOOLS[tool](entry)}
    check_apart([out / name for name in files], run_files(run))
    with locked(out):
        for name, content in files.items():
            if isinstance(content, dict):
                write_json(out / name, content)
            else:
                write_records(out / name, content)
    return len(files)
