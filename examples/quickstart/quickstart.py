"""The whole toolkit on two CPU cores: a tiny model learns to think in a fifth of the tokens and stays accurate.

Each stage is one command that you would also use for a real model. Only the first one belongs to this example: it makes
a base model and problems without any download. Finished stages are skipped, an interrupted one continues.

    python examples/quickstart/quickstart.py runs/quickstart --seed 0
"""

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import click

sys.path.insert(0, str(Path(__file__).parents[1]))
from stages import Stages

HERE = Path(__file__).parent
SOURCES = tuple(HERE / name for name in ("base_model.py", "encoder.py", "muon.py", "problems.py"))
"""Files that the stages run or import."""
# One ratio below the default ladder, because the equations of a wordy trace need less than a fifth of its tokens.
RATIOS = (0.16, 0.2, 0.4, 0.6, 0.8, 1.0)
LADDER = " ".join(f"--ratio {ratio}" for ratio in RATIOS)
# A trace of two sentences has no selection of whole parts near every ratio, and dense problems have no other traces.
TOLERANCE = 0.3
SFT_SETTINGS = "--max-steps 1800 --learning-rate 2e-3 --batch-size 16 --weight-decay 0.01"
RL_SETTINGS = (
    "--max-steps 25 --prompts-per-step 16 --rollouts 12 --learning-rate 1e-4 --temperature 0.5 --max-tokens 200 "
    "--save-steps 5"
)


def pipeline(run: Path, seed: int) -> list[tuple[str, str]]:
    """The stages in order, as (title, command)."""
    limits = f"--max-tokens 240 --batch-size 250 --seed {seed}"
    return [*learn_lengths(run, limits, seed), *learn_to_choose(run, seed), *evaluate(run, limits)]


def learn_lengths(run: Path, limits: str, seed: int) -> list[tuple[str, str]]:
    """From nothing to a model that thinks at the requested length, and its samples at every ratio."""
    tasks = run / "problems"
    return [
        (
            "Make problems, and a base model that thinks at length",
            f"{HERE}/base_model.py {run} --seed {seed}",
        ),
        (
            "Let the base model solve the training problems",
            f"math-eval run --model {run}/base --tasks {tasks}/sft.jsonl {limits} --output-dir {run}/samples/base",
        ),
        (
            "Keep the correct traces: the model is its own teacher",
            f"math-eval export traces {run}/samples/base {run}/traces.jsonl",
        ),
        (
            "Mark what of each trace carries the worked solution",
            f"cot-compressor annotate {run}/traces.jsonl {run}/annotated.jsonl --columns response=solution "
            "--keep-share 0.7",
        ),
        ("Make an encoder, without training", f"{HERE}/encoder.py {run}/base {run}/encoder"),
        (
            "Train the compressor",
            f"cot-compressor train {run}/annotated.jsonl {run}/compressor --encoder {run}/encoder --epochs 6 "
            f"--seed {seed}",
        ),
        (
            "Compress every trace to six budgets",
            f"cot-compressor compress {run}/traces.jsonl {run}/compressed.jsonl {LADDER} "
            f"--scorer hybrid:{run}/compressor --tokenizer {run}/base",
        ),
        (
            "Mix the ratios",
            f"ratio-sft build {run}/compressed.jsonl {run}/mix/ratios --policy-share 0 --tolerance {TOLERANCE} "
            f"--seed {seed}",
        ),
        (
            "SFT: think at the requested length",
            f"ratio-sft train {run}/mix/ratios {run}/ratios --model {run}/base {SFT_SETTINGS} --seed {seed}",
        ),
        (
            "Sample that model at every ratio",
            f"math-eval run --model {run}/ratios --tasks {tasks}/sft.jsonl,{tasks}/rl.jsonl --limit 300 {LADDER} "
            f"--samples 4 --temperature 0.5 {limits} --output-dir {run}/samples/ratios",
        ),
    ]


def learn_to_choose(run: Path, seed: int) -> list[tuple[str, str]]:
    """From that model to one that chooses its ratio."""
    return [
        (
            "Find the smallest ratio that is enough for each problem",
            f"chrpo prepare {run}/samples/ratios/samples_sft.jsonl {run}/teacher.jsonl "
            f"--checkpoint {run}/ratios --threshold 0.3 --seed {seed}",
        ),
        (
            "Mix in problems whose ratio is the model's to choose",
            f"ratio-sft build {run}/compressed.jsonl {run}/mix/policy --teacher {run}/teacher.jsonl --policy-share 0.4 "
            f"--tolerance {TOLERANCE} --seed {seed}",
        ),
        (
            "SFT: a first idea of how much each problem needs",
            f"ratio-sft train {run}/mix/policy {run}/sft --model {run}/ratios "
            f"--max-steps 250 --learning-rate 1e-3 --batch-size 16 --weight-decay 0.01 --seed {seed}",
        ),
        (
            "Take other problems for reinforcement learning",
            f"chrpo prepare {run}/samples/ratios/samples_rl.jsonl {run}/rl_prompts.jsonl "
            f"--checkpoint {run}/ratios --policy-share 1 --threshold 0.3 --seed {seed}",
        ),
        (
            "CHRPO: choose the ratio, and stay accurate",
            f"chrpo train {run}/rl_prompts.jsonl {run}/chrpo --model {run}/sft {RL_SETTINGS} --seed {seed}",
        ),
    ]


def evaluate(run: Path, limits: str) -> list[tuple[str, str]]:
    """The test problems at each step, and the report."""
    tasks = run / "problems"
    return [
        (
            "Evaluate the base model on problems it never saw",
            f"math-eval run --model {run}/base --tasks {tasks}/test.jsonl {limits} --output-dir {run}/eval/base",
        ),
        (
            "Evaluate after SFT, at every ratio and at the model's choice",
            f"math-eval run --model {run}/sft --tasks {tasks}/test.jsonl {LADDER} --ratio policy {limits} "
            f"--output-dir {run}/eval/sft",
        ),
        (
            "Evaluate after CHRPO, at the model's choice",
            f"math-eval run --model {run}/chrpo --tasks {tasks}/test.jsonl --ratio policy {limits} "
            f"--output-dir {run}/eval/chrpo",
        ),
        (
            "Compare and draw",
            f"math-eval report base={run}/eval/base sft={run}/eval/sft chrpo={run}/eval/chrpo --baseline base "
            f"--by level --title 'Quickstart: thinking in a fifth of the tokens' --output {run}/report.html",
        ),
    ]


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--seed", type=int, default=0, show_default=True, help="Random seed of all stages.")
def main(run: Path, seed: int) -> None:
    """Run all stages in the folder RUN, or continue an interrupted run."""
    stages = Stages(run, SOURCES)
    commands = pipeline(run, seed)
    for number, (title, command) in enumerate(commands, 1):
        stages.run(f"{number}/{len(commands)}", title, shlex.split(command))
    report = json.loads((run / "report.json").read_text("utf-8"))
    kept = ("name", "accuracy", "accuracy_low", "accuracy_high", "thinking_tokens", "completion_tokens", "act_ratio")
    results = {
        "n": report["n"],
        "seed": seed,
        "seconds": round(stages.seconds, 1),
        "conditions": [{name: condition[name] for name in kept} for condition in report["conditions"]],
        "comparison": report["comparison"],
        "rl_comparison": rl_comparison(run),
    }
    (run / "results.json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    click.echo(f"\n{rl_verdict(results['rl_comparison'])}")
    click.echo(f"{stages.seconds:.0f} seconds. The report is {run}/report.html, its numbers {run}/results.json.")


def rl_comparison(run: Path) -> dict[str, Any]:
    """The model after CHRPO compared with SFT, both at their own choice of a ratio, on the same problems."""
    from math_eval import compare, load_condition

    sft, chrpo = (load_condition(run / "eval" / name, "policy") for name in ("sft", "chrpo"))
    return compare(sft, chrpo).values


def rl_verdict(found: dict[str, Any]) -> str:
    """One sentence: whether RL was worth its step, by the 95 % intervals of the paired differences.

    Our choice: a saving counts from 1 % of the tokens, because a smaller one is certain when most answers are the same.
    An interval that is not known, because all problems have the same difference, is shown without width.
    """

    def interval(name: str) -> list[float]:
        bounds = [found[f"{name}{end}"] for end in ("", "_low", "_high")]
        return [100 * (bounds[0] if bound is None else bound) for bound in bounds]

    accuracy, low, high = interval("accuracy_difference")
    tokens, most, least = (0.0 - value for value in interval("token_reduction"))
    figures = (
        f"accuracy {accuracy:+.1f} points ({low:+.1f} to {high:+.1f}), "
        f"thinking tokens {tokens:+.1f} % ({least:+.1f} to {most:+.1f})"
    )
    if low > 0 or (most <= -1 and high >= 0):
        return f"CHRPO was worth its step. Compared with SFT: {figures}."
    return f"SFT was enough. CHRPO compared with it: {figures}."


if __name__ == "__main__":
    main()
