# copied from packages/_shared/checkpoint_settings.py; edit it there
"""Refuses settings of a checkpoint that lead out of its folder, or that libraries stumble over, before one reads them.

Only JSON files and the headers of the weights are read. Loading is left to `checkpoint_loader`, which does it in a
child process with limits first, because not every setting can be judged by reading it.

    check_settings(Path("checkpoints/base"))
"""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import DataError
from .checkpoint_files import check_inside
from .records import check_size
from .strict_json import parse_json
from .terminal import printable

_LAYERS = ("n_layer", "n_layers", "num_hidden_layers", "num_layers")
_MOST_LAYERS = 10_000
_MOST_LABELS = 1_000_000
_MOST_HEADER_BYTES, _MOST_SETTINGS_BYTES = 2**24, 2**22
_MOST_SIGNS = {"[": 30_000, "{": 30_000, ",": 300_000}
"""Signs in a file of settings; transformers copies and prints every value many times."""
_READ_WHOLE = {".jinja", ".json", ".model", ".txt"}
_TOKENIZER_FILES = {"vocab", "merges", "init_inputs", "gguf_file", "fast_tokenizer_files"}
_TEMPLATE_NAME = re.compile(r"[A-Za-z0-9_-]{1,100}")


def read_settings(path: Path) -> dict[str, Any]:
    """The object in a JSON file of a checkpoint.

    Raises:
        DataError: the file is missing, larger than 4 MiB, not JSON, something else than an object, or has too
            many values.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; is the folder complete?")
    check_size(path, _MOST_SETTINGS_BYTES)
    text = path.read_text("utf-8", "replace")
    for sign, most in _MOST_SIGNS.items():
        if (count := text.count(sign)) > most:
            raise DataError(f"{path}: has {count} times {sign!r}, and no settings have more than {most}; mend it")
    found = parse_json(text, str(path))
    if not isinstance(found, dict):
        raise DataError(f"{path}: not a JSON object; copy the model again")
    return found


def check_settings(folder: Path) -> None:
    """Refuse links to elsewhere, files without measure, code of a hub, and what every library would stumble over.

    Raises:
        DataError: a file or a setting is refused.
    """
    check_inside(folder)
    for path in folder.rglob("*"):
        if path.suffix in _READ_WHOLE and path.is_file():
            check_size(path)
    for name in ("config.json", "generation_config.json"):
        if (folder / name).is_file():
            read_settings(folder / name)
    if (folder / "config.json").is_file():
        check_kernels(read_settings(folder / "config.json"), f"{folder}/config.json")
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
    for name in read_settings(path) if path.is_file() else ():
        if not name.endswith(("_token", "_tokens")):  # it would replace the path of the tokenizer's own file
            raise DataError(f"{path}: field {name[:100]!r} is no special token; remove it")
    path = folder / "tokenizer_config.json"
    for name, value in read_settings(path).items() if path.is_file() else ():
        if name in _TOKENIZER_FILES or name.endswith(("_file", "_spm")):
            for file in value if isinstance(value, list) else [value]:
                if isinstance(file, str) and _is_elsewhere(folder, file):
                    raise DataError(f"{path}: {name} is {file[:100]!r}, a file outside the folder; remove this field")


def check_templates(templates: Any, where: str) -> None:
    """Refuse chat templates whose names are paths: each is saved as a file of this name.

    Args:
        templates: Chat template of a tokenizer, or several by name.
        where: Place that an error names.

    Raises:
        DataError: there is one.
    """
    for name in templates if isinstance(templates, dict) else ():
        if not isinstance(name, str) or not _TEMPLATE_NAME.fullmatch(name):
            raise DataError(f"{where}: a chat template is named {str(name)[:100]!r}; use letters, digits and dashes")


def _is_elsewhere(folder: Path, file: str) -> bool:
    """Whether a path names something outside `folder`, from here or from there."""
    places = [place for place in (Path(file), folder / file) if file and os.path.lexists(place)]
    return any(not Path(os.path.abspath(place)).is_relative_to(os.path.abspath(folder)) for place in places)


def _check_names(path: Path) -> None:
    """Refuse names of fields with control characters: tokenizers prints those that it does not know.

    Raises:
        DataError: there is one.
    """
    for part in _objects(read_settings(path)):
        for name in part:
            if printable(name) != name or "\n" in name:
                raise DataError(f"{path}: a field is named {name[:100]!r}; remove it")


def _check_depth(folder: Path) -> None:
    """Refuse a config with more layers than the weights have tensors, or any model, before a library lists them.

    Raises:
        DataError: a weights file is corrupted, or there are too many layers or labels.
    """
    config = read_settings(folder / "config.json")
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
    """Refuse pickled weights, weights in a subfolder, and another config, which neither checks nor digests cover.

    Raises:
        DataError: the config names some.
    """
    config = read_settings(folder / "config.json")
    if "configuration_files" in config:
        raise DataError(f"{folder / 'config.json'}: configuration_files names other configs; remove this field")
    if any("attribute_map" in part for part in _objects(config)):
        raise DataError(f"{folder / 'config.json'}: attribute_map gives fields other meanings; remove this field")
    name = config.get("transformers_weights")
    if name is None:
        return
    if not isinstance(name, str) or Path(name).name != name:
        raise DataError(
            f"{folder / 'config.json'}: transformers_weights is {name!r}, no name of a file in the folder; mend it"
        )
    if not name.endswith((".safetensors", ".safetensors.index.json")):  # transformers unpickles adapter_model.bin
        raise DataError(
            f"{folder / 'config.json'}: transformers_weights is {name!r}, no safetensors file; save it as safetensors"
        )


def check_kernels(config: Any, where: str) -> None:
    """Refuse an attention or another part of a hub's repository, whose code transformers would run.

    Args:
        config: Content of a config.json, or a loaded configuration.
        where: Place that an error names.

    Raises:
        DataError: the config names one.
    """
    for part in _objects(config):
        for name, value in part.items():
            if "_implementation" in str(name) and "/" in str(value):
                raise DataError(f"{where}: {name} names code of a hub ({str(value)[:100]!r}); remove this field")


def _objects(config: Any) -> Iterator[dict[str, Any]]:
    """The fields of a config and of every object in it, at any depth; loaded configurations too."""
    left, seen = [config], set[int]()
    while left:
        part = left.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        fields = vars(part) if isinstance(getattr(part, "model_type", None), str) else part
        if isinstance(fields, dict):
            yield fields
            left.extend(fields.values())
        elif isinstance(fields, list | tuple):
            left.extend(fields)


def tokenizer_classes(folder: Path) -> Iterator[tuple[Path, str]]:
    """Each name of a tokenizer's class in the settings of a checkpoint, and the file that contains it."""
    for path in (folder / "tokenizer_config.json", folder / "config.json"):
        for part in _objects(read_settings(path)) if path.is_file() else ():
            if isinstance(name := part.get("tokenizer_class"), str):
                yield path, name


def _tensors(path: Path) -> int:
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if not 0 < size <= min(_MOST_HEADER_BYTES, path.stat().st_size):
            raise DataError(f"{path}: corrupted weights (a header of {size} bytes); copy the model again")
        try:
            return len(json.loads(file.read(size)))
        except (ValueError, RecursionError, TypeError) as error:
            raise DataError(f"{path}: corrupted weights (unreadable header); copy the model again") from error
