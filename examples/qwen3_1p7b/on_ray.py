"""CHRPO on several nodes: verl on a Ray cluster that is up, then its newest weights as a checkpoint folder.

The settings that do not depend on the run are in examples/verl/qwen3_1p7b.yaml, whose README says how to start Ray.

    python examples/qwen3_1p7b/on_ray.py runs/qwen3_1p7b --python .venv-verl/bin/python
"""

import shutil
import subprocess
from pathlib import Path

import click
from settings import PAPER

CONFIG = Path(__file__).resolve().parents[1] / "verl"


def commands(run: Path, python: str) -> list[list[str]]:
    """Train, then merge the shards of the last step."""
    weights = run / "verl" / f"global_step_{PAPER.rl_steps}" / "actor"
    overrides = [
        f"data.train_files={run}/rl_prompts.jsonl",
        f"data.train_batch_size={PAPER.rl_prompts}",
        f"data.max_response_length={PAPER.max_tokens}",
        f"actor_rollout_ref.model.path={run}/sft",
        f"actor_rollout_ref.actor.optim.lr={PAPER.rl_learning_rate}",
        f"actor_rollout_ref.actor.ppo_mini_batch_size={PAPER.rl_prompts}",
        f"actor_rollout_ref.rollout.temperature={PAPER.temperature}",
        f"actor_rollout_ref.rollout.n={PAPER.rollouts}",
        f"chrpo.eps={PAPER.eps}",
        f"trainer.total_training_steps={PAPER.rl_steps}",
        f"trainer.save_freq={PAPER.save_steps}",
        f"trainer.default_local_dir={run}/verl",
    ]
    train = ["verl.trainer.main_ppo", "--config-path", str(CONFIG), "--config-name", "qwen3_1p7b", *overrides]
    target = f"{run}/chrpo.partial"
    merge = ["verl.model_merger", "merge", "--backend", "fsdp", "--local_dir", str(weights), "--target_dir", target]
    return [[python, "-m", *words] for words in (train, merge)]


@click.command()
@click.argument("run", type=click.Path(path_type=Path, exists=True, resolve_path=True))
@click.option("--python", required=True, help="Of the environment that verl is installed in.")
def main(run: Path, python: str) -> None:
    """Write RUN/chrpo from RUN/rl_prompts.jsonl and RUN/sft; RUN is on a file system that all nodes see."""
    for command in commands(run, python):
        subprocess.run(command, check=True)
    partial = run / "chrpo.partial"
    shutil.copy(run / "sft/control_tokens.json", partial)
    partial.replace(run / "chrpo")


if __name__ == "__main__":
    main()
