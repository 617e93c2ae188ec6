# copied from packages/_shared/checkpoint_files.py; edit it there
"""Whether a folder is a checkpoint that is safe to load: a config and safetensors weights, no pickles.

Loading it is left to the callers.

    check_checkpoint("checkpoints/base")
"""

import os
from pathlib import Path

from ..errors import DataError
from .records import check_size, read_json
from .terminal import terminal_line

_PICKLES = {".bin", ".ckpt", ".pkl", ".pt", ".pth"}
_MOST_INDEX_BYTES = 2**26


def check_checkpoint(folder: str | Path, flag: str = "--model") -> Path:
    """`folder` as a path, if it is a checkpoint with safetensors weights.

    Args:
        folder: Path of a local Hugging Face model folder.
        flag: Command-line option that named it, for the error.

    Raises:
        DataError: the folder, its config or its weights are missing, the weights are pickles, or there is an adapter.
    """
    path = Path(folder)
    if not path.is_dir():
        raise DataError(f"{folder}: no such folder; {flag} is a local Hugging Face model folder")
    if (path / "adapter_config.json").exists():
        raise DataError(
            f"{folder}: has an adapter (adapter_config.json), and only whole models are loaded; merge the adapter into "
            "its model (merge_and_unload of peft), or remove the adapter's files"
        )
    if not (path / "config.json").is_file():
        raise DataError(f"{folder}: no config.json, so this is not a model folder; check {flag}")
    if not has_weights(path):
        raise DataError(f"{folder}: no weights (*.safetensors); is the download complete?")
    return path


def has_weights(folder: Path) -> bool:
    """Whether a folder contains safetensors weights.

    Raises:
        DataError: it contains pickled weights only, which can run code when they are opened.
    """
    if any(folder.glob("*.safetensors")):
        return True
    pickled = sorted(path.name for path in folder.iterdir() if path.suffix in _PICKLES)
    if pickled:
        raise DataError(f"{folder}: only pickle weights ({pickled[0]}), which can run code; save it as safetensors")
    return False


def check_inside(folder: Path) -> None:
    """Refuse a folder whose files lead out of it, or never end; the links of a Hugging Face cache are its own.

    Raises:
        DataError: a symbolic link or the index of the weights names a file elsewhere, a link names a folder, there is
            a pipe or a device, a name has a line break or another control character, or folders are nested too deeply.
    """
    try:
        _check_files(folder)
    except RecursionError as error:
        raise DataError(
            f"{folder}: its folders are nested too deeply; remove those that the model does not need"
        ) from error
    _check_indexes(folder)


def _check_files(folder: Path) -> None:
    root = folder.resolve()
    allowed = [root, *([root.parent.parent / "blobs"] if root.parent.name == "snapshots" else [])]
    for path in folder.rglob("*"):
        if terminal_line(path.name) != path.name:
            raise DataError(f"{folder}: {path.name!r} has a control character in its name; remove or rename it")
        if path.is_symlink() and path.is_dir():
            raise DataError(
                f"{path}: is a symbolic link to a folder, whose files are not checked; copy it there instead"
            )
        if path.is_symlink() and not any(Path(os.path.realpath(path)).is_relative_to(place) for place in allowed):
            raise DataError(f"{path}: is a symbolic link to outside the folder; copy the file into the folder")
        if path.is_dir() and not os.access(path, os.R_OK | os.X_OK):
            raise DataError(f"{path}: cannot be listed, so its files are not checked; remove it or permit reading")
        if path.exists() and not path.is_file() and not path.is_dir():
            raise DataError(f"{path}: is a pipe or a device; remove it")


def _check_indexes(folder: Path) -> None:
    for index in folder.glob("*.safetensors.index.json"):
        check_size(index, _MOST_INDEX_BYTES)
        found = read_json(index)
        weight_map = found.get("weight_map") if isinstance(found, dict) else None
        if not isinstance(weight_map, dict):
            raise DataError(f"{index}: no weight_map in it; copy the model again")
        for name in weight_map.values():
            if not isinstance(name, str) or Path(name).name != name or not (folder / name).is_file():
                raise DataError(f"{index}: names {name!r}, which is no file of the folder; copy the model again")
            if not name.endswith(".safetensors"):
                raise DataError(f"{index}: names {name!r}, which is no safetensors file; save the model as safetensors")
