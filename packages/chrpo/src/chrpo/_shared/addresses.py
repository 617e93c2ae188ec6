# copied from packages/_shared/addresses.py; edit it there
"""Addresses of input and output files: a path on this machine, or a file on an object store (`s3://`, `gs://`, `hf://`).

Object stores are reached with pyarrow, which is imported only for them. Credentials come from the environment, as the
store's own tools take them. What a file contains is left to `row_files`, writing to a store to `remote_output`.

    for file, is_file in Address("s3://corpora/traces").entries():
        print(file.name, is_file)
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import IO, Any

import click

from ..errors import DISTRIBUTION, DataError

_BUFFER_BYTES = 2**20
_SHOWN_CHARS, _SHOWN_STORE_CHARS = 300, 30
_STORES = ("s3", "gs", "hf")


def is_remote(address: str | Path) -> bool:
    """True for an address on an object store, such as `s3://bucket/name`."""
    return "://" in str(address)


class AddressType(click.ParamType):
    """The type of a command's argument that takes a path or an address: a `Path`, or a string with `://`."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str | Path:
        """A string for an object store, otherwise a path."""
        return value if is_remote(value) else Path(value)


@contextmanager
def needs_pyarrow(where: object, what: str) -> Iterator[None]:
    """Turn a failed import of pyarrow into one line.

    Args:
        where: File or address that needs it.
        what: Subject of the message, such as "Parquet".

    Raises:
        DataError: pyarrow is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise DataError(f"{where}: {what} needs pyarrow: pip install '{DISTRIBUTION}[parquet]'") from error


@contextmanager
def reaching(address: object) -> Iterator[None]:
    """Turn what an object store answers into one line that names the address.

    Raises:
        DataError: the store refused, or cannot be reached.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(f"{address}: no such file; check the address") from error
    except (OSError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        words = " ".join(str(error).split())[:_SHOWN_CHARS]
        failure = DataError(f"{address}: {words}; check address, credentials and network, and repeat the command")
        failure.exit_code = 2 if isinstance(error, ValueError) else 1  # a store that fails is no bad input
        raise failure from error


class Address:
    """One file or folder, here or on an object store.

    Args:
        given: Path, or address with `://`.

    Raises:
        DataError: the address may contain a key, names no known store, or needs a package that is not installed.
    """

    def __init__(self, given: str | Path) -> None:
        self._text = str(given)
        self._system: Any = None
        self._path = self._text
        if is_remote(given):
            self._check_store()
            with needs_pyarrow(given, "an object store"):
                from pyarrow.fs import FileSystem
            try:
                with reaching(given):
                    self._system, self._path = FileSystem.from_uri(self._text)
            except ImportError as error:  # of all stores, only hf:// is not in pyarrow itself
                raise DataError(f"{given}: the hub needs huggingface-hub: pip install huggingface-hub") from error

    @property
    def _store(self) -> str:
        return self._text.partition("://")[0]

    def _check_store(self) -> None:
        """Refuse what may contain a key, without showing it, and every store but those that are documented."""
        store, rest = self._store, self._text.partition("://")[2]
        if "@" in store + rest.lstrip("/").partition("/")[0] or "?" in self._text or "#" in self._text:
            raise DataError(
                "the address has a part with @, ? or #, which may contain a key; give it without, and set the store's "
                "own variables"
            )
        if store not in _STORES:
            raise DataError(
                f"no known object store is named {store[:_SHOWN_STORE_CHARS]!r}; give a path, or an address that "
                "begins with s3://, gs:// or hf://"
            )

    def __str__(self) -> str:
        return self._text

    @property
    def place(self) -> PurePath:
        """What is equal for two addresses of the same file or folder."""
        return Path(self._path).resolve() if self._system is None else PurePath(self._store, self._path)

    @property
    def folder(self) -> PurePath:
        """The `place` of the folder that contains it."""
        return Path(self._path).parent.resolve() if self._system is None else self.place.parent

    @property
    def name(self) -> str:
        """The last part of the path."""
        return Path(self._path).name

    def beside(self, name: str) -> "Address":
        """The address of another file in the same folder."""
        return self._at(str(Path(self._path).with_name(name)), f"{self._text.rpartition('/')[0]}/{name}")

    def _at(self, path: str, text: str) -> "Address":
        other = object.__new__(Address)
        other._system, other._path, other._text = self._system, path, text
        return other

    def is_file(self) -> bool:
        """True if a file is there."""
        return Path(self._path).is_file() if self._system is None else self._info().is_file

    def is_folder(self) -> bool:
        """True if a folder is there."""
        if self._system is None:
            return Path(self._path).is_dir()
        from pyarrow.fs import FileType

        return self._info().type == FileType.Directory

    def size(self) -> int:
        """Number of bytes of the file."""
        return Path(self._path).stat().st_size if self._system is None else self._info().size

    def _info(self) -> Any:
        with reaching(self):
            return self._system.get_file_info(self._path)

    def entries(self) -> list[tuple["Address", bool]]:
        """What is in this folder, sorted by name, and whether each is a file; what is in sub-folders is left out."""
        if self._system is None:
            return [(Address(path), path.is_file()) for path in sorted(Path(self._path).iterdir())]
        from pyarrow.fs import FileSelector

        with reaching(self):
            infos = self._system.get_file_info(FileSelector(self._path))
        folder = self._text.rstrip("/")
        entries = [(self._at(info.path, f"{folder}/{info.base_name}"), info.is_file) for info in infos]
        return sorted(entries, key=lambda entry: entry[0].name)

    def open(self) -> IO[bytes]:
        """The file, open for reading at any place."""
        if self._system is None:
            return Path(self._path).open("rb")
        with reaching(self):
            return self._system.open_input_file(self._path)

    def stream(self) -> IO[bytes]:
        """The file, open for reading from its beginning to its end."""
        if self._system is None:
            return Path(self._path).open("rb")
        with reaching(self):
            return self._system.open_input_stream(self._path, compression=None, buffer_size=_BUFFER_BYTES)

    def remove(self) -> None:
        """Remove a file from an object store, if it is there."""
        with reaching(self):
            if self._info().is_file:
                self._system.delete_file(self._path)

    def upload(self, file: Path) -> None:
        """Copy a local file to an object store, where it appears when all of it has arrived.

        Raises:
            DataError: the store did not take the whole file; nothing is left under its name.
        """
        from pyarrow.fs import LocalFileSystem, copy_files

        with reaching(self):
            copy_files(str(file), self._path, LocalFileSystem(), self._system)
        if self.size() != file.stat().st_size:
            self.remove()
            raise DataError(f"{self}: the upload is incomplete; repeat the command")
