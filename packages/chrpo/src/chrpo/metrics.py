"""The metrics of a run: `metrics.jsonl` in the run's folder, one line per logged step.

Measuring is left to `score`, drawing to `plot`.

    read_metrics("checkpoints/chrpo")[-1]["policy/accuracy"]
"""

import json
from collections.abc import Mapping
from pathlib import Path

from .errors import DataError

METRICS_FILE = "metrics.jsonl"
Metrics = Mapping[str, float]


def read_metrics(run: str | Path) -> list[Metrics]:
    """The metrics of a run folder, one mapping per logged step; a last line that is still being written is left out.

    Args:
        run: Folder of `chrpo train`, its partial folder, or the output folder of a `CHRPOTrainer`.

    Raises:
        DataError: the folder has no metrics, or a line before the last is corrupted.
    """
    path = Path(run) / METRICS_FILE
    if not path.is_file():
        raise DataError(f"{path}: no such file; give a folder that chrpo train or CHRPOTrainer writes to")
    lines = path.read_text("utf-8").split("\n")
    try:
        found: list[Metrics] = [json.loads(line) for line in lines[:-1]]
    except ValueError as error:
        raise DataError(f"{path}: a corrupted line ({error}); was the file edited?") from error
    if not found:
        raise DataError(f"{path}: no step is logged yet; wait for the first step")
    return found


def append_metrics(path: Path, line: Metrics) -> None:
    """Add the line of one step."""
    with path.open("a", encoding="utf-8") as out:
        out.write(json.dumps(line) + "\n")


def remove_after(path: Path, step: int) -> None:
    """Remove the lines of steps that a killed run logged after its checkpoint, and an incomplete last line."""
    kept = []
    for line in path.read_text("utf-8").splitlines():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line + "\n")
        except ValueError:
            break
    path.write_text("".join(kept), encoding="utf-8")
