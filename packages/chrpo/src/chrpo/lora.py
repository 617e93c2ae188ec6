"""LoRA: adapters on every linear layer while training, a plain checkpoint at the end.

The rows of the control tokens have to move, so embeddings and output head are trained whole; tied ones stay tied, or
the merged model would differ from the trained one. Training is left to `trl`.

    wrapped = wrap(model, rank=16, seed=0)
    save_merged(wrapped, Path("checkpoints/chrpo"))
"""

from importlib import import_module
from pathlib import Path
from typing import Any

from .errors import DataError


def wrap(model: Any, rank: int, *, seed: int) -> Any:
    """The model with adapters of the given rank, drawn from `seed` alone; only they and the embeddings are trained.

    Raises:
        DataError: peft is not installed.
    """
    import torch

    try:
        peft = import_module("peft")
    except ImportError as error:
        raise DataError("lora_rank needs peft: pip install 'chrpo[lora]'") from error
    whole = [model.get_input_embeddings(), model.get_output_embeddings()]
    config = peft.LoraConfig(
        r=rank,
        lora_alpha=2 * rank,
        target_modules="all-linear",
        modules_to_save=[name.split(".")[-1] for name, module in model.named_modules() if module in whole],
        ensure_weight_tying=whole[0].weight is whole[1].weight,
        task_type="CAUSAL_LM",
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return peft.get_peft_model(model, config)


def save_merged(wrapped: Any, folder: Path) -> None:
    """Write the plain model, with the adapters in its weights; `wrapped` is used up."""
    wrapped.merge_and_unload().save_pretrained(folder)
