# copied from packages/_shared/terminal.py; edit it there
r"""Text of strangers on a terminal: control characters are shown, never sent.

>>> printable("red \x1b[31m, title \x1b]0;x\x07")
'red \\x1b[31m, title \\x1b]0;x\\x07'
"""

import re

import click

# C0 but tab and line feed, DEL, C1, and the marks that reorder text.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    r"""`text` with every control character and text-direction mark written as an escape such as `\x1b`."""
    return _CONTROL.sub(lambda match: match.group().encode("unicode_escape").decode("ascii"), text)


def echo(text: str, *, err: bool = False) -> None:
    """Print a line whose parts may come from a stranger."""
    click.echo(printable(text), err=err)
