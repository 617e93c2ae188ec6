"""What a language model has answered, on disk as it comes, so that nothing is asked and paid for twice.

One line per answer, under a digest of its request, with the tokens it took. Threads and processes may add to one file
at the same time, and a line that a kill has torn is left out. Whether an answer is any good is left to the annotator.

    answers = AnswerFile("annotated.jsonl.answers.jsonl")
    answers.add({"model": "m", "messages": []}, Answer('{"ranges": []}', 120, 8))
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any, NamedTuple

from ._shared.records import dump_line


class Answer(NamedTuple):
    """One answer and what it took."""

    text: str
    prompt_tokens: int
    completion_tokens: int


class AnswerFile:
    """Answers by request."""

    def __init__(self, path: str | Path) -> None:
        """Read what is there; the file is made with the first answer."""
        self._path = Path(path)
        self._found: dict[str, Answer] = {}
        line = b"\n"
        if self._path.is_file():
            with self._path.open("rb") as file:
                for line in file:
                    try:
                        entry = json.loads(line)
                        digest = entry.pop("request")
                        self._found[digest] = Answer(**entry)
                    except (ValueError, KeyError, TypeError, AttributeError):
                        continue
        if not line.endswith(b"\n"):
            self._append(b"\n")

    def find(self, request: dict[str, Any]) -> Answer | None:
        """The answer to this very request, if there is one."""
        return self._found.get(_digest(request))

    def add(self, request: dict[str, Any], answer: Answer) -> None:
        """Write an answer; it is on disk when this returns."""
        digest = _digest(request)
        self._found[digest] = answer
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._append(dump_line({"request": digest, **answer._asdict()}).encode())

    def _append(self, line: bytes) -> None:
        # One write at the end of a file is not mixed with that of another thread or process.
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            os.write(descriptor, line)
        finally:
            os.close(descriptor)


def _digest(request: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()
