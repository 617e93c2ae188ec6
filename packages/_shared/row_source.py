"""The rows that a command reads: those of a contract, or those of a corpus that a layout fits to the contract.

A row of our own contract that breaks it stops the command. Of a corpus with a layout, a row that does not fit is set
aside with its place. Formats are left to `row_files`.

    source = RowSource("s3://corpora/traces", "compress_input", layout_of("answer=solution", "messages"))
    source.check()
    rows = [row for row in source.rows() if not isinstance(row, Misfit)]
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import DataError
from .parquet_rows import common_type, infinite, parquet_columns
from .records import Row, read_part, read_placed, required_fields, validate_in
from .row_files import Shard, content_digest, shards
from .row_layout import Layout, MisfitError


class Misfit(NamedTuple):
    """A row that does not fit the contract."""

    row: Row
    """The row as it is in the corpus."""
    reason: str
    """Short slug by which such rows are counted."""
    detail: str
    """`FILE:ROW: field: what is wrong`."""


@dataclass(frozen=True)
class RowSource:
    """Rows at an address.

    Args:
        address: A file, a folder of shards, or an address on an object store; see `row_files.shards`.
        schema: Name of the schema that the rows fit.
        layout: Columns of a corpus; None for rows of the contract itself.
        is_part: Whether this is one shard of several, so that it may have no rows, or none that fit.
    """

    address: str | Path
    schema: str
    layout: Layout | None = None
    is_part: bool = False

    def rows(self) -> Iterator[Row | Misfit]:
        """Yield each row, or the misfit in its place.

        Raises:
            DataError: a file is incomplete, there are no rows, or a row breaks the contract and there is no layout.
        """
        return (row for _, row in self.placed())

    def placed(self) -> Iterator[tuple[str, Row | Misfit]]:
        """Yield the place, `FILE:LINE` or `FILE:ROW`, and each row or misfit; errors are those of `rows`."""
        if self.layout is None:
            yield from (read_part if self.is_part else read_placed)(self.address, self.schema)
            return
        whole = "completion" in required_fields(self.schema)
        for shard in shards(self.address):
            for where, value in shard.values():
                yield where, self._fitted(self.layout, shard, value, where, whole)

    def _fitted(self, layout: Layout, shard: Shard, value: Any, where: str, whole: bool) -> Row | Misfit:
        if not isinstance(value, dict):
            raise DataError(f"{where}: not a JSON object; expected one record a line")
        made = {"id": f"{shard.file.name}:{where.rpartition(':')[2]}"}
        try:
            return validate_in(shard, made | layout.fit(value, whole=whole), where, self.schema)
        except MisfitError as error:
            return Misfit(_finite(value), error.reason, f"{where}: {error}")
        except DataError as error:
            return Misfit(_finite(value), "does_not_fit", str(error))

    def check(self) -> None:
        """Read everything once, before anything is written; errors are those of `checked`."""
        for _ in self.checked():
            pass

    def checked(self) -> Iterator[Row | Misfit]:
        """`rows`, for a first pass before anything is written.

        Raises:
            DataError: a file is incomplete; columns do not fit, see `check_columns`; there are no rows, or none fits.
        """
        self.check_columns()
        first: Misfit | None = None
        fitting = 0
        for row in self.rows():
            if isinstance(row, Misfit):
                first = first or row
            else:
                fitting += 1
            yield row
        if not (fitting or self.is_part):
            fault = f"no row fits, such as {first.detail}" if first else "no rows"
            raise DataError(f"{self.address}: {fault}; see --columns and --messages")

    def check_columns(self) -> None:
        """Read the columns of all shards in Parquet.

        Raises:
            DataError: a file is incomplete, lacks a column of the layout, or has one whose type does not fit together
                with that in another shard.
        """
        known: dict[str, tuple[Any, Shard]] = {}
        for shard in (shard for shard in shards(self.address) if shard.is_parquet):
            with shard.file.open() as file:
                columns = parquet_columns(file, str(shard.file))
            for name in self.layout.needed() if self.layout else ():
                if name not in columns:
                    raise DataError(f"{shard.file}: no column {name!r}, but {', '.join(columns)}; see --columns")
            for name, kind in columns.items():
                before, other = known.get(name, (kind, shard))
                both = kind if before == kind else common_type(before, kind)
                if both is None and before != kind:
                    raise DataError(f"{shard.file}: column {name!r} is {kind}, and {before} in {other.file}; mend one")
                known[name] = both, other

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Digest of the content, and everything else that changes the rows, for a manifest."""
        own = {"layout": self.layout.settings()} if self.layout else {}
        return {"input": content_digest(self.address), **own}


def _finite(value: Any) -> Any:
    """A value in which numbers that JSON cannot hold are text."""
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_finite(inner) for inner in value]
    return value if infinite(value) is None else str(value)
