"""Load the model to train, and save the trained one; weights are read from safetensors only.

Which checkpoint a killed run continues from is left to `training.resume`.

    model, tokenizer = load_model("checkpoints/base")
    save_model(model, Path("checkpoints/copy"), like="checkpoints/base")
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ratio_sft._shared.checkpoint_files import check_checkpoint
from ratio_sft._shared.records import parse_json
from ratio_sft.errors import DataError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def load_model(folder: str | Path) -> "tuple[PreTrainedModel, PreTrainedTokenizerBase]":
    """The model of a folder in float32, which the optimiser needs on every device, and its tokenizer.

    Args:
        folder: Local Hugging Face model folder with safetensors weights.

    Raises:
        DataError: the folder, its config or its weights are missing or unreadable, the weights are pickles, or the
            tokenizer has no end-of-sequence token.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM, AutoTokenizer

    check_checkpoint(folder)
    tokenizer: Any = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    if tokenizer.eos_token_id is None:
        raise DataError(f"{folder}: the tokenizer has no eos_token, so a completion could not end; set one")
    try:
        model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, use_safetensors=True, trust_remote_code=False
        )
    except SafetensorError as error:
        raise DataError(f"{folder}: unreadable weights ({error}); copy the model again") from error
    return model, tokenizer


def load_weights(checkpoint: Path) -> "PreTrainedModel":
    """The model of a training checkpoint, in float32."""
    import torch
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32, use_safetensors=True)


def gather_weights(trainer: Any) -> dict[str, Any] | None:
    """The complete weights of a model that is sharded over processes, or None if each process has all weights.

    Every process must call this.
    """
    accelerator = trainer.accelerator
    if accelerator.distributed_type.value not in ("FSDP", "DEEPSPEED"):
        return None
    return accelerator.get_state_dict(trainer.model_wrapped)


def save_model(
    model: "PreTrainedModel", folder: Path, *, like: str | Path, weights: dict[str, Any] | None = None
) -> None:
    """Write safetensors weights in the dtype of the model in folder `like`.

    Args:
        model: The trained model.
        folder: Folder to write.
        like: Folder of the model that training started from.
        weights: Result of `gather_weights`.
    """
    import torch

    config = parse_json((Path(like) / "config.json").read_text("utf-8"), str(like))
    dtype = getattr(torch, str(config.get("dtype") or config.get("torch_dtype") or "float32"))
    if weights is None:
        torch.nn.Module.to(model, dtype)
        model.save_pretrained(folder)
    else:
        model.config.dtype = dtype
        whole = {name: weight.to(dtype) for name, weight in weights.items() if name not in model.all_tied_weights_keys}
        model.save_pretrained(folder, state_dict=whole)
