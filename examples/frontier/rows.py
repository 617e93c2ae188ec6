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
from quickstart import pipeline as quickstart_pipeline

HERE = Path(__file__).parent
QUICKSTART = HERE.parent / "quickstart"
TASKS = {
    "free": QUICKSTART / "problems.py",
    **{name: HERE / f"{name}.py" for name in ("gradual", "steep", "mixed", "shallow", "wheel")},
}
"""Task -> file that makes its problems."""
SOURCES = (
    *(QUICKSTART / name for name in ("base_model.py", "muon.py", "problems.py")),
    *(HERE / name for name in ("boxes.py", "draw.py")),
)
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
        options: Options of `chrpo train`.
        steps: Number of steps, chosen so that all rows generate about as many tokens.
    """

    family: str
    setting: str
    options: str
    steps: int


ROWS = {
    "chrpo": RlRow("chrpo", "defaults", "", 150),
    "chrpo-2": RlRow("chrpo", "floor 2 points lower", "--eps 0.02", 150),
    "chrpo-5": RlRow("chrpo", "floor 5 points lower", "--eps 0.05", 150),
    "chrpo-no-constraint": RlRow("chrpo", "no constraint", "--without constraint", 150),
    "grpo": RlRow("grpo", "", "--objective grpo", 150),
    **{
        f"l1-{weight}": RlRow("l1", f"weight {weight}", f"--objective l1 --length-weight {weight}", 150)
        for weight in (0.03, 0.1, 0.3, 1, 3)
    },
    "shortest_correct": RlRow("shortest_correct", "weight 0.5", "--objective shortest_correct", 150),
    "degrpo": RlRow("degrpo", "", "--objective degrpo", 150),
}


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
        f"chrpo train {run}/rl_prompts.jsonl {run}/rows/{name}/model --model {run}/sft {row.options} "
        f"--max-steps {row.steps} {RL_SETTINGS} --seed {seed}"
    )
    return [(f"RL: {name}", train), _evaluation(run, name, f"rows/{name}/model", "--ratio policy", seed)]


def _evaluation(run: Path, name: str, model: str, ratios: str, seed: int) -> tuple[str, str]:
    command = (
        f"math-eval run --model {run}/{model} --tasks {run}/problems/test.jsonl {ratios} --max-tokens 240 "
        f"--batch-size 250 --seed {seed} --output-dir {run}/eval/{name}"
    )
    return f"Evaluate {name}", command
