# copied from packages/_shared/progress.py; edit it there
"""Progress bars: redrawn in place on a terminal, a line every ten seconds in a log.

for row in progress_bar(rows, desc="compress", unit="row"):
...
"""

import sys
import time
from typing import Any

from tqdm import tqdm

from .terminal import printable

_SECONDS_BETWEEN_LINES = 10


class _Log:
    """A text file for tqdm that keeps one of its lines every ten seconds, the first one after ten."""

    def __init__(self) -> None:
        self._due = time.monotonic() + _SECONDS_BETWEEN_LINES

    def write(self, text: str) -> None:
        line = text.strip()
        if line and time.monotonic() >= self._due:
            self._due = time.monotonic() + _SECONDS_BETWEEN_LINES
            sys.stderr.write(f"{line}\n")

    def flush(self) -> None:
        sys.stderr.flush()


def progress_bar(*args: Any, desc: str | None = None, **options: Any) -> Any:
    """A tqdm bar on standard error; takes what `tqdm` takes. Its description may come from a stranger."""
    desc = None if desc is None else printable(desc)
    return tqdm(*args, file=None if sys.stderr.isatty() else _Log(), desc=desc, **options)
