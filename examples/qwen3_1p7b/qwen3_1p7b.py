"""The paper's setting: from Qwen3-1.7B and MetaMath's questions to the tables of thinking tokens and accuracy.

The stages are the packages' commands, for one node of GPUs; `settings` has the settings. A finished stage is skipped,
a killed one continues. With `--dry-run` the same stages run on a CPU with a tiny model, barely trained, and with
transformers instead of vLLM.

    python examples/qwen3_1p7b/qwen3_1p7b.py runs/qwen3_1p7b --gpus 8
    python examples/qwen3_1p7b/qwen3_1p7b.py runs/dry_run --dry-run
"""

import shlex
import sys
from importlib.resources import files
from pathlib import Path

import click
from inputs import TESTS
from on_ray import overrides
from settings import DRY_RUN, PAPER, RATIOS, Settings

sys.path.insert(0, str(Path(__file__).parents[1]))
from stages import Stages

HERE = Path(__file__).parent
SCRIPTS = ("inputs.py", "fake_answers.py", "tiny_inputs.py", "warmup.py")

LADDER = " ".join(f"--ratio {ratio}" for ratio in RATIOS)
DRY_PROCESSES = 2

Stage = tuple[str, str]


class Recipe:
    """The stages, in three parts.

    Args:
        run: Folder of all outputs.
        settings: Settings of the scale; `DRY_RUN` means a CPU.
        gpus: Number of GPUs of this node.
        sharding: Sharding of the model, "fsdp2" or "zero3".
        scorer: Scorer of the compressor.
        ray: Path of Python in an environment with verl, for CHRPO on a Ray cluster; None for TRL on this node.
    """

    def __init__(
        self, run: Path, settings: Settings, *, gpus: int, sharding: str, scorer: str, ray: str | None
    ) -> None:
        self.run, self.settings, self.gpus, self.scorer, self.ray = run, settings, gpus, scorer, ray
        self.dry = settings is DRY_RUN
        config = files("ratio_sft").joinpath("accelerate", f"{sharding}.yaml")
        # On a CPU `accelerate launch` starts one process, whatever `--num_processes` is.
        dry = f"torchrun --standalone --nproc_per_node {gpus}"
        self.several = dry if self.dry else f"accelerate launch --num_processes {gpus}"
        self.sharded = self.several if self.dry else f"accelerate launch --config_file {config} --num_processes {gpus}"

    def stages(self) -> list[Stage]:
        """All stages in order, each as (title, command)."""
        return [*self._ratios(), *self._policy(), *self._tables()]

    def _sample(self, model: str, tasks: str, out: str, more: str = "", top_p: float | None = None) -> str:
        s = self.settings
        backend = "transformers" if self.dry else f"vllm --data-parallel {self.gpus}"
        return (
            f"math-eval run --model {self.run}/{model} --backend {backend} --tasks {tasks} {more} "
            f"--temperature {s.temperature} --top-p {top_p or s.top_p} --max-tokens {s.max_tokens} "
            f"--batch-size {s.requests * self.gpus} "
            f"--output-dir {self.run}/{out}"
        )

    def _sft(self, mix: str, out: str, model: str, epochs: float) -> str:
        s = self.settings
        return (
            f"{self.sharded} -m ratio_sft train {self.run}/mix/{mix} {self.run}/{out} --model {self.run}/{model} "
            f"--epochs {epochs:g} --batch-size {s.sft_batch} --gradient-accumulation {s.sft_accumulation(self.gpus)} "
            f"--learning-rate {s.sft_learning_rate:g} --warmup-share 0.05 --weight-decay 0.05 "
            f"--max-length {s.sft_length}"
        )

    def _fake_answers(self, folder: str) -> list[Stage]:
        stage = (f"Dry run only: correct answers for {folder}", f"{HERE}/fake_answers.py {self.run}/{folder}")
        return [stage] if self.dry else []

    def _ratios(self) -> list[Stage]:
        run, s = self.run, self.settings
        excluded = " ".join(f"--exclude {run}/problems/{name}.jsonl" for name in TESTS)
        return [
            (
                "Model, questions, test problems",
                f"{HERE}/{'tiny_' if self.dry else ''}inputs.py {run} --evaluated {s.metamath_questions} "
                f"--rl {s.rl_questions} --sft {s.sft_questions}",
            ),
            (
                "The base model answers MetaMath's questions",
                self._sample("base", f"{run}/problems/sft.jsonl", "samples/base"),
            ),
            *self._fake_answers("samples/base"),
            (
                "Export its correct samples as traces",
                f"math-eval export traces {run}/samples/base {run}/traces.jsonl",
            ),
            (
                "Compress every trace to five budgets",
                f"{self.several} -m cot_compressor compress {run}/traces.jsonl {run}/compressed.jsonl {LADDER} "
                f"--scorer {self.scorer} --tokenizer {run}/base",
            ),
            (
                "Mix the ratios",
                f"ratio-sft build {run}/compressed.jsonl {run}/mix/ratios --traces {s.sft_traces} --policy-share 0 "
                f"--plain-share 0.5 {excluded}",
            ),
            ("SFT: think at the requested length", self._sft("ratios", "ratios", "base", s.sft_epochs)),
        ]

    def _policy(self) -> list[Stage]:
        run, s = self.run, self.settings
        every = f"{LADDER} --samples {s.samples}"
        return [
            ("Choose questions of the mixture", f"{HERE}/warmup.py {run} {s.warmup_questions}"),
            (
                "The trained model answers them at every ratio",
                self._sample("ratios", f"{run}/problems/warmup.jsonl", "samples/warmup", every),
            ),
            *self._fake_answers("samples/warmup"),
            (
                "Find the smallest sufficient ratio of each question",
                f"chrpo prepare {run}/samples/warmup/samples_warmup.jsonl {run}/teacher.jsonl "
                f"--checkpoint {run}/ratios",
            ),
            (
                "Mix the ratios and policy rows",
                f"ratio-sft build {run}/compressed.jsonl {run}/mix/policy --traces {s.sft_traces} --plain-share 0.5 "
                f"--teacher {run}/teacher.jsonl",
            ),
            (
                "SFT: choose a ratio for each question",
                self._sft("policy", "sft", "ratios", s.warmup_epochs),
            ),
            (
                "The trained model answers other questions at every ratio",
                self._sample("sft", f"{run}/problems/rl.jsonl", "samples/rl", every, top_p=1.0),
            ),
            (
                "Find their smallest sufficient ratios, and the accuracy to keep",
                f"chrpo prepare {run}/samples/rl/samples_rl.jsonl {run}/rl_prompts.jsonl --checkpoint {run}/sft",
            ),
            ("CHRPO: choose the ratio, keep the accuracy", self._chrpo()),
        ]

    def _chrpo(self) -> str:
        run, s = self.run, self.settings
        if self.ray:
            return f"{HERE}/on_ray.py {run} {' '.join(overrides(s))} --python {self.ray}"
        vllm = "" if self.dry else "--vllm colocate"
        return (
            f"{self.sharded} -m chrpo train {run}/rl_prompts.jsonl {run}/chrpo --model {run}/sft "
            f"--max-steps {s.rl_steps} --prompts-per-step {s.rl_prompts} --rollouts {s.rollouts} "
            f"--learning-rate {s.rl_learning_rate:g} --temperature {s.temperature} --max-tokens {s.max_tokens} "
            f"--rows-per-pass {s.rl_batch} --accuracy-slack {s.accuracy_slack} --save-steps {s.save_steps} {vllm}"
        )

    def _tables(self) -> list[Stage]:
        run = self.run
        tasks = ",".join(f"{run}/problems/{name}.jsonl" for name in (*TESTS, "metamath1k"))
        seeds = " ".join(f"--seed {seed}" for seed in range(self.settings.evaluation_seeds))
        ratios_of = {"base": "", "sft": f"{LADDER} --ratio policy", "chrpo": "--ratio policy"}
        runs = " ".join(f"{name}={run}/eval/{name}" for name in ratios_of)
        return [
            *(
                (f"Evaluate {name}", self._sample(name, tasks, f"eval/{name}", f"{seeds} {ratios}"))
                for name, ratios in ratios_of.items()
            ),
            (
                "Compare and write the report",
                f"math-eval report {runs} --baseline base --title 'Qwen3-1.7B, the setting of the paper' "
                f"--output {run}/report.html",
            ),
            ("Compare with the paper", f"{HERE}/compare_with_paper.py {run}"),
        ]


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--gpus", type=click.IntRange(min=1), default=8, show_default=True, help="Number of GPUs of this node.")
@click.option(
    "--sharding",
    type=click.Choice(["fsdp2", "zero3"]),
    default="fsdp2",
    show_default=True,
    help="Sharding of the model.",
)
@click.option("--scorer", default="rules", show_default=True, help="Scorer of the compressor: `rules`, or a folder.")
@click.option(
    "--ray", metavar="PYTHON", help="Path of Python in verl's environment; CHRPO then runs with verl on a Ray cluster."
)
@click.option("--dry-run", is_flag=True, help="Run every stage on a CPU in miniature; the results have no meaning.")
def main(run: Path, gpus: int, sharding: str, scorer: str, ray: str | None, dry_run: bool) -> None:
    """Run all stages in the folder RUN, or continue a killed run.

    A finished stage stays finished with another number of GPUs or other sharding. If a setting has changed, its stage
    and all later stages run again, after a question.
    """
    settings, gpus = (DRY_RUN, DRY_PROCESSES) if dry_run else (PAPER, gpus)
    try:
        recipe = Recipe(run, settings, gpus=gpus, sharding=sharding, scorer=scorer, ray=ray).stages()
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    on_one = Recipe(run, settings, gpus=1, sharding="fsdp2", scorer=scorer, ray=ray).stages()
    stages = Stages(run, [HERE / name for name in SCRIPTS], ask=True)
    for number, ((title, command), (_, same_as)) in enumerate(zip(recipe, on_one, strict=True), 1):
        stages.run(f"{number}/{len(recipe)}", title, shlex.split(command), shlex.split(same_as))
    click.echo(f"\n{stages.seconds:.0f} seconds. Look at {run}/report.html and {run}/compare_with_paper.md.")


if __name__ == "__main__":
    main()
