"""Training checkpoints of an unfinished run: which one is complete, and whether steps are left to do.

Whether a run may be continued at all is decided by `_shared.runs`; training itself is left to `trainer`.

    newest_complete(Path(".sft.partial/checkpoints"))           # Path('.sft.partial/checkpoints/checkpoint-300')
"""

import shutil
from pathlib import Path
from typing import Any

from ratio_sft._shared.records import parse_json

COMPLETE = "complete"
_STATE = "trainer_state.json"


def mark_complete(checkpoint: Path) -> None:
    """Record that every process has written its part of a checkpoint."""
    (checkpoint / COMPLETE).touch()


def newest_complete(folder: Path) -> Path | None:
    """The complete checkpoint with the highest step, or None."""
    whole = [path.parent for path in folder.glob(f"checkpoint-*/{COMPLETE}")]
    return max(whole, key=_step, default=None)


def remove_incomplete(folder: Path) -> None:
    """Remove the checkpoints that a killed run did not write completely."""
    for path in folder.glob("checkpoint-*"):
        if not (path / COMPLETE).is_file():
            shutil.rmtree(path)


def finished_history(checkpoint: Path) -> list[Any] | None:
    """The log of a checkpoint of a run's last step, or None if steps are left to do."""
    state = parse_json((checkpoint / _STATE).read_text("utf-8"), str(checkpoint))
    return state["log_history"] if state["global_step"] >= state["max_steps"] else None


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])
