"""CHRPO on verl: the parts that verl 0.9 looks up by name, for runs on one node or many.

VERL_USE_EXTERNAL_MODULES=chrpo.verl makes every process of a run import this package, which registers, as "chrpo":

- an agent loop, in which each rollout opens with a ratio token, if the model has ratio tokens;
- a reward manager, which reads format, answer and token counts off the token ids, in the reward workers;
- a trainer, which is verl's synchronous one with a `CHRPOController` in its own process; it stops at a step of which
  no rollout has the right form;
- an advantage estimator, which spreads the advantages over tokens.

`PromptDataset` reads a prompts file as `chrpo prepare` writes it. Rollouts, sharding, weights and the loss are left to
verl, the step to `chrpo.step`. examples/verl has a configuration with all these names.

    VERL_USE_EXTERNAL_MODULES=chrpo.verl python -m verl.trainer.main_ppo --config-name qwen3_1p7b …
"""

from .agent_loop import RatioAgentLoop
from .dataset import PromptDataset
from .reward_manager import RolloutStatsManager
from .trainer import CHRPOTrainer, check_config, token_advantages

__all__ = [
    "CHRPOTrainer",
    "PromptDataset",
    "RatioAgentLoop",
    "RolloutStatsManager",
    "check_config",
    "token_advantages",
]
