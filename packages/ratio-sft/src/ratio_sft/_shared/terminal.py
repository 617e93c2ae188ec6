# copied from packages/_shared/terminal.py; edit it there
r"""Text of strangers on a terminal: control characters are shown, never sent; so are those in lines of libraries.

>>> printable("red \x1b[31m, title \x1b]0;x\x07"), terminal_line("a\nb")
('red \\x1b[31m, title \\x1b]0;x\\x07', 'a\\nb')
"""

import logging
import re
import threading
import traceback
import warnings
from typing import Any

import click

from .secret_text import without_secrets

# C0 but tab and line feed, DEL, C1, the marks that reorder text, and lone surrogates, which Python writes as raw bytes
# where the locale is C or C.UTF-8.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

_FURTHER = "  | "
_COLOUR = re.compile("\x1b\\[[0-9;]*m")
_formatwarning = warnings.formatwarning


def printable(text: str) -> str:
    r"""`text` with control characters, text-direction marks and lone surrogates as escapes such as `\x1b`."""
    return _CONTROL.sub(lambda match: match.group().encode("unicode_escape").decode("ascii"), text)


def terminal_line(text: str) -> str:
    r"""`text` as one line for a terminal: as `printable`, and a line break is written as `\n`."""
    return printable(text.replace("\n", r"\n"))


def echo(text: str, *, err: bool = False) -> None:
    """Print a line whose parts may come from a stranger."""
    click.echo(printable(text), err=err)


def notify(line: str) -> None:
    """Print a line about the work that a command is about to do, on stderr."""
    echo(terminal_line(line), err=True)


def guard_libraries() -> None:
    """Escape what libraries print of strangers in log records, warnings and threads, and remove keys from it."""
    logging.setLogRecordFactory(_Record)
    warnings.formatwarning = lambda *args, **options: plain_line(_formatwarning(*args, **options))
    threading.excepthook = lambda ended: echo(
        plain_line("".join(traceback.format_exception(ended.exc_type, ended.exc_value, ended.exc_traceback))), err=True
    )


def plain_line(text: str) -> str:
    """Text of a library for a terminal: without colour and keys, printable, and further lines are marked as such."""
    first, *others = without_secrets(_COLOUR.sub("", text)).split("\n")
    further = (line and f"{_FURTHER}{line.removeprefix(_FURTHER)}" for line in others)
    return printable("\n".join([first, *further]))


class _Record(logging.LogRecord):
    """A log record whose message and traceback are printable, whatever handler writes them."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if self.exc_info and self.exc_info[0] is not None:
            self.exc_text = plain_line("".join(traceback.format_exception(*self.exc_info)).rstrip("\n"))

    def getMessage(self) -> str:
        """The message of the record."""
        return plain_line(super().getMessage())
