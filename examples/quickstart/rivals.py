"""Other RL objectives from the SFT checkpoint of a finished quickstart, on the same prompts and test problems.

Each row differs from the quickstart's RL stage in its objective alone. The command is resumable: finished stages are
skipped. The runs of several seeds are combined by `benchmarks/examples_rivals.py`.

    python examples/quickstart/rivals.py runs/quickstart --seed 0
"""

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import click

sys.path.insert(0, str(Path(__file__).parents[1]))
from quickstart import RL_SETTINGS
from stages import Stages

# About three times the completion of the shortest correct traces, and twice the completion that CHRPO ends with.
LIMIT, BUDGET = 64, 36
UNSCALED = "--objective l1 --advantage-scale none --length-weight"
ROWS = {
    "grpo": "--objective grpo",
    f"grpo:{LIMIT}": f"--objective grpo --max-tokens {LIMIT}",
    "l1": "--objective l1",
    **{f"l1-unscaled:{weight}": f"{UNSCALED} {weight}" for weight in (0.1, 0.3, 1)},
    "shortest_correct": "--objective shortest_correct",
    "shortest_correct:0.1": "--objective shortest_correct --length-weight 0.1",
    "degrpo": "--objective degrpo",
    "alp": "--objective alp",
    f"dler:{LIMIT}": f"--objective dler --max-tokens {LIMIT}",
    f"laconic:{BUDGET}": f"--objective laconic --token-budget {BUDGET}",
    "adaptthink": "--objective adaptthink",
}
"""Row -> options of `chrpo train`. A row without a number has its authors' weight; the number is the weight, the limit
of a rollout's tokens (grpo, dler) or the budget of its tokens (laconic)."""


def stages_of(run: Path, name: str, seed: int) -> list[tuple[str, str]]:
    """RL with the options of a row, which replace those of the quickstart, and its evaluation."""
    folder = f"{run}/rivals/{name.replace(':', '-')}"
    return [
        (
            f"RL: {name}",
            f"chrpo train {run}/rl_prompts.jsonl {folder}/model --model {run}/sft {RL_SETTINGS} {ROWS[name]} "
            f"--seed {seed}",
        ),
        (
            f"Evaluate {name}",
            f"math-eval run --model {folder}/model --tasks {run}/problems/test.jsonl --ratio policy --max-tokens 240 "
            f"--batch-size 250 --seed {seed} --output-dir {folder}/eval",
        ),
    ]


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the quickstart in RUN.")
def main(run: Path, seed: int) -> None:
    """Train and evaluate every row in RUN/rivals; then write RUN/rivals.json."""
    stages = Stages(run / "rivals", [run / "results.json"])
    commands = [stage for name in ROWS for stage in stages_of(run, name, seed)]
    for number, (title, command) in enumerate(commands, 1):
        stages.run(f"{number}/{len(commands)}", title, shlex.split(command))
    models = {"chrpo": run / "chrpo", **{name: run / "rivals" / name.replace(":", "-") / "model" for name in ROWS}}
    evaluations = {name: model.parent / "eval" for name, model in models.items()} | {"chrpo": run / "eval" / "chrpo"}
    rows = [measured(name, models[name], evaluations[name], run / "eval" / "chrpo") for name in models]
    (run / "rivals.json").write_text(json.dumps({"seed": seed, "rows": rows}, indent=2) + "\n", encoding="utf-8")
    click.echo(f"The figures are in {run}/rivals.json.")


def measured(name: str, model: Path, evaluation: Path, chrpo: Path) -> dict[str, Any]:
    """Accuracy and tokens of a row, and the differences of chrpo from it, paired by problem."""
    from chrpo.metrics import read_metrics
    from math_eval import compare, load_condition

    row = load_condition(evaluation, "policy")
    figures = row.summary()
    return {
        "name": name,
        "generated_tokens": sum(step["generated_tokens"] for step in read_metrics(model)),
        **{field: figures[field] for field in ("accuracy", "thinking_tokens")},
        "chrpo": compare(row, load_condition(chrpo, "policy")).values,
    }


if __name__ == "__main__":
    main()
