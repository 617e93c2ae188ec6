# copied from packages/_shared/parquet_rows.py; edit it there
"""Rows in Parquet: read batch by batch, and written with types that are found in the rows.

A row is read as the JSON values that it would be in JSON Lines. What it must contain is left to `records`.

    with open("traces.parquet", "rb") as file:
        for number, row in read_parquet(file, "traces.parquet"):
            print(number, row["id"])
"""

import json
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

from ..errors import DataError
from .addresses import needs_pyarrow
from .strict_json import TOO_DEEP

MAX_ROW_BYTES = 64 * 2**20
_READ_ROWS = 64
_READ_BYTES = 2**20
_GROUP_ROWS, _GROUP_CHARS = 10_000, 2**24
_SHOWN_CHARS = 200
_JSON_LINES = "name an output that ends in .jsonl, or mend the rows"


@contextmanager
def _explained(where: str) -> Iterator[None]:
    """Turn an error of pyarrow into one line.

    Raises:
        DataError: the file is incomplete, or no Parquet.
    """
    import pyarrow

    try:
        yield
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise DataError(f"{where}: unreadable ({_words(error)}); is it incomplete, or not Parquet?") from error


def _words(error: BaseException) -> str:
    return " ".join(str(error).split())[:_SHOWN_CHARS]


def parquet_columns(file: IO[bytes], where: str) -> dict[str, str]:
    """The name of each column and the type that it is read as, from the end of the file.

    Raises:
        DataError: the file is incomplete, no Parquet, or has a column twice.
    """
    return {field.name: str(_json_type(field.type)) for field in _open(file, where).schema_arrow}


def _open(file: IO[bytes], where: str) -> Any:
    with needs_pyarrow(where, "Parquet"):
        from pyarrow.parquet import ParquetFile
    with _explained(where):
        table = ParquetFile(file, buffer_size=_READ_BYTES, pre_buffer=False)
        names = table.schema_arrow.names
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{where}: column {twice!r} is there twice; rename one")
    return table


def left_out(file: IO[bytes], where: str) -> list[str]:
    """Names of the columns that JSON cannot hold, such as images; `read_parquet` leaves them out."""
    return [field.name for field in _open(file, where).schema_arrow if _json_type(field.type) is None]


def read_parquet(file: IO[bytes], where: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the number, from 1, and the values of each row; memory is bounded by the largest page of the file.

    Dates, times and decimals become text. Columns of `left_out` are left out.

    Args:
        file: The open file.
        where: Its place, for messages.

    Raises:
        DataError: the file is incomplete, no Parquet, or a row is larger than 64 MiB.
    """
    table = _open(file, where)
    import pyarrow

    types = {field.name: _json_type(field.type) for field in table.schema_arrow}
    wanted = pyarrow.schema([(name, kind) for name, kind in types.items() if kind is not None])
    number = 0
    with _explained(where):
        batches = table.iter_batches(batch_size=_READ_ROWS, columns=wanted.names, use_threads=False)
        for batch in batches:
            if batch.nbytes > MAX_ROW_BYTES:
                _check_rows(batch, where, number)
            for row in _values(batch.select(wanted.names).cast(wanted), f"{where}:{number + 1}"):
                number += 1
                yield number, row


def _check_rows(batch: Any, where: str, before: int) -> None:
    for at in range(batch.num_rows):
        if batch.slice(at, 1).nbytes > MAX_ROW_BYTES:
            raise DataError(f"{where}:{before + at + 1}: more than {MAX_ROW_BYTES} bytes; split the record")


def _values(batch: Any, where: str) -> list[dict[str, Any]]:
    try:
        return batch.to_pylist(maps_as_pydicts="strict")
    except RecursionError as error:
        raise DataError(f"{where}: {TOO_DEEP}") from error
    except (ValueError, KeyError) as error:  # a field or a key of a map that is there twice
        if isinstance(error, UnicodeDecodeError):
            raise
        raise DataError(f"{where}: {_words(error)}; mend the row") from error


def _json_type(kind: Any) -> Any:
    """The type that a column is read as; None for one that JSON cannot hold."""
    import pyarrow
    from pyarrow import types

    if isinstance(kind, pyarrow.BaseExtensionType):
        return _json_type(kind.storage_type)
    if types.is_dictionary(kind):
        return _json_type(kind.value_type)
    if types.is_temporal(kind) or types.is_decimal(kind):
        return None if types.is_duration(kind) or types.is_interval(kind) else pyarrow.string()
    if types.is_map(kind):
        inner = _json_type(kind.item_type)
        return pyarrow.map_(pyarrow.string(), inner) if types.is_string(kind.key_type) and inner is not None else None
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        inner = _json_type(kind.value_type)
        return None if inner is None else pyarrow.large_list(inner)
    if types.is_struct(kind):
        fields = [(field.name, _json_type(field.type)) for field in kind]
        return None if any(inner is None for _, inner in fields) else pyarrow.struct(fields)
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return pyarrow.large_string()
    plain = types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind) or types.is_null(kind)
    return kind if plain else None


def infinite(value: Any, path: str = "") -> str | None:
    """The path of the first number that JSON cannot hold, not-a-number or infinite; None if there is none."""
    if isinstance(value, float):
        return None if math.isfinite(value) else path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    paths = (infinite(inner, f"{path}.{name}".removeprefix(".")) for name, inner in items)
    return next((found for found in paths if found is not None), None)


def write_parquet(file: IO[bytes], lines: Iterable[str], where: Path) -> int:
    """Write rows; the types of all fields, nested ones too, are those that fit every row. Returns the number of rows.

    The rows wait in a temporary file beside the output until all their types are known.

    Args:
        file: File to write.
        lines: The rows, as JSON Lines.
        where: Path of the output.

    Raises:
        DataError: a field has values that no type fits, or text that is not Unicode.
    """
    with needs_pyarrow(where, "Parquet"):
        import pyarrow
        from pyarrow.parquet import ParquetWriter

    types: dict[str, Any] = {}
    sizes: list[int] = []
    with TemporaryFile("w+", encoding="utf-8", newline="\n", dir=where.parent) as waiting:
        for group in _groups(lines):
            waiting.writelines(group)
            _widen(types, [json.loads(line) for line in group], where, sum(sizes))
            sizes.append(len(group))
        waiting.seek(0)
        schema = pyarrow.schema(list(types.items()))
        try:
            with ParquetWriter(file, schema, compression="zstd") as writer:
                for size in sizes:
                    rows = [json.loads(waiting.readline()) for _ in range(size)]
                    writer.write_batch(pyarrow.RecordBatch.from_pylist(rows, schema=schema))
        except pyarrow.ArrowException as error:
            raise DataError(f"{where}: {_words(error)}, which Parquet cannot hold; {_JSON_LINES}") from error
    return sum(sizes)


def _groups(lines: Iterable[str]) -> Iterator[list[str]]:
    """The lines of each row group: up to 10,000 rows or 16 MiB of text."""
    group: list[str] = []
    chars = 0
    for line in lines:
        group.append(line)
        chars += len(line)
        if len(group) == _GROUP_ROWS or chars >= _GROUP_CHARS:
            yield group
            group, chars = [], 0
    if group:
        yield group


def _widen(types: dict[str, Any], rows: list[dict[str, Any]], where: Path, before: int) -> None:
    """Widen `types` so that they fit the rows, too."""
    import pyarrow

    for name in dict.fromkeys(name for row in rows for name in row):
        try:
            found = pyarrow.schema([(name, pyarrow.array([row.get(name) for row in rows]).type)])
            known = pyarrow.schema([(name, types.get(name, pyarrow.null()))])
            (field,) = pyarrow.unify_schemas([known, found], promote_options="permissive")
        except (pyarrow.ArrowException, OverflowError, UnicodeEncodeError) as error:
            fault = f"{_words(error)} in rows {before + 1} to {before + len(rows)}"
            raise DataError(f"{where}: {name}: {fault}; Parquet has one type for each field: {_JSON_LINES}") from error
        types[name] = field.type
