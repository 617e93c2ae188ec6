"""Differences between the supported releases of TRL, 0.29 to 1.16, and checks of what `trainer` builds on.

Everything that depends on the release of TRL or transformers is here; what is the same in all of them is left to
`trainer`, `config` and `build`.

    check_methods()                                      # raises ChrpoError if TRL is older, newer or has other methods
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

import trl
from transformers import TrainingArguments
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer

from chrpo._shared.trl_release import REMEDY, refusal, release
from chrpo.errors import ChrpoError, DataError

LOG_PROB_FIELDS = {"old_per_token_logps", "ref_per_token_logps", "sampling_per_token_logps"}
IMPORTANCE_FIELD = "importance_sampling_ratio"
_RESCALES = (1, 9, 1)
_METHODS = {
    "_generate_and_score_completions": ["self", "inputs"],
    "_calculate_rewards": ["self", "inputs", "prompts", "completions", "completion_ids_list"],
    "_tokenize_prompts": ["self", "prompts"],
    "_generate_single_turn": ["self", "prompt_ids", "images", "multimodal_fields"],
    "_prepare_inputs": ["self", "generation_batch"],
    "_save_checkpoint": ["self", "model", "trial"],
    "_load_optimizer_and_scheduler": ["self", "checkpoint"],
}
_MORE = {"_generate_single_turn": {"num_generations", "has_tool_images"}}
"""Parameters that some releases have after those of `_METHODS`."""
_BATCH_FIELDS = {
    "prompt_ids",
    "prompt_mask",
    "completion_ids",
    "completion_mask",
    "advantages",
    "num_items_in_batch",
}
_OPTIONS = ("callbacks", "optimizers", "peft_config")


def check_methods() -> None:
    """Compare TRL, and the methods that `CHRPOTrainer` overrides, with those of the supported releases.

    Raises:
        ChrpoError: TRL is older or newer, or is 1.15 and lacks triton; a method is missing, or has other parameters.
    """
    if complaint := refusal(trl.__version__, "chrpo.trl does not support"):
        raise ChrpoError(complaint)
    for name, expected in _METHODS.items():
        method = getattr(GRPOTrainer, name, None)
        found = list(inspect.signature(method).parameters) if method else []
        if found[: len(expected)] != expected or set(found[len(expected) :]) - _MORE.get(name, set()):
            raise ChrpoError(
                f"chrpo.trl builds on GRPOTrainer.{name}({', '.join(expected)}), but TRL {trl.__version__} has "
                f"{found or None}; {REMEDY}"
            )


def check_options(options: Mapping[str, Any]) -> None:
    """Refuse options of GRPOTrainer that would change rollouts, rewards or prompts.

    Raises:
        DataError: an option is not one of those that `CHRPOTrainer` passes on.
    """
    if unknown := sorted(options.keys() - set(_OPTIONS)):
        raise DataError(
            f"CHRPOTrainer takes no {', '.join(unknown)}; of GRPOTrainer's options it takes {', '.join(_OPTIONS)}"
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
            f"unknown: {sorted(unknown)}); {REMEDY}"
        )


def tokenizer_of(trainer: GRPOTrainer) -> Any:
    """The tokenizer of a trainer, which is also the one of a processor."""
    processor: Any = trainer.processing_class
    return getattr(processor, "tokenizer", processor)


def set_end_ids(trainer: GRPOTrainer) -> list[int]:
    """Ids of all tokens that end a turn, at which the trainer's generation is made to stop.

    TRL before 1.11 stops at the tokenizer's own only, not at those of the model's generation config.
    """
    model: Any = trainer.model
    named, own = model.generation_config.eos_token_id, tokenizer_of(trainer).eos_token_id
    ids = [named] if isinstance(named, int) else list(named or [])
    ids = ids if own in ids else [own, *ids]
    if not trainer.use_vllm:
        trainer.generation_config.eos_token_id = ids
        trainer.generation_kwargs["eos_token_id"] = ids
    return ids


def generate_once(trainer: GRPOTrainer, generate: Callable[..., Any], prompts: list[list[int]], *inputs: Any) -> Any:
    """One completion of each prompt; TRL would send a vLLM server only the first prompt of each group.

    Args:
        trainer: The trainer.
        generate: `GRPOTrainer._generate_single_turn`, bound to it.
        prompts: Token ids of each prompt.
        *inputs: Its `images` and `multimodal_fields`.

    Returns:
        What `generate` returns: token ids of each completion first, up to its first end token.
    """
    one = {"num_generations": 1} if "num_generations" in inspect.signature(generate).parameters else {}
    group, trainer.num_generations = trainer.num_generations, 1
    try:
        completions, *more = generate(prompts, *inputs, **one)
    finally:
        trainer.num_generations = group
    ends = set(set_end_ids(trainer))
    return [ids[: next((n for n, each in enumerate(ids, 1) if each in ends), None)] for ids in completions], *more


def sums_over_tokens(trainer: GRPOTrainer) -> bool:
    """Whether the loss is a sum over tokens, without a term that depends on which rows are in a pass."""
    terms = ("entropy_coef", "use_adaptive_entropy", "aux_loss_enabled")
    return not any(getattr(trainer, name, 0) for name in terms)


def step_share(args: GRPOConfig) -> float:
    """Number by which the normaliser of a generation must be multiplied for the loss of one optimiser step.

    TRL before 1.9.1 divides the loss of a step by the tokens of the whole generation, even if the step takes a part of
    its rollouts, or those of several generations; later releases multiply the tokens themselves.
    """
    return (
        1
        if release(trl.__version__) >= _RESCALES
        else args.gradient_accumulation_steps / int(args.steps_per_generation or 1)
    )


def set_checkpointing(args: TrainingArguments) -> None:
    """Set the recomputing of activations under the name that transformers has for it."""
    if "activation_checkpointing" not in {each.name for each in fields(TrainingArguments)}:
        args.gradient_checkpointing = bool(args.activation_checkpointing)


def continuous_batching(args: GRPOConfig) -> bool:
    """Whether rollouts are to be generated by continuous batching of transformers, under any of its names."""
    names = ("use_transformers_continuous_batching", "use_transformers_paged")
    return any(getattr(args, name, False) for name in names)
