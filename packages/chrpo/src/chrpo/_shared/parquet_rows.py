# copied from packages/_shared/parquet_rows.py; edit it there
"""Rows in Parquet: read batch by batch, and written with types that are found in the rows.

A row is read as the JSON values that it would be in JSON Lines. What it must contain is left to `records`.

    with open("traces.parquet", "rb") as file:
        for number, row in read_parquet(file, "traces.parquet"):
            print(number, row["id"])
"""

import io
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

from ..errors import DataError
from .addresses import needs_pyarrow
from .strict_json import TOO_DEEP

MAX_ROW_BYTES = 64 * 2**20
MAX_UNPACKED, UNPACKED_RATIO = 2**28, 100
"""Bytes that a packed file may contain, whatever its size, and as a multiple of its size."""
_MAX_COLUMNS, _MAX_VALUES = 1000, 2**24
_READ_ROWS = 64
_READ_BYTES, _TOGETHER_BYTES = 2**20, 2**22
_GROUP_ROWS, _GROUP_CHARS = 10_000, 2**24
_SHOWN_CHARS = 200
_BOMB = f"it contains more than {UNPACKED_RATIO} times its size; write it as JSON Lines if you trust it"
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


def parquet_columns(file: IO[bytes], where: str) -> dict[str, Any]:
    """The name of each column and the type that it is read as, from the end of the file; None if JSON cannot hold it.

    Raises:
        DataError: the file is incomplete, no Parquet, or has a column twice or more than 1,000 columns.
    """
    return {field.name: _json_type(field.type) for field in _open(file, where).schema_arrow}


def common_type(one: Any, other: Any) -> Any:
    """The type of `parquet_columns` that fits the values of both; None if there is none."""
    import pyarrow

    if one is None or other is None:
        return None
    try:
        schemas = [pyarrow.schema([("", kind)]) for kind in (one, other)]
        return pyarrow.unify_schemas(schemas, promote_options="permissive").field(0).type
    except pyarrow.ArrowException:
        return None


def _open(file: IO[bytes], where: str) -> Any:
    with needs_pyarrow(where, "Parquet"):
        from pyarrow.parquet import ParquetFile
    with _explained(where):
        table = ParquetFile(file, buffer_size=_READ_BYTES, pre_buffer=False)
        if table.metadata.num_columns > _MAX_COLUMNS:
            count = f"{table.metadata.num_columns} columns, those inside structures too"
            raise DataError(f"{where}: {count}, more than {_MAX_COLUMNS}; leave out what is not needed")
        names = Counter(table.schema_arrow.names)
    twice = next((name for name, count in names.items() if count > 1), None)
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
        DataError: the file is incomplete, no Parquet, a row is larger than 64 MiB, or the file contains much more than
            its size.
    """
    table = _open(file, where)
    size = file.seek(0, io.SEEK_END)
    _check_values(table.metadata, max(_MAX_VALUES, UNPACKED_RATIO * size), where)
    left = max(MAX_UNPACKED, UNPACKED_RATIO * size)
    import pyarrow

    types = {field.name: _json_type(field.type) for field in table.schema_arrow}
    wanted = pyarrow.schema([(name, kind) for name, kind in types.items() if kind is not None])
    number = 0
    with _explained(where):
        batches = table.iter_batches(batch_size=_READ_ROWS, columns=wanted.names, use_threads=False)
        for part in (part for batch in batches for part in _parts(batch)):
            rows = part.select(wanted.names).cast(wanted)
            left -= (weight := _weight(rows))
            if weight > MAX_ROW_BYTES:
                _check_rows(rows, where, number)
            if left < 0:
                raise DataError(f"{where}:{number + 1}: {_BOMB}")
            for row in _values(rows, f"{where}:{number + 1}"):
                number += 1
                yield number, row


def _parts(batch: Any) -> Iterator[Any]:
    """The rows of a batch together, or one by one if they are large: each may repeat a whole dictionary."""
    step = 1 if batch.nbytes > _TOGETHER_BYTES else _READ_ROWS
    return (batch.slice(at, step) for at in range(0, batch.num_rows, step))


def _check_values(metadata: Any, most: int, where: str) -> None:
    """Refuse a file of more values than its size explains, before any of them takes memory."""
    groups = (metadata.row_group(at) for at in range(metadata.num_row_groups))
    values = sum(group.column(at).num_values for group in groups for at in range(group.num_columns))
    if values > most:
        raise DataError(f"{where}: {values} values, more than {most}; {_BOMB}")


def _check_rows(batch: Any, where: str, before: int) -> None:
    for at in range(batch.num_rows):
        if _weight(batch.slice(at, 1)) > MAX_ROW_BYTES:
            raise DataError(f"{where}:{before + at + 1}: more than {MAX_ROW_BYTES} bytes; split the record")


def _weight(batch: Any) -> int:
    """Number of bytes, and one for each value in a list, because a null there takes none."""
    return batch.nbytes + sum(_inner_values(column) for column in batch.columns)


def _inner_values(array: Any) -> int:
    from pyarrow import types

    if types.is_map(array.type):  # has no `flatten`
        start, end = array.offsets[0].as_py(), array.offsets[-1].as_py()
        found = array.items.slice(start, end - start)
    else:
        found = array.flatten() if types.is_nested(array.type) else []
    parts = found if isinstance(found, list) else [found]
    return sum(len(part) + _inner_values(part) for part in parts)


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
