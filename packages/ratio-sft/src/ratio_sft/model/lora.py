"""LoRA: adapters on every linear layer, fully trained embeddings, and a merge into a plain checkpoint.

New tokens need trained embedding and output rows, so both modules are trained in full. Tied modules stay tied: without
`ensure_weight_tying` the merged model would differ from the trained one. Training is left to `training.trainer`.

    wrapped = wrap(model, rank=16, seed=0)
    merge(wrapped).save_pretrained("checkpoints/sft")
"""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ratio_sft.errors import DataError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_WEIGHTS = "adapter_model.safetensors"


def wrap(model: "PreTrainedModel", rank: int, *, seed: int) -> Any:
    """The model with LoRA adapters (alpha = 2 · rank); only adapters and embeddings are trained.

    Args:
        model: The model with its new tokens.
        rank: Rank of the adapters.
        seed: Random seed for the adapters' initial weights. The state of torch's global generator is preserved.

    Raises:
        DataError: peft is not installed.
    """
    import torch

    try:
        peft: Any = import_module("peft")
    except ModuleNotFoundError as error:
        raise DataError("--lora-rank needs peft; pip install peft") from error
    inputs: Any = model.get_input_embeddings()
    head: Any = model.get_output_embeddings()
    names = [name.rpartition(".")[2] for name, module in model.named_modules() if module is inputs or module is head]
    config = peft.LoraConfig(
        r=rank,
        lora_alpha=2 * rank,
        target_modules="all-linear",
        modules_to_save=names,
        ensure_weight_tying=head.weight is inputs.weight,
        task_type="CAUSAL_LM",
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return peft.get_peft_model(model, config)


def load(wrapped: Any, checkpoint: Path) -> None:
    """Load the adapter weights of a training checkpoint into a wrapped model."""
    from safetensors.torch import load_file

    peft: Any = import_module("peft")
    peft.set_peft_model_state_dict(wrapped, load_file(checkpoint / _WEIGHTS))


def merge(wrapped: Any) -> "PreTrainedModel":
    """The plain model with the adapters added to its weights; `wrapped` must not be used afterwards."""
    return wrapped.merge_and_unload()
