"""Load the model to train, and save the trained one; weights are read from safetensors only.

Which checkpoint a killed run continues from is left to `_shared.training_checkpoints`.

    model, tokenizer = load_model("checkpoints/base")
    save_model(model, Path("checkpoints/copy"), like="checkpoints/base")
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ratio_sft._shared import checkpoint_loader
from ratio_sft._shared.checkpoint_files import check_checkpoint
from ratio_sft._shared.records import read_object
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

    check_checkpoint(folder)
    saved_dtype(folder)
    checkpoint_loader.load_config(folder)
    tokenizer = checkpoint_loader.load_tokenizer(folder)
    if tokenizer.eos_token_id is None:
        raise DataError(f"{folder}: the tokenizer has no eos_token, so a completion could not end; set one")
    return checkpoint_loader.load_model(folder, torch.float32), tokenizer


def end_ids(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    """Ids of the tokens at which generation stops: those of the model's generation config, and the tokenizer's own."""
    named: Any = model.generation_config.eos_token_id if model.generation_config else None
    ids = named if isinstance(named, list) else [named]
    return sorted({each for each in (*ids, tokenizer.eos_token_id) if isinstance(each, int)})


def load_weights(checkpoint: Path) -> "PreTrainedModel":
    """The model of a training checkpoint, in float32."""
    import torch

    return checkpoint_loader.load_model(checkpoint, torch.float32)


def saved_dtype(folder: str | Path) -> Any:
    """The number format of the weights of a checkpoint, as its config names it; float32 if it names none.

    Raises:
        DataError: the config is missing or corrupted, or names something else.
    """
    import torch

    path = Path(folder, "config.json")
    fields = read_object(path)
    named = str(fields.get("dtype") or fields.get("torch_dtype") or "float32")
    dtype = getattr(torch, named, None)
    if not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        raise DataError(f"{path}: dtype {named!r} is no number format of weights; write float32, bfloat16 or float16")
    return dtype


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

    dtype = saved_dtype(like)
    if weights is None:
        torch.nn.Module.to(model, dtype)
        model.save_pretrained(folder)
    else:
        model.config.dtype = dtype
        whole = {name: weight.to(dtype) for name, weight in weights.items() if name not in model.all_tied_weights_keys}
        model.save_pretrained(folder, state_dict=whole)
