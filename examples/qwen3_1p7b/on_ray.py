"""CHRPO on several nodes: verl on a running Ray cluster, then its last weights as a checkpoint folder.

All other settings are in examples/verl/qwen3_1p7b.yaml; the README beside it describes how to start Ray.

    python examples/qwen3_1p7b/on_ray.py runs/qwen3_1p7b trainer.total_training_steps=200 --python .venv-verl/bin/python
"""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import click
from settings import Settings

CONFIG = Path(__file__).resolve().parents[1] / "verl"


def overrides(settings: Settings) -> list[str]:
    """The settings of the recipe under the names of verl."""
    return [
        f"data.train_batch_size={settings.rl_prompts}",
        f"data.max_response_length={settings.max_tokens}",
        f"actor_rollout_ref.actor.optim.lr={settings.rl_learning_rate}",
        f"actor_rollout_ref.actor.ppo_mini_batch_size={settings.rl_prompts}",
        f"actor_rollout_ref.rollout.temperature={settings.temperature}",
        f"actor_rollout_ref.rollout.n={settings.rollouts}",
        f"chrpo.accuracy_slack={settings.accuracy_slack}",
        f"trainer.total_training_steps={settings.rl_steps}",
        f"trainer.save_freq={settings.save_steps}",
    ]


def commands(run: Path, python: str, chosen: Sequence[str]) -> list[list[str]]:
    """Commands that train, and that merge the shards of the last step."""
    steps = dict(override.split("=", 1) for override in chosen)["trainer.total_training_steps"]
    weights = run / "verl" / f"global_step_{steps}" / "actor"
    folders = [
        f"data.train_files={run}/rl_prompts.jsonl",
        f"actor_rollout_ref.model.path={run}/sft",
        f"trainer.default_local_dir={run}/verl",
    ]
    config = ["--config-path", str(CONFIG), "--config-name", "qwen3_1p7b"]
    train = ["verl.trainer.main_ppo", *config, *folders, *chosen]
    target = f"{run}/.chrpo.partial"
    merge = ["verl.model_merger", "merge", "--backend", "fsdp", "--local_dir", str(weights), "--target_dir", target]
    return [[python, "-m", *words] for words in (train, merge)]


@click.command()
@click.argument("run", type=click.Path(path_type=Path, exists=True, resolve_path=True))
@click.argument("chosen", nargs=-1, required=True, metavar="NAME=VALUE ...")
@click.option("--python", required=True, help="Path of Python in the environment of verl.")
def main(run: Path, chosen: tuple[str, ...], python: str) -> None:
    """Write RUN/chrpo from RUN/rl_prompts.jsonl and RUN/sft; RUN is on a file system that all nodes see.

    Each NAME=VALUE is a setting of verl; trainer.total_training_steps is required.
    """
    for command in commands(run, python, chosen):
        subprocess.run(command, check=True)
    partial = run / ".chrpo.partial"
    shutil.copy(run / "sft/control_tokens.json", partial)
    partial.replace(run / "chrpo")


if __name__ == "__main__":
    main()
