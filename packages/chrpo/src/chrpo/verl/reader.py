"""The reader of rollouts that a verl configuration describes, and the grader that it names.

rollout_reader(config, tokenizer, custom_grader(config)).read(ids, answer="27")
"""
# verl has an environment of its own, with other versions than the type checker's.
# pyright: reportMissingImports=false

from functools import partial, wraps
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from transformers import GenerationConfig
from verl.utils.fs import copy_to_local
from verl.utils.import_utils import load_extern_object

from chrpo.answer_format import default_grader
from chrpo.grader import Grader
from chrpo.rollout import RolloutReader

from .dataset import control_tokens
from .settings import section_settings


def custom_grader(config: DictConfig) -> Grader:
    """The grader that `reward.custom_reward_function` names, else that of the form of the answers.

    verl's own wrapper of the function hides the attributes `batched` and `correct_from`.

    Args:
        config: Configuration of the whole run.

    Raises:
        DataError: the form does not tell where the answer is, and no grader is named.
    """
    named = config.reward.custom_reward_function
    if named.path is None:
        return default_grader(section_settings(config).form)
    function = load_extern_object(module_path=named.path, object_name=named.name)
    options = dict(named.get("reward_kwargs") or {})
    return wraps(function)(partial(function, **options)) if options else function


def rollout_reader(config: DictConfig, tokenizer: Any, grader: Grader) -> RolloutReader:
    """The reader of a run's rollouts.

    Args:
        config: Configuration of the whole run.
        tokenizer: Tokenizer of the checkpoint.
        grader: Grader of the answers.

    Raises:
        DataError: see `RolloutReader`.
    """
    folder, settings = copy_to_local(config.actor_rollout_ref.model.path), section_settings(config)
    variables = OmegaConf.select(config, "data.apply_chat_template_kwargs")
    return RolloutReader(
        tokenizer,
        control_tokens(config.actor_rollout_ref.model.path),
        _end_ids(folder, tokenizer),
        grader,
        template_variables=OmegaConf.to_container(variables, resolve=True) if variables else None,  # type: ignore[arg-type]
        thinking_format=settings.thinking_format,
        answer_format=settings.form,
    )


def _end_ids(folder: str, tokenizer: Any) -> list[int]:
    """All ids that end a turn: the tokenizer's and those of generation_config.json."""
    ends = {tokenizer.eos_token_id}
    if (Path(folder) / "generation_config.json").is_file():
        found = GenerationConfig.from_pretrained(folder).eos_token_id
        ends.update(found if isinstance(found, list) else [found])
    return sorted(ends - {None})
