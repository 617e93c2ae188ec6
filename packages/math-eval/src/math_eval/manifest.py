"""A command's manifest: the settings its output depends on, so that nothing is mixed, done twice or written over.

state = settle(Path("runs/base/manifest.json"), settings, done=Path("runs/base/results.json"), overwrite=False)
state   # 'new', 'resume' or 'done'
"""

import hashlib
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from ._shared.records import parse_json, write_json
from .errors import DataError

State = Literal["new", "resume", "done"]


def settle(path: Path, settings: dict[str, Any], *, done: Path, overwrite: bool) -> State:
    """Decide whether an output is new, unfinished or finished.

    Args:
        path: the manifest; it need not exist.
        settings: what the output depends on, as JSON values.
        done: exists once the output is complete.
        overwrite: start again instead of refusing.

    Raises:
        DataError: the output was made, wholly or in part, with other settings.
    """
    if overwrite or not path.is_file():
        if done.exists() and not overwrite:
            raise DataError(f"{done}: already there, and no {path.name} says how it was made; --overwrite replaces it")
        return "new"
    old = parse_json(path.read_text("utf-8"), str(path)).get("settings", {})
    if changes := differences(old, settings):
        raise DataError(f"{path}: made with other settings ({changes}); use another output or --overwrite")
    return "done" if done.exists() else "resume"


def check_apart(outputs: Iterable[Path], inputs: Iterable[Path]) -> None:
    """Refuse to write over what is read.

    Raises:
        DataError: an output is one of the inputs, under whatever name.
    """
    read = [path for path in inputs if path.exists()]
    for out in outputs:
        if out.exists() and any(map(out.samefile, read)):
            raise DataError(f"{out}: is read and would be written over; name another output")


def files_sha256(paths: Iterable[Path]) -> str:
    """The hash of the names and contents of some files.

    Raises:
        DataError: one of them is missing.
    """
    digest = hashlib.sha256()
    for path in paths:
        if not path.is_file():
            raise DataError(f"{path}: no such file; check the path")
        with path.open("rb") as file:
            digest.update(f"{path.name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()


def differences(old: dict[str, Any], new: dict[str, Any]) -> str:
    """Every key whose value differs, `outer.inner` if nested, with both values; empty if none does."""
    before, after = _flat(old), _flat(new)
    differing = sorted(key for key in {*before, *after} if before.get(key) != after.get(key))
    return "; ".join(f"{key} was {_short(before.get(key))}, is {_short(after.get(key))}" for key in differing)


def _flat(settings: dict[str, Any]) -> dict[str, Any]:
    pairs = ((key, value if isinstance(value, dict) else {"": value}) for key, value in settings.items())
    return {f"{key}.{name}".removesuffix("."): inner for key, value in pairs for name, inner in value.items()}


def write(path: Path, command: str, settings: dict[str, Any], **more: Any) -> None:
    """Write a manifest; `more` holds what is good to know but need not match."""
    write_json(path, {"command": command, "math_eval": version("math-eval"), "settings": settings, **more})


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
