"""What a run was made from: settings, inputs and versions.

A finished run is recognised by it, and a changed one refused; where it is written is left to the commands.

    wanted = describe({"steps": 40}, {"prompts": "prompts.jsonl"})
    differing(read(Path("out/manifest.json")), wanted)          # [] if it is the same run
"""

import hashlib
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ._shared.records import parse_json, write_json
from .errors import DataError

FILE_NAME = "manifest.json"
COMMAND = "chrpo train"
_PACKAGES = ("chrpo", "torch", "transformers", "trl", "accelerate", "math-verify")
_CHECKPOINT_FILES = ("*.safetensors", "config.json", "tokenizer.json", "control_tokens.json", "chat_template.jinja")


def fingerprint(path: str | Path) -> str:
    """SHA-256 of a file, or of what decides how a checkpoint folder behaves."""
    path = Path(path)
    files = [path] if path.is_file() else sorted(file for glob in _CHECKPOINT_FILES for file in path.glob(glob))
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode() if path.is_dir() else b"")
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def describe(settings: Mapping[str, Any], inputs: Mapping[str, str | Path]) -> dict[str, Any]:
    """A manifest: `settings` as given, `inputs` by content, and the versions of what matters."""
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "format": 1,
        "command": COMMAND,
        "settings": dict(settings),
        "inputs": {name: fingerprint(path) for name, path in inputs.items()},
        "versions": versions,
    }


def read(path: Path) -> dict[str, Any]:
    """Read a manifest.

    Raises:
        DataError: it is missing or torn.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file, so this folder is not a run of chrpo; choose another output")
    return parse_json(path.read_text("utf-8"), str(path))


def write(path: Path, manifest: Mapping[str, Any]) -> None:
    """Write a manifest atomically."""
    write_json(path, dict(manifest))


def differing(before: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """The settings and inputs that are not equal, as `name: before -> wanted`; versions may differ."""
    changes: list[str] = []
    for section in ("settings", "inputs"):
        old, new = before.get(section, {}), wanted.get(section, {})
        for name in sorted(old.keys() | new.keys()):
            if old.get(name) != new.get(name):
                short = section == "inputs"
                changes.append(name if short else f"{name}: {old.get(name)} -> {new.get(name)}")
    return changes
