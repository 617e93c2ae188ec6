"""Checks of TRL's GRPOTrainer: a version on which `trainer` cannot build, or a model that TRL would load as another.

check_methods()                                      # raises ChrpoError if TRL has other methods
"""

import inspect
from collections.abc import Mapping
from typing import Any

import trl
from trl.trainer.grpo_trainer import GRPOTrainer

from chrpo.errors import ChrpoError, DataError

LOG_PROB_FIELDS = {"old_per_token_logps", "ref_per_token_logps", "sampling_per_token_logps"}
IMPORTANCE_FIELD = "importance_sampling_ratio"
_METHODS = {
    "_generate_and_score_completions": ["self", "inputs"],
    "_calculate_rewards": ["self", "inputs", "prompts", "completions", "completion_ids_list"],
    "_tokenize_prompts": ["self", "prompts"],
    "_generate_single_turn": [
        "self",
        "prompt_ids",
        "images",
        "multimodal_fields",
        "num_generations",
        "has_tool_images",
    ],
    "_prepare_inputs": ["self", "generation_batch"],
    "_save_checkpoint": ["self", "model", "trial"],
    "_load_optimizer_and_scheduler": ["self", "checkpoint"],
}
_BATCH_FIELDS = {
    "prompt_ids",
    "prompt_mask",
    "completion_ids",
    "completion_mask",
    "advantages",
    "num_items_in_batch",
}
_REMEDY = "install trl>=1.16,<1.17"


def check_methods() -> None:
    """Compare the methods that `CHRPOTrainer` overrides with those of TRL 1.16.

    Raises:
        ChrpoError: a method is missing, or has other parameters.
    """
    for name, expected in _METHODS.items():
        method = getattr(GRPOTrainer, name, None)
        found = list(inspect.signature(method).parameters) if method else None
        if found != expected:
            raise ChrpoError(
                f"chrpo.trl builds on GRPOTrainer.{name}({', '.join(expected)}), but TRL {trl.__version__} has "
                f"{found}; {_REMEDY}"
            )


def check_reference(model: Any) -> None:
    """Refuse a model that TRL would load as another class: for the KL penalty it loads the model's folder again.

    Args:
        model: The model to train, without adapters.

    Raises:
        DataError: `architectures` of its config is another class, which may read other files of the folder.
    """
    named, own = model.config.architectures, type(model).__name__
    if named != [own]:
        raise DataError(
            f"{model.config.name_or_path}: architectures is {str(named)[:100]} in config.json, and the KL penalty "
            f'(beta) loads the model by this name; write ["{own}"]'
        )


def check_batch(batch: Mapping[str, Any]) -> None:
    """Compare the fields of a batch with those to which `CHRPOTrainer` adds the control token.

    Args:
        batch: Batch of GRPOTrainer.

    Raises:
        ChrpoError: a field is missing, or is unknown and would have no value for that token.
    """
    missing = _BATCH_FIELDS - batch.keys()
    unknown = batch.keys() - _BATCH_FIELDS - LOG_PROB_FIELDS - {IMPORTANCE_FIELD}
    if missing or unknown:
        raise ChrpoError(
            f"TRL {trl.__version__} made a batch that chrpo.trl does not know (missing: {sorted(missing)}, "
            f"unknown: {sorted(unknown)}); {_REMEDY}"
        )
