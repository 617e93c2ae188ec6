"""Rows in and out: validated rows, atomic files, counted rejects.

The JSON Schemas in `schemas/` define what a row may contain; what a row means is left to the callers, the formats of
files to `row_files`.

    for row in read_records("traces.jsonl.gz", "traces"):
        print(row["id"])
"""

import glob
import gzip
import json
import os
import secrets
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib.resources import files
from io import TextIOWrapper
from pathlib import Path
from tempfile import SpooledTemporaryFile, gettempdir
from typing import IO, Any

from jsonschema import Draft202012Validator, ValidationError

from ..errors import DataError
from .addresses import needs_pyarrow
from .lock import NO_LINK, is_at, try_lock
from .parquet_rows import infinite, write_parquet
from .row_files import Shard, shards
from .strict_json import TOO_DEEP, parse_json
from .system_errors import naming

Row = dict[str, Any]
MAX_FILE_BYTES = 2**28
_SPOOL_BYTES = 2**20
_SHOWN_CHARS = 300
_SUFFIXES = {".json", ".jsonl", ".ndjson", ".parquet", ".txt"}


@cache
def _validator(schema: str) -> Draft202012Validator:
    text = files(__package__ or "").joinpath("schemas", f"{schema}.schema.json").read_text("utf-8")
    return Draft202012Validator(json.loads(text))


def _complaint(error: ValidationError) -> str:
    """One line for a schema violation: the field, its value, what it should be."""
    schema: Row = error.schema  # type: ignore[assignment]
    rule: Any = error.validator_value
    field = error.json_path.removeprefix("$").removeprefix(".") or "row"
    if error.validator == "required":
        missing = next(name for name in rule if name not in error.instance)
        wanted = schema.get("properties", {}).get(missing, {}).get("description", "see the documentation")
        return f"{field if field != 'row' else missing}: field {missing!r} is missing; add it ({wanted})"
    shown = json.dumps(error.instance, ensure_ascii=True, default=str)
    shown = shown if len(shown) <= 60 else shown[:57] + "..."
    wanted = schema.get("description", error.message[:_SHOWN_CHARS])
    kind = f" of type {rule}" if error.validator == "type" else ""
    return f"{field}: got {shown}; expected a value{kind}: {wanted}"


def validate(row: object, schema: str, where: str) -> Row:
    """Return `row` if it fits the schema.

    Raises:
        DataError: `WHERE: field: what is wrong, what to do`.
    """
    try:
        error = next(iter(_validator(schema).iter_errors(row)), None)  # type: ignore[arg-type]
        complaint = None if error is None else _complaint(error)
    except RecursionError as error:
        raise DataError(f"{where}: {TOO_DEEP}") from error
    except ValueError as error:  # TOML has whole numbers of any length, which Python does not print
        raise DataError(f"{where}: a number is too long to be shown; mend it") from error
    if complaint is not None:
        raise DataError(f"{where}: {complaint}")
    return row  # type: ignore[return-value]


def check_size(path: Path, most: int = MAX_FILE_BYTES) -> None:
    """Refuse a file that is larger than any that a checkpoint or run has beside its weights and rows.

    Raises:
        DataError: it has more bytes than `most`, by default 256 MiB.
    """
    size = path.stat().st_size
    if size > most:
        raise DataError(f"{path}: has {size} bytes, more than {most}; copy it again, or remove it")


def read_json(path: str | Path) -> Any:
    """The content of a JSON file.

    Raises:
        DataError: the file is missing, a folder, too large, or not JSON.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: {'is a folder; name a file' if path.is_dir() else 'no such file; check the path'}")
    check_size(path)
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: unreadable ({error}); is it incomplete, or not UTF-8 text?") from error
    return parse_json(text, str(path))


def read_object(path: str | Path) -> Row:
    """The content of a JSON file that contains one object.

    Raises:
        DataError: the file is missing, not JSON, or something else than an object.
    """
    found = read_json(path)
    if not isinstance(found, dict):
        raise DataError(f"{path}: not a JSON object; copy the folder again, or make it again")
    return found


def read_records(path: str | Path, schema: str, *more: str) -> Iterator[Row]:
    """Yield the validated rows of a file or folder; arguments and errors are those of `read_placed`."""
    return (row for _, row in read_placed(path, schema, *more))


def read_placed(path: str | Path, schema: str, *more: str) -> Iterator[tuple[str, Row]]:
    """Yield the place, `FILE:LINE` or `FILE:ROW`, and the validated row of each row at an address.

    Args:
        path: A file, a folder of shards, or an address on an object store; see `row_files.shards`.
        schema: Name of the schema that each row fits.
        more: Names of further schemas that each row fits.

    Raises:
        DataError: the file is missing, empty or incomplete, or a row does not fit a schema.
    """
    empty = True
    for placed in read_part(path, schema, *more):
        empty = False
        yield placed
    if empty:
        record = schema.replace("_", " ")
        raise DataError(f"{path}: no rows; expected JSON Lines or Parquet, one {record} record a line or row")


def read_part(path: str | Path, schema: str, *more: str, known: bool = False) -> Iterator[tuple[str, Row]]:
    """`read_placed` for one shard of several, which may be empty; `known` is described in `validate_in`."""
    for shard in shards(path):
        for where, value in shard.values():
            yield where, validate_in(shard, value, where, schema, *more, known=known)


def validate_in(shard: Shard, value: Any, where: str, *schemas: str, known: bool = False) -> Row:
    """Return the value of a shard as a row that fits all schemas.

    In Parquet every row has every field, so there a null in place of an optional field is left out. Rows that are
    `known` to fit, because a file with the same digest was validated before, are not validated again: that takes longer
    than reading them.

    Raises:
        DataError: it does not fit, or has a number that JSON cannot hold.
    """
    if shard.is_parquet and (field := infinite(value)) is not None:
        raise DataError(f"{where}: {field}: not a finite number, which JSON cannot hold; mend it, or write null")
    for schema in schemas:
        value = _without_absent(value, _validator(schema).schema) if shard.is_parquet else value
        if not known:
            validate(value, schema, where)
    return value


def required_fields(schema: str) -> list[str]:
    """Names of the fields that every row of a schema has."""
    return _validator(schema).schema["required"]  # type: ignore[index]


def _without_absent(value: Any, schema: Any) -> Any:
    if isinstance(value, list) and "items" in schema:
        return [_without_absent(inner, schema["items"]) for inner in value]
    fields = schema.get("properties", {})
    if not isinstance(value, dict) or not fields:
        return value
    kept = {
        name for name in value if value[name] is not None or name in schema.get("required", ()) or name not in fields
    }
    return {name: _without_absent(inner, fields.get(name, {})) for name, inner in value.items() if name in kept}


def dump_line(row: Row) -> str:
    """One JSON line, newline included; lone surrogates are escaped so that it is always valid UTF-8.

    Raises:
        DataError: the row has a number that JSON cannot hold, or is nested too deeply.
    """
    try:
        line = json.dumps(row, ensure_ascii=False, allow_nan=False)
    except RecursionError as error:
        raise DataError(f"id {row.get('id')!r}: {TOO_DEEP}") from error
    except ValueError as error:
        raise DataError(f"id {row.get('id')!r}: a number is not finite (1e999 reads as infinite); mend it") from error
    try:
        line.encode("utf-8")
    except UnicodeEncodeError:
        line = json.dumps(row, allow_nan=False)
    return line + "\n"


@contextmanager
def open_atomic(path: str | Path) -> Iterator[IO[str]]:
    """A text file that appears under its final name only when the block ends without an error.

    Raises:
        DataError: `path` is a folder, or pyarrow is needed and not installed.
    """
    path = Path(path)
    with _open_atomic_bytes(path) as raw, _compressed(raw, path) as binary, TextIOWrapper(binary, "utf-8") as out:
        yield out


@contextmanager
def _open_atomic_bytes(path: Path) -> Iterator[IO[bytes]]:
    if path.is_dir():
        raise DataError(f"{path}: is a folder; name a file")
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path)
    partial, file = _new_file(path)
    guard = os.dup(file) if os.name == "posix" else None  # keeps the file locked until it has its final name
    try:
        with naming(path), os.fdopen(file, "wb") as raw:
            yield raw
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
        if guard is not None:
            os.close(guard)


def _new_file(path: Path) -> tuple[Path, int]:
    """A new, locked temporary file beside `path`, under a name that nobody can foretell."""
    while True:
        partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
        file = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0) | NO_LINK, 0o666)
        if try_lock(file) is not False and is_at(partial, file):
            return partial, file
        os.close(file)


def remove_leftovers(path: Path) -> None:
    """Remove the temporary files of `path` that a killed process left: nobody has them locked."""
    for partial in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        with suppress(OSError):
            file = os.open(partial, os.O_RDONLY | NO_LINK)
            if try_lock(file):
                partial.unlink()
            os.close(file)


def _compressed(raw: IO[bytes], path: Path) -> IO[bytes]:
    """`raw`, or a packing writer over it without name and time, so that equal rows give equal bytes."""
    if path.name.endswith(".zst"):
        with needs_pyarrow(path, "zstd"):
            from pyarrow import CompressedOutputStream
        return CompressedOutputStream(raw, "zstd")
    return gzip.GzipFile("", "wb", fileobj=raw, mtime=0) if path.name.endswith(".gz") else raw  # type: ignore[return-value]


def check_format(path: Path) -> None:
    """Refuse a name whose format cannot be written, before the work for it begins.

    Raises:
        DataError: pyarrow is needed and not installed.
    """
    if path.suffix in (".parquet", ".zst"):
        with needs_pyarrow(path, "Parquet" if path.suffix == ".parquet" else "zstd"):
            import pyarrow  # noqa: F401


def write_records(path: str | Path, rows: Iterable[Row]) -> int:
    """Write all rows, or nothing if `rows` raises; returns how many.

    The name gives the format: Parquet if it ends in `.parquet`, otherwise JSON Lines, packed for `.gz` and `.zst`.

    Raises:
        DataError: pyarrow is needed and not installed, or the rows do not fit into Parquet.
    """
    path = Path(path)
    if path.name.endswith(".parquet"):
        with _open_atomic_bytes(path) as out:
            return write_parquet(out, map(dump_line, rows), path)
    count = 0
    with open_atomic(path) as out:
        for row in rows:
            out.write(dump_line(row))
            count += 1
    return count


def write_json(path: str | Path, value: Any) -> None:
    """Write one indented JSON document atomically."""
    with open_atomic(path) as out:
        out.write(json.dumps(value, indent=2, allow_nan=False) + "\n")


def path_beside(out: str | Path, ending: str) -> Path:
    """The path of a file that belongs to an output: the output's name without its suffix, and `ending`.

    >>> path_beside("made/out.jsonl.gz", "rejected.jsonl").name, path_beside("out.txt", "summary.json").name
    ('out.rejected.jsonl', 'out.summary.json')
    """
    out = Path(out)
    stem = Path(out.name.removesuffix(".gz").removesuffix(".zst"))
    return out.with_name(f"{stem.stem if stem.suffix in _SUFFIXES else stem.name}.{ending}")


class Tally:
    """Counts what a command reads, writes and rejects; the rejected rows wait in a temporary file.

    >>> tally = Tally()
    >>> tally.read += 1
    >>> tally.reject({"id": "a"}, "no_answer")
    >>> tally.summary()
    '1 read, 0 written, 1 rejected (no_answer 1)'
    """

    def __init__(self) -> None:
        self.read = 0
        self.written = 0
        self._reasons: Counter[str] = Counter()
        self._rows: IO[str] = SpooledTemporaryFile(  # noqa: SIM115 (it lives as long as the tally)
            _SPOOL_BYTES, "w+", encoding="utf-8", newline="\n"
        )

    def reject(self, row: Row, reason: str, detail: str = "") -> None:
        """Set a row aside; `reason` is a short slug to count by, `detail` explains it."""
        self._reasons[reason] += 1
        with naming(gettempdir()):
            self._rows.write(dump_line({**row, "reject_reason": reason, "reject_detail": detail}))

    def add(self, counts: dict[str, Any]) -> None:
        """Add the counts `read`, `written`, and `rejected` by reason, of rows that another tally has set aside."""
        self.read += counts["read"]
        self.written += counts["written"]
        self._reasons.update(counts["rejected"])

    @property
    def rejected(self) -> int:
        """How many rows were rejected."""
        return self._reasons.total()

    @property
    def reasons(self) -> dict[str, int]:
        """Rejected rows by reason."""
        return dict(sorted(self._reasons.items()))

    def summary(self) -> str:
        """One line for the terminal."""
        reasons = ", ".join(f"{reason} {count}" for reason, count in self.reasons.items())
        tail = f" ({reasons})" if reasons else ""
        return f"{self.read} read, {self.written} written, {self.rejected} rejected{tail}"

    def write_rejected(self, out: str | Path) -> None:
        """Write the rejected rows to `OUT.rejected.jsonl`, OUT without its suffix, or remove a stale one."""
        path = path_beside(out, "rejected.jsonl")
        if self.rejected:
            self._rows.seek(0)
            with open_atomic(path) as written:
                shutil.copyfileobj(self._rows, written)
        else:
            path.unlink(missing_ok=True)
