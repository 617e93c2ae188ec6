r"""The beginning of an input file: what makes it no JSON Lines, with the command that makes them of it.

Reading the rows is left to `_shared.records`.

    check_json_lines(Path("problems.json"))
    # DataError: problems.json: one JSON array; …; convert it: jq -c '.[]' problems.json > problems.lines.jsonl
"""

import codecs
import gzip
import shlex
import zlib
from pathlib import Path

from .errors import DataError

_READ_BYTES = 4096


def check_json_lines(path: Path) -> None:
    """Refuse a file in UTF-16 or with a JSON array, as other programs export them.

    Raises:
        DataError: It is one; the message names the remedy.
    """
    start = _start(path).removeprefix(codecs.BOM_UTF8)
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise DataError(f"{path}: begins with a UTF-16 byte order mark; save it as UTF-8 without one")
    if start.lstrip().startswith(b"["):
        raise DataError(f"{path}: one JSON array; expected JSON Lines, one record a line; convert it: {_command(path)}")


def _command(path: Path) -> str:
    """The shell command that writes the items of an array as lines."""
    name = path.name.removesuffix(".gz")
    lines = path.with_name(f"{name.removesuffix('.jsonl').removesuffix('.json')}.lines.jsonl")
    source, target = shlex.quote(str(path)), shlex.quote(str(lines))
    return f"gunzip -c {source} | jq -c '.[]' > {target}" if name != path.name else f"jq -c '.[]' {source} > {target}"


def _start(path: Path) -> bytes:
    """The first bytes of a file's content; none if it cannot be read, which the reader of its rows reports."""
    if not path.is_file():
        return b""
    try:
        with gzip.open(path) if path.name.endswith(".gz") else path.open("rb") as file:
            return file.read(_READ_BYTES)
    except (EOFError, gzip.BadGzipFile, zlib.error):
        return b""
