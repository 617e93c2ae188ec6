"""Stores the answers of a language model on disk, so that no request is paid for twice.

The file has one line for each answer: a digest of the request, the text, and the tokens that were used. Threads and
processes may append to the same file at the same time. An incomplete line, which a killed process leaves, is ignored.
Judging an answer is left to the annotator.

    cache = AnswerCache("annotated.jsonl.answers.jsonl")
    cache.add({"model": "m", "messages": []}, Answer('{"ranges": []}', 120, 8))
"""

import hashlib
import json
import os
import stat
from pathlib import Path
from typing import Any, NamedTuple

from cot_compressor._shared.lock import no_link
from cot_compressor._shared.records import dump_line
from cot_compressor._shared.system_errors import naming
from cot_compressor.errors import DataError


class Answer(NamedTuple):
    """One answer and the tokens it used."""

    text: str
    prompt_tokens: int
    completion_tokens: int


class AnswerCache:
    """Answers by request."""

    def __init__(self, path: str | Path) -> None:
        """Read the file if it exists; otherwise the first answer creates it.

        Raises:
            DataError: a link, symbolic or hard, or something else than a file is in its place.
        """
        self._path = Path(path)
        found = self._path.lstat() if os.path.lexists(self._path) else None
        if found and (not stat.S_ISREG(found.st_mode) or found.st_nlink > 1):
            raise DataError(f"{self._path}: is not a file of its own, and answers would be written to it; move it away")
        self._answers: dict[str, Answer] = {}
        line = b"\n"
        if self._path.is_file():
            with self._path.open("rb") as file:
                for line in file:
                    try:
                        entry = json.loads(line)
                        digest = entry.pop("request")
                        self._answers[digest] = Answer(**entry)
                    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                        continue
        if not line.endswith(b"\n"):
            self._append(b"\n")

    def find(self, request: dict[str, Any]) -> Answer | None:
        """The answer to exactly this request, if there is one."""
        return self._answers.get(_digest(request))

    def add(self, request: dict[str, Any], answer: Answer) -> None:
        """Store an answer; it is on disk when this returns."""
        digest = _digest(request)
        self._answers[digest] = answer
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._append(dump_line({"request": digest, **answer._asdict()}).encode())

    def _append(self, line: bytes) -> None:
        # One write at the end of a file is not mixed with that of another thread or process.
        descriptor = no_link(str(self._path), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            with naming(self._path):
                while line:  # a disk without room takes a part of it
                    line = line[os.write(descriptor, line) :]
        finally:
            os.close(descriptor)


def _digest(request: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()
