"""The `math-eval` commands. Each one is a thin shell over the module of its name.

Model libraries, sympy and numpy are imported only by the commands that need them, so `--help` answers at once.
"""

from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from ._shared.addresses import AddressType, is_remote
from ._shared.cli_group import CommandGroup
from ._shared.ray_shards import check_engine, engine_options
from ._shared.row_files import unread_columns
from ._shared.row_layout import layout_of, layout_options
from ._shared.settings_flags import from_flags, settings_flags
from ._shared.terminal import echo, notify, terminal_line
from ._shared.thinking_formats import FLAG_HELP
from .equality import POLICIES
from .errors import DataError
from .grading.grader import EXTRACTIONS
from .log_files import TOOLS, export_logs
from .presets import PRESETS, describe, preset_values
from .settings import EXTRACTION_HELP, POLICY_HELP, RunSettings

_COMPLETE = {True: "already complete, nothing to do", False: "complete"}
_OVERWRITE_HELP = "Replace an output made with other settings, and make a finished one again."


@click.group(
    cls=CommandGroup,
    epilog="""\b
Examples:
  math-eval run --model checkpoints/base --tasks gsm8k --data-dir data --output-dir runs/base
  math-eval run --model checkpoints/sft --tasks gsm8k --ratio 0.2 --ratio policy --data-dir data --output-dir runs/sft
  math-eval compare runs/base runs/sft:policy
  math-eval report runs/base runs/sft --output report.html
""",
)
@click.version_option(package_name="cot-math-eval")
def cli() -> None:
    """Sample a model on math problems, grade safely, count thinking tokens, compare with statistics."""


@cli.command(
    "run",
    epilog="""\b
Examples:
  math-eval run --model checkpoints/sft --tasks gsm8k,problems.jsonl --data-dir data \\
      --ratio 0.2 --ratio 0.4 --ratio policy --max-tokens 2048 --output-dir runs/sft
  math-eval run --model checkpoints/sft --backend vllm --batch-size 256 --tasks gsm8k --data-dir data \\
      --temperature 0.6 --top-p 0.95 --seed 0 --seed 1 --seed 2 --output-dir runs/sft-sampled
  math-eval run --model openai:Qwen/Qwen3-1.7B --base-url http://127.0.0.1:8000/v1 --tasks gsm8k --data-dir data \\
      --output-dir runs/qwen
  math-eval run --model checkpoints/base --thinking budget=256 --tasks gsm8k --data-dir data --output-dir runs/base-256
""",
)
@settings_flags(RunSettings)
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    help="Folder of the published benchmark files; without it they come from the Hugging Face hub.",
)
@click.option(
    "--preset",
    type=click.Choice(tuple(PRESETS)),
    help="Sampling settings for the flags that are not given: reasoning is temperature 0.6, top-p 0.95, 32,768 tokens, "
    "and 16, 4 or 1 samples for a largest task of up to 100, up to 1,000 or more problems.",
)
@click.option("--output-dir", type=click.Path(path_type=Path), help="Run folder to write.  [required]")
@click.argument("out", required=False, metavar="", type=click.Path(path_type=Path))
@click.option("--overwrite", is_flag=True, help=_OVERWRITE_HELP)
def run_command(
    data_dir: Path | None,
    preset: str | None,
    output_dir: Path | None,
    out: Path | None,
    overwrite: bool,
    **options: Any,
) -> None:
    """Sample a model on tasks, grade, and write a run folder; repeat the command to resume."""
    from .run import run

    if (folder := output_dir or out) is None or (output_dir and out):
        raise click.UsageError("name one run folder, with --output-dir")
    options["tasks"] = [name.strip() for listed in options["tasks"] for name in listed.split(",") if name.strip()]
    if preset is not None:
        values = _preset(preset, options, data_dir)
        notify(describe(preset, values))
        options |= values
    settings = from_flags(RunSettings, {**options, "tasks": tuple(options["tasks"])})
    results, was_done = run(settings, folder, data_dir=data_dir, overwrite=overwrite, notify=notify)
    _print_results(results, settings.thinking)
    echo(f"{folder}: {'already complete, nothing to do' if was_done else 'complete'}", err=True)


def _print_results(results: dict[str, Any], thinking: str | None) -> None:
    """Print a line for each condition of a run, and what its reader must know."""
    from .ratio import ratio_name
    from .summary import remarks

    for row in results["conditions"]:
        line = (
            f"{row['task']} ratio {ratio_name(row['ratio'])}: accuracy {row['accuracy']:.1%} "
            f"({row['accuracy_low']:.1%} to {row['accuracy_high']:.1%}), {row['thinking_tokens']:.1f} thinking tokens, "
            f"{row['completion_tokens']:.1f} in all, {row['truncated_rate']:.1%} truncated, {row['n']} problems"
        )
        echo(terminal_line(line))
        for words in remarks(row, thinking):
            notify(f"{row['task']} ratio {ratio_name(row['ratio'])}: {words}")


@cli.command(
    "merge",
    epilog="""\b
Examples:
  math-eval run --model checkpoints/sft --tasks gsm8k --data-dir data --shard 1/2 --output-dir runs/sft-1
  math-eval run --model checkpoints/sft --tasks gsm8k --data-dir data --shard 2/2 --output-dir runs/sft-2
  math-eval merge runs/sft-1 runs/sft-2 --output-dir runs/sft
""",
)
@click.argument("shards", nargs=-1, required=True, metavar="SHARD ...", type=click.Path(path_type=Path))
@click.option("--output-dir", required=True, type=click.Path(path_type=Path), help="Run folder to write.")
@click.option("--overwrite", is_flag=True, help=_OVERWRITE_HELP)
def merge_command(shards: tuple[Path, ...], output_dir: Path, overwrite: bool) -> None:
    """Join the folders of all shards of a run to the run folder that one command makes without --shard."""
    from .merge import merge
    from .run_folders import read_manifest

    results, was_done = merge(shards, output_dir, overwrite=overwrite)
    _print_results(results, (read_manifest(output_dir)["settings"].get("thinking") or {}).get("name"))
    echo(f"{output_dir}: {'already complete, nothing to do' if was_done else 'complete'}", err=True)


def _preset(name: str, options: dict[str, Any], data_dir: Path | None) -> dict[str, Any]:
    """The values of a preset for the flags that are not given."""
    from .tasks import load_task

    tasks = [load_task(task, data_dir=data_dir, limit=options["limit"]) for task in options["tasks"]]
    values = preset_values(name, max((len(task.problems) for task in tasks), default=0))
    source = click.get_current_context().get_parameter_source
    return {flag: value for flag, value in values.items() if source(flag) is ParameterSource.DEFAULT}


@cli.command(
    "tasks",
    epilog="""\b
Example:
  math-eval tasks
""",
)
def tasks_command() -> None:
    """List the tasks that need no file of your own: name, number of problems, source."""
    from .tasks import known_tasks

    for name, size, origin in known_tasks():
        echo(f"{name:32} {size:>5}  {origin}")


@cli.command(
    "grade",
    epilog="""\b
Examples:
  math-eval grade runs/base runs/base-reference --extraction reference
  math-eval grade completions.jsonl graded.jsonl
  math-eval grade completions.jsonl strict.jsonl --policy strict --explain
  math-eval grade s3://bucket/corpus graded.parquet --messages messages --columns gold=answer
  math-eval grade corpus graded --messages messages --columns gold=answer --engine ray
  (rows: {"id": "a", "gold": "\\\\frac{1}{2}", "completion": "... \\\\boxed{0.5}"})
""",
)
@click.argument("source", metavar="IN|RUN", type=AddressType())
@click.argument("out", metavar="OUT", type=AddressType())
@layout_options
@click.option(
    "--extraction", type=click.Choice(EXTRACTIONS), default="standard", show_default=True, help=EXTRACTION_HELP
)
@click.option("--policy", type=click.Choice(tuple(POLICIES)), default="default", show_default=True, help=POLICY_HELP)
@click.option(
    "--thinking-format", metavar="NAME|FILE", help=f"{FLAG_HELP}  [default: that of the run; think for a file]"
)
@click.option("--explain", is_flag=True, help="Print how each answer and its reference answer are read and compared.")
@engine_options
@click.option("--overwrite", is_flag=True, help=_OVERWRITE_HELP)
def grade_command(
    source: str | Path,
    out: str | Path,
    *,
    engine: str,
    workers: int | None,
    explain: bool,
    columns: str | None,
    messages: str | None,
    **options: Any,
) -> None:
    """Grade a file of completions, or a finished run a second time.

    IN has rows {id, gold, completion} in JSON Lines or Parquet: a file, a folder of shards, or an address on an object
    store. OUT gets them with extracted, verdict and grade_ms; its name gives the format. For a run folder, OUT becomes
    another run folder with new verdicts. The grader knows the tags of every named thinking format; a file describes
    others.
    """
    from .grade import explain_rows, grade_file, grade_run, is_run

    check_engine(engine, workers)
    options["notify"] = notify
    layout = layout_of(columns, messages, options["thinking_format"])
    if is_run(source):
        if layout or is_remote(out) or engine != "local":
            raise DataError("a run is graded into a folder on this machine, without --columns, --messages and --engine")
        counts, was_done = grade_run(source, out, **options)
        end = f"{out}: {_COMPLETE[was_done]}"
    else:
        for line in unread_columns(source):
            notify(line)
        options["layout"] = layout
        if engine == "ray":
            from .grade_shards import grade_shards

            report = grade_shards(source, out, workers=workers, **options)
            counts, end = report.kinds, report.summary()
        else:
            counts, was_done = grade_file(source, out, **options)
            end = f"{out}: {_COMPLETE[was_done]}"
    if explain:
        for head, text in explain_rows(out, policy=options["policy"]):
            for line in [head, *(f"  {line}" for line in text.splitlines())]:
                echo(terminal_line(line))
    echo(", ".join(f"{verdict} {count}" for verdict, count in counts.most_common()))
    echo(end, err=True)


@cli.group("export", cls=CommandGroup)
def export_group() -> None:
    """Write the samples of a run as files for other tools."""


@export_group.command(
    "traces",
    epilog="""\b
Example:
  math-eval export traces runs/base traces.jsonl --samples-per-problem 1
""",
)
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--ratio", metavar="R", help="Ratio whose samples are exported; required if the run has several.")
@click.option(
    "--samples-per-problem",
    type=click.IntRange(min=1),
    help="Number of correct samples kept of each problem, the first ones; all by default.",
)
def traces_command(run: Path, out: Path, ratio: str | None, samples_per_problem: int | None) -> None:
    """Write correct samples with a closed thinking block as a traces file."""
    from .export import export_traces

    tally = export_traces(run, out, ratio=ratio, samples_per_problem=samples_per_problem)
    echo(f"{out}: {tally.summary()}", err=True)


@export_group.command(
    "logs",
    epilog="""\b
Examples:
  math-eval export logs runs/sft logs/inspect --tool inspect
  math-eval export logs runs/sft outputs/sft --tool evalscope --ratio policy
""",
)
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("out", metavar="FOLDER", type=click.Path(path_type=Path))
@click.option(
    "--tool",
    required=True,
    type=click.Choice(tuple(TOOLS)),
    help="Tool whose files are written: a results file and samples (lm-eval), logs (inspect), reports and reviews "
    "(evalscope).",
)
@click.option("--ratio", metavar="R", help="Ratio whose samples are exported; all by default.")
def logs_command(run: Path, out: Path, tool: str, ratio: str | None) -> None:
    """Write a run, with its samples and verdicts, as result files of another evaluation tool."""
    echo(f"{out}: {export_logs(run, out, tool=tool, ratio=ratio)} files written", err=True)


@cli.command(
    "compare",
    epilog="""\b
Examples:
  math-eval compare runs/base runs/sft:0.2
  math-eval compare runs/base runs/chrpo:policy --output comparison.json
""",
)
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@click.option("--output", metavar="FILE.json", type=click.Path(path_type=Path), help="JSON file for the numbers.")
def compare_command(a: str, b: str, output: Path | None) -> None:
    """Compare B with A problem by problem; print results per task and overall, and the changed verdicts.

    A and B are each RUN or RUN:RATIO.
    """
    from ._shared.records import write_json
    from ._shared.runs import check_apart
    from .compare import by_task, compare, content
    from .report.text import flips, sentences
    from .run_folders import load_condition, run_files, split_name

    if output is not None and output.suffix.lower() != ".json":
        raise DataError(f"{output}: the numbers are JSON; choose a name that ends in .json")
    pair = load_condition(*split_name(a)), load_condition(*split_name(b))
    comparison, tasks = compare(*pair), by_task(*pair)
    if output is not None:
        check_apart([output], [file for one in pair for file in run_files(one.run)])
        write_json(output, content(comparison, tasks))
    for task, one in tasks.items():
        for line in [f"{task}:", *(f"  {line}" for line in sentences(one.values)[1:])]:
            echo(terminal_line(line))
    for line in (["all tasks together:"] if tasks else []) + sentences(comparison.values) + flips(comparison):
        echo(terminal_line(line))


@cli.command(
    "report",
    epilog="""\b
Examples:
  math-eval report base=runs/base sft=runs/sft chrpo=runs/chrpo --baseline base --by level --output report.html
  math-eval report runs --output leaderboard.html
""",
)
@click.argument("runs", nargs=-1, required=True, metavar="[LABEL=]RUN ...|FOLDER")
@click.option("--output", required=True, metavar="FILE.html", type=click.Path(path_type=Path), help="Page to write.")
@click.option("--baseline", metavar="LABEL", help="Condition that the others are compared with; the first by default.")
@click.option("--by", metavar="FIELD", help="Field of the problems to break the numbers down by, such as level.")
@click.option("--title", metavar="T", help="Heading of the page.  [default: Accuracy against … tokens]")
@click.option("--note", "notes", metavar="TEXT", multiple=True, help="Sentence to add to the page. Repeatable.")
def report_command(
    runs: tuple[str, ...], output: Path, baseline: str | None, by: str | None, title: str | None, notes: tuple[str, ...]
) -> None:
    """Write one offline HTML page, with .json, .csv, .md and .lm-eval beside it, and print the table.

    FOLDER is a folder of run folders: the page is then a leaderboard of all finished ones, with .csv beside it.
    """
    from .report import is_folder_of_runs, write_leaderboard, write_report

    if output.suffix.lower() != ".html":
        raise DataError(f"{output}: the report is an HTML page; choose a name that ends in .html")
    heading = {"title": title} if title else {}
    if len(runs) == 1 and is_folder_of_runs(runs[0]):
        if baseline or by:
            raise DataError("--baseline and --by are for single runs; name the runs instead of their folder")
        echo(write_leaderboard(runs[0], output, notes=notes, **heading))
    else:
        echo(write_report(runs, output, baseline=baseline, by=by, notes=notes, **heading))
    echo(f"{output}: complete", err=True)


@cli.command(
    "doctor",
    epilog="""\b
Examples:
  math-eval doctor runs/base
  math-eval doctor runs/base --model checkpoints/base --expect math500=84.3 --json
""",
)
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--model", metavar="FOLDER", type=click.Path(path_type=Path), help="Folder of the model, if it was moved."
)
@click.option(
    "--expect", metavar="TASK=PERCENT", multiple=True, help="Accuracy that the model is known to have. Repeatable."
)
@click.option("--json", "as_json", is_flag=True, help="Print the findings as a JSON list.")
def doctor_command(run: Path, model: Path | None, expect: tuple[str, ...], as_json: bool) -> None:
    """Check a run for what makes its numbers misleading; exit code 1 if any of them is wrong.

    Checked are prompts, refused requests, unclosed thinking, loops, answers, sampler and known accuracies.
    """
    import json
    from dataclasses import asdict

    from .doctor import ERROR, examine

    findings = examine(run, model=model, expected=dict(map(_expected, expect)))
    if as_json:
        echo(json.dumps([asdict(finding) for finding in findings], indent=1))
    else:
        echo("\n".join(map(str, findings)))
    if any(finding.level == ERROR for finding in findings):
        click.get_current_context().exit(1)


def _expected(given: str) -> tuple[str, float]:
    """A value of --expect as task and share."""
    task, _, percent = given.partition("=")
    try:
        share = float(percent) / 100
    except ValueError:
        share = -1.0
    if not (task and 0 <= share <= 1):
        raise click.UsageError(f"--expect {given}: write TASK=PERCENT, such as math500=84.3")
    return task, share
