"""The `chrpo` command: prepare prompts, train, plot a run, simulate a bandit; thin shells over functions."""

import json
import tomllib
from pathlib import Path
from typing import Any

import click

from ._shared.cli_group import CommandGroup
from ._shared.control_tokens import INSTRUCTION
from .errors import DataError

_FOLDER = click.Path(path_type=Path)
_OBJECTIVES = ("chrpo", "paper", "grpo", "l1", "degrpo", "shortest_correct")
_PARTS = ("constraint", "control", "mode", "stratified")
"""As in `objective`, which would load torch for every `--help`."""


@click.group(cls=CommandGroup)
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
    from ._shared.control_tokens import ControlTokens
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
    for name, values in summary["sampler"].items():
        if len(values) > 1:
            click.echo(f"samples of different {name} are counted together: {', '.join(map(str, values))}", err=True)
    for name, told in _SAMPLES.items():
        if summary[name]:
            click.echo(f"{summary[name]} samples {told}", err=True)
    click.echo(tally.summary(), err=True)


_SAMPLES = {
    "right_but_cut_off": "are right but cut off by the token limit, which counts as wrong here and in training",
    "right_without_a_box": r"are called right without an answer in \boxed{}, which training takes for wrong",
    "asked_otherwise": "were asked without this instruction; give --instruction as it was when they were drawn",
    "samples_off_the_ladder": "at no ratio of the ladder, not counted",
}
"""What the summary counts, as it is told."""


def _read_config(ctx: click.Context, _: click.Parameter, path: Path | None) -> None:
    if path is None:
        return
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not a readable TOML file ({error})") from error
    known = {str(parameter.name): parameter for parameter in ctx.command.params}
    names = {name.replace("-", "_"): value for name, value in values.items()}
    if unknown := sorted(names.keys() - known.keys()):
        raise DataError(f"{path}: unknown settings: {', '.join(unknown)}; `chrpo train --help` lists them")
    for name, value in names.items():
        # Click reads 10.9 and true as whole numbers, which nobody means.
        if known[name].type is click.INT and type(value) is not int:
            raise DataError(f"{path}: {name} must be a whole number; got {value}")
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
@click.option("--rollouts", type=int, help="Per prompt.  [default: twice as many as ratios, the least]")
@click.option("--learning-rate", default=1e-6, show_default=True)
@click.option("--temperature", default=1.0, show_default=True, help="Take that of the samples.")
@click.option("--max-tokens", type=int, help="Longest completion.  [default: 1.5 times the longest reference]")
@click.option("--eps", default=0.0, show_default=True, help="Accuracy that may be given up.")
@click.option("--objective", type=click.Choice(_OBJECTIVES), default="chrpo", show_default=True, help="Or a baseline.")
@click.option("--without", multiple=True, type=click.Choice(_PARTS), help="Leave a part out (ablation); repeatable.")
@click.option("--length-weight", type=float, help="Of the length penalty of l1 (.3) and shortest_correct (.5).")
@click.option("--control-weight", type=float, help="Of the control token.  [default: the objective's own, 5 for chrpo]")
@click.option("--budget-step", type=float, help="Pay for less and less length, this much at once, while floors hold.")
@click.option("--budget-hold", default=20, show_default=True, help="Steps that the floors must hold before each.")
@click.option("--proportional", type=float, help="Gain of the price on the violation, see `simulate`.  [default: 50]")
@click.option("--integral", type=float, help="Gain on its sum.  [default: 0.5]")
@click.option("--derivative", type=float, help="Gain on its growth.  [default: 0]")
@click.option("--beta", default=0.0, show_default=True, help="KL penalty to MODEL, on response tokens.")
@click.option("--lora-rank", type=int, help="Train adapters of this rank and merge them.  [default: train all weights]")
@click.option("--vllm", type=click.Choice(["colocate", "server"]), help="Let vLLM write the rollouts, as in TRL.")
@click.option("--save-steps", default=25, show_default=True, help="Steps between checkpoints.")
@click.option("--rows-per-pass", type=int, help="Rollouts in one pass.  [default: all on a CPU, at most 16 on a GPU]")
@click.option("--seed", default=0, show_default=True)
@click.option("--config", type=_FOLDER, is_eager=True, expose_value=False, callback=_read_config, help="TOML of flags.")
@click.option("--report-to", multiple=True, type=click.Choice(["tensorboard", "trackio", "wandb"]), help="Log there.")
@click.option("--overwrite", is_flag=True, help="Replace a run of other settings.")
def train(prompts: Path, out: Path, model: Path, overwrite: bool, report_to: tuple[str, ...], **settings: Any) -> None:
    """Train the checkpoint MODEL on PROMPTS and write it to the folder OUT.

    A killed run continues from its newest complete checkpoint when it is started again, and ends the same. OUT holds
    the weights, the tokenizer, control_tokens.json, manifest.json, metrics.jsonl and training.html.
    """
    from .train import TrainSettings
    from .train import train as run

    made = run(prompts, out, model=model, settings=TrainSettings(**settings), overwrite=overwrite, report_to=report_to)
    click.echo(f"{out}: written" if made else f"{out}: already there with these settings; nothing to do", err=True)


@cli.command(
    epilog="""\b
Example:
  chrpo plot checkpoints/chrpo
"""
)
@click.argument("run", type=_FOLDER)
@click.option("--out", type=_FOLDER, help="The HTML file.  [default: training.html in RUN]")
def plot(run: Path, out: Path | None) -> None:
    """Draw the metrics of RUN, a folder of `chrpo train` or of a CHRPOTrainer, as one HTML file.

    Works while the run is going on, on its work folder `.OUT.partial`.
    """
    from .metrics import read_metrics
    from .plot import write_plot

    path = out or run / "training.html"
    write_plot(path, read_metrics(run))
    click.echo(f"{path}: written", err=True)


@cli.command(
    epilog="""\b
Example:
  echo '{"weights": [1], "ratios": [0.2, 1], "accuracy": [[0.5, 0.9]], "floor": 0.8}' > bandit.json
  chrpo simulate bandit.json --steps 5000 --gradient sampled --plot bandit.html
"""
)
@click.argument("bandit", type=_FOLDER)
@click.option("--steps", default=20_000, show_default=True, type=click.IntRange(min=1), help="Of policy and price.")
@click.option("--seed", default=0, show_default=True, help="Of the samples.")
@click.option("--gradient", type=click.Choice(["exact", "sampled"]), default="exact", show_default=True)
@click.option("--rollouts", default=64, show_default=True, type=click.IntRange(min=1), help="Per arm, when sampled.")
@click.option("--no-constraint", is_flag=True, help="Keep the price at 0.")
@click.option("--step-size", default=0.1, show_default=True, help="Of the logits.")
@click.option("--proportional", type=float, help="Gain on the violation.  [default: 200; that of `train` is 50]")
@click.option("--integral", type=float, help="Gain on its sum.  [default: 0.5, as in `train`]")
@click.option("--derivative", type=float, help="Gain on its growth.  [default: 0, as in `train`]")
@click.option("--plot", "page", type=_FOLDER, help="Draw the trajectory as this HTML file.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def simulate(bandit: Path, gradient: str, rollouts: int, page: Path | None, as_json: bool, **options: Any) -> None:
    """Run policy and price against BANDIT, a JSON file with `weights`, `ratios`, `accuracy` and `floor`.

    Each context (a kind of problem) has an accuracy at each ratio; cost is the ratio. Beside the result stands the
    exact optimum. A way to pick gains in seconds. Results are means over the last tenth of the steps.
    """
    from .core.bandit import simulate as run
    from .core.constraint import Gains
    from .simulate import read_bandit, report, write_trajectory

    problem = read_bandit(bandit)
    named = {name: options.pop(name) for name in ("proportional", "integral", "derivative")}
    gains = Gains(**{name: value for name, value in named.items() if value is not None})
    constrained = not options.pop("no_constraint")
    sampled = rollouts if gradient == "sampled" else None
    result = run(problem, gains=gains, rollouts=sampled, constrained=constrained, **options)
    found = report(problem, result)
    if page:
        write_trajectory(page, problem, result)
    if as_json:
        click.echo(json.dumps(found))
        return
    best = found["optimum"]["savings"]
    click.echo(f"accuracy {found['accuracy']:.4f}  floor {problem.floor:.4f}" + "  INFEASIBLE" * found["infeasible"])
    click.echo(
        f"savings  {found['savings']:.4f}  optimum "
        + ("none: no policy holds the floor" if best is None else f"{best:.4f}")
    )
    click.echo(f"lambda   {found['lambda']:.4f}")
    for weight, shares in zip(problem.weights, found["policy"], strict=True):
        arms = "  ".join(f"{ratio:g}: {share:.3f}" for ratio, share in zip(problem.ratios, shares, strict=True))
        click.echo(f"context of weight {weight:.3f}: {arms}")
