"""Reads one plain text for the command line, and shows on a terminal what was kept of it.

>>> from .compressor import Compressor
>>> text = "well, 12 + 15 = 27"
>>> print(shown(text, Compressor.from_pretrained("rules").compress(text, ratio=0.8), whole=True, terminal=False))
[-well,-] 12 + 15 = 27
"""

import sys
from pathlib import Path

import click

from ._shared.terminal import printable
from .compressor import Compression
from .errors import DataError


def read_text(source: str | Path) -> str:
    """The text of a file, or of standard input for `-`, with its line breaks unchanged.

    Raises:
        DataError: there is no such file, or it is not UTF-8.
    """
    try:
        data = sys.stdin.buffer.read() if str(source) == "-" else Path(source).read_bytes()
        return data.decode("utf-8")
    except OSError as error:
        raise DataError(
            f"{source}: cannot be read ({error.strerror}); give a text file, or - for standard input"
        ) from None
    except UnicodeDecodeError as error:
        raise DataError(f"{source}: not UTF-8 at byte {error.start}; convert it first") from None


def shown(cot: str, result: Compression, *, whole: bool, terminal: bool) -> str:
    """The text to print.

    Args:
        cot: The text before compression.
        result: Its compression.
        whole: True for the whole text, with the kept part marked; False for the compression.
        terminal: True for a terminal, which gets no control character of the text, and the kept part in green and the
            rest faint. Elsewhere the text is printed as it is, and the rest as `[-dropped-]`.
    """
    if not whole:
        return _printable(result.text) if terminal else result.text
    parts: list[str] = []
    position = 0
    for start, end in [*result.spans, (len(cot), len(cot))]:
        dropped, kept = cot[position:start], cot[start:end]
        if terminal:
            parts.append(click.style(_printable(dropped), dim=True) if dropped.strip() else _printable(dropped))
            parts.append(click.style(_printable(kept), fg="green", bold=True) if kept else kept)
        else:
            inner = dropped.strip()
            parts += [dropped.replace(inner, f"[-{inner}-]", 1) if inner else dropped, kept]
        position = end
    return "".join(parts)


def _printable(text: str) -> str:
    return printable(text.replace("\r\n", "\n"))
