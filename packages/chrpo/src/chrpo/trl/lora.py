"""LoRA: adapters on every linear layer during training, a plain checkpoint at the end.

Embeddings and output head are trained fully, because the rows of the control tokens must change; tied weights stay
tied, because the merged model would otherwise differ from the trained one. Training is left to `trainer`.

    wrapped = wrap(model, rank=16, seed=0)
    save_merged(wrapped, Path("checkpoints/chrpo"))
"""

from importlib import import_module
from pathlib import Path
from typing import Any

from chrpo.errors import DataError


def wrap(model: Any, rank: int, *, seed: int) -> Any:
    """The model with LoRA adapters; only these and the embeddings are trained.

    Args:
        model: Model of transformers.
        rank: Rank of the adapters.
        seed: Random seed of the adapters' first weights.

    Raises:
        DataError: peft is not installed.
    """
    import torch

    try:
        peft = import_module("peft")
    except ModuleNotFoundError as error:
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
    """Write the plain model with the adapters merged into its weights.

    Args:
        wrapped: Model that `wrap` returned; it cannot be used afterwards.
        folder: Folder to write.
    """
    wrapped.merge_and_unload().save_pretrained(folder)
