"""The `chrpo` command: prepare prompts, train a checkpoint. Each command is a thin shell over one function."""

import tomllib
from pathlib import Path
from typing import Any

import click

from .commands import Commands
from .control import INSTRUCTION
from .errors import DataError

_FOLDER = click.Path(path_type=Path)


@click.group(cls=Commands)
@click.version_option(package_name="chrpo")
def cli() -> None:
    """Reinforcement learning for short and right answers, under an accuracy constraint."""


@cli.command(
    epilog="""\b
Example:
  chrpo prepare samples.jsonl prompts.jsonl --checkpoint checkpoints/sft
"""
)
@click.argument("samples", nargs=-1, required=True, type=_FOLDER)
@click.argument("out", type=_FOLDER)
@click.option("--checkpoint", required=True, type=_FOLDER, help="The checkpoint the samples are from.")
@click.option("--policy-share", default=1.0, show_default=True, help="Share of prompts in which the model chooses.")
@click.option("--confidence", default=0.95, show_default=True, help="Of the bound that a ratio has to pass.")
@click.option("--threshold", default=0.5, show_default=True, help="Accuracy that the bound has to reach.")
@click.option("--instruction", default=INSTRUCTION, show_default=True, help="First line of the user turn.")
@click.option("--seed", default=0, show_default=True, help="Of the draw of fixed-ratio prompts.")
def prepare(samples: tuple[Path, ...], out: Path, checkpoint: Path, **options: Any) -> None:
    """Turn SAMPLES of the frozen model at every ratio into the prompts file OUT.

    Every problem needs samples at each ratio of the checkpoint's ladder, 3 or more at the default confidence. Counts
    and the accuracy at each ratio go to OUT's name with `.summary.json`, unusable problems to `.rejected.jsonl`.
    """
    from .control import ControlTokens
    from .prepare import prepare as run

    tally, summary = run(samples, out, tokens=ControlTokens.load(checkpoint), **options)
    for ratio, seen in summary["ratios"].items():
        click.echo(
            f"ratio {ratio:>4}  accuracy {seen['accuracy']:.3f}  realised {seen['realised_ratio']:.3f}  "
            f"teacher of {summary['teacher_ratios'][ratio]}"
        )
    click.echo(
        f"no teacher ratio {summary['teacher_ratios']['none']}, of these all-fail {summary['all_fail']}; "
        f"not monotone {summary['not_monotone']}"
    )
    click.echo(tally.summary(), err=True)


def _read_config(ctx: click.Context, _: click.Parameter, path: Path | None) -> None:
    if path is None:
        return
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not a readable TOML file ({error})") from error
    known = {parameter.name for parameter in ctx.command.params}
    names = {name.replace("-", "_"): value for name, value in values.items()}
    if unknown := sorted(names.keys() - known):
        raise DataError(f"{path}: unknown settings: {', '.join(unknown)}; `chrpo train --help` lists them")
    ctx.default_map = {**(ctx.default_map or {}), **names}


@cli.command(
    epilog="""\b
Examples:
  chrpo train prompts.jsonl checkpoints/chrpo --model checkpoints/sft --steps 40
  accelerate launch --num_processes 2 -m chrpo train prompts.jsonl checkpoints/chrpo --model checkpoints/sft
"""
)
@click.argument("prompts", type=_FOLDER)
@click.argument("out", type=_FOLDER)
@click.option("--model", required=True, type=_FOLDER, help="The checkpoint to start from.")
@click.option("--steps", default=100, show_default=True, help="Optimiser steps, each with fresh rollouts.")
@click.option("--prompts-per-step", default=16, show_default=True, help="Over all processes.")
@click.option("--rollouts", default=10, show_default=True, help="Per prompt; a multiple of the ladder, 2 or more.")
@click.option("--learning-rate", default=1e-6, show_default=True)
@click.option("--temperature", default=1.0, show_default=True, help="Take that of the samples.")
@click.option("--max-tokens", type=int, help="Longest completion.  [default: 1.5 times the longest reference]")
@click.option("--eps", default=0.0, show_default=True, help="Accuracy that may be given up.")
@click.option("--reward", type=click.Choice(["constrained", "paper"]), default="constrained", show_default=True)
@click.option("--control-weight", default=5.0, show_default=True, help="Of the control token; a response token has 1.")
@click.option("--save-steps", default=25, show_default=True, help="Steps between checkpoints.")
@click.option("--rows-per-pass", type=int, help="Rollouts in one pass.  [default: all on a CPU, at most 16 on a GPU]")
@click.option("--seed", default=0, show_default=True)
@click.option("--config", type=_FOLDER, is_eager=True, expose_value=False, callback=_read_config, help="TOML of flags.")
@click.option("--overwrite", is_flag=True, help="Replace a run of other settings.")
def train(prompts: Path, out: Path, model: Path, overwrite: bool, **settings: Any) -> None:
    """Train the checkpoint MODEL on PROMPTS and write it to the folder OUT.

    A killed run continues from its newest complete checkpoint when it is started again, and ends the same. OUT holds
    the weights, the tokenizer, control_tokens.json, manifest.json, metrics.jsonl and training.html.
    """
    from .train import TrainSettings
    from .train import train as run

    made = run(prompts, out, model=model, settings=TrainSettings(**settings), overwrite=overwrite)
    click.echo(f"{out}: written" if made else f"{out}: already there with these settings; nothing to do", err=True)
