"""The metrics of a run: `metrics.jsonl` in the run's folder, one line per logged step.

Measuring is left to `score`, drawing to `plot`.

    read_metrics("checkpoints/chrpo")[-1]["policy/accuracy"]
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path

from ._shared.lock import no_link
from ._shared.records import open_atomic
from .errors import DataError

METRICS_FILE = "metrics.jsonl"
COMPLETIONS_FOLDER = "completions"
Metrics = Mapping[str, float]
_LARGEST = 1e100
"""Largest number of a line, far beyond any metric; a chart cannot scale much larger ones."""


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
    found = _lines(path)
    if not found:
        raise DataError(f"{path}: no step is logged yet; wait for the first step")
    return found


def append_metrics(path: Path, line: Metrics) -> None:
    """Add the line of one step."""
    with open(path, "a", encoding="utf-8", opener=no_link) as out:
        out.write(json.dumps(line) + "\n")


def remove_after(path: Path, step: int) -> None:
    """Remove the lines of steps that a killed run logged after its checkpoint, and an incomplete last line.

    Raises:
        DataError: a line before the last is corrupted.
    """
    kept = [line for line in _lines(path) if line["step"] <= step]
    with open_atomic(path) as out:
        out.writelines(json.dumps(line) + "\n" for line in kept)


def _lines(path: Path) -> list[Metrics]:
    """The complete lines."""
    found = []
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], 1):
        try:
            found.append(_metrics(line))
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}:{number}: not the metrics of a step ({error}); was the file edited?") from error
    return found


def _metrics(line: bytes) -> Metrics:
    """The metrics in a line, which may be NaN or infinite."""
    found = json.loads(line)
    if not isinstance(found, dict) or not all(isinstance(value, int | float) for value in found.values()):
        raise ValueError("expected an object of numbers")
    if any(_LARGEST < abs(value) < math.inf for value in found.values()):
        raise ValueError(f"expected no number beyond {_LARGEST:g}")
    if not 0 <= found.get("step", -1) <= 2**53:
        raise ValueError("expected a step")
    return found
