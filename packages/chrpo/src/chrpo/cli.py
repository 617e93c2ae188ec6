"""The `chrpo` command: `prepare`, `train`, `merge`, `plot` and `simulate`, each a thin shell over a function."""

import json
import tomllib
from pathlib import Path
from typing import Any

import click

from ._shared.cli_group import CommandGroup
from ._shared.control_tokens import INSTRUCTION
from ._shared.settings_flags import AliasedOption, from_flags, output_argument, settings_flags
from ._shared.terminal import echo, notify
from ._shared.thinking_formats import FLAG_HELP, stored_format
from .answer_format import ANSWER_FORMATS
from .core.constraint import Gains
from .core.ratios import CONFIDENCE, THRESHOLD
from .errors import DataError
from .merge import SCALE, SHARE
from .named_function import name_or_function, named_function
from .prepare import POLICY_SHARE
from .settings import TrainSettings, setting_names

_PATH = click.Path(path_type=Path)
_answer_format = click.option(
    "--format",
    "answer_format",
    default="boxed",
    show_default=True,
    metavar="NAME|MODULE:FUNCTION",
    callback=lambda _context, _option, text: name_or_function("--format", text),
    help=f"Form of the answer after the thinking: {', '.join(ANSWER_FORMATS)}, or a function of its text.",
)


@click.group(cls=CommandGroup)
@click.version_option(package_name="chrpo")
def cli() -> None:
    """Reinforcement learning for short thinking and correct answers, under an accuracy constraint."""


@cli.command(
    epilog="""\b
Examples:
  chrpo prepare samples.jsonl prompts.jsonl --checkpoint checkpoints/sft
  chrpo prepare samples.jsonl prompts.jsonl --checkpoint models/without-control-tokens
"""
)
@click.argument("samples", nargs=-1, required=True, type=_PATH)
@click.argument("out", type=_PATH)
@click.option("--checkpoint", required=True, type=_PATH, help="Checkpoint that the samples were drawn from.")
@click.option(
    "--policy-share",
    default=POLICY_SHARE,
    show_default=True,
    help="Share of prompts in which the model chooses the ratio; the others request the ratios in turn.",
)
@click.option(
    "--confidence",
    default=CONFIDENCE,
    show_default=True,
    help="Confidence level of the lower accuracy bound used to select a ratio.",
)
@click.option("--threshold", default=THRESHOLD, show_default=True, help="Accuracy that the lower bound must reach.")
@click.option("--instruction", default=INSTRUCTION, show_default=True, help="First line of the user turn.")
@click.option("--seed", default=0, show_default=True, help="Random seed for choosing which prompts use a fixed ratio.")
@click.option("--thinking-format", help=f"{FLAG_HELP}  [default: thinking_format.json of the checkpoint, else think]")
@_answer_format
@click.option(
    "--overwrite", is_flag=True, help="Replace an output made with other settings, and make a finished one again."
)
def prepare(
    samples: tuple[Path, ...], out: Path, checkpoint: Path, thinking_format: str | None, **options: Any
) -> None:
    """Turn SAMPLES of the frozen model at every ratio into the prompts file OUT.

    Every problem needs samples at each ratio of the checkpoint's ladder, 3 or more at the default confidence; if the
    checkpoint has no control tokens, it needs samples without a ratio. Counts and the accuracy at each ratio are
    written beside OUT with the ending `.summary.json`, unusable problems with the ending `.rejected.jsonl`.
    """
    from .prepare import prepare as run
    from .prompts import control_tokens

    tokens, thinking = control_tokens(checkpoint), thinking_format or stored_format(checkpoint)
    made = run(samples, out, tokens=tokens, thinking_format=thinking, notify=notify, **options)
    if made is None:
        echo(f"{out}: already made with these settings; nothing to do", err=True)
        return
    tally, summary = made
    if tokens is None:
        shown = (
            "accuracy {accuracy:.3f}  thinking tokens {thinking_tokens:.0f}  completion tokens {completion_tokens:.0f}"
        )
        echo(shown.format(**summary))
    else:
        for ratio, seen in summary["ratios"].items():
            echo(
                f"ratio {ratio:>4}  accuracy {seen['accuracy']:.3f}  realised {seen['realised_ratio']:.3f}  "
                f"teacher ratio of {summary['teacher_ratios'][ratio]}"
            )
        echo(
            f"problems without a teacher ratio: {summary['teacher_ratios']['none']} (no ratio passes: "
            f"{summary['all_fail']}); not monotone: {summary['not_monotone']}"
        )
    for name, values in summary["sampler"].items():
        if len(values) > 1:
            notify(f"samples of different {name} are counted together: {', '.join(map(str, values))}")
    for name, about in _WARNINGS.items():
        if summary.get(name):
            echo(f"{summary[name]} samples {about}", err=True)
    echo(tally.summary(), err=True)


_WARNINGS = {
    "right_but_cut_off": "are correct but truncated by the token limit, which counts as incorrect here and in training",
    "right_in_another_form": "were graded correct without an answer in the form that training asks for (--format), "
    "which training counts as incorrect",
    "asked_otherwise": "were drawn with another instruction; give that one as --instruction",
    "samples_off_the_ladder": "are at no ratio of the ladder and are not counted",
    "samples_at_a_ratio": "are at a ratio, and not counted for a checkpoint without control tokens",
}
"""Counts of the summary that are worth a warning."""


def _read_config(ctx: click.Context, _: click.Parameter, path: Path | None) -> None:
    if path is None:
        return
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: not a readable TOML file ({error}); check the path and the syntax") from error
    known = {str(parameter.name): parameter for parameter in ctx.command.params}
    spellings = {**{name: name for name in known}, **setting_names(TrainSettings)}
    names = {name.replace("-", "_"): value for name, value in values.items()}
    if unknown := sorted(name for name in names if spellings.get(name) not in known):
        raise DataError(f"{path}: unknown settings: {', '.join(unknown)}; `chrpo train --help` lists them")
    for name, value in names.items():
        # Click would read 10.9 and true as whole numbers.
        if known[spellings[name]].type is click.INT and type(value) is not int:
            raise DataError(f"{path}: {name} must be a whole number; got {value}")
    ctx.default_map = {**(ctx.default_map or {}), **{spellings[name]: value for name, value in names.items()}}


@cli.command(
    epilog="""\b
Examples:
  chrpo train prompts.jsonl checkpoints/chrpo --model checkpoints/sft --max-steps 40
  accelerate launch --num_processes 2 -m chrpo train prompts.jsonl checkpoints/chrpo --model checkpoints/sft
"""
)
@click.argument("prompts", type=_PATH)
@output_argument("OUT")
@click.option("--model", required=True, type=_PATH, help="Checkpoint to start from.")
@settings_flags(TrainSettings)
@click.option(
    "--config", type=_PATH, is_eager=True, expose_value=False, callback=_read_config, help="TOML file with settings."
)
@click.option(
    "--report-to",
    multiple=True,
    type=click.Choice(["tensorboard", "trackio", "wandb"]),
    help="Tracker besides metrics.jsonl; repeatable.",
)
@click.option("--run-name", help="Name of the run in the trackers.  [default: the name of OUT]")
@click.option(
    "--log-completions",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Number of rollouts of each step to write, with what they earned, to completions/ in OUT.",
)
@click.option(
    "--grader",
    metavar="MODULE:FUNCTION",
    callback=lambda _context, _option, text: named_function("--grader", text) if text else None,
    help="Function that decides whether an answer is correct.  [default: the boxed or tagged answer is compared]",
)
@_answer_format
@click.option("--overwrite", is_flag=True, help="Replace a finished run, or a run of other settings, in OUT.")
def train(prompts: Path, out: Path, model: Path, grader: Any, answer_format: Any, **options: Any) -> None:
    """Train the checkpoint MODEL on PROMPTS and write it to the folder OUT.

    A killed run continues from its newest complete checkpoint when it is started again, and ends with the same result.
    OUT contains the weights, the tokenizer, control_tokens.json, manifest.json, metrics.jsonl and training.html.
    A function is MODULE:FUNCTION of the current folder or the environment: the grader takes a completion and its
    reference answer, the format the text after the thinking; each returns True or False.
    """
    from .train import train as run

    settings = from_flags(TrainSettings, options)
    made = run(
        prompts,
        out,
        model=model,
        settings=settings,
        overwrite=options["overwrite"],
        grader=grader,
        answer_format=answer_format,
        report_to=options["report_to"],
        run_name=options["run_name"],
        log_completions=options["log_completions"],
        notify=notify,
    )
    echo(f"{out}: written" if made else f"{out}: already there with these settings; nothing to do", err=True)


@cli.command(
    epilog="""\b
Examples:
  chrpo merge checkpoints/sft checkpoints/chrpo checkpoints/merged
  chrpo merge checkpoints/sft checkpoints/chrpo checkpoints/all --share 1 --scale 0.5
"""
)
@click.argument("before", metavar="A", type=_PATH)
@click.argument("after", metavar="B", type=_PATH)
@output_argument("OUT")
@click.option("--share", default=SHARE, show_default=True, help="Share of all weights whose changes are kept.")
@click.option("--scale", default=SCALE, show_default=True, help="Factor of the kept changes.")
@click.option(
    "--overwrite", is_flag=True, help="Replace an output made with other settings, and make a finished one again."
)
def merge(before: Path, after: Path, out: Path, **options: Any) -> None:
    """Add the largest changes from checkpoint A to B, scaled, to A, and write the checkpoint OUT.

    Training that made answers shorter can cost accuracy elsewhere; the authors of DLER (arXiv 2510.15110) restored it
    in this way. Evaluate OUT before it is used. Config, tokenizer and control tokens are those of B.
    """
    from .merge import merge as run

    made = run(before, after, out, **options)
    if made is None:
        echo(f"{out}: already there with these settings; nothing to do", err=True)
        return
    shown = f"{made.kept} of {made.changed} changes kept, in {made.weights} weights"
    echo(f"{out}: written ({shown}; the smallest is {made.smallest:.3g})", err=True)


@cli.command(
    epilog="""\b
Examples:
  chrpo plot checkpoints/chrpo
"""
)
@click.argument("run", type=_PATH)
@click.option(
    "--output",
    cls=AliasedOption,
    aliases=("--out",),
    type=_PATH,
    metavar="FILE.html",
    help="HTML file to write.  [default: training.html in RUN]",
)
def plot(run: Path, output: Path | None) -> None:
    """Draw the metrics of RUN, a folder of `chrpo train` or of a CHRPOTrainer, as one HTML file.

    RUN may be the partial folder `.OUT.partial` of a run that has not ended.
    """
    from .metrics import METRICS_FILE, read_metrics
    from .plot import check_page, write_plot

    path = output or run / "training.html"
    check_page(path, run / METRICS_FILE)
    write_plot(path, read_metrics(run))
    echo(f"{path}: written", err=True)


@cli.command(
    epilog="""\b
Examples:
  echo '{"weights": [1], "ratios": [0.2, 1], "accuracy": [[0.5, 0.9]], "floor": 0.8}' > bandit.json
  chrpo simulate bandit.json --max-steps 5000 --gradient sampled --plot bandit.html
"""
)
@click.argument("bandit", type=_PATH)
@click.option(
    "--max-steps",
    "steps",
    cls=AliasedOption,
    aliases=("--steps",),
    default=20_000,
    show_default=True,
    type=click.IntRange(min=1),
    help="Number of update steps.",
)
@click.option("--seed", default=0, show_default=True, help="Random seed of the samples.")
@click.option(
    "--gradient",
    type=click.Choice(["exact", "sampled"]),
    default="exact",
    show_default=True,
    help="Gradient from exact expectations, or from samples.",
)
@click.option(
    "--rollouts",
    default=64,
    show_default=True,
    type=click.IntRange(min=1),
    help="Number of samples per context and ratio, with --gradient sampled.",
)
@click.option("--no-constraint", is_flag=True, help="Keep the price at 0.")
@click.option("--step-size", default=0.1, show_default=True, help="Learning rate of the policy's logits.")
@click.option(
    "--scaled", is_flag=True, help="Divide the advantages of a step by their root mean square, as AdamW does."
)
@settings_flags(Gains)
@click.option("--plot", "page", type=_PATH, metavar="FILE.html", help="HTML file to write the trajectory to.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def simulate(
    bandit: Path, gradient: str, rollouts: int, no_constraint: bool, page: Path | None, as_json: bool, **options: Any
) -> None:
    """Run policy and price on BANDIT, a JSON file with `weights`, `ratios`, `accuracy` and `floor`.

    Each context (a kind of problem) has an accuracy at each ratio; the cost is the ratio. The results are means over
    the last tenth of the steps, printed with the exact optimum. Use it to choose gains within seconds. Where the price
    of the optimum is below 1, only --price-min 0 reaches it; otherwise the accuracy ends above the floor.
    """
    from .core.bandit import simulate as run
    from .plot import check_page
    from .simulate import read_bandit, report, report_lines, write_trajectory

    if page:
        check_page(page, bandit)
    problem = read_bandit(bandit)
    result = run(
        problem,
        options["steps"],
        gains=from_flags(Gains, options),
        step_size=options["step_size"],
        rollouts=rollouts if gradient == "sampled" else None,
        seed=options["seed"],
        constrained=not no_constraint,
        scaled=options["scaled"],
    )
    found = report(problem, result)
    if page:
        write_trajectory(page, problem, result)
    if as_json:
        echo(json.dumps(found))
    else:
        echo("\n".join(report_lines(problem, found)))
