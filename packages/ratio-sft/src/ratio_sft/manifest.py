"""Finished, unfinished or foreign: what an output folder holds, and how a folder appears only when complete.

Every output folder has a `manifest.json` with the settings that made it. What the settings are is left to the commands.

    if not is_finished(Path("mix"), settings, overwrite=False):
        open_partial(Path("mix.partial"), "ratio-sft build", settings, keep=False)
        publish(Path("mix.partial"), Path("mix"))
"""

import hashlib
import json
import os
import platform
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ._shared.records import Row, parse_json, write_json
from .errors import DataError

FILE_NAME = "manifest.json"
_PACKAGES = ("ratio-sft", "torch", "transformers", "trl", "accelerate")


def digest(path: str | Path) -> str:
    """SHA-256 of a file, or of a folder's top-level files with their names."""
    path = Path(path)
    sha = hashlib.sha256()
    for file in sorted(p for p in path.iterdir() if p.is_file()) if path.is_dir() else [path]:
        sha.update(f"{file.name if path.is_dir() else ''}:".encode())
        with file.open("rb") as stream:
            sha.update(hashlib.file_digest(stream, "sha256").digest())
    return sha.hexdigest()


def differing_keys(folder: Path, settings: Row) -> list[str]:
    """The settings in which the folder's manifest differs from `settings`; one that is off may be absent from it.

    Raises:
        DataError: there is no manifest, or that of another program, so the folder is not one of ours.
    """
    path = folder / FILE_NAME
    if not path.is_file():
        raise DataError(f"{folder}: not an output of ratio-sft (no {FILE_NAME}); name another folder")
    manifest: Any = parse_json(path.read_text("utf-8"), str(path))
    command = manifest.get("command") if isinstance(manifest, dict) else None
    if not str(command).startswith("ratio-sft "):
        raise DataError(
            f"{folder}: not an output of ratio-sft ({FILE_NAME} has command {command!r}); name another folder"
        )
    theirs = manifest.get("settings", {})
    ours = json.loads(json.dumps(settings))
    return sorted(key for key in theirs.keys() | ours.keys() if (theirs.get(key) or None) != (ours.get(key) or None))


def is_finished(out: Path, settings: Row, *, overwrite: bool) -> bool:
    """Whether `out` already holds the result of these settings (never, with `overwrite`).

    Raises:
        DataError: `out` is something else: a file, a foreign folder, or the result of other settings.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    if not out.is_dir():
        raise DataError(f"{out}: is a file; name a folder")
    differing = differing_keys(out, settings)
    if overwrite:
        return False
    if differing:
        raise DataError(f"{out}: made with other settings ({', '.join(differing)}); add --overwrite to replace it")
    return True


def open_partial(partial: Path, command: str, settings: Row, *, keep: bool) -> None:
    """A folder to work in, with its manifest: command, settings (the seed among them) and versions.

    Args:
        partial: the folder; what an unfinished run left there is removed unless `keep`.
        command: who works there.
        settings: what the result depends on.
        keep: continue in the folder as it is.

    Raises:
        DataError: `partial` holds something that is not ours.
    """
    if partial.exists() and any(partial.iterdir()):
        differing_keys(partial, settings)
        if not keep:
            shutil.rmtree(partial)
    versions = {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}}
    write_json(partial / FILE_NAME, {"command": command, "settings": settings, "versions": versions})


def publish(complete: Path, out: Path) -> None:
    """Give a complete folder its final name, replacing what stood there."""
    old = out.with_name(f".{out.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if out.exists():
        os.rename(out, old)
    os.rename(complete, out)
    shutil.rmtree(old, ignore_errors=True)
