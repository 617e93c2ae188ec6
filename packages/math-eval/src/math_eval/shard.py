"""A part of a run, for job arrays: which requests belong to it, and the file that marks it as complete.

The requests of a run are dealt out one by one to its shards; for a backend that works in batches, batch by batch, so
that a shard has the same batches as the whole run. Joining shards is left to `merge`.

>>> parse_shard("2/8")
Shard(number=2, total=8)
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ._shared.records import read_json, validate, write_json
from .errors import DataError

SHARD = "shard.json"


class Shard(NamedTuple):
    """Part `number` (from 1) of `total` parts."""

    number: int
    total: int

    def __str__(self) -> str:
        return f"{self.number}/{self.total}"


def parse_shard(text: str) -> Shard:
    """The shard that a text such as `2/8` names.

    Raises:
        DataError: It names none.
    """
    found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise DataError(f"shard must be I/N with I from 1 to N, such as 2/8; got {text!r}")
    return Shard(int(found[1]), int(found[2]))


def write_shard(folder: Path, whole: Mapping[str, Sequence[str]], own: Mapping[str, Sequence[str]]) -> None:
    """Mark the folder of a shard as complete.

    Args:
        folder: The folder.
        whole: The keys of all requests of the run by task, in the order of its samples.
        own: Those of the shard.
    """
    places = {task: {key: at for at, key in enumerate(keys)} for task, keys in whole.items()}
    content = {
        "requests": {task: len(keys) for task, keys in whole.items()},
        "places": {task: [places[task][key] for key in keys] for task, keys in own.items()},
    }
    write_json(folder / SHARD, content)


def read_shard(folder: Path) -> dict[str, Any]:
    """The content of the file of a complete shard: `requests`, their number in the whole run, and `places`.

    Raises:
        DataError: The file is missing, corrupted, or has a value that no run writes.
    """
    if not (folder / SHARD).is_file():
        raise DataError(f"{folder}: no complete shard (no {SHARD}); repeat its `math-eval run --shard` to finish it")
    return validate(read_json(folder / SHARD), "run_shard", str(folder / SHARD))
