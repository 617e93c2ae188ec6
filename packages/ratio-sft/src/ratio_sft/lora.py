"""LoRA: small matrices on every linear layer, the embeddings trained whole, and a merge that gives a plain checkpoint.

New tokens need their embedding and output rows trained, so both modules are trained whole; tied ones stay tied
(without `ensure_weight_tying` the merged model differs from the trained one). Training is left to `trainer`.

    wrapped = wrap(model, rank=16, seed=0)
    merge(wrapped).save_pretrained("checkpoints/sft")
"""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import DataError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_WEIGHTS = "adapter_model.safetensors"


def wrap(model: "PreTrainedModel", rank: int, *, seed: int) -> Any:
    """The model with adapters of the given rank (scale 2); only they and the embeddings are trained.

    The adapters are drawn from `seed` alone; torch's own generator is left as it was.

    Raises:
        DataError: peft is not installed.
    """
    import torch

    try:
        peft: Any = import_module("peft")
    except ImportError as error:
        raise DataError("--lora-rank needs peft; pip install 'ratio-sft[lora]'") from error
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
    """Put the adapter weights of a training checkpoint into a wrapped model."""
    from safetensors.torch import load_file

    peft: Any = import_module("peft")
    peft.set_peft_model_state_dict(wrapped, load_file(checkpoint / _WEIGHTS))


def merge(wrapped: Any) -> "PreTrainedModel":
    """The plain model with the adapters added to its weights; `wrapped` is used up."""
    return wrapped.merge_and_unload()
