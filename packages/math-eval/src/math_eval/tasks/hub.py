"""Datasets of the Hugging Face hub, read with the `datasets` library (extra `hub`), which runs no code of a dataset.

Without a connection, the library silently reads any revision that it has in its cache. `read_dataset` returns the
revision that was read, and refuses it if another commit was requested. The meaning of the rows is left to `datasets`
and `files`.

    rows, source = read_dataset("openai/gsm8k", "main", "test")
    source["revision"]   # '740312add88f781978c0658806c59bc2815b9866'
"""

import os
import re
from collections.abc import Sequence
from functools import reduce
from typing import Any

from math_eval._shared.records import Row
from math_eval._shared.secret_text import known_keys, without_key
from math_eval.errors import DataError, needs_extra

_COMMIT = re.compile(r"[0-9a-f]{40}")


def read_dataset(
    name: str, config: str | None, split: str, revision: str | None = None, *, otherwise: str = ""
) -> tuple[list[Row], Row]:
    """All rows of a split, and their origin with the commit; keys of this process in them are shown as `[key]`.

    Args:
        name: Name of the dataset, `owner/dataset`.
        config: Configuration of the dataset; None for its only one.
        split: Name of the split, such as `test`.
        revision: A commit, tag or branch; None reads the newest commit.
        otherwise: Another remedy for the user, added to the message of an error.

    Raises:
        DataError: The extra is not installed, or the dataset, config, split or revision cannot be found or reached.
    """
    with needs_extra("hub", otherwise):
        import datasets
    where = f"dataset {name}" + (f" ({config})" if config else "")
    if os.path.lexists(name):
        raise DataError(
            f"{where}: the working folder has a file or folder of that name, which would be read instead; run elsewhere"
        )
    keys = tuple(known_keys())
    try:
        builder = datasets.load_dataset_builder(name, config, revision=revision)
        found = str(builder.hash)
        if revision is not None and _COMMIT.fullmatch(revision) and found != revision:
            raise DataError(f"{where}: revision {revision} is not in the cache, only {found}; connect to the hub once")
        builder.download_and_prepare()
        rows: list[Row] = [_without_keys(dict(row), keys) for row in builder.as_dataset(split=split)]  # type: ignore[arg-type]
    except DataError:
        raise
    except Exception as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise DataError(f"{where}: {reason}; check the name and the connection to the hub{otherwise}") from error
    return rows, {"hub": name, "config": config, "split": split, "revision": _without_keys(found, keys)}


def _without_keys(value: Any, keys: Sequence[str]) -> Any:
    """A value of a dataset without this process's keys: a hub that was sent its token may write it into a row."""
    if isinstance(value, str):
        return reduce(without_key, keys, value)
    if isinstance(value, dict):
        return {_without_keys(name, keys): _without_keys(each, keys) for name, each in value.items()}
    return [_without_keys(each, keys) for each in value] if isinstance(value, list) else value
