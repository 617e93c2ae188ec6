# copied from packages/_shared/runs.py; edit it there
"""The protocol of an output: new, partial, finished or foreign, and how it appears only when it is complete.

A manifest in (or beside) every output records the command and the settings that made it, with digests in place of
paths. The same command with the same settings continues a partial output and leaves a finished one alone. `overwrite`
replaces what other settings made, and makes a finished output again. What another program made is never replaced.
Locking is left to `lock`, the content of an output to the commands.

    state = resolve_state(Path("mix/manifest.json"), "ratio-sft build", settings, done=Path("mix"))
    state                                                                   # 'new', 'partial' or 'finished'
"""

import hashlib
import json
import os
import platform
import shutil
import stat
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from itertools import takewhile
from pathlib import Path
from typing import Any, Literal

from ..errors import DataError
from .addresses import Address, is_remote
from .records import MAX_FILE_BYTES, read_json, write_json
from .row_files import MANIFEST as MANIFEST
from .row_files import becomes_shard
from .strict_json import parse_json

State = Literal["new", "partial", "finished"]
_SHOWN_CHARS, _SHOWN_BEFORE = 60, 20


def manifest_path(out: str | Path) -> Path:
    """The place of an output's manifest: inside a folder, beside a file."""
    out = Path(out)
    return out / MANIFEST if out.is_dir() else out.with_name(f"{out.name}.{MANIFEST}")


def partial_path(out: str | Path) -> Path:
    """The file or folder in which an unfinished `out` grows."""
    out = Path(out).absolute()
    return out.with_name(f".{out.name}.partial")


def digest(path: str | Path, patterns: Iterable[str] = ("*",)) -> str:
    """SHA-256 of a file, or of the names and contents of a folder's top-level files that match one of the patterns.

    Raises:
        DataError: nothing is there.
    """
    path = Path(path)
    if not path.is_file() and not path.is_dir():  # nothing there, or a pipe or device, which may never end
        raise DataError(f"{path}: no such file; check the path")
    files = sorted({p for pattern in patterns for p in path.glob(pattern) if p.is_file()}) if path.is_dir() else [path]
    total = hashlib.sha256()
    for file in files:
        total.update(os.fsencode(file.name if path.is_dir() else "") + b":")
        with file.open("rb") as stream:
            total.update(hashlib.file_digest(stream, "sha256").digest())
    return total.hexdigest()


def differing(before: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Every setting whose value differs, `outer.inner` if nested, with both values.

    A setting that is off (null, false, 0 or empty) equals one that is absent.

    >>> differing({"steps": 40, "model": {"sha": "a"}}, {"steps": 60, "model": {"sha": "a"}, "without": []})
    ['steps was 40, is 60']
    """
    old, new = _flat(json.loads(json.dumps(before))), _flat(json.loads(json.dumps(wanted)))
    names = sorted(name for name in {*old, *new} if (old.get(name) or None) != (new.get(name) or None))
    pairs = [(name, old.get(name), new.get(name)) for name in names]
    return [f"{name} was {_shown(one, two)}, is {_shown(two, one)}" for name, one, two in pairs]


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        flat.update(_flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value})
    return flat


def _shown(value: object, other: object) -> str:
    """A value, or of a long one the part around its first difference from the other."""
    text = repr(value)
    if len(text) <= _SHOWN_CHARS:
        return text
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(text, repr(other), strict=False)))
    start = max(0, same - _SHOWN_BEFORE)
    end = start + _SHOWN_CHARS - 3
    return f"{'...' if start else ''}{text[start:end]}{'...' if end < len(text) else ''}"


def versions(packages: Iterable[str]) -> dict[str, str]:
    """The version of Python and of every package that is installed."""
    found = {"python": platform.python_version()}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def write_manifest(
    path: str | Path, command: str, settings: Mapping[str, Any], packages: Iterable[str] = (), **more: Any
) -> None:
    """Write a manifest atomically.

    Args:
        path: Path of the manifest.
        command: Program and sub-command, such as "chrpo train".
        settings: Everything that the result depends on, as JSON values.
        packages: Distributions whose versions are recorded; a difference is no reason to refuse.
        more: Further facts, which are recorded but never compared.
    """
    write_json(path, {"command": command, "settings": settings, "versions": versions(packages), **more})


def read_manifest(path: str | Path) -> dict[str, Any]:
    """Read a manifest.

    Raises:
        DataError: it is missing, corrupted, or no manifest of this toolkit.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file, so nothing records how this output was made; check the path")
    return check_manifest(read_json(path), path)


def read_manifest_on_store(manifest: Address) -> dict[str, Any]:
    """Read a manifest on an object store.

    Raises:
        DataError: the store cannot be reached, or it is no manifest of this toolkit.
    """
    with manifest.stream() as stream:
        text = stream.read(MAX_FILE_BYTES).decode("utf-8", "replace")
    return check_manifest(parse_json(text, str(manifest)), manifest)


def check_manifest(found: Any, where: object) -> dict[str, Any]:
    """Return the content of a manifest.

    Raises:
        DataError: it is no manifest of this toolkit.
    """
    fields = found if isinstance(found, dict) else {}
    if not (isinstance(fields.get("command"), str) and isinstance(fields.get("settings"), dict)):
        raise DataError(f"{where}: not a manifest of this toolkit; name another output")
    return fields


def resolve_state(
    manifest: Path, command: str, settings: Mapping[str, Any], *, done: Path | None, overwrite: bool = False
) -> State:
    """Decide whether an output is new, partial or finished.

    Args:
        manifest: Path of the output's manifest; it need not exist.
        command: Program and sub-command that would write the output.
        settings: Everything that the output would depend on.
        done: Path that exists once the output is complete; None for a place that only ever contains partial work.
        overwrite: Replace what other settings made, and make a finished output again. Partial work of the same
            settings is continued all the same, so that a killed command can be repeated as it was.

    Raises:
        DataError: another program made the output, or other settings did and `overwrite` is not given.
    """
    out = done or manifest.parent
    if not manifest.is_file():
        if holds_anything(out):
            raise DataError(
                f"{out}: already there, and not written by {command} (no {manifest.name}); name another output, or "
                "move it away"
            )
        return "new"
    found = read_manifest(manifest)
    if found["command"] != command:
        raise DataError(f"{out}: written by {found['command']}, not by {command}; name another output, or move it away")
    changes, finished = differing(found["settings"], settings), done is not None and done.exists()
    if not changes and not finished:
        return "partial"
    if overwrite:
        return "new"
    if changes:
        what = "made with other settings" if finished else "an unfinished run with other settings"
        remedy = "name another output" if finished else "finish it with those settings"
        raise DataError(f"{out}: {what} ({'; '.join(changes)}); {remedy}, or add --overwrite to replace it")
    return "finished"


def holds_anything(path: Path) -> bool:
    """Whether `path` is a file, or a folder with anything in it but temporary files of a killed process."""
    if not path.is_dir():
        return path.exists()
    return any(not (entry.name.startswith(".") and entry.name.endswith(".tmp")) for entry in path.iterdir())


def check_apart(outputs: Iterable[str | Path], inputs: Iterable[str | Path]) -> None:
    """Refuse to write over what is read, or into it.

    Args:
        outputs: Paths, or addresses on an object store.
        inputs: The same, or folders of shards or patterns for them; see `row_files.shards`.

    Raises:
        DataError: an output is one of the inputs, under whatever name, a folder that contains one, or would become a
            shard of one.
    """
    read = list(inputs)
    for out in outputs:
        for given in read:
            if _replaces(out, given):
                raise DataError(f"{out}: would replace {given}, which is read; name another output")
            if becomes_shard(out, given):
                raise DataError(f"{out}: would become a shard of {given}; name another folder")


def _replaces(out: str | Path, given: str | Path) -> bool:
    if is_remote(out) or is_remote(given):
        return Address(out).place == Address(given).place
    written, read = Path(out), Path(given)
    if not (written.exists() and read.exists()):
        return False
    return written.samefile(read) or read.resolve().is_relative_to(written.resolve())


def check_no_links(folder: Path) -> None:
    """Refuse a working folder that is a link or contains one, symbolic or hard: work would go to where it points.

    Raises:
        DataError: there is one, or a folder in it cannot be listed, so that there may be one.
    """

    def refuse(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            raise DataError(f"{error.filename}: cannot be listed ({error.strerror}); remove {folder}") from error

    inside = (
        Path(place, name) for place, folders, files in os.walk(folder, onerror=refuse) for name in folders + files
    )
    for path in (folder, *(() if folder.is_symlink() else inside)):
        if kind := _kind_of_link(path):
            raise DataError(f"{path}: is a {kind} link, which a working folder never contains; remove {folder}")


def _kind_of_link(path: Path) -> str:
    """`symbolic`, `hard` if a file has further names, or an empty string."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return ""
    if stat.S_ISLNK(status.st_mode):
        return "symbolic"
    return "hard" if stat.S_ISREG(status.st_mode) and status.st_nlink > 1 else ""


def publish(complete: Path, out: Path) -> None:
    """Give a complete file or folder its final name, replacing what is there."""
    for weights in complete.glob("*.safetensors"):  # safetensors writes them for their owner alone
        weights.chmod((complete / MANIFEST).stat().st_mode)
    remove_leftovers(out)
    if out.is_dir():
        os.rename(out, _old_path(out))
    os.replace(complete, out)
    remove_leftovers(out)


def remove_partial(out: Path) -> None:
    """Remove the working folder of `out` under another name: killed here, a command never continues what is left."""
    remove_leftovers(out)
    if partial_path(out).is_dir():
        os.rename(partial_path(out), _old_path(out))
        remove_leftovers(out)


def remove_leftovers(out: Path) -> None:
    """Remove the rest of what `publish` and `remove_partial` were killed at removing."""
    _remove(_old_path(out))


def _old_path(out: Path) -> Path:
    return out.absolute().with_name(f".{out.absolute().name}.old")


def _remove(path: Path) -> None:
    """Remove a folder if it is there; of a link, only the link."""
    if path.is_symlink():
        path.unlink()
    elif path.is_dir():  # of a pipe, rmtree would wait for ever
        shutil.rmtree(path, ignore_errors=True)
