# copied from packages/_shared/checkpoint_loader.py; edit it there
"""Loads a checkpoint folder without running anything that came with it: config, tokenizer, weights, end tokens.

Code in the folder is never run, weights are safetensors only, nothing outside the folder is read, no hub is asked, and
every fault is one error that names the folder. What the model is used for is left to the callers. Needs transformers.

    tokenizer = load_tokenizer("checkpoints/base")
    model = load_model("checkpoints/base", torch.float32)
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import DataError
from .bounded import in_child
from .checkpoint_files import check_checkpoint
from .checkpoint_settings import check_kernels, check_settings, check_templates, read_settings, tokenizer_classes
from .terminal import plain_line
from .tokenizer_file import check_growth, check_tokens, first_loading, one_error

_MOST_NUMBERS_A_BYTE, _MOST_UNSTORED = 2, 2**28
_SAFE = {"local_files_only": True, "trust_remote_code": False}


def load_config(folder: str | Path) -> Any:
    """The configuration of a checkpoint.

    Raises:
        DataError: it is missing, corrupted, passes a limit, or is of a kind that needs code from the folder.
    """
    from transformers import AutoConfig  # noqa: F401 (not in the child, where it would be imported in vain)

    check_settings(Path(folder))
    in_child(lambda: bool(_config(folder)), f"{folder}: config.json")
    return _config(folder)


def _config(folder: str | Path) -> Any:
    from transformers import AutoConfig

    with _reading(folder, "config.json"):
        config = AutoConfig.from_pretrained(str(folder), **_SAFE)
        check_kernels(config, f"{folder}/config.json")
        _check_fields(config, f"{folder}/config.json")
        return config


def _check_fields(config: Any, where: str) -> None:
    """Refuse fields with the name of a method, which fails when the model is saved, or of the class to copy code of.

    Raises:
        DataError: there is one.
    """
    from transformers import PreTrainedConfig

    left = [config]
    while left:
        part = left.pop()
        for name in vars(part):
            if name == "_auto_class" or callable(getattr(type(part), name, None)):
                raise DataError(f"{where}: field {name!r} would take the place of a part of transformers; remove it")
        left += [value for value in vars(part).values() if isinstance(value, PreTrainedConfig)]


def load_tokenizer(folder: str | Path, **options: Any) -> Any:
    """The tokenizer of a checkpoint, which pads and cuts only on request.

    Args:
        folder: Path of the checkpoint.
        options: Further options of `AutoTokenizer.from_pretrained`.

    Raises:
        DataError: it is missing, corrupted, passes a limit, is of a kind that needs code from the folder, or its end or
            padding token is none of the model's.
    """
    from transformers import AutoTokenizer  # noqa: F401 (as above)

    check_settings(Path(folder))
    _check_tokenizer_class(Path(folder))
    where = f"{folder}: the tokenizer"
    files = [path for path in Path(folder).glob("*") if path.suffix != ".safetensors"]

    def check() -> None:
        tokenizer = _tokenizer(folder, options)
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is not None:
            check_growth(backend, where)
        else:
            check_tokens(tokenizer.get_vocab(), where)
        with _reading(folder, "the tokenizer"):
            tokenizer("a")  # a setting of a wrong type fails only in use

    first_loading(check, where, files)
    tokenizer = _tokenizer(folder, options)
    # Without its files, transformers makes an empty tokenizer of the model's type.
    if not any(Path(folder, name).is_file() for name in ("tokenizer.json", *tokenizer.vocab_files_names.values())):
        raise DataError(f"{folder}: no tokenizer in it; save the model's tokenizer there, as save_pretrained does")
    _check_ends(Path(folder), tokenizer)
    return tokenizer


def _check_ends(folder: Path, tokenizer: Any) -> None:
    """Refuse an end or padding token beyond the model's: transformers adds one that the vocabulary lacks.

    Raises:
        DataError: there is one.
    """
    path = folder / "config.json"
    settings = read_settings(path) if path.is_file() else {}
    nested = settings.get("text_config")
    size = (nested if isinstance(nested, dict) else settings).get("vocab_size")
    for name in ("eos_token", "pad_token"):
        found = getattr(tokenizer, f"{name}_id")
        if type(size) is int and found is not None and found >= size:
            raise DataError(
                f"{folder}: {name} {str(getattr(tokenizer, name))[:60]!r} has id {found}, and the model has {size} "
                "tokens; name one of its own in tokenizer_config.json"
            )


def _check_tokenizer_class(folder: Path) -> None:
    """Refuse a tokenizer's class that is another one of transformers, such as a model, which it would load.

    Raises:
        DataError: a setting names one.
    """
    from transformers import PreTrainedTokenizerBase
    from transformers.models.auto.tokenization_auto import tokenizer_class_from_name

    for path, name in tokenizer_classes(folder):
        with _reading(folder, "the tokenizer"):
            found = tokenizer_class_from_name(name)
        if found is not None and not (isinstance(found, type) and issubclass(found, PreTrainedTokenizerBase)):
            raise DataError(f"{path}: tokenizer_class is {name[:100]!r}, which is no tokenizer; remove this field")


def _tokenizer(folder: str | Path, options: dict[str, Any]) -> Any:
    from transformers import AutoTokenizer

    with _reading(folder, "the tokenizer"):
        tokenizer: Any = AutoTokenizer.from_pretrained(str(folder), **_SAFE, **options)
        check_templates(tokenizer.chat_template, str(folder))
        if tokenizer.is_fast:
            tokenizer.backend_tokenizer.no_padding()
            tokenizer.backend_tokenizer.no_truncation()
        return tokenizer


def load_model(folder: str | Path, dtype: Any, auto_class: str = "AutoModelForCausalLM", **options: Any) -> Any:
    """The model of a checkpoint, on the CPU.

    Args:
        folder: Path of the checkpoint.
        dtype: Number format of the weights.
        auto_class: Class of transformers that loads the model.
        options: Further options of its `from_pretrained`.

    Raises:
        DataError: it is missing, corrupted, only pickled, passes a limit, or is of a kind that needs code from the
            folder.
    """
    import transformers

    check_checkpoint(folder)
    config = options.get("config") or load_config(folder)
    check_building(folder, config, auto_class)
    with _reading(folder, "the weights"):
        loader = getattr(transformers, auto_class)
        return loader.from_pretrained(str(folder), dtype=dtype, use_safetensors=True, **_SAFE, **options)


def check_building(folder: str | Path, config: Any, auto_class: str) -> None:
    """Build a model without weights in a child process with limits: one number can ask for billions of modules.

    Whatever the weights files lack is made in memory, in the size that the config names. So a model may have as many
    numbers as four-bit weights of the files' size, and 2^28 more (1 GiB in fp32) for a head, masks and tables.

    Args:
        folder: Path of the checkpoint.
        config: Its configuration.
        auto_class: Class of transformers that builds the model.

    Raises:
        DataError: the model cannot be built, or passes a limit.
    """
    import torch
    import transformers

    auto = getattr(transformers, auto_class)
    with _reading(folder, "the weights"):
        _ = auto._model_mapping.get(type(config), None)  # imports the module of the model once, and not in the child

    def build() -> None:
        torch.set_num_threads(1)
        with _reading(folder, "the weights"), torch.device("meta"):
            model = auto.from_config(config, trust_remote_code=False)
        tensors = [*model.parameters(), *(each for module in model.modules() for each in _tables(module))]
        numbers = sum(tensor.numel() for tensor in {id(tensor): tensor for tensor in tensors}.values())
        stored = sum(path.stat().st_size for path in Path(folder).glob("*.safetensors"))
        if numbers > _MOST_NUMBERS_A_BYTE * stored + _MOST_UNSTORED:
            raise DataError(
                f"{folder}: config.json asks for {numbers} numbers, but the weights have only {stored} bytes; "
                "use the config that belongs to them"
            )

    in_child(build, f"{folder}: config.json")


def _tables(module: Any) -> list[Any]:
    """Tensors of a module that are no parameters, such as masks and tables of positions."""
    import torch

    return [each for each in (*module.buffers(recurse=False), *vars(module).values()) if isinstance(each, torch.Tensor)]


def end_tokens(folder: str | Path, tokenizer: Any) -> list[int]:
    """Ids of the tokens that end a turn: those of generation_config.json, or of the config, and the tokenizer's own.

    Nothing else of generation_config.json is used, so that every engine samples as its caller asked.

    Raises:
        DataError: generation_config.json is corrupted, or no end token is named.
    """
    path = Path(folder, "generation_config.json")
    text_config = None if path.is_file() else load_config(folder).get_text_config()
    ends = read_settings(path).get("eos_token_id") if text_config is None else text_config.eos_token_id
    named = [*(ends if isinstance(ends, list) else [ends]), tokenizer.eos_token_id]
    found = [end for end in named if end is not None]
    if not found:
        raise DataError(f"{folder}: names no end token; set eos_token in its tokenizer or generation_config.json")
    wrong = next((end for end in found if type(end) is not int or not 0 <= end < len(tokenizer)), None)
    if wrong is not None:
        raise DataError(f"{folder}: end token {str(wrong)[:60]} is no id of its tokenizer; mend generation_config.json")
    return sorted(set(found))


@contextmanager
def _reading(folder: str | Path, what: str) -> Iterator[None]:
    """Let no library ask whether to run code, and turn whatever it raises into one error that names the folder."""
    from transformers import dynamic_module_utils

    # Models build their parts without `trust_remote_code=False`; waiting no time for an answer is a refusal.
    dynamic_module_utils.TIME_OUT_REMOTE_CODE = 0
    for handler in logging.getLogger("transformers").handlers:
        if _plain not in handler.filters:
            handler.addFilter(_plain)
    with one_error(f"{folder}: {what} cannot be loaded", "is the folder complete?"):
        yield


def _plain(record: logging.LogRecord) -> bool:
    """Escape the control characters of a message of transformers, which may quote names of tensors and fields."""
    record.msg, record.args = plain_line(record.getMessage()), None
    return True
