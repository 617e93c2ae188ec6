"""The commands of ratio-sft; each is a thin shell over `build`, `train` or `evaluate`.

The flags of `build` and `train` are made from `settings.MixSettings` and `settings.TrainSettings`.

    ratio-sft build compressed.jsonl mix --ratio 0.2 --ratio 1.0
"""

import time
from importlib.resources import files
from pathlib import Path
from typing import Any

import click

from . import __version__
from ._shared.cli_group import CommandGroup
from ._shared.ray_shards import engine_options
from ._shared.records import Row
from ._shared.settings_flags import from_flags, output_argument, settings_flags
from ._shared.terminal import echo, notify
from .settings import MixSettings, TrainSettings


@click.group(
    cls=CommandGroup,
    epilog="\b\nExample:\n  ratio-sft build compressed.jsonl mix\n"
    "  ratio-sft train mix checkpoints/sft --model checkpoints/base\n"
    "  ratio-sft evaluate runs/sft/samples_test.jsonl --base runs/base/samples_test.jsonl",
)
@click.version_option(__version__, prog_name="ratio-sft")
def cli() -> None:
    """Teach a language model control tokens that set the length of its thinking."""


@cli.command(
    "build",
    epilog="\b\nExamples:\n  ratio-sft build compressed.jsonl mix\n"
    "  ratio-sft build s3://bucket/compressed.parquet mix\n"
    "  ratio-sft build compressed.jsonl mix --ratio 0.2 --ratio 0.6 --ratio 1.0 --teacher rl_prompts.jsonl\n"
    "  ratio-sft build compressed mix --engine ray",
)
@click.argument("in_file", metavar="IN")
@output_argument("OUT_DIR")
@settings_flags(MixSettings)
@click.option("--teacher", metavar="FILE", help="File of RL prompts; its teacher_ratio is the target of policy rows.")
@click.option(
    "--exclude", multiple=True, metavar="FILE", help="File of test problems to keep out of the mixture; repeatable."
)
@engine_options
@click.option(
    "--overwrite", is_flag=True, help="Replace an output made with other settings, and make a finished one again."
)
def build_command(
    in_file: str,
    out: Path,
    *,
    teacher: str | None,
    exclude: tuple[str, ...],
    engine: str,
    workers: int | None,
    overwrite: bool,
    **options: Any,
) -> None:
    """Mix the compressed traces of IN into OUT_DIR: train.jsonl, heldout.jsonl, card.json and card.html.

    IN is JSON Lines or Parquet: a file, a folder of shards, or an address on an object store. On Ray, the folders
    OUT_DIR/train and OUT_DIR/heldout have a file for each shard of IN; every worker must see OUT_DIR.

    A correct trace gives one row for each ratio, or none if a ratio is missing or off. Policy rows are added, and a
    share of the questions is held out.
    """
    from .data.build import build

    settings = from_flags(MixSettings, options)
    card = build(
        in_file,
        out,
        settings,
        teacher=teacher,
        exclude=exclude,
        overwrite=overwrite,
        engine=engine,
        workers=workers,
        notify=notify,
    )
    if _report_finished(card, out):
        return
    counts, policy = card["counts"], card["policy"]
    echo(f"{'mode':8} {'ratio':>5} {'rows':>7} {'achieved':>8} {'tokens':>8}")
    for line in card["histogram"]:
        echo(
            f"{line['mode']:8} {line['ratio']:5g} {line['rows']:7} {line['mean_achieved_ratio']:8.3f} "
            f"{line['mean_thinking_tokens']:8.1f}"
        )
    echo(
        f"{out}: {counts['train']} rows to train on ({policy['train_rows']} policy rows, "
        f"{policy['distinct_train_rows']} distinct, {policy['targets']} targets), {counts['heldout']} held out"
    )
    for name, file in (card["decontamination"] or {"files": {}})["files"].items():
        echo(f"{name}: {file['questions']} test questions, {file['matches']} traces rejected for them")
    echo(card["summary"], err=True)


@cli.command(
    "train",
    epilog="\b\nExamples:\n  ratio-sft train mix checkpoints/sft --model checkpoints/base --epochs 3 --batch-size 8\n"
    "  accelerate launch --num_processes 4 -m ratio_sft train mix checkpoints/sft --model checkpoints/base",
)
@click.argument("data", metavar="DATA_DIR")
@output_argument("OUT")
@settings_flags(TrainSettings)
@click.option(
    "--overwrite", is_flag=True, help="Replace an output made with other settings, and make a finished one again."
)
def train_command(data: str, out: Path, overwrite: bool, **options: Any) -> None:
    """Train a model on DATA_DIR and write the checkpoint folder OUT.

    The folder has safetensors weights, control_tokens.json and a chat template that takes `ratio`. A killed run
    continues when the same command is given again.
    """
    from .training.train import train

    start = time.monotonic()
    report = train(data, out, from_flags(TrainSettings, options), overwrite=overwrite, notify=notify)
    from accelerate import PartialState

    if not PartialState().is_main_process or _report_finished(report, out):
        return
    for name, loss in report["heldout_loss"].items():
        echo(f"held-out loss {name:10} {loss:.4f}")
    if report["chosen_ratios"]:
        shares = "  ".join(f"{name} {share:.1%}" for name, share in report["chosen_ratios"].items())
        echo(f"the model chooses  {shares}")
    following = {name: figure for name, figure in (report["following"] or {}).items() if name != "step"}
    for name, figure in following.items():
        echo(f"following {name:19} {figure:.3f}")
    echo(
        f"{out}: {report['steps']} steps, loss {report['first_loss']:.4f} to {report['last_loss']:.4f}, "
        f"{time.monotonic() - start:.0f} s"
    )
    echo(report["summary"], err=True)


@cli.command(
    "accelerate-config",
    epilog="\b\nExample:\n  accelerate launch --config_file $(ratio-sft accelerate-config fsdp2) "
    "-m ratio_sft train mix checkpoints/sft --model checkpoints/base",
)
@click.argument("name", type=click.Choice(["ddp", "fsdp2", "zero3"]))
def accelerate_config_command(name: str) -> None:
    """Print the path of a configuration file for `accelerate launch`."""
    echo(str(files("ratio_sft").joinpath("accelerate", f"{name}.yaml")))


@cli.command(
    "evaluate",
    epilog="\b\nExample:\n  math-eval run --model checkpoints/sft --tasks test.jsonl --ratio 0.2 --ratio 1.0 "
    "--output-dir runs/sft\n  ratio-sft evaluate runs/sft/samples_test.jsonl --output following.html",
)
@click.argument("samples", nargs=-1, required=True, metavar="SAMPLES...")
@click.option(
    "--base", multiple=True, metavar="FILE", help="File of the base model's samples, the reference; repeatable."
)
@click.option("--output", metavar="FILE.html", help="Page with charts to write; FILE.json is written beside it.")
def evaluate_command(samples: tuple[str, ...], base: tuple[str, ...], output: str | None) -> None:
    """Compare requested with realised ratios, and show the accuracy, of math-eval's sample files.

    A problem's realised ratio is its thinking tokens divided by those of the base model. Without --base it is divided
    by the model's own thinking tokens at ratio 1, whose errors of 0 then count in the mean absolute error.
    """
    from .evaluation.evaluate import evaluate
    from .evaluation.report import summary, table

    report = evaluate(samples, base=base, output=output)
    for row in table(report):
        echo(f"{row[0]:8}" + "".join(f"{cell:>14}" for cell in row[1:]))
    echo(summary(report))


def _report_finished(result: Row, out: Path) -> bool:
    """Whether nothing had to be done; then a line reports it."""
    if result.get("already_finished"):
        echo(f"{out}: already finished with these settings; nothing to do (--overwrite repeats it)")
    return bool(result.get("already_finished"))
