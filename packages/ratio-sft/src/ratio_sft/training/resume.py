"""Training checkpoints of an unfinished run: which one is complete and sound, and whether steps are left to do.

A complete checkpoint has a record of its files, written last, so that a file that was lost or damaged afterwards is
noticed. Whether a run may be continued at all is decided by `_shared.runs`; training itself is left to `trainer`.

    newest_complete(Path(".sft.partial/checkpoints"))           # Path('.sft.partial/checkpoints/checkpoint-300')
"""

import os
import shutil
from pathlib import Path
from typing import Any

from ratio_sft._shared.records import Row, read_object, write_json
from ratio_sft._shared.runs import digest
from ratio_sft.errors import DataError

COMPLETE = "complete"
_STATE = "trainer_state.json"
_HASHED_BYTES = 2**20
"""Largest file whose content is compared when a run continues; of a larger one only the size is."""


def mark_complete(checkpoint: Path) -> None:
    """Record the files of a checkpoint when every process has written its part; all of them reach the disk first."""
    files = {str(path.relative_to(checkpoint)): _facts(path) for path in _files(checkpoint)}
    for path in _files(checkpoint):
        _reach_disk(path)
    write_json(checkpoint / COMPLETE, {"files": files})
    for path in (checkpoint / COMPLETE, checkpoint, checkpoint.parent):
        _reach_disk(path)


def check_sound(checkpoint: Path) -> None:
    """Check the files of a complete checkpoint against its record.

    Raises:
        DataError: a file is missing or differs, or the record or the trainer's state is corrupted.
    """
    recorded = read_object(checkpoint / COMPLETE).get("files")
    if not isinstance(recorded, dict) or _STATE not in recorded:
        raise _unsound(checkpoint, COMPLETE, "is no record of the checkpoint's files")
    present = {str(path.relative_to(checkpoint)): path for path in _files(checkpoint)}
    for name, facts in recorded.items():
        if name not in present:
            raise _unsound(checkpoint, name, "is missing")
        if _facts(present[name]) != facts:
            raise _unsound(checkpoint, name, "is not as it was saved")
    _read_state(checkpoint)


def newest_complete(folder: Path) -> Path | None:
    """The complete checkpoint with the highest step, or None."""
    whole = [path.parent for path in folder.glob(f"checkpoint-*/{COMPLETE}") if _step(path.parent) >= 0]
    return max(whole, key=_step, default=None)


def remove_incomplete(folder: Path) -> None:
    """Remove the checkpoints that a killed run did not write completely."""
    for path in folder.glob("checkpoint-*"):
        if not (path / COMPLETE).is_file():
            shutil.rmtree(path)


def finished_history(checkpoint: Path) -> list[Any] | None:
    """The log of a checkpoint of a run's last step, or None if steps are left to do.

    Raises:
        DataError: the trainer's state is corrupted.
    """
    state = _read_state(checkpoint)
    return state["log_history"] if state["global_step"] >= state["max_steps"] else None


def _read_state(checkpoint: Path) -> Row:
    from transformers.trainer_callback import TrainerState

    state = read_object(checkpoint / _STATE)
    try:
        TrainerState(**state)
        whole = all(type(state[name]) is int for name in ("global_step", "max_steps"))
        whole = whole and all(isinstance(entry["step"], int) for entry in state["log_history"])
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise _unsound(checkpoint, _STATE, f"is no state of a trainer ({error})") from error
    if not whole:
        raise _unsound(checkpoint, _STATE, "is no state of a trainer")
    return state


def _unsound(checkpoint: Path, name: str, fault: str) -> DataError:
    return DataError(
        f"{checkpoint}: {name} {fault}; remove this folder, and the run continues from the checkpoint before it, or "
        "from the start"
    )


def _files(checkpoint: Path) -> list[Path]:
    """Every file of a checkpoint but the record."""
    return sorted(path for path in checkpoint.rglob("*") if path.is_file() and path.name != COMPLETE)


def _facts(path: Path) -> Row:
    size = path.stat().st_size
    return {"bytes": size, "sha256": digest(path)} if size <= _HASHED_BYTES else {"bytes": size}


def _reach_disk(path: Path) -> None:
    """Wait until a file or folder is on the disk, where the file system can tell."""
    if os.name != "posix":
        return
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    except OSError:  # some file systems sync no folders
        pass
    finally:
        os.close(file)


def _step(checkpoint: Path) -> int:
    step = checkpoint.name.rpartition("-")[2]
    return int(step) if step.isascii() and step.isdecimal() else -1
