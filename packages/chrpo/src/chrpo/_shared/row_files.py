# copied from packages/_shared/row_files.py; edit it there
"""Files of rows in every format: JSON Lines (plain, `.gz`, `.zst`) and Parquet; one file, or a folder of them.

The name of a file gives its format. What a row may contain is left to `records`.

    for shard in shards("corpus"):                         # corpus/part-0.parquet, corpus/part-1.parquet
        for place, value in shard.values():
            print(place, value["id"])                      # corpus/part-0.parquet:1 a
"""

import gzip
import hashlib
import io
import math
import os
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import IO, Any

from ..errors import DataError
from .addresses import Address, needs_pyarrow
from .parquet_rows import MAX_UNPACKED, UNPACKED_RATIO, left_out, read_parquet
from .strict_json import parse_json

MANIFEST = "manifest.json"
MAX_LINE_CHARS = 64 * 2**20
_MAX_MANIFEST_BYTES = 2**26
_MAX_BLANK_LINES = 100_000
_PACKED = (".gz", ".zst")
_SHARDS = (".parquet", *(f"{name}{packed}" for name in (".jsonl", ".ndjson") for packed in ("", *_PACKED)))
_SET_ASIDE, _UNFINISHED = ".rejected.jsonl", ".partial.jsonl"
_LIKE_ROWS = re.compile(r"(?i)[^._].*\.(parquet|jsonl|ndjson)(\.[^.]+)?")
_SHOWN_NAMES = 5


@dataclass(frozen=True)
class Shard:
    """One file of rows.

    Args:
        file: Its address.
    """

    file: Address

    @cached_property
    def is_parquet(self) -> bool:
        """True for Parquet, False for JSON Lines."""
        return self.file.name.endswith(".parquet")

    def values(self) -> Iterator[tuple[str, Any]]:
        """Yield the place, `FILE:LINE` or `FILE:ROW`, and the value of each row.

        Raises:
            DataError: the file is incomplete, not in its format, or a row is too large.
        """
        if not self.is_parquet:
            yield from self._lines()
            return
        with self.file.open() as file:
            for number, row in read_parquet(file, str(self.file)):
                yield f"{self.file}:{number}", row

    def _lines(self) -> Iterator[tuple[str, Any]]:
        packed = self.file.name.endswith(_PACKED)
        most = max(MAX_UNPACKED, UNPACKED_RATIO * self.file.size()) if packed else math.inf
        number = blank = size = 0
        try:
            with self._text() as lines:
                while line := lines.readline(MAX_LINE_CHARS + 1):
                    number += 1
                    where = f"{self.file}:{number}"
                    size += len(line)
                    if size > most:
                        raise DataError(
                            f"{where}: more than {most} characters, {UNPACKED_RATIO} times the file's size; "
                            "unpack it if you trust it"
                        )
                    if len(line) > MAX_LINE_CHARS:
                        raise DataError(f"{where}: longer than {MAX_LINE_CHARS} characters; split the record")
                    if not line.strip():
                        blank += 1
                        if blank > _MAX_BLANK_LINES:
                            raise DataError(f"{where}: {blank} blank lines; expected JSON Lines, one record a line")
                        continue
                    yield where, parse_json(line, where, kind="JSON Lines")
        except (EOFError, OSError, zlib.error, UnicodeDecodeError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise DataError(
                f"{self.file}:{number + 1}: unreadable ({error}); is it incomplete, or not UTF-8 text?"
            ) from error

    def _text(self) -> IO[str]:
        return io.TextIOWrapper(unpacked(self.file), encoding="utf-8-sig", newline="\n")


def unpacked(file: Address) -> IO[bytes]:
    """The content of a file; that of a `.gz` or `.zst` file is unpacked while it is read."""
    stream = file.stream()
    if file.name.endswith(".gz"):
        return gzip.GzipFile(fileobj=stream)  # type: ignore[return-value]
    if file.name.endswith(".zst"):
        with needs_pyarrow(file, "zstd"):
            from pyarrow import CompressedInputStream
        return CompressedInputStream(stream, "zstd")
    return stream


def shards(given: str | Path) -> list[Shard]:
    """The files of rows at an address, sorted by name.

    Files of a folder are shards if they end in `.parquet`, or in `.jsonl` or `.ndjson` and perhaps `.gz` or `.zst`, and
    do not begin with a dot or an underscore, nor end in `.rejected.jsonl`, as rows that a command has set aside. Other
    names are left out, but for those that look like rows.

    Args:
        given: A file, a folder, or a folder and a pattern with `*` for names of files in it.

    Raises:
        DataError: nothing is there, or no shard; a name that looks like rows is no file, or has an ending that
            cannot be read, such as `.jsonl.xz`, `.JSONL`; or a command has not made all of the folder.
    """
    address = Address(given)
    if address.is_file():
        return [Shard(address)]
    pattern = "*"
    if "*" in address.name:
        address, pattern = Address(str(given).rpartition("/")[0] or "."), address.name
    if not address.is_folder():
        os.getcwd()  # fails, and so says more, where the current folder is gone
        raise DataError(f"{given}: no such file; check the path")
    found: list[Shard] = []
    unread: list[str] = []
    manifest: Address | None = None
    for file, is_file in address.entries():
        if file.name == MANIFEST and is_file:
            manifest = file
        if _may_be_shard(file.name, pattern):
            if is_file and file.name.endswith(_SHARDS):
                found.append(Shard(file))
            else:
                unread.append(file.name)
    if unread:
        more = f" and {len(unread) - _SHOWN_NAMES} more" if len(unread) > _SHOWN_NAMES else ""
        raise DataError(
            f"{given}: cannot read {', '.join(unread[:_SHOWN_NAMES])}{more}: no file, or none that ends in .parquet, "
            ".jsonl, .jsonl.gz or .jsonl.zst; move it away, or give a pattern such as '*.parquet'"
        )
    if growing := next((shard.file.name for shard in found if shard.file.name.endswith(_UNFINISHED)), None):
        raise DataError(f"{given}: {growing} is unfinished; repeat the command that makes it, or name files one by one")
    if manifest and "*" not in Path(given).name:
        _check_all_there(manifest, {shard.file.name for shard in found}, given)
    if not found:
        raise DataError(f"{given}: no shards; expected files that end in .parquet, .jsonl, .jsonl.gz or .jsonl.zst")
    return found


def _check_all_there(manifest: Address, found: set[str], given: str | Path) -> None:
    """Refuse a folder that `ray_shards` has not finished; another folder may have a manifest of any kind."""
    with manifest.stream() as stream:
        text = stream.read(_MAX_MANIFEST_BYTES)
    try:
        content = parse_json(text.decode("utf-8"), str(manifest))
        named, command = content["settings"].pop("shards"), content["command"]
        missing = [] if content["settings"] else [name for name in named if name not in found]
    except (DataError, UnicodeDecodeError, LookupError, TypeError, AttributeError):
        return
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise DataError(
            f"{given}: unfinished, {missing[0]}{more} of {len(named)} shards not there; repeat the {command} that "
            f"makes them, or read those that are there as '{given}/*'"
        )


def _may_be_shard(name: str, pattern: str) -> bool:
    return _LIKE_ROWS.fullmatch(name) is not None and not name.endswith(_SET_ASIDE) and fnmatchcase(name, pattern)


def becomes_shard(out: str | Path, given: str | Path) -> bool:
    """True if an output would be read as a shard of the folder or pattern `given`."""
    there, read = Address(out), Address(given)
    folder, pattern = (read.folder, read.name) if "*" in read.name else (read.place, "*")
    return there.folder == folder and _may_be_shard(there.name, pattern)


def content_digest(given: str | Path) -> str:
    """SHA-256 of a file of rows, or of the names and contents of the shards at an address."""
    found = shards(given)
    single = Address(given).is_file()
    total = hashlib.sha256()
    for shard in found:
        total.update((b"" if single else os.fsencode(shard.file.name)) + b":")
        with shard.file.stream() as stream:
            total.update(hashlib.file_digest(stream, "sha256").digest())  # type: ignore[arg-type]
    return total.hexdigest()


def unread_columns(given: str | Path) -> list[str]:
    """A line for each shard with columns that are left out because JSON cannot hold them."""
    lines: list[str] = []
    for shard in shards(given):
        if shard.is_parquet:
            with shard.file.open() as file:
                names = left_out(file, str(shard.file))
            lines += [f"{shard.file}: left out, because JSON cannot hold it: {', '.join(names)}"] if names else []
    return lines
