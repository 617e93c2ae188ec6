"""The commands of ratio-sft; each is a thin shell over `build.build`, `train.train` or `evaluate.evaluate`.

ratio-sft build compressed.jsonl mix --ratio 0.2 --ratio 1.0
"""

import time
from importlib.resources import files
from typing import Any

import click

from . import __version__
from ._shared.cli_group import CommandGroup
from ._shared.control_tokens import INSTRUCTION
from ._shared.records import Row
from .build import build
from .evaluate import evaluate, summary, table
from .mixture import POLICY_SHARE, MixSettings
from .settings import TrainSettings


@click.group(cls=CommandGroup)
@click.version_option(__version__, prog_name="ratio-sft")
def cli() -> None:
    r"""Teach a language model control tokens that set the length of its thinking.

    \b
    Example:
      ratio-sft build compressed.jsonl mix
      ratio-sft train mix checkpoints/sft --model checkpoints/base
      ratio-sft evaluate runs/sft/samples_test.jsonl --base runs/base/samples_test.jsonl
    """


@cli.command(
    "build",
    epilog="\b\nExample:\n  ratio-sft build compressed.jsonl mix\n"
    "  ratio-sft build compressed.jsonl mix --ratio 0.2 --ratio 0.6 --ratio 1.0 --teacher rl_prompts.jsonl",
)
@click.argument("traces", metavar="IN")
@click.argument("out", metavar="OUT_DIR")
@click.option(
    "--ratio", "ratios", type=float, multiple=True, help="A ratio of the ladder; repeat it. [default: all in IN]"
)
@click.option("--tolerance", type=float, default=0.05, show_default=True, help="Largest |achieved - asked| ratio.")
@click.option("--policy-share", type=float, default=POLICY_SHARE, show_default="1/7", help="Share of policy rows.")
@click.option("--policy-quota", "quotas", multiple=True, metavar="R=SHARE", help="Share of a ratio's policy rows.")
@click.option("--teacher", metavar="FILE", help="RL prompts whose teacher_ratio is the target of policy rows.")
@click.option("--heldout-share", type=float, default=0.05, show_default=True, help="Share of questions held out.")
@click.option("--plain-share", type=float, default=0.0, show_default=True, help="Share of full-length rows, no token.")
@click.option("--traces", "kept", type=int, help="Traces to keep, evenly over their lengths. [default: all]")
@click.option("--paper-floors", is_flag=True, help="Reject short or number-poor traces as the paper does.")
@click.option("--exclude", multiple=True, metavar="FILE", help="Test problems to keep out of the mix; repeat it.")
@click.option("--instruction", default=INSTRUCTION, show_default=True, help="What stands before each question.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--overwrite", is_flag=True, help="Replace a folder made with other settings.")
def build_command(
    traces: str,
    out: str,
    teacher: str | None,
    exclude: tuple[str, ...],
    quotas: tuple[str, ...],
    kept: int | None,
    overwrite: bool,
    **options: Any,
) -> None:
    """Mix the compressed traces of IN into OUT_DIR: train.jsonl, heldout.jsonl, card.json and card.html.

    A correct trace gives one row for each ratio, or none if a ratio is missing or off; policy rows are added, and a
    share of the questions is held out.
    """
    settings = MixSettings(
        traces=kept, policy_quotas=tuple(_ratio_pair(text, "--policy-quota") for text in quotas), **options
    )
    card = build(traces, out, settings, teacher=teacher, exclude=exclude, overwrite=overwrite)
    if _said_finished(card, out):
        return
    counts, policy = card["counts"], card["policy"]
    click.echo(f"{'mode':8} {'ratio':>5} {'rows':>7} {'achieved':>8} {'tokens':>8}")
    for line in card["histogram"]:
        click.echo(
            f"{line['mode']:8} {line['ratio']:5g} {line['rows']:7} {line['mean_achieved_ratio']:8.3f} "
            f"{line['mean_thinking_tokens']:8.1f}"
        )
    click.echo(
        f"{out}: {counts['train']} rows to train on ({policy['train_rows']} policy rows, "
        f"{policy['distinct_train_rows']} distinct, {policy['targets']} targets), {counts['heldout']} held out"
    )
    for name, file in (card["decontamination"] or {"files": {}})["files"].items():
        click.echo(f"{name}: {file['questions']} test questions, {file['matches']} traces rejected for them")
    click.echo(card["summary"], err=True)


@cli.command(
    "train",
    epilog="\b\nExample:\n  ratio-sft train mix checkpoints/sft --model checkpoints/base --epochs 3 --batch-size 8\n"
    "  accelerate launch --num_processes 4 -m ratio_sft train mix checkpoints/sft --model checkpoints/base",
)
@click.argument("data", metavar="DATA_DIR")
@click.argument("out", metavar="OUT")
@click.option("--model", required=True, metavar="FOLDER", help="Base model, or a checkpoint that follows ratios.")
@click.option("--epochs", type=float, default=3.0, show_default=True)
@click.option("--max-steps", type=int, help="Optimiser steps in all; overrides --epochs.")
@click.option("--batch-size", type=int, default=8, show_default=True, help="Rows of one process and forward pass.")
@click.option("--gradient-accumulation", type=int, default=1, show_default=True, help="Batches of one step.")
@click.option("--learning-rate", type=float, default=2e-5, show_default=True, help="Highest step size.")
@click.option("--warmup-share", type=float, default=0.05, show_default=True, help="Share of steps to warm up.")
@click.option("--weight-decay", type=float, default=0.05, show_default=True)
@click.option("--max-length", type=int, default=6144, show_default=True, help="Longer rows, in tokens, are rejected.")
@click.option("--save-steps", type=int, help="Steps between checkpoints. [default: a tenth of the run]")
@click.option("--packing", is_flag=True, help="Lay the rows of a batch end to end instead of padding them.")
@click.option("--ratio-weight", "weights", multiple=True, metavar="R=W", help="Loss weight of a ratio; repeat it.")
@click.option("--lora-rank", type=int, help="Train adapters of this rank and merge them. [default: train all weights]")
@click.option("--follow", type=int, default=0, help="Held-out questions to answer at each checkpoint. [default: none]")
@click.option("--report-to", metavar="NAME", help="Log to tensorboard, trackio or wandb too.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--overwrite", is_flag=True, help="Replace a folder, or drop an unfinished run, of other settings.")
def train_command(data: str, out: str, weights: tuple[str, ...], overwrite: bool, **options: Any) -> None:
    """Train a model on DATA_DIR and write the checkpoint folder OUT.

    The folder has safetensors weights, control_tokens.json and a chat template that takes `ratio`. A killed run
    continues when the same command is given again.
    """
    from accelerate import PartialState

    from .train import train

    start = time.monotonic()
    settings = TrainSettings(ratio_weights=tuple(_ratio_pair(text, "--ratio-weight") for text in weights), **options)
    report = train(data, out, settings, overwrite=overwrite)
    if not PartialState().is_main_process or _said_finished(report, out):
        return
    for name, loss in report["heldout_loss"].items():
        click.echo(f"held-out loss {name:10} {loss:.4f}")
    following = {name: figure for name, figure in (report["following"] or {}).items() if name != "step"}
    for name, figure in following.items():
        click.echo(f"following {name:19} {figure:.3f}")
    click.echo(
        f"{out}: {report['steps']} steps, loss {report['first_loss']:.4f} to {report['last_loss']:.4f}, "
        f"{time.monotonic() - start:.0f} s"
    )
    click.echo(report["summary"], err=True)


@cli.command(
    "accelerate-config",
    epilog="\b\nExample:\n  accelerate launch --config_file $(ratio-sft accelerate-config fsdp2) "
    "-m ratio_sft train mix checkpoints/sft --model checkpoints/base",
)
@click.argument("name", type=click.Choice(["ddp", "fsdp2", "zero3"]))
def accelerate_config_command(name: str) -> None:
    """Print the path of a configuration file for `accelerate launch`."""
    click.echo(str(files("ratio_sft").joinpath("accelerate", f"{name}.yaml")))


@cli.command(
    "evaluate",
    epilog="\b\nExample:\n  math-eval run --model checkpoints/sft --tasks test.jsonl --ratio 0.2 --ratio 1.0 "
    "--output-dir runs/sft\n  ratio-sft evaluate runs/sft/samples_test.jsonl --output following.html",
)
@click.argument("samples", nargs=-1, required=True, metavar="SAMPLES...")
@click.option("--base", multiple=True, metavar="FILE", help="The base model's samples, the reference; repeat it.")
@click.option("--output", metavar="FILE.html", help="Write a page with charts here, and FILE.json beside it.")
def evaluate_command(samples: tuple[str, ...], base: tuple[str, ...], output: str | None) -> None:
    """Compare asked with realised ratios, and show the accuracy, of math-eval's sample files.

    A problem's realised ratio is its thinking tokens over those of the base model, or, without --base, over the
    model's own at ratio 1, whose errors of 0 then count in the mean absolute error.
    """
    report = evaluate(samples, base=base, output=output)
    for row in table(report):
        click.echo(f"{row[0]:8}" + "".join(f"{cell:>14}" for cell in row[1:]))
    click.echo(summary(report))


def _ratio_pair(text: str, option: str) -> tuple[float, float]:
    ratio, _, number = text.partition("=")
    try:
        return float(ratio), float(number)
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is not RATIO=NUMBER, such as 0.2=2", param_hint=option) from error


def _said_finished(result: Row, out: str) -> bool:
    if result.get("already_finished"):
        click.echo(f"{out}: already finished with these settings; nothing to do (--overwrite repeats it)")
    return bool(result.get("already_finished"))
