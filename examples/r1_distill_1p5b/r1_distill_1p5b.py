"""Shorten DeepSeek-R1-Distill-Qwen-1.5B without losing accuracy: no control tokens, no SFT, one RL run.

The stages are the packages' commands, for one node of GPUs; `scales` has the settings. A finished stage is skipped,
a killed one continues. With `--dry-run` the same stages run on a CPU with a tiny model, barely trained, and with
transformers instead of vLLM.

    python examples/r1_distill_1p5b/r1_distill_1p5b.py runs/r1_distill_1p5b --gpus 8
    python examples/r1_distill_1p5b/r1_distill_1p5b.py runs/dry_run --dry-run
"""

import shlex
import sys
from importlib.resources import files
from pathlib import Path

import click
from scales import DRY_RUN, FULL, Settings

sys.path.insert(0, str(Path(__file__).parents[1]))
from stages import Stages

HERE = Path(__file__).parent
SHARED = HERE.parent / "qwen3_1p7b"
DRY_PROCESSES = 2

Stage = tuple[str, str]


def recipe(run: Path, settings: Settings, gpus: int) -> list[Stage]:
    """All stages in order, each as (title, command).

    Args:
        run: Folder of all outputs.
        settings: Settings of the scale; `DRY_RUN` means a CPU.
        gpus: Number of GPUs of this node.
    """
    s, dry = settings, settings is DRY_RUN
    config = files("ratio_sft").joinpath("accelerate", "fsdp2.yaml")
    # On a CPU `accelerate launch` starts one process, whatever `--num_processes` is.
    several = f"torchrun --standalone --nproc_per_node {gpus}"
    several = several if dry else f"accelerate launch --config_file {config} --num_processes {gpus}"
    fetch = f"{SHARED}/tiny_inputs.py {run} --rl {s.questions}" if dry else f"{HERE}/questions.py {run}"
    folder = f"{run}/problems/" if dry else ""

    def sample(model: str, tasks: str, out: str, flags: str) -> str:
        backend = "transformers" if dry else f"vllm --data-parallel {gpus}"
        return (
            f"math-eval run --model {run}/{model} --backend {backend} --tasks {tasks} {flags} "
            f"--batch-size {s.requests * gpus} --output-dir {run}/{out}"
        )

    answers = ("Dry run only: correct answers", f"{SHARED}/fake_answers.py {run}/samples")
    return [
        ("Model, questions", fetch),
        (
            "The model answers the questions",
            sample(
                "base",
                f"{run}/problems/rl.jsonl",
                "samples",
                f"--samples {s.samples} --temperature 1 --max-tokens {s.max_tokens}",
            ),
        ),
        *([answers] if dry else []),
        (
            "Measure its length and accuracy on each question",
            f"chrpo prepare {run}/samples/samples_rl.jsonl {run}/rl_prompts.jsonl --checkpoint {run}/base",
        ),
        (
            "CHRPO: shorten, keep the accuracy",
            f"{several} -m chrpo train {run}/rl_prompts.jsonl {run}/short --model {run}/base "
            f"--max-steps {s.rl_steps} --prompts-per-step {s.rl_prompts} --rollouts {s.rollouts} "
            f"--rows-per-pass {s.rl_batch} --learning-rate {s.learning_rate:g} --max-tokens {s.max_tokens} "
            f"--save-steps {s.save_steps} {'' if dry else '--vllm colocate'}",
        ),
        *(
            (
                f"Evaluate {model} on {name}",
                sample(model, ",".join(folder + task for task in tasks.split(",")), f"eval/{name}-{model}", s.sampler),
            )
            for name, tasks in s.tests.items()
            for model in ("base", "short")
        ),
        *(
            (
                f"Report on {name}",
                f"math-eval report base={run}/eval/{name}-base short={run}/eval/{name}-short --baseline base "
                f"--title 'R1-Distill-Qwen-1.5B, before and after CHRPO' --output {run}/{name}.html",
            )
            for name in s.tests
        ),
        ("Compare with published methods", f"{HERE}/compare_with_published.py {run}"),
    ]


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--gpus", type=click.IntRange(min=1), default=8, show_default=True, help="Number of GPUs of this node.")
@click.option("--dry-run", is_flag=True, help="Run every stage on a CPU in miniature; the results have no meaning.")
def main(run: Path, gpus: int, dry_run: bool) -> None:
    """Run all stages in the folder RUN, or continue a killed run.

    A finished stage stays finished with another number of GPUs. If a setting has changed, its stage and all later
    stages run again, after a question.
    """
    settings, gpus = (DRY_RUN, DRY_PROCESSES) if dry_run else (FULL, gpus)
    stages = Stages(run, [HERE / "questions.py", SHARED / "tiny_inputs.py", SHARED / "fake_answers.py"], ask=True)
    made = recipe(run, settings, gpus)
    for number, ((title, command), (_, same_as)) in enumerate(zip(made, recipe(run, settings, 1), strict=True), 1):
        stages.run(f"{number}/{len(made)}", title, shlex.split(command), shlex.split(same_as))
    click.echo(f"\n{stages.seconds:.0f} seconds. Look at {run}/contests.html and {run}/compare_with_published.md.")


if __name__ == "__main__":
    main()
