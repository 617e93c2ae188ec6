"""The tasks, the rows of their tables, and the stages of one task and seed as titles and commands.

All rows of a task and seed share the quickstart's stages up to RL: one base model, one SFT checkpoint, one file of RL
prompts. `frontier.py` runs the commands, `results.py` reads what they measured.

    for title, command in shared_stages(Path("runs/frontier/steep/seed0"), "steep", 0): ...
"""

import sys
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "quickstart"))
from quickstart import LADDER
from quickstart import SOURCES as QUICKSTART_SOURCES
from quickstart import pipeline as quickstart_pipeline

HERE = Path(__file__).parent
QUICKSTART = HERE.parent / "quickstart"
TASKS = {
    "free": QUICKSTART / "problems.py",
    **{name: HERE / f"{name}.py" for name in ("gradual", "steep", "mixed", "shallow", "wheel")},
}
"""Task -> file that makes its problems."""
SOURCES = (*QUICKSTART_SOURCES, *(HERE / name for name in ("boxes.py", "draw.py")))
"""Files that the stages of every task run or import."""
RL_SETTINGS = (
    "--prompts-per-step 16 --rollouts 12 --learning-rate 1e-4 --temperature 0.5 --max-tokens 240 --save-steps 10"
)


@dataclass(frozen=True)
class RlRow:
    """A row that is trained by RL.

    Args:
        family: Objective that the row belongs to.
        setting: What is set, as shown in tables.
        options: Options of `chrpo train`; they come last, so that they replace those of all rows.
        steps: Number of steps, chosen so that all rows generate about as many tokens.
    """

    family: str
    setting: str
    options: str
    steps: int


def _sweep(
    name: str, setting: str, options: str, values: tuple[float | str, ...], steps: int = 150
) -> dict[str, RlRow]:
    """One row for each value, which replaces `{}` in `setting` and `options`."""
    family = name.partition("-")[0]
    return {f"{name}-{value}": RlRow(family, setting.format(value), options.format(value), steps) for value in values}


ROWS = {
    "chrpo": RlRow("chrpo", "defaults", "", 150),
    "chrpo-2": RlRow("chrpo", "floor 2 points lower", "--eps 0.02", 150),
    "chrpo-5": RlRow("chrpo", "floor 5 points lower", "--eps 0.05", 150),
    "chrpo-no-constraint": RlRow("chrpo", "no constraint", "--without constraint", 150),
    **_sweep("chrpo-with", "with {}", "--with {}", ("solve_rate", "clamp_correct")),
    **_sweep("chrpo-scale", "scale {}", "--advantage-scale {}", ("group", "batch")),
    "grpo": RlRow("grpo", "", "--objective grpo", 150),
    **_sweep("grpo", "at most {} tokens", "--objective grpo --max-tokens {}", (60, 90, 120)),
    **_sweep("l1", "weight {}", "--objective l1 --length-weight {}", (0.03, 0.1, 0.3, 1, 3)),
    **_sweep(
        "l1-unscaled",
        "weight {}, unscaled",
        "--objective l1 --advantage-scale none --length-weight {}",
        (0.03, 0.1, 0.3, 1, 3),
    ),
    **_sweep(
        "l1-token",
        "weight {} per token",
        "--objective l1 --length-unit token --length-weight {}",
        ("0.0003", "0.003"),
    ),
    "shortest_correct": RlRow("shortest_correct", "weight 0.5", "--objective shortest_correct", 150),
    **_sweep("shortest_correct", "weight {}", "--objective shortest_correct --length-weight {}", (0.1, 2)),
    "degrpo": RlRow("degrpo", "", "--objective degrpo", 150),
    **_sweep("alp", "weight {} per token", "--objective alp --length-weight {}", ("1e-7", "1e-5", "1e-3")),
    # Twice the rollouts of a prompt in half the steps.
    **_sweep("gfpo", "{} of 24 kept", "--objective gfpo --rollouts 24 --keep-share {}", (0.17, 0.33, 0.5), 75),
    "gfpo_efficiency": RlRow("gfpo", "the 12 most efficient of 24", "--objective gfpo_efficiency --rollouts 24", 75),
    **_sweep("dler", "at most {} tokens", "--objective dler --max-tokens {}", (60, 90, 120)),
    **_sweep("laconic", "budget of {} tokens", "--objective laconic --token-budget {}", (30, 45, 60)),
    **_sweep("adaptthink", "delta {}", "--objective adaptthink --length-weight {}", (0.02, 0.05, 0.1)),
}
"""Weights are swept around those of the authors; limits and budgets are lengths of these problems."""


def shared_stages(run: Path, task: str, seed: int) -> list[tuple[str, str]]:
    """The stages that all rows need, with the evaluation of the base model and of SFT.

    No teacher tells which ratio is enough, unlike in the quickstart: where thinking rarely matters it would always name
    the smallest, and RL cannot compare ratios that it never draws. So the first choice is uniform.
    """
    teacher = f"{run}/teacher.jsonl"
    stages = []
    for title, command in takewhile(lambda stage: "chrpo train" not in stage[1], quickstart_pipeline(run, seed)):
        if command.startswith("chrpo prepare") and teacher in command:
            continue
        if "base_model.py" in command:
            command += f" --problems {TASKS[task]}"
        stages.append((title, command.replace(f" --teacher {teacher}", "")))
    return [
        *stages,
        _evaluation(run, "base", "base", "", seed),
        _evaluation(run, "sft", "sft", f"{LADDER} --ratio policy", seed),
    ]


def row_stages(run: Path, name: str, seed: int) -> list[tuple[str, str]]:
    """The stages of one row: RL from the SFT checkpoint, and the evaluation at the model's choice."""
    row = ROWS[name]
    train = (
        f"chrpo train {run}/rl_prompts.jsonl {run}/rows/{name}/model --model {run}/sft "
        f"--max-steps {row.steps} {RL_SETTINGS} {row.options} --seed {seed}"
    )
    return [(f"RL: {name}", train), _evaluation(run, name, f"rows/{name}/model", "--ratio policy", seed)]


def _evaluation(run: Path, name: str, model: str, ratios: str, seed: int) -> tuple[str, str]:
    command = (
        f"math-eval run --model {run}/{model} --tasks {run}/problems/test.jsonl {ratios} --max-tokens 240 "
        f"--batch-size 250 --seed {seed} --output-dir {run}/eval/{name}"
    )
    return f"Evaluate {name}", command
