"""The `math-eval` commands: thin shells over `runner.run`, `regrade`, `traces`, `compare` and `report`.

Nothing heavy is imported before a command needs it, so `--help` answers at once.
"""

from pathlib import Path
from typing import Any

import click

from . import __version__
from ._shared.cli_group import CommandGroup
from ._shared.control_tokens import INSTRUCTION
from .errors import DataError

_RATIO_HELP = "a number of the checkpoint's ladder, policy, or none for no control token"


@click.group(
    cls=CommandGroup,
    epilog="""\b
Example:
  math-eval run --model checkpoints/base --tasks gsm8k --data-dir data --output-dir runs/base
  math-eval run --model checkpoints/sft --tasks gsm8k --ratio 0.2 --ratio policy --data-dir data --output-dir runs/sft
  math-eval compare runs/base runs/sft:policy
  math-eval report runs/base runs/sft --output report.html
""",
)
@click.version_option(__version__, package_name="math-eval")
def cli() -> None:
    """Sample a model on math problems, grade safely, count thinking tokens, compare with statistics."""


@cli.command(
    "run",
    epilog="""\b
Example:
  math-eval run --model checkpoints/sft --tasks gsm8k,problems.jsonl --data-dir data \\
      --ratio 0.2 --ratio 0.4 --ratio policy --max-tokens 2048 --output-dir runs/sft
  math-eval run --model checkpoints/sft --backend vllm --batch-size 256 --tasks gsm8k --data-dir data \\
      --temperature 0.6 --top-p 0.95 --seed 0 --seed 1 --seed 2 --output-dir runs/sft-sampled
  math-eval run --model openai:Qwen/Qwen3-1.7B --base-url http://127.0.0.1:8000/v1 --tasks gsm8k --data-dir data \\
      --output-dir runs/qwen
""",
)
@click.option("--model", required=True, metavar="MODEL", help="A model folder (safetensors), or openai:NAME.")
@click.option("--backend", default="transformers", show_default=True, help="Runs a folder: transformers or vllm.")
@click.option("--tensor-parallel", default=1, show_default=True, help="For vllm: devices to split the model over.")
@click.option("--data-parallel", default=1, show_default=True, help="For vllm: copies of the model.")
@click.option("--base-url", metavar="URL", help="Of the server for openai:NAME; the key is read from OPENAI_API_KEY.")
@click.option("--tokenizer", metavar="FOLDER", help="For a server: folder with the model's tokenizer.json.")
@click.option("--requests-per-minute", type=int, help="For a server: not more than so many.")
@click.option("--timeout", "timeout_s", default=3600.0, show_default=True, help="For a server: seconds a completion.")
@click.option("--tasks", required=True, metavar="A,B", help="Names that `math-eval tasks` lists, or files.")
@click.option("--ratio", "ratios", multiple=True, default=("none",), show_default=True, metavar="R", help=_RATIO_HELP)
@click.option("--samples", default=1, show_default=True, help="Completions a problem and seed.")
@click.option("--seed", "seeds", type=int, multiple=True, default=(0,), show_default=True, help="Repeatable.")
@click.option("--temperature", default=0.0, show_default=True, help="0 is greedy.")
@click.option("--top-p", default=1.0, show_default=True, help="Nucleus sampling mass.")
@click.option("--max-tokens", default=4096, show_default=True, help="New tokens a completion may have.")
@click.option("--batch-size", default=32, show_default=True, help="Requests generated together, or in flight.")
@click.option("--limit", type=int, help="Only the first problems of each task.")
@click.option("--instruction", default=INSTRUCTION, show_default=True, help="Put before each question.")
@click.option("--extraction", default="standard", show_default=True, help="Of the answer: standard or reference.")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Folder of published files, instead of the hub.")
@click.option("--output-dir", required=True, type=click.Path(path_type=Path), help="The run folder.")
@click.option("--overwrite", is_flag=True, help="Discard a run made with other settings.")
def run_command(
    model: str,
    tasks: str,
    ratios: tuple[str, ...],
    data_dir: Path | None,
    output_dir: Path,
    overwrite: bool,
    **options: Any,
) -> None:
    """Sample a model on tasks, grade, and write a run folder; repeat the command to resume."""
    from .conditions import parse_ratio, ratio_name
    from .runner import run
    from .settings import RunSettings

    names = tuple(name.strip() for name in tasks.split(",") if name.strip())
    settings = RunSettings(model, names, tuple(map(parse_ratio, ratios)), **options)
    results, was_done = run(settings, output_dir, data_dir=data_dir, overwrite=overwrite)
    for row in results["conditions"]:
        click.echo(
            f"{row['task']} ratio {ratio_name(row['ratio'])}: accuracy {row['accuracy']:.1%} "
            f"({row['accuracy_low']:.1%} to {row['accuracy_high']:.1%}), {row['thinking_tokens']:.1f} thinking tokens, "
            f"{row['completion_tokens']:.1f} in all, {row['truncated_rate']:.1%} truncated, {row['n']} problems"
        )
    click.echo(f"{output_dir}: {'already complete, nothing to do' if was_done else 'complete'}", err=True)


@cli.command(
    "tasks",
    epilog="""\b
Example:
  math-eval tasks
""",
)
def tasks_command() -> None:
    """List the tasks that need no file of one's own: name, problems, where they come from."""
    from .tasks import known_tasks

    for name, size, origin in known_tasks():
        click.echo(f"{name:32} {size:>5}  {origin}")


@cli.command(
    "grade",
    epilog="""\b
Example:
  math-eval grade runs/base runs/base-reference --extraction reference
  math-eval grade completions.jsonl graded.jsonl
  (rows: {"id": "a", "gold": "\\\\frac{1}{2}", "completion": "... \\\\boxed{0.5}"})
""",
)
@click.argument("source", metavar="IN.jsonl|RUN", type=click.Path(path_type=Path))
@click.argument("out", metavar="OUT", type=click.Path(path_type=Path))
@click.option("--extraction", default="standard", show_default=True, help="Of the answer: standard or reference.")
@click.option("--overwrite", is_flag=True, help="Replace an output made with other settings.")
def grade_command(source: Path, out: Path, extraction: str, overwrite: bool) -> None:
    """Grade rows {id, gold, completion}; adds extracted, verdict and grade_ms. Or grade a finished run as a new one."""
    from .regrade import grade_file, grade_run

    grade = grade_run if source.is_dir() else grade_file
    counts, was_done = grade(source, out, extraction=extraction, overwrite=overwrite)
    click.echo(", ".join(f"{verdict} {count}" for verdict, count in counts.most_common()))
    click.echo(f"{out}: {'already complete, nothing to do' if was_done else 'complete'}", err=True)


@cli.group("export", cls=CommandGroup)
def export_group() -> None:
    """Write what a run holds as files for other tools."""


@export_group.command(
    "traces",
    epilog="""\b
Example:
  math-eval export traces runs/base traces.jsonl --samples-per-problem 1
""",
)
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--ratio", metavar="R", help="Which ratio of a run with several.")
@click.option("--samples-per-problem", type=click.IntRange(min=1), help="Keep so many correct samples a problem.")
def traces_command(run: Path, out: Path, ratio: str | None, samples_per_problem: int | None) -> None:
    """Write correct samples with a closed thinking block as a traces file."""
    from .traces import export_traces

    tally = export_traces(run, out, ratio=ratio, samples_per_problem=samples_per_problem)
    click.echo(f"{out}: {tally.summary()}", err=True)


@cli.command(
    "compare",
    epilog="""\b
Example:
  math-eval compare runs/base runs/sft:0.2
  math-eval compare runs/base runs/chrpo:policy --output comparison.json
""",
)
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@click.option("--output", type=click.Path(path_type=Path), help="Also write the numbers as JSON.")
def compare_command(a: str, b: str, output: Path | None) -> None:
    """Compare B with A, each RUN or RUN:RATIO, paired by problem; per task and pooled, with the flips."""
    from ._shared.records import write_json
    from .compare import by_task, compare
    from .conditions import run_files, select, split_name
    from .manifest import check_apart
    from .wording import flips, sentences

    pair = select(*split_name(a)), select(*split_name(b))
    comparison, tasks = compare(*pair), by_task(*pair)
    if output is not None:
        check_apart([output], [file for one in pair for file in run_files(one.run)])
        changed = {"only_a_correct": comparison.only_a_correct, "only_b_correct": comparison.only_b_correct}
        own = {"tasks": {task: one.values for task, one in tasks.items()}} if tasks else {}
        write_json(output, {**comparison.values, **own, "flips": changed})
    for task, one in tasks.items():
        click.echo("\n".join([f"{task}:", *(f"  {line}" for line in sentences(one.values)[1:])]))
    for line in (["all tasks together:"] if tasks else []) + sentences(comparison.values) + flips(comparison):
        click.echo(line)


@cli.command(
    "report",
    epilog="""\b
Example:
  math-eval report base=runs/base sft=runs/sft chrpo=runs/chrpo --baseline base --by level --output report.html
""",
)
@click.argument("runs", nargs=-1, required=True, metavar="[LABEL=]RUN ...")
@click.option("--output", required=True, metavar="FILE.html", type=click.Path(path_type=Path))
@click.option("--baseline", metavar="LABEL", help="What to compare with; the first condition by default.")
@click.option("--by", metavar="FIELD", help="A field of the problems, such as level.")
@click.option("--title", metavar="T", default="Accuracy against thinking tokens", show_default=True)
@click.option("--note", "notes", metavar="TEXT", multiple=True, help="A sentence for the page; repeatable.")
def report_command(
    runs: tuple[str, ...], output: Path, baseline: str | None, by: str | None, title: str, notes: tuple[str, ...]
) -> None:
    """Write one offline HTML page, with FILE.json and FILE.md beside it, and print the table."""
    from .report import write_report

    if output.suffix.lower() != ".html":
        raise DataError(f"{output}: the report is a page; end its name in .html")
    click.echo(write_report(runs, output, baseline=baseline, by=by, title=title, notes=notes))
    click.echo(f"{output}: complete", err=True)
