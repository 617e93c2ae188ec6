"""Encoded rows in a memory-mapped file, so that training needs memory for the current batch only.

The content of a row is left to `encoding`. The file is a working file of one run.

    write(Path(".sft.partial/train.arrow"), encode(tokenizer, rows, tokens, max_length=6144, tally=Tally()))
    read(Path(".sft.partial/train.arrow"))[0]["labels"][:2]      # [-100, -100]
"""

from collections.abc import Iterable
from pathlib import Path

import pyarrow.compute
from datasets import Dataset, Features, List, Value
from datasets.arrow_writer import ArrowWriter

from .encoding import Encoded

_FEATURES = Features(
    input_ids=List(Value("int32")), labels=List(Value("int32")), ratio=Value("float64"), mode=Value("string")
)


def write(path: Path, rows: Iterable[Encoded]) -> None:
    """Write the rows to `path`; an existing file is replaced."""
    path.unlink(missing_ok=True)
    with ArrowWriter(features=_FEATURES, path=str(path)) as writer:
        for row in rows:
            writer.write({"input_ids": row.input_ids, "labels": row.labels, "ratio": row.ratio, "mode": row.mode})
        writer.finalize()


def read(path: Path) -> Dataset:
    """The rows of a file, with the columns `input_ids`, `labels`, `ratio` and `mode`."""
    return Dataset.from_file(str(path))


def lengths(data: Dataset) -> list[int]:
    """Number of tokens of each row."""
    return pyarrow.compute.list_value_length(data.data.column("input_ids")).to_pylist()  # type: ignore[attr-defined]
