# copied from packages/_shared/checkpoint_loader.py; edit it there
"""Loads a checkpoint folder without running anything that came with it: config, tokenizer, weights, end tokens.

Code in the folder is never run, weights are safetensors only, nothing outside the folder is read, no hub is asked, and
every fault is one error that names the folder. What the model is used for is left to the callers. Needs transformers.

    tokenizer = load_tokenizer("checkpoints/base")
    model = load_model("checkpoints/base", torch.float32)
"""

import json
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import DataError
from .checkpoint_files import check_checkpoint, check_inside
from .records import parse_json
from .terminal import printable

_SAFE = {"local_files_only": True, "trust_remote_code": False}
_LAYERS = ("n_layer", "n_layers", "num_hidden_layers", "num_layers")
_MOST_LAYERS = 10_000
_MOST_LABELS = 1_000_000
_MOST_HEADER_BYTES = 2**27
_TOKENIZER_FILES = {"vocab", "merges", "init_inputs", "gguf_file", "fast_tokenizer_files"}
_COLOUR = re.compile("\x1b\\[[0-9;]*m")


def load_config(folder: str | Path) -> Any:
    """The configuration of a checkpoint.

    Raises:
        DataError: it is missing, corrupted or of a kind that needs code from the folder.
    """
    from transformers import AutoConfig

    _check_files(Path(folder))
    _check_kernels(Path(folder))
    with _reading(folder, "config.json"):
        return AutoConfig.from_pretrained(str(folder), **_SAFE)


def load_tokenizer(folder: str | Path, **options: Any) -> Any:
    """The tokenizer of a checkpoint.

    Args:
        folder: Path of the checkpoint.
        options: Further options of `AutoTokenizer.from_pretrained`.

    Raises:
        DataError: it is missing, corrupted or of a kind that needs code from the folder.
    """
    from transformers import AutoTokenizer

    _check_files(Path(folder))
    with _reading(folder, "the tokenizer"):
        tokenizer: Any = AutoTokenizer.from_pretrained(str(folder), **_SAFE, **options)
        tokenizer("a")  # a setting of a wrong type fails only in use
        files = ("tokenizer.json", *tokenizer.vocab_files_names.values())
    # Without its files, transformers makes an empty tokenizer of the model's type.
    if not any(Path(folder, name).is_file() for name in files):
        raise DataError(f"{folder}: no tokenizer in it; save the model's tokenizer there, as save_pretrained does")
    return tokenizer


def load_model(folder: str | Path, dtype: Any, auto_class: str = "AutoModelForCausalLM", **options: Any) -> Any:
    """The model of a checkpoint, on the CPU.

    Args:
        folder: Path of the checkpoint.
        dtype: Number format of the weights.
        auto_class: Class of transformers that loads the model.
        options: Further options of its `from_pretrained`.

    Raises:
        DataError: it is missing, corrupted, only pickled, or of a kind that needs code from the folder.
    """
    import transformers

    check_checkpoint(folder)
    load_config(folder)
    with _reading(folder, "the weights"):
        loader = getattr(transformers, auto_class)
        return loader.from_pretrained(str(folder), dtype=dtype, use_safetensors=True, **_SAFE, **options)


def end_tokens(folder: str | Path, tokenizer: Any) -> list[int]:
    """Ids of the tokens that end a turn: those of generation_config.json, or of the config, and the tokenizer's own.

    Nothing else of generation_config.json is used, so that every engine samples as its caller asked.

    Raises:
        DataError: generation_config.json is corrupted, or no end token is named.
    """
    path = Path(folder, "generation_config.json")
    ends = (
        _read_object(path).get("eos_token_id") if path.is_file() else load_config(folder).get_text_config().eos_token_id
    )
    named = [*(ends if isinstance(ends, list) else [ends]), tokenizer.eos_token_id]
    found = [end for end in named if end is not None]
    if not found:
        raise DataError(f"{folder}: names no end token; set eos_token in its tokenizer or generation_config.json")
    if any(type(end) is not int or not 0 <= end < len(tokenizer) for end in found):
        raise DataError(f"{folder}: end tokens {found} are not all ids of its tokenizer; mend generation_config.json")
    return sorted(set(found))


def _read_object(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise DataError(f"{path}: no such file; is the folder complete?")
    found = parse_json(path.read_text("utf-8", "replace"), str(path))
    if not isinstance(found, dict):
        raise DataError(f"{path}: not a JSON object; copy the model again")
    return found


def _check_files(folder: Path) -> None:
    """Refuse files elsewhere, and settings that every library would stumble over, before one reads them."""
    check_inside(folder)
    for name in ("config.json", "generation_config.json"):
        if (folder / name).is_file():
            _read_object(folder / name)
    if (folder / "config.json").is_file():
        _check_depth(folder)
        _check_place(folder)
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        if (folder / name).is_file():
            _check_names(folder / name)
    _check_tokenizer_files(folder)


def _check_tokenizer_files(folder: Path) -> None:
    """Refuse a tokenizer whose settings have transformers open a file elsewhere, which would be saved with the model.

    Raises:
        DataError: a field is such a path, or special_tokens_map.json has a field that is no token.
    """
    path = folder / "special_tokens_map.json"
    for name in _read_object(path) if path.is_file() else ():
        if not name.endswith(("_token", "_tokens")):  # it would replace the path of the tokenizer's own file
            raise DataError(f"{path}: field {name[:100]!r} is no special token; remove it")
    path = folder / "tokenizer_config.json"
    for name, value in _read_object(path).items() if path.is_file() else ():
        if name in _TOKENIZER_FILES or name.endswith(("_file", "_spm")):
            for file in value if isinstance(value, list) else [value]:
                if isinstance(file, str) and _is_elsewhere(folder, file):
                    raise DataError(f"{path}: {name} is {file[:100]!r}, a file outside the folder; remove this field")


def _is_elsewhere(folder: Path, file: str) -> bool:
    """Whether a path names something outside `folder`, from here or from there."""
    places = [place for place in (Path(file), folder / file) if file and os.path.lexists(place)]
    return any(not Path(os.path.abspath(place)).is_relative_to(os.path.abspath(folder)) for place in places)


def _check_names(path: Path) -> None:
    """Refuse names of fields with control characters: tokenizers prints those that it does not know.

    Raises:
        DataError: there is one.
    """
    left: list[Any] = [_read_object(path)]
    while left:
        part = left.pop()
        for name in part if isinstance(part, dict) else ():
            if printable(name) != name or "\n" in name:
                raise DataError(f"{path}: a field is named {name[:100]!r}; remove it")
        left.extend(part.values() if isinstance(part, dict) else part)
        left = [inner for inner in left if isinstance(inner, dict | list)]


def _check_depth(folder: Path) -> None:
    """Refuse a config with more layers than the weights have tensors, or any model, before a library lists them.

    Raises:
        DataError: a weights file is corrupted, or there are too many layers or labels.
    """
    config = _read_object(folder / "config.json")
    inner = [part for part in config.values() if isinstance(part, dict)]
    layers = max(
        (part[name] for part in (config, *inner) for name in _LAYERS if type(part.get(name)) is int), default=0
    )
    for name, count in (item for part in (config, *inner) for item in part.items()):
        most = _MOST_LABELS if name == "num_labels" else _MOST_LAYERS if "layer" in name else None
        if most is not None and type(count) is int and count > most:
            raise DataError(f"{folder / 'config.json'}: {name} is {count}; no model has more than {most}")
    weights = list(folder.glob("*.safetensors"))
    tensors = sum(map(_tensors, weights))
    if weights and layers > tensors:
        raise DataError(
            f"{folder / 'config.json'}: {layers} layers, but the weights have {tensors} tensors; "
            "use the config that belongs to them"
        )


def _check_place(folder: Path) -> None:
    """Refuse weights in a subfolder, and another config: neither the checks nor the digest of the model cover them.

    Raises:
        DataError: the config names some.
    """
    config = _read_object(folder / "config.json")
    if "configuration_files" in config:
        raise DataError(f"{folder / 'config.json'}: configuration_files names other configs; remove this field")
    name = config.get("transformers_weights")
    if name is not None and (not isinstance(name, str) or Path(name).name != name):
        raise DataError(
            f"{folder / 'config.json'}: transformers_weights is {name!r}, no name of a file in the folder; mend it"
        )


def _check_kernels(folder: Path) -> None:
    """Refuse an attention of a hub's repository, whose code transformers would run.

    Raises:
        DataError: the config names one.
    """
    left: list[Any] = [_read_object(folder / "config.json")]
    while left:
        part = left.pop()
        for name, value in part.items():
            if name.endswith("_implementation") and "/" in json.dumps(value):
                raise DataError(f"{folder / 'config.json'}: {name} names code of a hub ({value!r}); remove this field")
        left.extend(value for value in part.values() if isinstance(value, dict))


def _tensors(path: Path) -> int:
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if not 0 < size <= min(_MOST_HEADER_BYTES, path.stat().st_size):
            raise DataError(f"{path}: corrupted weights (a header of {size} bytes); copy the model again")
        try:
            return len(json.loads(file.read(size)))
        except (ValueError, RecursionError, TypeError) as error:
            raise DataError(f"{path}: corrupted weights (unreadable header); copy the model again") from error


@contextmanager
def _reading(folder: str | Path, what: str) -> Iterator[None]:
    """Let no library ask whether to run code, and turn whatever it raises into one error that names the folder."""
    from transformers import dynamic_module_utils

    # Models build their parts without `trust_remote_code=False`; waiting no time for an answer is a refusal.
    dynamic_module_utils.TIME_OUT_REMOTE_CODE = 0
    for handler in logging.getLogger("transformers").handlers:
        if _plain not in handler.filters:
            handler.addFilter(_plain)
    try:
        yield
    except (DataError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:  # tokenizers, written in Rust, may end in a PanicException
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise DataError(f"{folder}: {what} cannot be loaded ({reason}); is the folder complete?") from error


def _plain(record: logging.LogRecord) -> bool:
    """Escape the control characters of a message of transformers, which may quote names of tensors and fields."""
    record.msg, record.args = printable(_COLOUR.sub("", record.getMessage())), None
    return True
