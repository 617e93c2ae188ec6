"""What verl and chrpo take from a configuration, and what they refuse."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("verl", reason="verl is not installed here; make test-verl has it")
pytestmark = [pytest.mark.verl, pytest.mark.enable_socket]  # Ray and verl's queue talk over sockets of this machine
EXAMPLE = Path(__file__).parents[4] / "examples/verl"


def test_importing_verl_registers_every_part():
    from verl.experimental.agent_loop.agent_loop import _agent_loop_registry
    from verl.experimental.reward_loop.reward_manager import get_reward_manager_cls
    from verl.trainer.ppo.core_algos import get_adv_estimator_fn
    from verl.trainer.ppo.v1 import get_trainer_cls

    found = [get_reward_manager_cls("chrpo"), get_adv_estimator_fn("chrpo"), get_trainer_cls("chrpo")]
    assert all(part.__module__.startswith("chrpo.verl.") for part in found)
    assert _agent_loop_registry["chrpo"]["_target_"] == "chrpo.verl.agent_loop.RatioAgentLoop"


def commands():
    """The arguments of each command of the example: two nodes, one node, and one node without control tokens."""
    found = re.findall(r"python -m verl\.trainer\.main_ppo (.*?)```", (EXAMPLE / "README.md").read_text(), re.DOTALL)
    return [shlex.split(each.replace("\\\n", " ")) for each in found]


@pytest.mark.parametrize(("number", "nodes"), [(0, 2), (1, 1), (2, 1)])
def test_a_command_of_the_example_is_a_whole_configuration(compose, compose_plain, number, nodes):
    from omegaconf import OmegaConf
    from verl.trainer.ppo.utils import need_critic, need_reference_policy
    from verl.utils.config import validate_config

    from chrpo.verl import CHRPOTrainer

    given = dict(each.split("=") for each in commands()[number] if "=" in each)
    assert {"data.train_files", "actor_rollout_ref.model.path", "trainer.default_local_dir"} <= given.keys()
    composed = compose_plain if number == 2 else compose
    paths = composed()
    own = {name: OmegaConf.select(paths, name) for name, value in given.items() if value.startswith("/")}
    config = composed(**{name.replace(".", "__"): value for name, value in {**given, **own}.items()})
    assert not OmegaConf.missing_keys(config) - {"reward.reward_model.rollout.name"}
    assert config.ray_kwargs.ray_init.runtime_env.env_vars.VERL_USE_EXTERNAL_MODULES == "chrpo.verl"
    assert (config.trainer.nnodes, config.trainer.n_gpus_per_node) == (nodes, 8)
    validate_config(config, need_reference_policy(config), need_critic(config))
    assert CHRPOTrainer(config).controller.prompts.control == (number != 2)


def test_a_command_of_the_example_shows_its_configuration_without_a_run():
    """Hydra's `--cfg job`, as the README says; nothing is started, so no folder of the command has to be there."""
    arguments = ["--config-path", str(EXAMPLE), *commands()[1][2:], "--cfg", "job"]
    shown = subprocess.run(
        [sys.executable, "-m", "verl.trainer.main_ppo", *arguments], capture_output=True, text=True, check=True
    ).stdout
    assert "nnodes: 1\n" in shown
    assert "adv_estimator: chrpo\n" in shown


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("algorithm__adv_estimator", "grpo"),
        ("actor_rollout_ref__rollout__calculate_log_probs", True),
        ("actor_rollout_ref__rollout__top_k", 20),
        ("actor_rollout_ref__rollout__top_p", 0.95),
    ],
)
def test_a_setting_that_changes_what_advantages_mean_is_refused(compose, setting, value):
    from chrpo.errors import DataError
    from chrpo.verl import CHRPOTrainer

    with pytest.raises(DataError, match=setting.replace("__", r"\.")):
        CHRPOTrainer(compose(**{setting: value}))


def test_verls_own_trainers_get_a_clear_error():
    import torch
    from verl.trainer.ppo.core_algos import get_adv_estimator_fn

    from chrpo.errors import ChrpoError

    with pytest.raises(ChrpoError, match="trainer_mode=chrpo"):
        get_adv_estimator_fn("chrpo")(token_level_rewards=torch.ones(1, 2), response_mask=torch.ones(1, 2))


def test_a_form_without_a_grader_is_refused_before_workers_start(compose):
    from chrpo.errors import DataError
    from chrpo.verl import CHRPOTrainer

    with pytest.raises(DataError, match="format any does not tell where the answer is"):
        CHRPOTrainer(compose(**{"+chrpo__answer_format": "any"}))


def test_a_setting_that_needs_control_tokens_is_refused(compose_plain):
    from chrpo.errors import DataError
    from chrpo.verl import CHRPOTrainer

    with pytest.raises(DataError, match="ladder_share: needs control tokens, and the model has none"):
        CHRPOTrainer(compose_plain(**{"+chrpo__ladder_share": 0.5}))
