"""Model folders in, training checkpoints between: what may be loaded, and which checkpoint is whole.

Weights are read from safetensors only. What training does with the model is left to `train`.

    model, tokenizer = load_model("checkpoints/base")
    newest_complete(Path("sft.partial/checkpoints"))           # Path('sft.partial/checkpoints/checkpoint-300')
"""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._shared.records import parse_json
from .errors import DataError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

COMPLETE = "complete"
STATE = "trainer_state.json"


def check_model_folder(folder: str | Path) -> None:
    """Refuse what is not a causal language model folder with safetensors weights.

    Raises:
        DataError: the folder, its config or its weights are missing, or the weights are pickles.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(
            f"{folder}: no such folder; --model is a local Hugging Face model folder (`hf download` makes one)"
        )
    if not (folder / "config.json").is_file():
        raise DataError(f"{folder}: no config.json; --model is a Hugging Face model folder")
    if any(folder.glob("*.safetensors")):
        return
    pickles = sorted(path.name for suffix in ("*.bin", "*.pt", "*.pth") for path in folder.glob(suffix))
    if pickles:
        raise DataError(
            f"{folder}: only pickle weights ({pickles[0]}), which can run code when opened; convert them to safetensors"
        )
    raise DataError(f"{folder}: no *.safetensors weights; is the download complete?")


def load_model(folder: str | Path) -> "tuple[PreTrainedModel, PreTrainedTokenizerBase]":
    """Model in float32 (the optimiser's precision on every device) and tokenizer of a folder.

    Raises:
        DataError: see `check_model_folder`; or the tokenizer has no end-of-sequence token.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM, AutoTokenizer

    check_model_folder(folder)
    tokenizer: Any = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    if tokenizer.eos_token_id is None:
        raise DataError(f"{folder}: the tokenizer has no eos_token, so a completion could not end; set one")
    try:
        model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, use_safetensors=True, trust_remote_code=False
        )
    except SafetensorError as error:
        raise DataError(f"{folder}: unreadable weights ({error}); are they torn? copy the model again") from error
    return model, tokenizer


def load_weights(checkpoint: Path) -> "PreTrainedModel":
    """The model of a training checkpoint, in float32."""
    import torch
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32, use_safetensors=True)


def finished_history(checkpoint: Path) -> list[Any] | None:
    """The log of a checkpoint that holds a run's last step, or None if steps are left to do."""
    state = parse_json((checkpoint / STATE).read_text("utf-8"), str(checkpoint))
    return state["log_history"] if state["global_step"] >= state["max_steps"] else None


def gather_weights(trainer: Any) -> dict[str, Any] | None:
    """The whole weights of a model that is sharded over processes, all of which must call this; None for a replica."""
    accelerator = trainer.accelerator
    if accelerator.distributed_type.value not in ("FSDP", "DEEPSPEED"):
        return None
    return accelerator.get_state_dict(trainer.model_wrapped)


def save_model(
    model: "PreTrainedModel", folder: Path, *, like: str | Path, weights: dict[str, Any] | None = None
) -> None:
    """Write safetensors weights in the dtype that the weights in folder `like` have.

    Args:
        model: the model.
        folder: where to write.
        like: the folder of the model that training began with.
        weights: what `gather_weights` returned.
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


def mark_complete(checkpoint: Path) -> None:
    """Say that every process has written its part of a checkpoint."""
    (checkpoint / COMPLETE).touch()


def newest_complete(folder: Path) -> Path | None:
    """The checkpoint with the highest step that was written to its end, or None."""
    whole = [path.parent for path in folder.glob(f"checkpoint-*/{COMPLETE}")]
    return max(whole, key=_step, default=None)


def remove_torn(folder: Path) -> None:
    """Remove checkpoints that a kill left half written."""
    for path in folder.glob("checkpoint-*"):
        if not (path / COMPLETE).is_file():
            shutil.rmtree(path)


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])
