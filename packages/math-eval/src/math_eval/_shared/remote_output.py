# copied from packages/_shared/remote_output.py; edit it there
"""An output on an object store: made on this machine as any other, and uploaded when it is complete.

Until then it is in a folder of the user's cache, with its lock and its unfinished work; a command that is repeated
after a failed upload only uploads. A store cannot rename, so the manifest is uploaded last: without it, an output there
is unfinished. Nothing keeps two machines from writing the same address.

    remote = RemoteOutput("s3://corpora/short.parquet", "cot-compressor compress")
    if not remote.is_finished(settings):
        make(remote.local)
        remote.upload(("rejected.jsonl",))
"""

import hashlib
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..errors import DISTRIBUTION, DataError
from .addresses import Address
from .records import path_beside
from .runs import MANIFEST, differing, manifest_path, read_manifest_on_store


class RemoteOutput:
    """An output file on an object store.

    Args:
        address: Address of the file.
        command: Program and sub-command that writes it.

    Raises:
        DataError: the address names no file.
    """

    def __init__(self, address: str, command: str) -> None:
        self._file, self._command = Address(address), command
        if self._file.name in ("", ".."):
            raise DataError(f"{address}: names no file; add the name of the output")
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        folder = cache / DISTRIBUTION / "uploads" / hashlib.sha256(address.encode()).hexdigest()[:16]
        self.local = folder / self._file.name
        """Path of the output on this machine until it is uploaded."""

    @property
    def _manifest(self) -> Address:
        return self._file.beside(f"{self._file.name}.{MANIFEST}")

    def is_finished(self, settings: Mapping[str, Any], *, overwrite: bool = False) -> bool:
        """True if the output is there, complete, and was made with these settings.

        Args:
            settings: Everything that the output depends on, as JSON values.
            overwrite: Replace what this command made with other settings, and make a finished output again.

        Raises:
            DataError: another program made the output, or other settings did and `overwrite` is not given.
        """
        if not self._manifest.is_file():
            if self._file.is_file() and not manifest_path(self.local).is_file():
                raise DataError(
                    f"{self._file}: already there, and not written by {self._command} (no {self._manifest.name}); name "
                    "another output, or remove it"
                )
            return False
        recorded = self.manifest()
        if recorded["command"] != self._command:
            fault = f"not written by {self._command}, but by {recorded['command']!r}"
            raise DataError(f"{self._file}: {fault}; name another output")
        changes = [] if overwrite else differing(recorded["settings"], settings)
        if changes:
            fault = f"made with other settings ({'; '.join(changes)})"
            raise DataError(f"{self._file}: {fault}; name another output, or add --overwrite to replace it")
        return not overwrite and self._file.is_file()

    def manifest(self) -> dict[str, Any]:
        """The manifest of the output on the store.

        Raises:
            DataError: the store cannot be reached, or it is no manifest of this toolkit.
        """
        return read_manifest_on_store(self._manifest)

    def upload(self, beside: Iterable[str]) -> None:
        """Copy the complete output to the store, its manifest last, and remove the one here.

        Args:
            beside: Endings of the files that belong to it; one that was not made is removed there.

        Raises:
            DataError: the store cannot be reached, or refuses. The output stays here for the next try.
        """
        self._manifest.remove()
        for path in (*(path_beside(self.local, ending) for ending in beside), self.local):
            there = self._file.beside(path.name)
            if path.exists():
                there.upload(path)
            else:
                there.remove()
        self._manifest.upload(manifest_path(self.local))
        shutil.rmtree(self.local.parent)
