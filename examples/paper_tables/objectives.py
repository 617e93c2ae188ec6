"""CHRPO beside other RL objectives, from the SFT checkpoint of a finished quickstart, on its prompts and test problems.

Each row differs from the quickstart's RL stage in its objective alone. The command is resumable: finished stages are
skipped. Seeds are combined by `benchmarks/examples_objectives.py`.

    python examples/paper_tables/objectives.py runs/quickstart --seed 0
"""

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import click

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "quickstart"))
from quickstart import RL_SETTINGS
from stages import Stages

# Tokens of a completion. CHRPO ends with about 36, of which 16 are not thinking; the limit is a third above them.
LIMIT, BUDGET = 48, 36
UNSCALED = "--objective l1 --advantage-scale none --length-weight"
ROWS = {
    "grpo": "--objective grpo",
    f"grpo:{LIMIT}": f"--objective grpo --max-tokens {LIMIT}",
    "l1": "--objective l1",
    **{f"l1-unscaled:{weight}": f"{UNSCALED} {weight}" for weight in (0.1, 0.3)},
    "shortest_correct": "--objective shortest_correct",
    "degrpo": "--objective degrpo",
    "alp:1e-6": "--objective alp --length-weight 1e-6",
    f"dler:{LIMIT}": f"--objective dler --max-tokens {LIMIT}",
    f"laconic:{BUDGET}": f"--objective laconic --token-budget {BUDGET}",
    "adaptthink": "--objective adaptthink",
}
"""Row -> options of `chrpo train`. A row without a number has its authors' weight; the number is the weight, the limit
of a rollout's tokens (grpo, dler) or the budget of its tokens (laconic)."""


def stages_of(run: Path, name: str, seed: int) -> list[tuple[str, str]]:
    """RL with the options of a row, which replace those of the quickstart, and its evaluation."""
    folder = _folder(run, name)
    train = f"chrpo train {run}/rl_prompts.jsonl {folder}/model --model {run}/sft {RL_SETTINGS} {ROWS[name]}"
    evaluation = f"math-eval run --model {folder}/model --tasks {run}/problems/test.jsonl --ratio policy"
    return [
        (f"RL: {name}", f"{train} --seed {seed}"),
        (
            f"Evaluate {name}",
            f"{evaluation} --max-tokens 240 --batch-size 250 --seed {seed} --output-dir {folder}/eval",
        ),
    ]


def _folder(run: Path, name: str) -> Path:
    return run / "objectives" / name.replace(":", "-")


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the quickstart in RUN.")
def main(run: Path, seed: int) -> None:
    """Train and evaluate every row in RUN/objectives; then write RUN/objectives.json."""
    if not (run / "results.json").is_file():
        raise click.ClickException(f"{run}: no finished quickstart; run examples/quickstart/quickstart.py {run} first")
    stages = Stages(run / "objectives", [run / "results.json"])
    commands = [stage for name in ROWS for stage in stages_of(run, name, seed)]
    for number, (title, command) in enumerate(commands, 1):
        stages.run(f"{number}/{len(commands)}", title, shlex.split(command))
    chrpo = run / "eval" / "chrpo"
    rows = [_measured("chrpo", run / "chrpo", chrpo, chrpo)]
    rows += [_measured(name, _folder(run, name) / "model", _folder(run, name) / "eval", chrpo) for name in ROWS]
    (run / "objectives.json").write_text(json.dumps({"seed": seed, "rows": rows}, indent=2) + "\n", encoding="utf-8")
    click.echo(f"The figures are in {run}/objectives.json.")


def _measured(name: str, model: Path, evaluation: Path, chrpo: Path) -> dict[str, Any]:
    """Accuracy and tokens of a row, and chrpo compared with it, paired by problem."""
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
