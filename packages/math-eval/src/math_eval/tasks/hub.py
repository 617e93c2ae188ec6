"""Datasets of the Hugging Face hub, read with the `datasets` library (extra `hub`), which runs no code of a dataset.

The library falls back in silence to whatever revision is in its cache when the hub cannot be reached; here the revision
that was really read is returned, and must be the one asked for if that is a commit. What a row means is left to others.

    rows, source = read_dataset("openai/gsm8k", "main", "test")
    source["revision"]   # '740312add88f781978c0658806c59bc2815b9866'
"""

import re

from math_eval._shared.records import Row
from math_eval.errors import DataError

_COMMIT = re.compile(r"[0-9a-f]{40}")


def read_dataset(
    name: str, config: str | None, split: str, revision: str | None = None, *, otherwise: str = ""
) -> tuple[list[Row], Row]:
    """All rows of a split, and where they are from, the commit included.

    Args:
        name: `owner/dataset`.
        config: of the dataset, or None for its only one.
        split: such as `test`.
        revision: a commit, tag or branch; the newest commit if None.
        otherwise: what else the user can do, for the message of an error.

    Raises:
        DataError: the extra is not installed, or there is no such dataset, config, split or revision within reach.
    """
    try:
        import datasets
    except ModuleNotFoundError as error:
        raise DataError(f"{error.name} is not installed; run: pip install 'math-eval[hub]'{otherwise}") from error
    where = f"dataset {name}" + (f" ({config})" if config else "")
    try:
        builder = datasets.load_dataset_builder(name, config, revision=revision)
        found = str(builder.hash)
        if revision is not None and _COMMIT.fullmatch(revision) and found != revision:
            raise DataError(f"{where}: revision {revision} is not in the cache, only {found}; connect to the hub once")
        builder.download_and_prepare()
        rows: list[Row] = [dict(row) for row in builder.as_dataset(split=split)]  # type: ignore[assignment]
    except DataError:
        raise
    except Exception as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise DataError(f"{where}: {reason}; check the name and the connection to the hub{otherwise}") from error
    return rows, {"hub": name, "config": config, "split": split, "revision": found}
