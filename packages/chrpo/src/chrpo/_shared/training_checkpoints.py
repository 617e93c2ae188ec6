# copied from packages/_shared/training_checkpoints.py; edit it there
"""Checkpoints of an unfinished run of transformers' Trainer: which one is complete and sound.

A complete checkpoint has a record of its files, written last, so that a file that was lost or damaged afterwards is
noticed. Whether a run may be continued at all is decided by `runs`; training itself is left to the trainers.

    newest_complete(Path(".sft.partial/checkpoints"))           # Path('.sft.partial/checkpoints/checkpoint-300')
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError

from ..errors import DataError
from .file_record import check_files, reach_disk, record_files
from .records import Row, read_object, write_json

COMPLETE = "complete"
_STATE = "trainer_state.json"
_REMEDY = "remove this folder, and the run continues from the checkpoint before it, or from the start"


def mark_complete(checkpoint: Path) -> None:
    """Record the files of a checkpoint when every process has written its part; all of them reach the disk first."""
    found = sorted(path for path in checkpoint.rglob("*") if path.is_file() and path.name != COMPLETE)
    names = [path.relative_to(checkpoint).as_posix() for path in found]
    write_json(checkpoint / COMPLETE, {"files": record_files(checkpoint, names)})
    for path in (checkpoint / COMPLETE, checkpoint, checkpoint.parent):
        reach_disk(path)


def check_sound(checkpoint: Path) -> None:
    """Check the files of a complete checkpoint against its record.

    Raises:
        DataError: a file is missing or differs, or the record or the trainer's state is corrupted.
    """
    if not (checkpoint / COMPLETE).is_file():
        raise DataError(f"{checkpoint}: {COMPLETE} is missing, so the checkpoint is not whole; {_REMEDY}")
    recorded = read_object(checkpoint / COMPLETE).get("files")
    if not isinstance(recorded, dict) or _STATE not in recorded:
        raise DataError(f"{checkpoint}: {COMPLETE} is no record of the checkpoint's files; {_REMEDY}")
    check_files(checkpoint, recorded, _REMEDY)
    read_state(checkpoint)


def newest_complete(folder: Path) -> Path | None:
    """The complete checkpoint with the highest step, or None."""
    return next(iter(_complete(folder)), None)


def remove_older(folder: Path, keep: int) -> None:
    """Remove all complete checkpoints but the newest ones, in place of the trainer, which removes before it has saved.

    The record goes first: a run that was killed at removing never continues from the rest.
    """
    for path in _complete(folder)[keep:]:
        (path / COMPLETE).unlink()
        shutil.rmtree(path)


def remove_incomplete(folder: Path) -> None:
    """Remove the checkpoints that a killed run did not write completely."""
    for path in folder.glob("checkpoint-*"):
        if path.is_file():
            path.unlink()
        elif not (path / COMPLETE).is_file():
            shutil.rmtree(path)


def read_state(checkpoint: Path) -> Row:
    """The state of the trainer: its steps (`global_step`, `max_steps`) and its log (`log_history`).

    Raises:
        DataError: it is corrupted.
    """
    from transformers.trainer_callback import TrainerState

    state = read_object(checkpoint / _STATE)
    try:
        TrainerState(**state)
        whole = all(type(state[name]) is int for name in ("global_step", "max_steps"))
        whole = whole and all(isinstance(entry["step"], int) for entry in state["log_history"])
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise DataError(f"{checkpoint}: {_STATE} is no state of a trainer ({error}); {_REMEDY}") from error
    if not whole:
        raise DataError(f"{checkpoint}: {_STATE} is no state of a trainer; {_REMEDY}")
    return state


@contextmanager
def tensors_only(checkpoint: Path | None) -> Iterator[None]:
    """Name the checkpoint if a library finds pickled objects in place of tensors in it; they are not unpickled.

    Raises:
        DataError: it does.
    """
    try:
        yield
    except UnpicklingError as error:
        raise DataError(
            f"{checkpoint}: contains pickled objects, which can run code, in place of tensors; remove this folder, and "
            "the run continues from the checkpoint before it"
        ) from error


def _complete(folder: Path) -> list[Path]:
    """The complete checkpoints, the newest one first."""
    whole = [path.parent for path in folder.glob(f"checkpoint-*/{COMPLETE}") if _step(path.parent) >= 0]
    return sorted(whole, key=_step, reverse=True)


def _step(checkpoint: Path) -> int:
    step = checkpoint.name.rpartition("-")[2]
    return int(step) if step.isascii() and step.isdecimal() else -1
