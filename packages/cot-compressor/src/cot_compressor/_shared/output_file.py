# copied from packages/_shared/output_file.py; edit it there
"""The protocol of `runs` for an output file: its manifest is beside it, and records the digest of what was written.

An unfinished output grows in the folder `.OUT.partial`. OUT and what belongs beside it (rejected rows, a summary) get
their final names when all are complete. A file that is missing is made again. A file that is not what was written
belongs to somebody else and is never replaced. Locking and the content of the files are left to the commands.

    output = OutputFile(Path("out.jsonl"), ("rejected.jsonl",), "cot-compressor compress", settings)
    if output.state() != "finished":
        output.start()
        write_records(output.growing, rows)
        output.publish()
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import DataError
from .records import check_format, path_beside
from .runs import (
    MANIFEST,
    State,
    check_apart,
    check_no_links,
    digest,
    manifest_path,
    partial_path,
    read_manifest,
    remove_leftovers,
    remove_partial,
    resolve_state,
    write_manifest,
)


@dataclass(frozen=True)
class OutputFile:
    """An output file and its manifest.

    Args:
        out: Path of the file.
        beside: Endings of the files that belong to it, such as "rejected.jsonl".
        command: Program and sub-command that writes it.
        settings: Everything that it depends on, as JSON values.
    """

    out: Path
    beside: tuple[str, ...]
    command: str
    settings: Mapping[str, Any]

    @property
    def partial(self) -> Path:
        """The folder in which the unfinished output grows."""
        return partial_path(self.out)

    @property
    def growing(self) -> Path:
        """The place of the file until `publish`; files beside it go beside this place.

        Raises:
            DataError: the unfinished output was exchanged for a link meanwhile.
        """
        check_no_links(self.partial)
        return self.partial / "final" / self.out.name

    @property
    def _files(self) -> dict[str, Path]:
        """Final names of all files by ending, `out` last."""
        return {**{ending: path_beside(self.out, ending) for ending in self.beside}, "": self.out}

    def check_apart(self, inputs: Iterable[str | Path]) -> None:
        """Refuse an output that is a folder, one of the inputs, or would become a shard of one, or cannot be written.

        Raises:
            DataError: it is, or its format needs pyarrow, which is not installed.
        """
        if self.out.is_dir():
            raise DataError(f"{self.out}: is a folder; name a file")
        check_format(self.out)
        check_apart(self._files.values(), inputs)

    def state(self, *, overwrite: bool = False) -> State:
        """Decide whether the output is new, partial or finished; the caller has it locked.

        Args:
            overwrite: Replace what this command made with other settings, and make a finished output again.

        Raises:
            DataError: another program made the output or changed it, or other settings made it and `overwrite` is not
                given.
        """
        unfinished, manifest = self.partial / MANIFEST, manifest_path(self.out)
        check_no_links(self.partial)
        remove_leftovers(self.out)
        partial = resolve_state(unfinished, self.command, self.settings, done=None, overwrite=overwrite)
        recorded = read_manifest(manifest) if manifest.is_file() else {}
        self._check_ours(recorded, read_manifest(unfinished) if unfinished.is_file() else {})
        if partial == "partial":
            return partial
        made = {"", *_digests(recorded, "beside")}
        if not all(path.exists() for ending, path in self._files.items() if ending in made):
            return "new"
        return resolve_state(manifest, self.command, self.settings, done=self.out, overwrite=overwrite)

    def _check_ours(self, recorded: Mapping[str, Any], unfinished: Mapping[str, Any]) -> None:
        """Refuse files that are neither what the manifest records nor what the unfinished run began to replace."""
        known = {recorded.get("output"), *_digests(recorded, "beside").values()}
        known |= set(_digests(unfinished, "replaces").values())
        if recorded and recorded["command"] != self.command and self.out.exists():
            raise DataError(
                f"{self.out}: written by {recorded['command']}, not by {self.command}; name another output, or move it "
                "away"
            )
        written = {"", *_digests(recorded, "beside")} if recorded else set()
        for ending, path in self._files.items():
            if path.exists() and digest(path) not in known:
                fault = f"already there, and not written by {self.command}"
                fault += "" if recorded else f" (no {manifest_path(self.out).name})"
                fault = f"changed since {self.command} wrote it" if ending in written else fault
                raise DataError(f"{path}: {fault}; name another output, or move it away")

    def start(self) -> None:
        """Begin with an empty partial folder, which records what is going to be replaced."""
        remove_partial(self.out)
        replaces = {ending: digest(path) for ending, path in self._files.items() if path.exists()}
        write_manifest(self.partial / MANIFEST, self.command, self.settings, replaces=replaces)

    def publish(self, packages: Iterable[str] = (), **more: Any) -> None:
        """Give the files their final names; one that was not made, and is there from an earlier run, is removed.

        Args:
            packages: Distributions whose versions are recorded.
            more: Further facts for the manifest, which are never compared.
        """
        made = {ending: self.growing.with_name(path.name) for ending, path in self._files.items()}
        digests = {ending: digest(complete) for ending, complete in made.items() if complete.exists()}
        facts = {"output": digests.pop(""), "beside": digests, **more}
        # The manifest is first: killed behind it, the command finds only files that it knows when it is repeated.
        write_manifest(manifest_path(self.out), self.command, self.settings, packages, **facts)
        for ending, path in self._files.items():
            if made[ending].exists():
                os.replace(made[ending], path)
            else:
                path.unlink(missing_ok=True)
        remove_partial(self.out)


def _digests(manifest: Mapping[str, Any], field: str) -> dict[str, str]:
    """The digests by ending in a field of a manifest; none if something else is in their place."""
    found = manifest.get(field)
    return {name: each for name, each in found.items() if isinstance(each, str)} if isinstance(found, dict) else {}
